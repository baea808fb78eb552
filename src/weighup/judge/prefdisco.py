"""PREFDISCO: just-in-time personalisation (Li et al. 2025, arXiv 2510.00177, "Personalized Reasoning").

Faithful: a persona has sparse preferences; a task has attributes that matter to it; the assistant does the task without
knowing the user (baseline), after at most five questions to a passive user (discovery), and with all preferences told
(oracle). PrefAlign = Σ w_a·g_a, g_a the grade 1 to 5 of the response by the rubric of attribute a, over the persona's
preferences that matter to the task, weights summing to 1. Normalised: 100·(discovery − baseline)/(oracle − baseline),
which may be negative. The share of instances worse than baseline is the headline; accuracy is kept beside it.

Ours: where oracle and baseline are equal the normalised value is undefined, where oracle is below it has no meaning;
both are left out and counted. `pooled` is the ratio of the means, which small differences cannot blow up. A question
about two attributes at once is not put to the user, and a user that tells more than it was asked is asked again; the
second time, the assistant goes on with what it knows, and an instance with such a user is left out and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput, JobFailed
from weighup.judge.converse import Talk, Transcript, converse_many
from weighup.judge.converse_answers import official, same_answer, stated
from weighup.judge.prefdisco_align import Alignment, Answer, normalised, prefalign, prefalign_many, relevant
from weighup.judge.prefdisco_players import (
    Assistant,
    Attribute,
    ModelAssistant,
    Persona,
    Told,
    User,
    checked,
    is_ready,
    make_personas,
    passive_user,
    refused,
)
from weighup.judge.types import Item, Judge, unique
from weighup.metrics.estimate import Estimate, estimated, share
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel
from weighup.registry import Method

__all__ = ["METHOD", "discover", "make_personas", "normalised", "prefalign", "prefalign_many", "prefdisco"]

METHOD = Method(
    name="prefdisco",
    room="judge",
    paper="Personalized Reasoning: Just-in-time Personalization and Why LLMs Fail at It (Li et al. 2025)",
    arxiv="2510.00177",
    command="weighup judge run",
    claim_check="weighup.judge.prefdisco_claim:check",
)
QUESTIONS = 5
ROLES = ("assistant", "user")

Mode = Literal["baseline", "discovery", "oracle"]
MODES: tuple[Mode, ...] = ("baseline", "discovery", "oracle")


@dataclass(frozen=True, slots=True)
class Instance:
    """One task for one persona: what was said, and by mode the responses, their alignment (None where there is no
    response) and whether they are right (None without an official answer). `ok` unless a response, a grade or the user
    failed."""

    item_id: str
    persona_id: str
    transcript: Transcript
    responses: Mapping[Mode, str | None]
    alignments: Mapping[Mode, Alignment | None]
    correct: Mapping[Mode, bool | None]
    ok: bool

    def score(self, mode: Mode) -> float:
        """PrefAlign in a mode; NaN where there is none."""
        one = self.alignments[mode]
        return math.nan if one is None or one.score is None else one.score


@dataclass(frozen=True, slots=True)
class PrefReport:
    """One assistant. `below`: share of instances whose discovery is worse than baseline; `normalised`: mean, of the
    instances where it is defined, and `pooled`, the ratio of means, both 100 for oracle; `prefalign` and `accuracy` by
    mode; `questions`: mean number asked. Intervals are 95 %, over items.

    Counted: `equal` and `inverted`, instances whose oracle is equal to or below baseline (left out of `normalised`
    alone); `invalid`, those that failed, and `indifferent`, those where no preference matters (left out of all);
    `endings`: how discoveries ended, and by whom."""

    assistant: str
    below: Estimate
    normalised: Estimate
    pooled: Estimate
    prefalign: Mapping[Mode, Estimate]
    accuracy: Mapping[Mode, Estimate]
    questions: Estimate
    equal: int
    inverted: int
    indifferent: int
    invalid: int
    endings: Mapping[str, int]
    instances: tuple[Instance, ...]


def discover(
    assistant: Assistant | LanguageModel,
    user: User,
    item: Item,
    *,
    questions: int = QUESTIONS,
    meter: Meter | None = None,
) -> Transcript:
    """The assistant asks, the user answers, until it is ready or `questions` are asked."""
    return discover_many(_assistant(assistant), [(user, item)], questions=questions, meter=meter)[0]


def discover_many(
    assistant: Assistant, asked: Sequence[tuple[User, Item]], *, questions: int = QUESTIONS, meter: Meter | None = None
) -> list[Transcript]:
    """As `discover`, side by side. Raises InvalidInput for questions < 1."""
    if questions < 1:
        raise InvalidInput(f"questions: one or more is needed, not {questions}")
    ids = [f"{item.id}@{user.persona.id}" for user, item in asked]
    users = dict(zip(ids, (user for user, _ in asked), strict=True))
    talks = [
        Talk(id, assistant.asker(item, questions), user.player) for id, (user, item) in zip(ids, asked, strict=True)
    ]
    return converse_many(
        talks,
        turns=questions,
        stop=lambda one: one.kept()[-1].role == "assistant" and is_ready(one.kept()[-1].text),
        refuse=lambda one, text: refused(users[one.id], one, text),
        roles=ROLES,
        repeats=("user",),
        meter=meter,
    )


def prefdisco(
    assistant: Assistant | LanguageModel,
    items: Sequence[Item],
    personas: Sequence[Persona],
    attributes: Sequence[Attribute],
    judge: Judge,
    *,
    user: Callable[[Persona, Sequence[Attribute]], User] = passive_user,
    questions: int = QUESTIONS,
    seed: int = 0,
    draws: int = 1000,
    meter: Meter | None = None,
) -> PrefReport:
    """Every item for every persona, in the three modes. `seed` and `draws` are those of the bootstrap.

    Raises InvalidInput as `prefalign_many` and `discover`, for no personas, or an item or a persona that stands twice;
    JobFailed where no instance could be scored in all modes.
    """
    known = checked(attributes)
    player = _assistant(assistant)
    unique(items)
    if not personas or len({one.id for one in personas}) < len(personas):
        raise InvalidInput("personas: one or more is needed, with different ids")
    cared = [(item, persona) for item in items for persona in personas if relevant(item, persona, known)]
    users = {persona.id: user(persona, attributes) for persona in personas}
    talks = discover_many(player, [(users[p.id], item) for item, p in cared], questions=questions, meter=meter)
    told: dict[Mode, list[Told]] = {
        "baseline": [Told(item) for item in items],
        "discovery": [Told(item, talk) for (item, _), talk in zip(cared, talks, strict=True)],
        "oracle": [Told(item, None, relevant(item, persona, known)) for item, persona in cared],
    }
    said = {mode: _respond(player, told[mode], known, meter) for mode in MODES}
    generic = dict(zip([item.id for item in items], said["baseline"], strict=True))
    said["baseline"] = [generic[item.id] for item, _ in cared]
    answers = [
        Answer(_answer_id(item, persona, player, mode), item, persona, text)
        for mode in MODES
        for (item, persona), text in zip(cared, said[mode], strict=True)
        if text is not None
    ]
    graded = dict(zip([one.id for one in answers], prefalign_many(answers, judge, attributes), strict=True))
    instances = []
    for place, ((item, persona), talk) in enumerate(zip(cared, talks, strict=True)):
        responses = {mode: said[mode][place] for mode in MODES}
        found = {mode: graded.get(_answer_id(item, persona, player, mode)) for mode in MODES}
        failed = talk.ended == "failed" or (talk.by == "user" and talk.ended != "stopped")
        ok = not failed and all(one is not None and one.score is not None for one in found.values())
        correct = {mode: _correct(item, text) for mode, text in responses.items()}
        instances.append(Instance(item.id, persona.id, talk, responses, found, correct, ok))
    return _report(player.name, instances, len(items) * len(personas) - len(cared), seed, draws)


def _answer_id(item: Item, persona: Persona, player: Assistant, mode: Mode) -> str:
    return f"{item.id}@{persona.id}/{player.name}/{mode}"


def _respond(
    player: Assistant, told: Sequence[Told], known: Mapping[str, Attribute], meter: Meter | None
) -> list[str | None]:
    """Responses in order, None for an empty one too."""
    said = player.respond(told, known, meter=meter)
    if len(said) != len(told):
        raise JobFailed(f"assistant {player.name}: gave {len(said)} responses to {len(told)} tasks")
    return [text if text is not None and text.strip() else None for text in said]


def _correct(item: Item, response: str | None) -> bool | None:
    if item.reference is None or response is None:
        return None
    answer = stated(response)
    return answer is not None and same_answer(item, answer, official(item))


def _report(name: str, instances: Sequence[Instance], indifferent: int, seed: int, draws: int) -> PrefReport:
    fine = [one for one in instances if one.ok]
    if not fine:
        raise JobFailed(f"assistant {name}: none of {len(instances)} instances could be scored in all three modes")
    low, mid, high = (np.array([one.score(mode) for one in fine]) for mode in MODES)
    groups = np.array([one.item_id for one in fine])
    relative = normalised(low, mid, high)
    defined = ~np.isnan(relative)
    equal = np.isclose(low, high, rtol=0, atol=1e-9)
    asked = np.array([sum(not is_ready(text) for text in one.transcript.said("assistant")) for one in fine], float)
    return PrefReport(
        assistant=name,
        below=_estimate(_mean, [mid < low - 1e-9], groups, seed, draws),
        normalised=_estimate(_mean, [relative[defined]], groups[defined], seed, draws),
        pooled=_estimate(_pooled, [low, mid, high], groups, seed, draws),
        prefalign={
            mode: _estimate(_mean, [row], groups, seed, draws)
            for mode, row in zip(MODES, (low, mid, high), strict=True)
        },
        accuracy={
            mode: share([bool(one.correct[mode]) for one in fine if one.correct[mode] is not None]) for mode in MODES
        },
        questions=_estimate(_mean, [asked], groups, seed, draws),
        equal=int(equal.sum()),
        inverted=int((~defined & ~equal).sum()),
        indifferent=indifferent,
        invalid=len(instances) - len(fine),
        endings=Counter(f"{one.transcript.ended} {one.transcript.by}".strip() for one in instances),
        instances=tuple(instances),
    )


def _estimate(
    statistic: Callable[..., float],
    arrays: Sequence[NDArray[np.float64] | NDArray[np.bool_]],
    groups: NDArray[np.str_],
    seed: int,
    draws: int,
) -> Estimate:
    """The statistic with its interval over items; NaN where the items themselves have none."""
    try:
        return estimated(statistic, *arrays, seed=seed, draws=draws, groups=groups)
    except InvalidInput:
        return Estimate(math.nan, math.nan, math.nan, len(arrays[0]))


def _mean(values: NDArray[np.float64]) -> float:
    if not len(values):
        raise InvalidInput("mean: of no values")
    return float(np.mean(values))


def _pooled(low: NDArray[np.float64], mid: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    gap = float(np.mean(high) - np.mean(low))
    if gap <= 1e-9:
        raise InvalidInput("pooled: the oracle is not above the baseline")
    return 100 * float(np.mean(mid) - np.mean(low)) / gap


def _assistant(assistant: Assistant | LanguageModel) -> Assistant:
    return ModelAssistant(assistant) if isinstance(assistant, LanguageModel) else assistant
