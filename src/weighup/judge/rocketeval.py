"""RocketEval: a light model grades by answering a checklist of yes/no questions, each by itself.

Paper: RocketEval: Efficient Automated LLM Evaluation via Grading Checklist (Wei et al. 2025, arXiv 2503.05142).
Faithful: a strong model writes the checklist once a query, from the query and a reference answer; a light model
answers each question alone, as P(yes)/(P(yes)+P(no)); unsupervised score 1 + 9·mean; supervised, per query, extremely
randomised trees (10, depth 2, seed 42) from answers to annotated scores, blended with the mean by how spread the
annotations are.
Ours: the wording of the prompts; what the model has no probability for is sampled and told so; an item whose checklist
cannot be had is `invalid`. A checklist needs no reference, but is better with one.

Shapes: an item is one query with the responses of n systems; its answers are an array [n, questions] in [0, 1].
"""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import BudgetExceeded, InvalidInput
from weighup.judge.checklist import Regressor, Reweighted, aggregate, reweight
from weighup.judge.choice import p_yes
from weighup.judge.fence import fenced
from weighup.judge.prompt_files import prompt
from weighup.judge.types import Item, Judgement, Rubric, Spent, by_scores, unique
from weighup.metrics.estimate import Estimate, estimated
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt
from weighup.registry import Method

METHOD = Method(
    name="rocketeval",
    room="judge",
    paper="RocketEval: Efficient Automated LLM Evaluation via Grading Checklist (Wei et al. 2025)",
    arxiv="2503.05142",
    command="weighup judge run rocketeval --items items.jsonl",
    claim_check="weighup.judge.rocketeval_claim:check",
)

log = logging.getLogger(__name__)

MOST_QUESTIONS = 30
LONGEST = 200_000
"""Characters of a text that are still judged."""
LOW, HIGH = 1.0, 10.0
_RE_ASKED = 2
_QUESTION = re.compile(r"^\s*\d+[.)]\s+(\S.*\?)\s*$", re.MULTILINE)
_AGAIN = "Your last list could not be read: every line must begin with its number and end with a question mark."


@dataclass(frozen=True, slots=True)
class Graded:
    """What the grader answered of one item: `answers` [responses, questions] in [0, 1]; `flagged`: it said neither yes
    nor no, which counts 0.5; `sampled`: it gave no probabilities, so it was asked several times."""

    item_id: str
    rubric: Rubric
    answers: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    sampled: NDArray[np.bool_]
    usage: Spent

    @property
    def usable(self) -> bool:
        """Whether any question got an answer."""
        return not bool(self.flagged.all())


class RocketEval:
    """A judge by checklists. `author` writes them (None: all are given in `rubrics`, by item id), `grader` answers.

    `samples`: how often a grader without probabilities is asked; `meter`: counts and limits what is spent.
    """

    def __init__(
        self,
        author: LanguageModel | None,
        grader: LanguageModel,
        *,
        rubrics: Mapping[str, Rubric] | None = None,
        samples: int = 8,
        meter: Meter | None = None,
        name: str = "rocketeval",
    ) -> None:
        self.name = name
        self.author = author
        self.grader = grader
        self.samples = samples
        self.meter = meter
        self._rubrics = dict(rubrics or {})
        self._taught: dict[str, tuple[Reweighted, float]] = {}

    def checklists(self, items: Sequence[Item]) -> dict[str, Rubric]:
        """The checklist of every item, by id, written where there is none yet; at most 30 questions, none twice.

        A reply without a question is asked for again twice; an item then still without is left out (and logged).
        Raises InvalidInput for no items, one there twice, an empty or over-long text, or where there is no author.
        """
        _fit_to_judge(items)
        missing = [item for item in items if item.id not in self._rubrics]
        if missing and self.author is None:
            raise InvalidInput(f"item {missing[0].id}: has no checklist; give one in rubrics, or an author to write it")
        for turn in range(1 + _RE_ASKED):
            if missing and self.author is not None:
                asked = [_asked(item, _AGAIN if turn else "") for item in missing]
                replies = self.author.generate(asked, meter=self.meter)
                for item, reply in zip(missing, replies, strict=True):
                    if isinstance(reply.error, BudgetExceeded):
                        raise reply.error
                    questions = read_checklist(reply.text)
                    if questions:
                        self._rubrics[item.id] = Rubric.of(*questions, name=f"checklist of {item.id}")
                missing = [item for item in missing if item.id not in self._rubrics]
        for item in missing:
            log.warning("item %s: the author wrote no question in %d tries", item.id, 1 + _RE_ASKED)
        return {item.id: self._rubrics[item.id] for item in items if item.id in self._rubrics}

    def grade(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Graded | None]:
        """The grader's answers, in order; None for an item without a checklist. `rubric`: one for all items, instead
        of their own checklists. Raises InvalidInput as `checklists`."""
        if rubric is None:
            lists = self.checklists(items)
        else:
            _fit_to_judge(items)
            lists = {item.id: rubric for item in items}
        return [self._graded(item, lists[item.id]) if item.id in lists else None for item in items]

    def fit(
        self,
        items: Sequence[Item],
        annotations: Mapping[str, Mapping[str, float]],
        *,
        regressor: Regressor = "trees",
    ) -> None:
        """Learn, query by query, from scores that people gave to the responses of training systems.

        `annotations`: by item id, by system: scores from 1 to 10. Items without annotations stay unsupervised.
        `regressor`: "trees" as in the paper, "linear" or "rising" (`reweight`), which need fewer systems. Raises
        InvalidInput for an unknown item or system, a score outside 1 to 10, or fewer than two annotated systems.
        """
        known = {item.id: item for item in items}
        for item_id, scores in annotations.items():
            if item_id not in known:
                raise InvalidInput(f"annotations: item {item_id} is not among the items")
            _check_scores(known[item_id], scores)
        taught = [
            item.model_copy(
                update={"responses": tuple(one for one in item.responses if one.system in annotations[item.id])}
            )
            for item in items
            if item.id in annotations
        ]
        for item, graded in zip(taught, self.grade(taught), strict=True):
            if graded is None or not graded.usable:
                continue
            given = np.array([annotations[item.id][one.system] for one in item.responses], float)
            self._taught[item.id] = (
                reweight(graded.answers, given, regressor=regressor),
                spread_weight(given),
            )

    def score(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement an item: `scores` 1 to 10 a response, the ranking of several, the winner of two; of a single
        response also what each question got. An item without checklist or answers is `invalid`."""
        graded = self.grade(items, rubric)
        return [self._judged(item, one, rubric is None) for item, one in zip(items, graded, strict=True)]

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """As `score`: RocketEval as a Judge."""
        return self.score(items, rubric)

    def _graded(self, item: Item, rubric: Rubric) -> Graded:
        form = prompt("rocketeval_grade")
        questions = [leaf.text for leaf in rubric.leaves()]
        context = item.context or "(nothing)"
        asked = []
        for response in item.responses:
            shown = fenced(response.text, name="response")
            asked += [form.fill(question=item.prompt, context=context, response=shown, check=one) for one in questions]
        meter = Meter(parent=self.meter)
        answers = p_yes(self.grader, asked, system=form.system, fallback_samples=0, meter=meter)
        missing = np.flatnonzero(np.isnan(answers))
        sampled = np.isnan(answers)
        if len(missing) and self.samples:
            again = [asked[place] for place in missing]
            answers[missing] = p_yes(self.grader, again, system=form.system, fallback_samples=self.samples, meter=meter)
        flagged = np.isnan(answers)
        shape = (len(item.responses), len(questions))
        used = meter.usage
        return Graded(
            item_id=item.id,
            rubric=rubric,
            answers=np.where(flagged, 0.5, answers).reshape(shape),
            flagged=flagged.reshape(shape),
            sampled=(sampled & ~flagged).reshape(shape),
            usage=Spent(
                calls=used.calls,
                tokens_in=used.tokens_in,
                tokens_out=used.tokens_out,
                seconds=used.seconds,
                usd=used.usd,
            ),
        )

    def _judged(self, item: Item, graded: Graded | None, own: bool) -> Judgement:
        told = prompt("rocketeval_grade").told
        if self.author is not None:
            told = prompt("rocketeval_author").told | told
        base = Judgement(
            item_id=item.id, judge=self.name, kind="score", order=item.order, sample=item.sample, prompts=told
        )
        if graded is None:
            return base.model_copy(update={"status": "invalid", "rationale": "no checklist could be written"})
        if not graded.usable:
            return base.model_copy(
                update={"status": "invalid", "rationale": "the grader answered nothing", "usage": graded.usage}
            )
        scores = unsupervised(graded.rubric, graded.answers)
        if own and item.id in self._taught:
            trees, weight = self._taught[item.id]
            scores = weight * trees.predict(graded.answers) + (1 - weight) * scores
        told_scores = tuple(map(float, scores))
        said: dict[str, object] = {"scores": told_scores, "usage": graded.usage, "rationale": _notes(graded)}
        if len(scores) == 1:
            leaves = [leaf.id for leaf in graded.rubric.leaves()]
            said["checks"] = dict(zip(leaves, map(float, graded.answers[0]), strict=True))
        else:
            said["ranking"] = tuple(int(one) + 1 for one in np.argsort(-scores, kind="stable"))
        if len(scores) == 2:
            said |= {"kind": "pair", "winner": by_scores(told_scores)}
        return base.model_copy(update=said)


def read_checklist(text: str) -> list[str]:
    """The questions of a reply: lines "n. …?" only, none twice, at most 30 (more are cut, and logged)."""
    found: dict[str, str] = {}
    for line in _QUESTION.findall(text):
        plain = " ".join(line.split())
        found.setdefault(plain.casefold(), plain)
    if len(found) > MOST_QUESTIONS:
        log.warning("checklist: %d questions, cut to %d", len(found), MOST_QUESTIONS)
    return list(found.values())[:MOST_QUESTIONS]


def unsupervised(rubric: Rubric, answers: ArrayLike) -> NDArray[np.float64]:
    """answers [n, questions] -> scores [n] from 1 to 10: 1 + 9·mean."""
    return LOW + (HIGH - LOW) * aggregate(rubric, answers, "mean")


def spread_weight(scores: ArrayLike) -> float:
    """How much the trees count, in [0, 1]: (KL_max − KL(histogram of the scores ‖ uniform over 1 … 10)) / KL_max."""
    counts = np.bincount(np.rint(np.asarray(scores, float)).astype(int) - 1, minlength=10)
    share = counts[counts > 0] / counts.sum()
    divergence = float(np.sum(share * np.log(share * len(counts))))
    return (math.log(len(counts)) - divergence) / math.log(len(counts))


def standings(items: Sequence[Item], judgements: Sequence[Judgement], *, seed: int = 0) -> dict[str, Estimate]:
    """Mean score of each system over the items it answered, with its bootstrap interval, best first. Items that are not
    usable are left out. Raises InvalidInput for a response without a system's name."""
    found: dict[str, list[float]] = defaultdict(list)
    for item, one in zip(items, judgements, strict=True):
        for response, score in zip(item.responses, one.scores or (), strict=False):
            if not response.system:
                raise InvalidInput(f"item {item.id}: a response without a system's name cannot be ranked")
            if score is not None and one.usable:
                found[response.system].append(score)
    means = {system: estimated(np.mean, scores, seed=seed) for system, scores in found.items()}
    return dict(sorted(means.items(), key=lambda pair: -pair[1].value))


def _asked(item: Item, again: str) -> Prompt:
    form = prompt("rocketeval_author")
    reference = fenced(item.reference, name="reference") if item.reference else "(none is given)"
    user = form.fill(question=item.prompt, context=item.context or "(nothing)", reference=reference, again=again)
    return Prompt(user, form.system, max_tokens=form.max_tokens)


def _fit_to_judge(items: Sequence[Item]) -> None:
    unique(items)
    for item in items:
        for number, response in enumerate(item.responses, 1):
            if not response.text.strip():
                raise InvalidInput(f"item {item.id}: response {number} is empty")
        if max(len(text) for text in (item.prompt, *(one.text for one in item.responses))) > LONGEST:
            raise InvalidInput(f"item {item.id}: has a text of over {LONGEST:,} characters; shorten it")


def _check_scores(item: Item, scores: Mapping[str, float]) -> None:
    systems = [one.system for one in item.responses]
    unknown = sorted(set(scores) - set(systems))
    if unknown:
        raise InvalidInput(f"item {item.id}: annotations of {', '.join(unknown)}, which did not answer it")
    if len({system for system in systems if system in scores}) < 2:
        raise InvalidInput(f"item {item.id}: annotations of two systems or more are needed to learn from")
    for system, score in scores.items():
        if not LOW <= score <= HIGH:
            raise InvalidInput(f"item {item.id}: {system} is annotated {score}; scores are from 1 to 10")


def _notes(graded: Graded) -> str:
    total = graded.answers.size
    notes = []
    if graded.sampled.any():
        notes.append(f"{int(graded.sampled.sum())} of {total} answers from samples")
    if graded.flagged.any():
        notes.append(f"{int(graded.flagged.sum())} of {total} questions got neither yes nor no")
    return "; ".join(notes)
