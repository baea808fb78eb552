"""IQA-EVAL: automatic evaluation of human-model interactive question answering (Li et al. 2024, arXiv 2408.13545).

Faithful: an evaluating agent plays a user who has a question and asks the assistant up to five turns until it can
answer; then it rates the conversation from 1 to 5 for fluency and helpfulness, as a persona; the number of the user's
queries and the accuracy of the answer are counted. A group's score is the mean over personas by their share in the
crowd.

Ours: a conversation is held once for an assistant and question and rated by every persona (`shared`), so that personas
differ by what they value and not by what they happened to be told; with `shared=False` each persona talks for itself,
as in the paper. A conversation that loops, echoes the question or falls silent is ended there and rated as it is.

A question is an `Item` as in `converse_answers`; `reference` may be missing, and accuracy is then not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weighup.errors import InvalidInput, JobFailed
from weighup.judge.converse import Talk, Transcript, converse_many
from weighup.judge.converse_answers import official, same_answer, stated
from weighup.judge.iqa_agents import Agent, Assistant, IqaRating, ModelAgent, ModelAssistant, Persona, ToRate
from weighup.judge.types import Item, unique
from weighup.metrics.estimate import Estimate, estimated, share
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel
from weighup.registry import Method

METHOD = Method(
    name="iqa_eval",
    room="judge",
    paper="IQA-EVAL: Automatic Evaluation of Human-Model Interactive Question Answering (Li et al. 2024)",
    arxiv="2408.13545",
    command="weighup judge run",
    claim_check="weighup.judge.iqa_eval_claim:check",
)
TURNS = 5


@dataclass(frozen=True, slots=True)
class IqaTalk:
    """One conversation and what came of it. `answer`: the user's, None where it gave none; `correct`: None without an
    official answer; no answer is a wrong one. `queries`: messages of the user to the assistant."""

    assistant: str
    question_id: str
    persona: str | None
    transcript: Transcript
    answer: str | None
    correct: bool | None

    @property
    def queries(self) -> int:
        """Messages of the user, without the one that only says the answer."""
        return sum(stated(text) is None for text in self.transcript.said("user"))


@dataclass(frozen=True, slots=True)
class IqaScore:
    """One assistant. `fluency`, `helpfulness`: group means, 1 to 5, by the personas' weights; `by_persona`: each
    persona's means of the two; `queries`: mean number; `accuracy`: share of right answers. Intervals are 95 %, over
    questions. `invalid`: ratings that could not be had; `endings`: how conversations ended."""

    assistant: str
    fluency: Estimate
    helpfulness: Estimate
    queries: Estimate
    accuracy: Estimate
    by_persona: Mapping[str, tuple[float, float]]
    invalid: int
    endings: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class IqaReport:
    """Scores, one an assistant as given, and all they come from."""

    scores: tuple[IqaScore, ...]
    talks: tuple[IqaTalk, ...]
    ratings: tuple[IqaRating, ...]


def interact(
    assistant: Assistant | LanguageModel,
    question: Item,
    persona: Persona | None = None,
    turns: int = TURNS,
    *,
    agent: Agent | LanguageModel,
    meter: Meter | None = None,
) -> Transcript:
    """One conversation of the agent, as `persona`, with an assistant. Raises InvalidInput for an empty question."""
    asked = [(_assistant(assistant), question, persona)]
    return _talk(asked, _agent(agent), turns, meter)[0]


def rate(
    transcript: Transcript,
    persona: Persona | None = None,
    *,
    question: Item,
    agent: Agent | LanguageModel,
    meter: Meter | None = None,
) -> IqaRating:
    """What a persona thinks of a conversation; `invalid` where the agent gave no usable rating."""
    return _rate([ToRate(question, transcript, persona)], _agent(agent), meter)[0]


def iqa_eval(
    assistants: Sequence[Assistant | LanguageModel],
    questions: Sequence[Item],
    personas: Sequence[Persona] = (),
    weights: Mapping[str, float] | None = None,
    *,
    agent: Agent | LanguageModel,
    turns: int = TURNS,
    shared: bool = True,
    seed: int = 0,
    meter: Meter | None = None,
) -> IqaReport:
    """Evaluate assistants on questions as a crowd of personas would.

    weights: each persona's share in the crowd, summing to 1 (None: equal). personas (): nobody in particular. `seed`
    draws the bootstrap. Raises InvalidInput for no assistants or questions, names or ids that stand twice, an empty
    question, an official answer that is no option, weights that miss a persona, name another, are negative or do not
    sum to 1; JobFailed where no rating at all could be had.
    """
    players, by = [_assistant(one) for one in assistants], _agent(agent)
    if not players:
        raise InvalidInput("assistants: there are none")
    _named_once("assistants", [one.name for one in players])
    _named_once("personas", [one.name for one in personas])
    unique(questions)
    for item in questions:
        if item.reference is not None:
            official(item)
    mix = _weights(personas, weights)
    who: list[Persona | None] = list(personas) or [None]
    talkers = [None] if shared else who
    asked = [(player, item, persona) for player in players for item in questions for persona in talkers]
    transcripts = _talk(asked, by, turns, meter)
    talks = _answered(asked, transcripts, by, meter)
    to_rate = [
        ToRate(item, transcript, rater)
        for (_, item, persona), transcript in zip(asked, transcripts, strict=True)
        for rater in (who if shared else [persona])
    ]
    ratings = _rate(to_rate, by, meter)
    if not any(one.status == "ok" for one in ratings):
        note = next((one.note for one in ratings if one.note), "no usable reply")
        raise JobFailed(f"agent {by.name}: none of {len(ratings)} ratings could be had: {note}")
    each = len(ratings) // len(players)
    held = len(talks) // len(players)
    scores = [
        _score(player.name, talks[i * held : (i + 1) * held], ratings[i * each : (i + 1) * each], mix, len(who), seed)
        for i, player in enumerate(players)
    ]
    return IqaReport(tuple(scores), tuple(talks), tuple(ratings))


def group_score(by_persona: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Mean of the personas' scores by their share in the crowd. Raises InvalidInput as `iqa_eval`."""
    mix = _weights([Persona(name, "") for name in by_persona], weights)
    return math.fsum(mix[name] * value for name, value in by_persona.items())


def _talk(
    asked: Sequence[tuple[Assistant, Item, Persona | None]], agent: Agent, turns: int, meter: Meter | None
) -> list[Transcript]:
    for _, item, _ in asked:
        if not item.prompt.strip():
            raise InvalidInput(f"item {item.id}: the question is empty")
    talks = []
    for player, item, persona in asked:
        name = f"{item.id}@{player.name}" + (f"@{persona.name}" if persona else "")
        talks.append(Talk(name, agent.user(item, persona), player.player()))
    return converse_many(talks, turns=turns, stop=_answers, meter=meter)


def _answers(transcript: Transcript) -> bool:
    """Whether the user has just said its answer."""
    last = transcript.kept()[-1]
    return last.role == "user" and stated(last.text) is not None


def _answered(
    asked: Sequence[tuple[Assistant, Item, Persona | None]],
    transcripts: Sequence[Transcript],
    agent: Agent,
    meter: Meter | None,
) -> list[IqaTalk]:
    """The conversations with the user's answers: from the last message, else the agent is asked for one."""
    said = [stated(one.said("user")[-1]) if one.ended == "stopped" else None for one in transcripts]
    places = [place for place, one in enumerate(said) if one is None and transcripts[place].ended != "failed"]
    later = agent.answer([ToRate(asked[place][1], transcripts[place]) for place in places], meter=meter)
    for place, one in zip(places, later, strict=True):
        said[place] = one
    found = []
    for (player, item, persona), transcript, answer in zip(asked, transcripts, said, strict=True):
        correct = None
        if item.reference is not None and transcript.ended != "failed":
            correct = answer is not None and same_answer(item, answer, official(item))
        name = persona.name if persona else None
        found.append(IqaTalk(player.name, item.id, name, transcript, answer, correct))
    return found


def _rate(asked: Sequence[ToRate], agent: Agent, meter: Meter | None) -> list[IqaRating]:
    """A conversation in which a model failed is not rated: nobody said anything wrong."""
    found = [_unrated(one) for one in asked]
    places = [place for place, one in enumerate(asked) if one.transcript.ended != "failed"]
    for place, one in zip(places, agent.rate([asked[place] for place in places], meter=meter), strict=True):
        found[place] = one
    return found


def _unrated(one: ToRate) -> IqaRating:
    persona = one.persona.name if one.persona else None
    return IqaRating(talk=one.transcript.id, persona=persona, status="invalid", note=one.transcript.note)


def _score(
    name: str,
    talks: Sequence[IqaTalk],
    ratings: Sequence[IqaRating],
    mix: Mapping[str, float],
    raters: int,
    seed: int,
) -> IqaScore:
    table = np.array([[one.fluency, one.helpfulness] for one in ratings], float).reshape(-1, raters, 2)
    share_of = np.array(list(mix.values()))
    group = np.einsum("p,qpd->qd", share_of, table)
    group = group[~np.isnan(group).any(axis=1)]
    held = [one for one in talks if one.transcript.ended != "failed"]
    endings = [str(one.transcript.ended) for one in talks]
    means = {}
    for place, persona in enumerate(mix):
        known = table[~np.isnan(table[:, place]).any(axis=1), place]
        means[persona] = (float(known[:, 0].mean()), float(known[:, 1].mean())) if len(known) else (math.nan, math.nan)
    return IqaScore(
        assistant=name,
        fluency=_mean(group[:, 0], seed),
        helpfulness=_mean(group[:, 1], seed),
        queries=_mean([one.queries for one in held], seed),
        accuracy=share([one.correct for one in held if one.correct is not None]),
        by_persona=means,
        invalid=sum(one.status != "ok" for one in ratings),
        endings={one: endings.count(one) for one in sorted(set(endings))},
    )


def _mean(values: Sequence[float] | np.ndarray, seed: int) -> Estimate:
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, 0)
    return estimated(lambda some: float(np.mean(some)), np.asarray(values, float), seed=seed)


def _weights(personas: Sequence[Persona], weights: Mapping[str, float] | None) -> dict[str, float]:
    """Each persona's share, in order; of nobody in particular all."""
    names = [one.name for one in personas] or ["nobody"]
    if weights is None:
        return dict.fromkeys(names, 1 / len(names))
    if set(weights) != set(names):
        raise InvalidInput(f"weights: one for each of {', '.join(names)} is needed, not for {', '.join(weights)}")
    if any(not value >= 0 for value in weights.values()):
        raise InvalidInput("weights: shares are at least 0")
    if not math.isclose(math.fsum(weights.values()), 1.0, abs_tol=1e-6):
        raise InvalidInput(f"weights: the shares of the personas sum to 1, these to {math.fsum(weights.values()):g}")
    return {name: weights[name] for name in names}


def _named_once(what: str, names: Sequence[str]) -> None:
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise InvalidInput(f"{what}: {twice[0]} stands there twice")


def _agent(agent: Agent | LanguageModel) -> Agent:
    return ModelAgent(agent) if isinstance(agent, LanguageModel) else agent


def _assistant(assistant: Assistant | LanguageModel) -> Assistant:
    return ModelAssistant(assistant) if isinstance(assistant, LanguageModel) else assistant
