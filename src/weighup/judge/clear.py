"""CLEAR: a long document against a reference, item by item of a checklist, as precision, recall and F1.

Paper: ExpertLongBench: Benchmarking Language Models on Expert-Level Long-Form Generation Tasks with Structured
Checklists (Ruan et al. 2025, arXiv 2506.01241).
Faithful: a mapper extracts from output and reference what each says on every item, or N/A; per item two questions: does
the output's hold the reference's content (recall), does the reference's hold the output's (precision); where a side
says N/A nothing is asked: 1 where both do, else 0; several matchers are averaged; F1 is taken per example, then
averaged, with 10,000 bootstrap resamples.
Ours: a judge of any number of responses. Extractors and matchers are in `clear_models`.

Shapes: one document gives arrays [items] of recall and precision in [0, 1]; NaN where no matcher could say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.checklist import aggregate
from weighup.judge.types import Criterion, Item, Judgement, Rubric, by_scores, unique
from weighup.metrics.estimate import Estimate, estimated
from weighup.registry import Method

METHOD = Method(
    name="clear",
    room="judge",
    paper="ExpertLongBench: Benchmarking Language Models on Expert-Level Long-Form Generation Tasks (Ruan et al. 2025)",
    arxiv="2506.01241",
    command="weighup judge run clear --items items.jsonl --rubric rubric.yaml",
    claim_check="weighup.judge.clear_claim:check",
)

Extracted = Mapping[str, str | None]
LONGEST = 2_000_000
"""Characters of a document that are still read."""
RESAMPLES = 10_000
_NOTHING = frozenset(("", "n/a", "na", "none", "null", "not available", "not applicable", "not mentioned", "nothing"))


class Extractor(Protocol):
    """What a text says on every item of a rubric, by leaf id; None for N/A. None in place of it all: it failed."""

    def __call__(self, text: str, rubric: Rubric, /) -> Extracted | None: ...


class Matcher(Protocol):
    """asked (criterion, content, text) -> [n]: 1 where the text holds all of the content, 0 where not, NaN unknown."""

    def __call__(self, asked: Sequence[tuple[Criterion, str, str]], /) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Compared:
    """One item: what output and reference say (None: N/A) and how far each holds the other, mean over the matchers."""

    id: str
    output: str | None
    reference: str | None
    recall: float
    precision: float


@dataclass(frozen=True, slots=True)
class ChecklistScore:
    """`recall`, `precision`, `f1` in [0, 1] of one document. All NaN, without items, where extraction failed.

    `both`: share of items that hold each other ("binary performance"); `one_way`: where only one holds the other."""

    precision: float
    recall: float
    f1: float
    items: tuple[Compared, ...] = ()
    both: float = math.nan
    one_way: float = math.nan

    @property
    def usable(self) -> bool:
        """Whether there is a score."""
        return math.isfinite(self.f1)


@dataclass(frozen=True, slots=True)
class ClearReport:
    """Scores of documents, in order, and their means over those that are usable, with intervals."""

    scores: tuple[ChecklistScore, ...]
    precision: Estimate
    recall: Estimate
    f1: Estimate
    failed: int


def clear(
    output: str, reference: str, rubric: Rubric, extractor: Extractor, matcher: Matcher | Sequence[Matcher]
) -> ChecklistScore:
    """Score one document against its reference. Several matchers are a panel: the mean of what they say.

    Raises InvalidInput for an empty or over-long text, a rubric that asks the same twice, an extractor of one's own
    that invents an item, a matcher's answer outside [0, 1], or a reference that says nothing on any item.
    """
    _check_rubric(rubric)
    for name, text in (("output", output), ("reference", reference)):
        if not text.strip():
            raise InvalidInput(f"clear: the {name} is empty")
        if len(text) > LONGEST:
            raise InvalidInput(f"clear: the {name} has over {LONGEST:,} characters")
    told = extractor(output, rubric), extractor(reference, rubric)
    if told[0] is None or told[1] is None:
        return ChecklistScore(math.nan, math.nan, math.nan)
    ours, theirs = _known(told[0], rubric), _known(told[1], rubric)
    if all(one is None for one in theirs):
        raise InvalidInput("clear: the reference says nothing on any item of the rubric; is it the right rubric?")
    panel = [matcher] if callable(matcher) else list(matcher)
    if not panel:
        raise InvalidInput("clear: one matcher or more is needed")
    table = _match(rubric, ours, theirs, panel)
    return _score(rubric, ours, theirs, table)


def clear_many(
    documents: Sequence[tuple[str, str]],
    rubric: Rubric,
    extractor: Extractor,
    matcher: Matcher | Sequence[Matcher],
    *,
    seed: int = 0,
    draws: int = RESAMPLES,
) -> ClearReport:
    """Score many (output, reference). Raises as `clear`, and for no documents or none that could be extracted."""
    if not documents:
        raise InvalidInput("clear: there are no documents")
    scores = tuple(clear(output, reference, rubric, extractor, matcher) for output, reference in documents)
    usable = [one for one in scores if one.usable]
    if not usable:
        raise InvalidInput("clear: the extractor failed on every document")
    means = {
        name: estimated(np.mean, [getattr(one, name) for one in usable], seed=seed, draws=draws)
        for name in ("precision", "recall", "f1")
    }
    return ClearReport(scores, **means, failed=len(scores) - len(usable))


class Clear:
    """CLEAR as a Judge: F1 of every response against the item's reference. Needs a rubric."""

    def __init__(self, extractor: Extractor, matcher: Matcher | Sequence[Matcher], *, name: str = "clear") -> None:
        self.name = name
        self.extractor = extractor
        self.matcher = matcher

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Scores are F1 in [0, 1]; of a single response `checks` holds the mean of recall and precision of each item.
        What could not be extracted is `invalid`. Raises InvalidInput as `clear`, naming the item."""
        unique(items)
        if rubric is None:
            raise InvalidInput("clear: a rubric is needed")
        return [self._judged(item, rubric) for item in items]

    def _judged(self, item: Item, rubric: Rubric) -> Judgement:
        if not item.reference:
            raise InvalidInput(f"item {item.id}: has no reference, which CLEAR compares with")
        try:
            found = [clear(one.text, item.reference, rubric, self.extractor, self.matcher) for one in item.responses]
        except InvalidInput as error:
            raise InvalidInput(f"item {item.id}: {error}") from error
        told: dict[str, str] = {}
        for part in (self.extractor, *([self.matcher] if callable(self.matcher) else self.matcher)):
            told |= getattr(part, "prompts", {})
        said = {"item_id": item.id, "judge": self.name, "order": item.order, "sample": item.sample, "prompts": told}
        if not all(one.usable for one in found):
            return Judgement.model_validate({**said, "kind": "score", "status": "invalid"})
        scores = tuple(one.f1 for one in found)
        said |= {"kind": "score", "scores": scores}
        if len(found) == 1:
            halves = {one.id: (one.recall + one.precision) / 2 for one in found[0].items}
            said["checks"] = {name: None if math.isnan(half) else half for name, half in halves.items()}
        elif len(found) == 2:
            said |= {"kind": "pair", "winner": by_scores(scores)}
        return Judgement.model_validate(said)


def or_none(text: str | None) -> str | None:
    """What was extracted, None where it is one of the ways to say that there is nothing."""
    return None if text is None or text.strip().rstrip(".").casefold() in _NOTHING else text.strip()


def _check_rubric(rubric: Rubric) -> None:
    seen: dict[str, str] = {}
    for leaf in rubric.leaves():
        plain = " ".join(leaf.text.casefold().split())
        if plain in seen:
            raise InvalidInput(f"rubric: items {seen[plain]} and {leaf.id} ask the same; leave one out")
        seen[plain] = leaf.id


def _known(told: Extracted, rubric: Rubric) -> list[str | None]:
    ids = [leaf.id for leaf in rubric.leaves()]
    invented = sorted(set(told) - set(ids))
    if invented:
        raise InvalidInput(f"clear: the extractor told of {', '.join(invented)}, which the rubric does not have")
    return [or_none(told.get(one)) for one in ids]


def _match(
    rubric: Rubric, ours: Sequence[str | None], theirs: Sequence[str | None], panel: Sequence[Matcher]
) -> NDArray[np.float64]:
    """[items, 2]: recall and precision, mean over the panel of what is known."""
    table = np.zeros((len(ours), 2))
    asked: list[tuple[Criterion, str, str]] = []
    places: list[int] = []
    for place, (leaf, own, other) in enumerate(zip(rubric.leaves(), ours, theirs, strict=True)):
        if own is None and other is None:
            table[place] = 1.0
        elif own is not None and other is not None:
            asked += [(leaf, other, own), (leaf, own, other)]
            places.append(place)
    if asked:
        said = np.array([np.asarray(one(asked), float) for one in panel])
        if said.shape != (len(panel), len(asked)) or (said < 0).any() or (said > 1).any():
            raise InvalidInput(f"clear: a matcher must give one number in [0, 1] for each of {len(asked)} questions")
        heard = np.isfinite(said).sum(0)
        mean = np.where(heard > 0, np.nansum(said, axis=0) / np.maximum(heard, 1), np.nan)
        table[places] = mean.reshape(-1, 2)
    return table


def _score(
    rubric: Rubric, ours: Sequence[str | None], theirs: Sequence[str | None], table: NDArray[np.float64]
) -> ChecklistScore:
    rows = zip(rubric.leaves(), ours, theirs, table.tolist(), strict=True)
    items = tuple(Compared(leaf.id, own, other, *row) for leaf, own, other, row in rows)
    known = table[~np.isnan(table).any(1)] >= 0.5
    recall, precision = (float(aggregate(rubric, table[:, side])[0]) for side in (0, 1))
    return ChecklistScore(
        precision=precision,
        recall=recall,
        f1=float(aggregate(rubric, table, "f1")[0]),
        items=items,
        both=float(known.all(1).mean()) if len(known) else math.nan,
        one_way=float((known.sum(1) == 1).mean()) if len(known) else math.nan,
    )
