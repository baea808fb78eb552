"""PC²: criteria that come of comparing other answers first, and pointwise scores by them (Feedbacker).

Paper: From Rankings to Insights: Evaluation Should Shift Focus from Leaderboard to Feedback (Wang et al. 2025, arXiv
2505.06698).
Faithful: a judge compares auxiliary answers by different systems (three in the paper), writes 3 to 9 metrics with
sub-metrics and weights that sum to 100; only the weighted sub-metrics are kept, and stay the same for all answers to
the query; each answer is scored alone, every sub-metric from 1 (fails) to 3 (meets in full), so that Σ weight · score
lies in 100 to 300; a fixed baseline answer is scored once by the same criteria and the difference reported.
Ours: the wording of prompts; weights are rescaled to whole numbers by largest remainders; the total that the judge
states is compared and ours taken. Beside it: `feedbacker_taxonomy`, `feedbacker_profile`, `feedbacker_pictures`.

Costs: one call a query for the criteria, then one for each answer: n + 1, where judging all pairs takes n(n − 1)/2.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, create_model

from weighup.errors import BudgetExceeded, InvalidInput, JobFailed
from weighup.judge.fence import fenced, shown
from weighup.judge.llm import status_of
from weighup.judge.prompt_files import prompt
from weighup.judge.types import (
    Criterion,
    Item,
    Judgement,
    Response,
    Rubric,
    Spent,
    Status,
    answered,
    by_scores,
    unique,
)
from weighup.metrics.arrays import Floats
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Reply
from weighup.registry import Method

METHOD = Method(
    name="feedbacker",
    room="judge",
    paper="From Rankings to Insights: Evaluation Should Shift Focus from Leaderboard to Feedback (Wang et al. 2025)",
    arxiv="2505.06698",
    command="weighup judge run",
    claim_check="weighup.judge.feedbacker_claim:check",
)
log = logging.getLogger(__name__)

SUM = 100
SCALE = (1.0, 3.0)
ANCHORS = {"1": "fails it", "2": "meets it in part", "3": "meets it in full"}
LEAST_METRICS, MOST_METRICS, MOST_PARTS = 3, 9, 9
LONGEST = 200_000
"""Characters of a text that are still judged."""


class SubMetric(BaseModel):
    """One thing to be scored, and how much it counts."""

    name: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=2000)
    weight: float = Field(ge=0, allow_inf_nan=False)


class Metric(BaseModel):
    """A metric and its parts."""

    name: str = Field(min_length=1, max_length=200)
    submetrics: list[SubMetric] = Field(min_length=1, max_length=MOST_PARTS)


class _Derived(BaseModel):
    comparison: str = Field(max_length=20_000)
    metrics: list[Metric] = Field(min_length=LEAST_METRICS, max_length=MOST_METRICS)


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers to one query by its criteria: `table` [responses, criteria], 1 to 3, and `totals` [responses], 100 to
    300, in the item's own numbering; NaN where the verdict could not be used, as `status` tells for each response.
    `baseline`: the baseline answer's total, None without one. `notes`: what was odd."""

    item_id: str
    rubric: Rubric
    table: Floats
    totals: Floats
    baseline: float | None
    status: tuple[Status, ...]
    notes: tuple[str, ...]
    usage: Spent

    @property
    def differences(self) -> Floats:
        """Totals less the baseline's [responses], NaN where either is not known."""
        return self.totals - (math.nan if self.baseline is None else self.baseline)


def derive_criteria(
    judge: LanguageModel, query: str, auxiliary: Sequence[str | Response], *, seed: int = 0, meter: Meter | None = None
) -> Rubric:
    """Criteria for a query, from comparing auxiliary answers to it: a flat rubric of weighted sub-metrics, on the scale
    1 to 3, whose weights are whole numbers that sum to 100.

    Raises InvalidInput for an empty or over-long text, fewer than two answers, two that are the same or by the same
    system; JobFailed where the judge wrote no usable criteria (asked three times by the client).
    """
    answers = [one if isinstance(one, Response) else Response(text=one) for one in auxiliary]
    _text("query", query)
    for place, one in enumerate(answers, 1):
        _text(f"auxiliary answer {place}", one.text)
    systems = [one.system for one in answers if one.system]
    if (
        len(answers) < 2
        or len({one.text.strip() for one in answers}) < len(answers)
        or len(set(systems)) < len(systems)
    ):
        raise InvalidInput("auxiliary: two answers or more are needed, all different and by different systems")
    file = prompt("feedbacker_derive")
    listed = "\n\n".join(fenced(one.text, name=f"answer_{n}") for n, one in enumerate(answers, 1))
    asked = file.fill(query=fenced(query, name="request"), answers=listed)
    reply = judge.generate([Prompt(asked, file.system, file.max_tokens, schema=_Derived, seed=seed)], meter=meter)[0]
    if isinstance(reply.error, BudgetExceeded):
        raise reply.error
    if not isinstance(reply.value, _Derived):
        raise JobFailed(f"criteria for {shown(query)[:60]!r}: {judge.name} wrote none: {reply.error or 'no reply'}")
    return criteria(reply.value.metrics, name=shown(query)[:60])


def criteria(metrics: Sequence[Metric | Mapping[str, Any]], *, name: str = "") -> Rubric:
    """The rubric of metrics with weighted sub-metrics. Those of weight 0 are left out; weights that do not sum to 100
    are rescaled (and it is logged). Raises InvalidInput for fewer than 3 or more than 9 metrics, one without
    sub-metrics, a negative weight, or none above 0."""
    if not LEAST_METRICS <= len(metrics) <= MOST_METRICS:
        raise InvalidInput(
            f"criteria {name!r}: {LEAST_METRICS} to {MOST_METRICS} metrics are needed, not {len(metrics)}"
        )
    try:
        read = [Metric.model_validate(one) for one in metrics]
    except ValueError as error:
        raise InvalidInput(f"criteria {name!r}: {error}") from error
    parts = [(metric.name, one) for metric in read for one in metric.submetrics]
    told = np.array([one.weight for _, one in parts])
    if not told.sum() > 0:
        raise InvalidInput(f"criteria {name!r}: all weights are 0")
    weights = _whole(told)
    if told.sum() != SUM or (told != weights).any():
        log.warning("criteria %r: weights sum to %g, not %d; they were rescaled", name, told.sum(), SUM)
    kept = [(where, one, weight) for (where, one), weight in zip(parts, weights.tolist(), strict=True) if weight > 0]
    return Rubric(
        criteria=tuple(
            Criterion(
                id=f"c{n}",
                text=": ".join(part for part in (where, one.name, one.description) if part),
                weight=weight,
                scale=SCALE,
                anchors=ANCHORS,
            )
            for n, (where, one, weight) in enumerate(kept, 1)
        ),
        name=name,
    )


class CriteriaJudge:
    """Scores each answer alone by the criteria of its query.

    rubrics: by item id, as `derive_criteria` makes them; baselines: by item id, an answer that is scored once by the
    same criteria. A reply that stays unusable (asked three times by the client) makes the score `invalid`.
    """

    def __init__(
        self,
        judge: LanguageModel,
        rubrics: Mapping[str, Rubric],
        *,
        baselines: Mapping[str, str] | None = None,
        name: str | None = None,
        seed: int = 0,
        meter: Meter | None = None,
    ) -> None:
        """Raises InvalidInput for a rubric whose weights are not whole numbers that sum to 100, or of another scale."""
        for id, rubric in rubrics.items():
            weights = [leaf.weight for leaf in rubric.leaves()]
            if sum(weights) != SUM or any(leaf.scale != SCALE for leaf in rubric.leaves()):
                raise InvalidInput(f"item {id}: its criteria need weights that sum to {SUM} and the scale 1 to 3")
        self.model, self.meter, self.seed = judge, meter, seed
        self.name = name or f"{judge.name}/criteria"
        self._rubrics, self._baselines = dict(rubrics), dict(baselines or {})
        self._known: dict[str, float] = {}

    def score(self, items: Sequence[Item]) -> list[Scored]:
        """Totals of every response, in order. Raises InvalidInput naming an item that stands there twice, has no
        criteria, or has an empty or over-long text."""
        unique(items)
        asked: list[Prompt] = []
        plan: list[tuple[Item, Rubric, bool]] = []
        begun: set[str] = set()
        for item in items:
            if item.id not in self._rubrics:
                raise InvalidInput(f"item {item.id}: there are no criteria for it; derive them first")
            _text(f"item {item.id}: its prompt", item.prompt)
            rubric, base = self._rubrics[item.id], self._baselines.get(item.id)
            wants = base is not None and item.id not in self._known and item.id not in begun
            begun.add(item.id)
            texts = [one.text for one in item.responses] + ([base] if base is not None and wants else [])
            for place, text in enumerate(texts, 1):
                _text(f"item {item.id}: response {place}" if place <= len(item.responses) else "baseline", text)
                asked.append(self._prompt(item, rubric, text))
            plan.append((item, rubric, wants))
        rest = iter(self.model.generate(asked, meter=self.meter))
        return [
            self._scored(item, rubric, [next(rest) for _ in item.responses], next(rest) if wants else None)
            for item, rubric, wants in plan
        ]

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Totals as scores, in order; with two responses the winner too; with one, what each criterion got, from 0 to
        1, as `checks`. Of more than two responses a score that is not known is None. `rubric` is not looked at: every
        query has its own. Raises as `score`."""
        return [self._judgement(item, one) for item, one in zip(items, self.score(items), strict=True)]

    def _prompt(self, item: Item, rubric: Rubric, text: str) -> Prompt:
        file = prompt("feedbacker_score")
        leaves = rubric.leaves()
        listed = "\n".join(f"{n}. (weight {leaf.weight:g}) {leaf.text}" for n, leaf in enumerate(leaves, 1))
        user = file.fill(
            query=fenced(item.prompt, name="request"),
            criteria=fenced(listed, name="criteria"),
            answer=fenced(text, name="answer"),
            count=str(len(leaves)),
        )
        return Prompt(user, file.system, file.max_tokens, schema=_verdict(len(leaves)), seed=self.seed + item.sample)

    def _scored(self, item: Item, rubric: Rubric, replies: Sequence[Reply], baseline: Reply | None) -> Scored:
        weights = np.array([leaf.weight for leaf in rubric.leaves()])
        table = np.full((len(replies), len(weights)), np.nan)
        notes, status = [], []
        for place, reply in enumerate(replies):
            row, note, state = read_verdict(reply, weights)
            if row is not None:
                table[place] = row
            if note:
                notes.append(f"response {place + 1}: {note}")
            status.append(state)
        if baseline is not None:
            row, note, _ = read_verdict(baseline, weights)
            if row is not None:
                self._known[item.id] = float(row @ weights)
            if note:
                notes.append(f"baseline: {note}")
        usage = sum((Spent.of(one.usage) for one in (*replies, *([baseline] if baseline else []))), Spent())
        known = self._known.get(item.id)
        return Scored(item.id, rubric, table, table @ weights, known, tuple(status), tuple(notes), usage)

    def _judgement(self, item: Item, one: Scored) -> Judgement:
        told = prompt("feedbacker_score").told
        said: dict[str, Any] = {"kind": "score", "usage": one.usage, "prompts": told, "rationale": "\n".join(one.notes)}
        bad = [state for state in one.status if state != "ok"]
        if bad and (len(bad) == len(one.status) or len(one.status) == 2):
            return answered(item, self.name, status=bad[0], **said)
        totals = tuple(None if math.isnan(value) else value for value in one.totals.tolist())
        if item.order == "swapped":  # `answered` takes what was said as shown
            totals = totals[::-1]
        said["scores"] = totals
        if len(totals) == 2:
            said["winner"] = by_scores([value for value in totals if value is not None])
        elif len(totals) == 1:
            leaves = one.rubric.leaves()
            said["checks"] = {leaf.id: float((v - 1) / 2) for leaf, v in zip(leaves, one.table[0], strict=True)}
        return answered(item, self.name, **said)


def read_verdict(reply: Reply, weights: Floats) -> tuple[Floats | None, str, Status]:
    """Scores [criteria] of a reply, what was odd about it, and its status. A total that is not the sum of weight times
    score is noted and ours taken; another number of scores, or one that is not 1, 2 or 3, makes it `invalid`."""
    if reply.error is not None:
        if isinstance(reply.error, BudgetExceeded):
            raise reply.error
        return None, str(reply.error), status_of(reply.error)
    parts = getattr(reply.value, "scores", None)
    if parts is None or len(parts) != len(weights):
        return None, f"has {len(parts or ())} scores for {len(weights)} criteria", "invalid"
    row = np.array([one.score for one in parts], float)
    if not np.isin(row, (1.0, 2.0, 3.0)).all():
        return None, "a score is not 1, 2 or 3", "invalid"
    total, stated = float(row @ weights), float(reply.value.total)
    note = "" if stated == total else f"states a total of {stated:g}, its scores make {total:g}"
    return row, note, "ok"


class _Part(BaseModel):
    reason: str = Field(max_length=5000)
    score: int = Field(ge=1, le=3)


@functools.cache
def _verdict(count: int) -> type[BaseModel]:
    """One reason and score a criterion, in order, then the total."""
    parts = Annotated[list[_Part], Field(min_length=count, max_length=count)]
    made: type[BaseModel] = create_model("CriteriaVerdict", scores=(parts, ...), total=(float, ...))
    return made


def _whole(weights: Floats) -> Floats:
    """Weights as whole numbers that sum to 100, by largest remainders."""
    exact = weights / weights.sum() * SUM
    down = np.floor(exact + 1e-9)
    left = round(SUM - float(down.sum()))
    down[np.argsort(-(exact - down), kind="stable")[:left]] += 1
    return np.asarray(down, np.float64)


def _text(what: str, text: str) -> None:
    if not shown(text).strip():
        raise InvalidInput(f"{what} is empty")
    if len(text) > LONGEST:
        raise InvalidInput(f"{what} has {len(text):,} characters; at most {LONGEST:,} are judged, shorten it")
