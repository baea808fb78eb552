"""Claim check of the multi-agent judge (2504.02867): does a designed prompt agree better with people on other items?

Made: a judge model whose noise falls, from 2.0 sd of quality, by 0.25 with each of six facts that its prompt states. It
errs on an item in the same direction under every prompt; beside it, a judge whose errors are drawn anew for each
prompt, under which two prompts are much harder to tell apart. The rewriter adds a fact that it does not find with
chance 0.7, otherwise nothing, and drops one with chance 0.15. People's scores are quality with noise of sd 0.3.
Prompts, selection, scoring and the loop are those of `design_judge`.

Real: the embedded model scores vicuna responses (`feedback_scores`) from 1 to 5; GPT-4's mean of three stands for
people. So small a model writes no usable instructions, so the rewriter proposes ours. Few and short items: a report.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput, ModelMissing
from weighup.judge.design_judge import Example, design_judge
from weighup.judge.sets_rows import Row, rows
from weighup.judge.types import Item, Judge, Response
from weighup.metrics.arrays import Floats
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.metrics.ranking import spearman
from weighup.models.metering import Meter
from weighup.models.types import Choice, Prompt, Question, Reply

log = logging.getLogger(__name__)

FACTS = (
    "Check every number against the request.",
    "A claim without ground costs a point.",
    "What was asked for and is missing costs two points.",
    "Length earns nothing.",
    "A wrong format costs a point.",
    "A refusal without need is the worst.",
)
NOISE, LESS = 2.0, 0.25
DESIGNS, EXAMPLES, HELD_OUT, ROUNDS = 12, 80, 200, 5
REAL_EXAMPLES, REAL_HELD_OUT, CUT = 20, 20, 200
_NUMBER = re.compile(r"answer number (\d+)")
OURS = """Grade how helpful the response is for the person who asked. A response that stays general, that leaves out \
part of what was asked, or that is wrong gets a low score; one that is concrete, complete and right a high one.

The request:
$question

The response:
$response

How helpful is it, from $low (not at all) to $high (it could hardly be better)? Answer with nothing but the number."""


class _Scored(Row):
    question_id: str
    gpt4_scores: tuple[int, ...]
    sections: Mapping[str, str]


class MadeJudgeModel:
    """Scores "answer number i" by its quality [items], with the less noise the more of FACTS the prompt states. `anew`:
    the direction in which it errs hangs on the prompt too, not on the item alone."""

    name, version = "made judge", "1"

    def __init__(self, quality: Floats, seed: int, *, anew: bool) -> None:
        self._quality, self._seed, self._anew = quality, seed, anew

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        return [self._reply(one) for one in prompts]

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise InvalidInput("the made judge only writes")

    def _reply(self, asked: Prompt) -> Reply:
        found = _NUMBER.search(asked.user)
        if found is None or asked.schema is None:
            raise InvalidInput("the made judge was asked about nothing it knows")
        digest = hashlib.sha256(f"{self._seed} {asked.user if self._anew else found[1]}".encode()).digest()
        noise = NOISE - LESS * sum(fact in asked.user for fact in FACTS)
        seen = self._quality[int(found[1])] + noise * np.random.default_rng(list(digest[:8])).normal()
        score = float(np.clip(5.5 + 1.5 * seen, 1, 10))
        return Reply(value=asked.schema.model_validate({"reasons": "as I see it", "score": score}))


class MadeRewriter:
    """Adds a fact, or none, and sometimes loses one."""

    name, version = "made rewriter", "1"

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        return [self._reply(one) for one in prompts]

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise InvalidInput("the made rewriter only writes")

    def _reply(self, asked: Prompt) -> Reply:
        if asked.schema is None:
            raise InvalidInput("the made rewriter was asked for nothing it knows")
        there = [fact for fact in FACTS if fact in asked.user]
        missing = [fact for fact in FACTS if fact not in there]
        if missing and self._rng.random() < 0.7:
            there.append(str(self._rng.choice(missing)))
        if there and self._rng.random() < 0.15:
            there.remove(str(self._rng.choice(there)))
        text = "\n".join(["Grade the response.", *there, "$question", "$response"])
        return Reply(value=asked.schema.model_validate({"diagnosis": "a rule is missing", "prompt": text}))


class OursRewriter:
    """Proposes the instructions that are written here."""

    name, version = "ours", "1"

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        values = {"diagnosis": "", "prompt": OURS}
        return [Reply(value=one.schema.model_validate(values) if one.schema else None) for one in prompts]

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise InvalidInput("this rewriter only writes")


@dataclass(frozen=True, slots=True)
class _Made:
    """Held-out Spearman of the initial and the final prompt, rounds, and whether patience ended the design."""

    first: float
    final: float
    rounds: int
    patience: bool


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Made: final against initial prompt on held-out items, the worst design, and the end; then the embedded model."""
    found = []
    for anew in (False, True):
        designs = [[_design(1000 * seed + turn, anew) for turn in range(DESIGNS)] for seed in seeds]
        beside = "errors anew for each prompt: " if anew else ""
        found += _gains(beside, designs, seeds)
    return found + _real(data, seeds)


def _gains(beside: str, designs: Sequence[Sequence[_Made]], seeds: Sequence[int]) -> list[ClaimResult]:
    first = np.array([[one.first for one in some] for some in designs])
    final = np.array([[one.final for one in some] for some in designs])
    gain = final - first
    told = f"made judge and rewriter, {EXAMPLES} examples, {HELD_OUT} held-out items a design"
    by_patience = float(np.mean([one.patience for some in designs for one in some]))
    low, high = bootstrap(np.min, gain.ravel(), seed=0)
    return [
        compare(
            f"{beside}the designed prompt agrees better on held-out items than the one it began with",
            metric="mean held-out Spearman",
            values=final.mean(1).tolist(),
            baseline="initial prompt + 0.10",
            baseline_values=(first.mean(1) + 0.10).tolist(),
            seeds=seeds,
            n=DESIGNS,
            data=told,
            interval=bootstrap(np.mean, gain.ravel() - 0.10, seed=0),
        ),
        compare(
            f"{beside}no design ends below where it began",
            metric="least gain in held-out Spearman of any design",
            values=gain.min(1).tolist(),
            baseline="a loss of 0.02",
            baseline_values=[-0.02] * len(seeds),
            seeds=seeds,
            n=DESIGNS,
            data=told,
            interval=(low + 0.02, high + 0.02),
        ),
        compare(
            f"{beside}every design ends; {by_patience:.0%} since agreement rose no more",
            metric="most rounds of any design",
            values=[float(max(one.rounds for one in some)) for some in designs],
            baseline="one more than was allowed",
            baseline_values=[ROUNDS + 1.0] * len(seeds),
            seeds=seeds,
            n=DESIGNS,
            data=told,
            lower_is_better=True,
        ),
    ]


def _design(seed: int, anew: bool) -> _Made:
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=EXAMPLES + HELD_OUT)
    people = quality + rng.normal(0, 0.3, len(quality))
    items = [_item(f"i{n}", f"request {n % 7}", f"answer number {n}") for n in range(len(quality))]
    examples = [Example(item, float(score)) for item, score in zip(items, people, strict=True)][:EXAMPLES]
    model = MadeJudgeModel(quality, seed, anew=anew)
    made = design_judge("How good is it?", examples, model, MadeRewriter(seed), ROUNDS, seed=seed, draws=20)
    held, truth = items[EXAMPLES:], people[EXAMPLES:]
    first, final = (spearman(truth, _scores(judge, held)) for judge in (made.at(0), made))
    return _Made(first, final, len(made.history) - 1, made.stopped == "patience")


def _item(id: str, request: str, text: str) -> Item:
    return Item(id=id, prompt=request, responses=(Response(text=text),))


def _scores(judge: Judge, items: Sequence[Item]) -> Floats:
    said = judge.judge(items)
    if any(not one.scores for one in said):
        raise InvalidInput(f"{judge.name}: gave no score of some held-out item")
    return np.array([one.scores[0] for one in said if one.scores], float)


def _real(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    from weighup.models.open import language_model

    try:
        model = language_model()
    except ModelMissing as error:
        log.warning("design_judge: the part with a real judge is left out: %s", error)
        return []
    if model is None:
        log.warning("design_judge: the part with a real judge is left out: models.language is none")
        return []
    examples = _vicuna(data)
    some, held = examples[:REAL_EXAMPLES], examples[REAL_EXAMPLES:]
    made = design_judge(
        "Grade how helpful the response is.",
        some,
        model,
        OursRewriter(),
        1,
        scale=(1.0, 5.0),
        by="probability",
    )
    people = [one.score for one in held]
    final, first = (_scores(judge, [one.item for one in held]) for judge in (made, made.at(0)))
    measured = ", ".join(f"{one.outcome} {one.agreement.value:.2f}" for one in made.history)
    return [
        compare(
            f"the embedded model agrees better with the designed prompt (measured part: {measured})",
            metric="held-out Spearman with GPT-4's mean score",
            values=[spearman(people, final)],
            baseline="initial prompt",
            baseline_values=[spearman(people, first)],
            seeds=list(seeds)[:1],
            n=len(held),
            data=f"feedback_scores/vicuna, texts cut to {CUT} characters; {model.name}",
            interval=paired_bootstrap(spearman, (people, final), (people, first), seed=0),
        )
    ]


def _vicuna(data: Path) -> list[Example]:
    """Responses to some questions for the design, and to others held out; short questions, all four models."""
    path = data / "judging" / "feedback_scores" / "vicuna.jsonl.gz"
    read = [one for one in rows(path, _Scored) if len(one.sections["The instruction to evaluate"]) <= CUT]
    questions = sorted({one.question_id for one in read})
    order = {str(one): n for n, one in enumerate(np.random.default_rng(0).permutation(questions))}
    read.sort(key=lambda one: (order[one.question_id], one.id))
    found = []
    for one in read[: REAL_EXAMPLES + REAL_HELD_OUT]:
        text = one.sections["Response to evaluate"][:CUT]
        item = _item(one.id, one.sections["The instruction to evaluate"], text)
        found.append(Example(item, float(np.mean(one.gpt4_scores))))
    return found
