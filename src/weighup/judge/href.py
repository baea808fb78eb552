"""HREF: the method of judging that suits each kind of task ("HREF: Human Response-Guided Evaluation of Instruction
Following in Language Models", Lyu, Wang, et al. 2024, arXiv 2412.15524).

Faithful: a model's response against a fixed baseline's, with a response by a person at hand; judged by a language model
alone (LMJ), by one that sees the person's response (LMJ+HR), or by which of the two is closer to it (ROUGE, BERTScore,
embedding cosine); for each category the method with the highest leave-one-out agreement with the annotators of the
development items; score = wins + ties / 2, the average taken over all items (section 3, and the authors' code).

Ours: `shrink`. The best of many methods on few items is often so by chance, so a category leaves the method that is
best overall only for a gain of over 1.64 standard errors; 0 is the paper's rule. A category without development items
has the overall best, and says so. Not here: the perplexity of the person's response.

How methods are held against annotators and chosen: `href_choice`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.by_metric import MetricJudge
from weighup.judge.href_choice import SHRINK, Annotated, Floats, Why, agreements, pick, said_by, votes_table
from weighup.judge.panel import described, waits
from weighup.judge.reviseval import ReferenceJudge
from weighup.judge.types import Item, Judge, Judgement, Rubric, Winner, two, unique
from weighup.metrics.agreement import Agreement, human_ceiling
from weighup.metrics.estimate import Estimate, estimated
from weighup.models.types import Encoder, LanguageModel
from weighup.registry import Method

METHOD = Method(
    name="href",
    room="judge",
    paper="HREF: Human Response-Guided Evaluation of Instruction Following in Language Models (Lyu et al. 2024)",
    arxiv="2412.15524",
    command="weighup judge run",
    claim_check="weighup.judge.href_claim:check",
)
CATEGORIES = (
    "brainstorm",
    "open_qa",
    "closed_qa",
    "extract",
    "generation",
    "rewrite",
    "summarise",
    "classify",
    "fact_checking",
    "multi_document_synthesis",
    "reasoning_over_numbers",
)
"""The paper's eleven; items may have others."""
_WORTH = {"1": 1.0, "tie": 0.5, "2": 0.0}

By = str | Callable[[Item], str]


@dataclass(frozen=True, slots=True)
class Development:
    """`votes`: by item, one verdict an annotator, or a single one that is the truth."""

    items: Sequence[Item]
    votes: Mapping[str, Sequence[Winner]]


@dataclass(frozen=True, slots=True)
class Pick:
    """The method of a category, and its agreement on the category's `n` development items (NaN where there is none).

    `why`: why it is the overall best though another agreed better here, or nobody knows; "" where it is the best."""

    method: str
    agreement: float
    n: int
    why: Why = ""


class CompositeJudge:
    """Judges each item by the method of its category, `overall` where there is none. Itself a judge."""

    def __init__(
        self, methods: Sequence[Judge], picks: Mapping[str, str], overall: str, *, by: By = "category", name: str
    ) -> None:
        """Raises InvalidInput for a method named that is not among `methods`."""
        self._methods = {one.name: one for one in methods}
        unknown = sorted({overall, *picks.values()} - set(self._methods))
        if unknown:
            raise InvalidInput(f"{name}: no method {', '.join(unknown)}; there are {', '.join(self._methods)}")
        self.picks, self.overall, self.by, self.name = dict(picks), overall, by, name
        self.waits = any(map(waits, methods))

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        used: list[JsonValue] = [described(self._methods[one]) for one in sorted({self.overall, *self.picks.values()})]
        return {"judge": "composite", "name": self.name, "picks": dict(self.picks), "overall": self.overall, "of": used}

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement an item, in order; each method is asked once for all its items. `rationale` begins with the
        method's name. Raises InvalidInput for an item without a category."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            places[self.picks.get(category(item, self.by), self.overall)].append(place)
        found: dict[int, Judgement] = {}
        for method, some in places.items():
            for place, one in zip(some, said_by(self._methods[method], [items[n] for n in some], rubric), strict=True):
                told = f"{method}: {one.rationale}".rstrip(": ")
                found[place] = one.model_copy(update={"judge": self.name, "rationale": told})
        return [found[place] for place in range(len(items))]


@dataclass(frozen=True, slots=True)
class Composite:
    """What was chosen, and what came of it on the test items.

    `agreement`: each method on all development items; `ceiling`: one annotator against the others, None with single
    votes. `win_rates` by category and `average`, over items: how often response 1 beats response 2, a tie counting
    half; the `unusable` judgements are left out. `no_majority`: development items on which annotators agree on nothing.
    """

    judge: CompositeJudge
    picks: Mapping[str, Pick]
    overall: str
    agreement: Mapping[str, Estimate]
    ceiling: Agreement | None
    judgements: tuple[Judgement, ...]
    win_rates: Mapping[str, Estimate]
    average: Estimate
    unusable: int
    no_majority: int


def href(
    methods: Sequence[Judge],
    dev: Annotated,
    test: Sequence[Item],
    by: By = "category",
    *,
    shrink: float = SHRINK,
    seed: int = 0,
) -> Composite:
    """Choose a method for each category by the annotators of `dev`, and judge `test` so. Of pairs, response 1 is the
    model's and response 2 the baseline's; `reference` the person's response.

    `by`: the item's category, the name of an entry of its `meta`, or a function. `seed`: of modes that tie among
    annotators, and of intervals. Raises InvalidInput for no methods or two of one name, an item that is no pair, has no
    category or is in both `dev` and `test`, a development item without votes or with another vote than 1, 2 and tie, or
    (by the method that needs it) without a reference.
    """
    names = [one.name for one in methods]
    if not names or len(set(names)) < len(names):
        raise InvalidInput(f"href: methods of different names are needed, not {names}")
    if not shrink >= 0 or math.isinf(shrink):
        raise InvalidInput(f"shrink: standard errors, 0 or more, not {shrink}")
    for items in (dev.items, test):
        unique(items)
        for item in items:
            two(item)
            category(item, by)
    both = {one.id for one in dev.items} & {one.id for one in test}
    if both:
        raise InvalidInput(f"item {min(both)}: is a development and a test item; its votes would choose its own method")
    votes = votes_table(dev)
    agreed = agreements(methods, dev.items, votes, seed=seed)
    groups = [category(item, by) for item in dev.items]
    best, chosen = pick(agreed, groups, shrink)
    picks = {group: _told(names, agreed, groups, group, *one) for group, one in chosen.items()}
    for group in dict.fromkeys(category(item, by) for item in test):
        picks.setdefault(group, Pick(names[best], math.nan, 0, "no development items"))
    judge = CompositeJudge(
        methods, {group: one.method for group, one in picks.items()}, names[best], by=by, name="href"
    )
    judgements = judge.judge(test)
    usable = [(item, one) for item, one in zip(test, judgements, strict=True) if one.usable and one.winner is not None]
    by_group: dict[str, list[float]] = defaultdict(list)
    for item, one in usable:
        by_group[category(item, by)].append(_WORTH[str(one.winner)])
    return Composite(
        judge=judge,
        picks=picks,
        overall=names[best],
        agreement={name: _mean(row, seed) for name, row in zip(names, agreed, strict=True)},
        ceiling=human_ceiling(votes, seed=seed) if len(votes) > 1 and votes.shape[1] > 1 else None,
        judgements=tuple(judgements),
        win_rates={group: _mean(by_group.get(group, []), seed) for group in picks if group in _groups(test, by)},
        average=_mean([_WORTH[str(one.winner)] for _, one in usable], seed),
        unusable=len(judgements) - len(usable),
        no_majority=sum(_no_majority(dev.votes[item.id]) for item in dev.items),
    )


def standard_methods(model: LanguageModel | None = None, encoder: Encoder | None = None) -> list[Judge]:
    """The paper's methods that can be had: ROUGE-L always, LMJ and LMJ+HR with a model, embedding cosine and BERTScore
    with an encoder."""
    found: list[Judge] = []
    if model is not None:
        from weighup.judge.llm import LLMJudge

        found.append(ReferenceJudge(LLMJudge(model), "none", name="LMJ"))
        found.append(ReferenceJudge(LLMJudge(model), "fixed", name="LMJ+HR"))
    found.append(MetricJudge("rougeL", name="ROUGE-L"))
    if encoder is not None:
        found.append(MetricJudge("embedding_cosine", encoder=encoder, name="cosine"))
        found.append(MetricJudge("bert_score", encoder=encoder, name="BERTScore"))
    return found


def category(item: Item, by: By = "category") -> str:
    """What an item is grouped by. Raises InvalidInput naming an item that has none."""
    told = by(item) if callable(by) else item.category if by == "category" else item.meta.get(by)
    if not isinstance(told, str) or not told.strip():
        where = "function" if callable(by) else by
        raise InvalidInput(f"item {item.id}: has no category by {where}")
    return told


def _told(names: Sequence[str], agreed: Floats, groups: Sequence[str], group: str, method: int, why: Why) -> Pick:
    here = np.array([one == group for one in groups])
    return Pick(names[method], float(agreed[method, here].mean()), int(here.sum()), why)


def _no_majority(votes: Sequence[Winner]) -> bool:
    return len(votes) > 1 and 2 * max(Counter(votes).values()) <= len(votes)


def _groups(items: Sequence[Item], by: By) -> set[str]:
    return {category(item, by) for item in items}


def _mean(values: Sequence[float] | Floats, seed: int) -> Estimate:
    return estimated(np.mean, values, seed=seed) if len(values) else Estimate(math.nan, math.nan, math.nan, 0)
