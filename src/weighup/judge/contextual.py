"""Judging responses that were written from a context ("Does Context Matter? ContextualJudgeBench for Evaluating
LLM-based Judges in Contextual Settings", Xu, Bansal, et al. 2025, arXiv 2503.15620).

Faithful: the conditional order of criteria, refusal validity, faithfulness, completeness, concision, of which the first
that differs decides; eight splits; consistent accuracy, right in both orders, of which guessing gets a quarter; and
inverse consistency, wrong in both (sections 3 and 4).

Ours: each criterion is asked alone, and only of the items that no earlier one has decided, so that a model cannot blend
them; identical responses tie, and so do two refusals, without a model being asked; a context that the model cannot take
whole is refused, never cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.orders import both_orders, conflict_rate, first_rate
from weighup.judge.panel import described, waits
from weighup.judge.types import Criterion, Item, Judge, Judgement, Rubric, Spent, Winner, two, unique
from weighup.metrics.estimate import Estimate, share
from weighup.models.types import LanguageModel
from weighup.registry import Method

METHOD = Method(
    name="contextual",
    room="judge",
    paper="Does Context Matter? ContextualJudgeBench for Evaluating LLM-based Judges in Contextual Settings "
    "(Xu et al. 2025)",
    arxiv="2503.15620",
    command="weighup judge contextual",
    claim_check="weighup.judge.contextual_claim:check",
)
CONTEXTUAL = Rubric(
    name="contextual",
    criteria=(
        Criterion(
            id="refusal",
            text="Validity of refusing. Where the background holds what the request asks for, a response that answers "
            "is better than one that says it cannot. Where the background does not, the one that says so is better "
            "than one that answers all the same. If both answer or both refuse, they do not differ.",
        ),
        Criterion(
            id="faithfulness",
            text="Faithfulness. The response is better of which more is supported by the background: nothing made up, "
            "nothing contradicted, nothing from elsewhere.",
        ),
        Criterion(
            id="completeness",
            text="Completeness. The response is better that leaves out less of what the background holds and the "
            "request needs.",
        ),
        Criterion(
            id="concision",
            text="Concision. The response is better that says less which the request does not need: no padding, "
            "nothing twice.",
        ),
    ),
)
"""The criteria in their order: the first in which two responses differ decides."""
SPLITS = (
    "refusal_answerable",
    "refusal_unanswerable",
    "qa_faithfulness",
    "qa_completeness",
    "qa_concision",
    "summary_faithfulness",
    "summary_completeness",
    "summary_concision",
)
"""The benchmark's eight splits, as items name them in `category`."""
CHANCE = 0.25
IDENTICAL, BOTH_REFUSE = "the two responses are identical", "both responses refuse to answer"
_SAYS_NO = re.compile(
    r"\b(?:can(?:no|')t|can not|unable to|not able to|impossible to) (?:be )?(?:answer|determin|say|tell|provide|find|"
    r"summari[sz]|respond|help)\w*"
    r"|\b(?:does|do|did)(?: not|n't) (?:contain|say|mention|provide|include|give|specify|state|have|answer|know)\b"
    r"|\b(?:is|are|was)(?: not|n't) (?:enough|sufficient|stated|mentioned|given|specified|provided|in the|possible)\b"
    r"|\b(?:not enough|insufficient|no) (?:information|context|evidence|details|answer)\b"
    r"|\bI (?:do not|don't) know\b",
    re.IGNORECASE,
)
_REFUSAL_LENGTH = 300
_CHECK = {"1": 1.0, "tie": 0.5, "2": 0.0}


class ContextualJudge:
    """Asks the criteria in order and stops at the first that tells a pair apart.

    `model`: a language model, or any judge of pairs that looks at the rubric it is given (one criterion at a time) and
    may tie. `criteria`: a rubric, or names of `CONTEXTUAL`, most important first; a rubric given to `judge` goes
    before. `context`: tokens that the model takes (see `LLMJudge`). `refuses`: tells whether a text is a refusal.

    A judgement's `checks` tell, by criterion asked, 1 where response 1 was better, 0 where 2 was and 0.5 where they did
    not differ; `rationale` begins with what decided. Where a criterion got no usable answer the pair is not decided by
    a later one: the judgement has that status.
    """

    def __init__(
        self,
        model: LanguageModel | Judge,
        criteria: Rubric | Sequence[str] = CONTEXTUAL,
        *,
        name: str | None = None,
        context: int | None = None,
        refuses: Callable[[str], bool] | None = None,
    ) -> None:
        """Raises InvalidInput for an unknown criterion, none, or one named twice."""
        self.criteria = criteria if isinstance(criteria, Rubric) else _named(criteria)
        self.inner = _judge(model, context)
        self.name = name or f"contextual({self.inner.name})"
        self.waits = waits(self.inner)
        self._refuses = refuses or refuses_to_answer

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        names: list[JsonValue] = [one.id for one in self.criteria.criteria]
        return {"judge": "contextual", "name": self.name, "of": described(self.inner), "criteria": names}

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement a pair, in order; each criterion is asked of all pairs still open in one batch.

        Raises InvalidInput naming an item that is no pair, or whose context or a response is empty, or (by the judge)
        that is too long.
        """
        if not items:
            return []
        unique(items)
        for item in items:
            _fit(item)
        found: dict[int, Judgement] = {n: one for n, item in enumerate(items) if (one := self._unasked(item))}
        asked: dict[int, list[Judgement]] = {n: [] for n in range(len(items)) if n not in found}
        criteria = (rubric or self.criteria).criteria
        for place, criterion in enumerate(criteria):
            open_ = [n for n in asked if n not in found]
            if not open_:
                break
            said = self.inner.judge([items[n] for n in open_], Rubric(criteria=(criterion,), name=criterion.id))
            if len(said) != len(open_):
                raise InvalidInput(f"judge {self.inner.name}: gave {len(said)} judgements of {len(open_)} items")
            for n, one in zip(open_, said, strict=True):
                asked[n].append(one)
                if not one.usable or one.winner != "tie" or place == len(criteria) - 1:
                    found[n] = self._decided(items[n], criteria, asked[n])
        return [found[n] for n in range(len(items))]

    def _unasked(self, item: Item) -> Judgement | None:
        first, second = (one.text for one in two(item))
        if first.split() == second.split():
            return self._made(item, winner="tie", rationale=IDENTICAL)
        if self._refuses(first) and self._refuses(second):
            return self._made(item, winner="tie", rationale=BOTH_REFUSE)
        return None

    def _decided(self, item: Item, criteria: Sequence[Criterion], said: Sequence[Judgement]) -> Judgement:
        last, name = said[-1], criteria[len(said) - 1].id
        told: dict[str, Any] = {
            "usage": sum((one.usage for one in said), Spent()),
            "prompts": {prompt: digest for one in said for prompt, digest in one.prompts.items()},
            "checks": {
                one.id: _CHECK[str(done.winner)]
                for one, done in zip(criteria, said, strict=False)
                if done.usable and done.winner is not None
            },
        }
        if not last.usable:
            return self._made(item, status=last.status, rationale=f"{name}: {last.rationale}".rstrip(": "), **told)
        if last.winner is None:
            raise InvalidInput(f"item {item.id}: {self.inner.name} names no winner; a judge of pairs is needed")
        why = "no criterion tells them apart" if last.winner == "tie" else f"decided by {name}"
        rationale = f"{why}: {last.rationale}".rstrip(": ")
        return self._made(item, winner=last.winner, certainty=last.certainty, rationale=rationale, **told)

    def _made(self, item: Item, **said: Any) -> Judgement:
        return Judgement(item_id=item.id, judge=self.name, order=item.order, sample=item.sample, **said)


@dataclass(frozen=True, slots=True)
class ConsistentAccuracy:
    """How often a judge is right in both orders of a pair, `consistent` (`CHANCE` for one that guesses).

    `given`, `swapped`: accuracy by order; `inverse`: wrong in both orders; `conflict`: share of pairs judged otherwise
    when swapped, and `first` how many of these went to the response shown first both times (0.5 without a bias for a
    place), both of the pairs with two usable verdicts. `by`: consistent accuracy by category. A tie or an unusable
    verdict is not right; `unusable` counts the latter, of 2n. Intervals are Wilson's.
    """

    consistent: Estimate
    given: Estimate
    swapped: Estimate
    inverse: Estimate
    conflict: Estimate
    first: Estimate
    by: Mapping[str, Estimate]
    unusable: int

    @property
    def accuracy(self) -> float:
        """Mean of both orders, never below `consistent`."""
        return (self.given.value + self.swapped.value) / 2

    @property
    def macro(self) -> float:
        """Mean over categories of consistent accuracy; NaN without any."""
        return float(np.mean([one.value for one in self.by.values()])) if self.by else math.nan


def consistent_accuracy(
    judge: Judge, items: Sequence[Item], gold: Mapping[str, Winner], rubric: Rubric | None = None
) -> ConsistentAccuracy:
    """Judge every pair in both orders, in one batch, and hold it against `gold`, by item id.

    Raises InvalidInput for no items, one that is no pair, or one whose gold label is missing or not 1 or 2.
    """
    for item in items:
        if gold.get(item.id) not in ("1", "2"):
            raise InvalidInput(f"item {item.id}: its gold label must be 1 or 2, not {gold.get(item.id)!r}")
    pairs = both_orders(judge, items, rubric)
    right = np.array([[one.usable and one.winner == gold[one.item_id] for one in pair] for pair in pairs])
    wrong = np.array([[one.usable and one.winner not in (gold[one.item_id], "tie") for one in pair] for pair in pairs])
    both = right[:, 0] & right[:, 1]
    label = [item.category or "" for item in items]
    return ConsistentAccuracy(
        consistent=share(both),
        given=share(right[:, 0]),
        swapped=share(right[:, 1]),
        inverse=share(wrong.all(1)),
        conflict=conflict_rate(pairs),
        first=first_rate(pairs),
        by={
            name: share([hit for hit, own in zip(both, label, strict=True) if own == name])
            for name in dict.fromkeys(label)
            if name
        },
        unusable=sum(not one.usable for pair in pairs for one in pair),
    )


def refuses_to_answer(text: str) -> bool:
    """Whether a short text says that it has no answer, by the usual English wordings."""
    return len(text) <= _REFUSAL_LENGTH and _SAYS_NO.search(text) is not None


def _named(names: Sequence[str]) -> Rubric:
    known = {one.id: one for one in CONTEXTUAL.criteria}
    unknown = [one for one in names if one not in known]
    if unknown or not names or isinstance(names, str):
        told = f"unknown {', '.join(map(repr, unknown))}" if unknown and not isinstance(names, str) else repr(names)
        raise InvalidInput(f"criteria: {told}; give a rubric or a list of {', '.join(known)}")
    if len(set(names)) < len(names):
        raise InvalidInput(f"criteria: one is named twice: {', '.join(names)}")
    return Rubric(criteria=tuple(known[one] for one in names), name="contextual")


def _judge(model: LanguageModel | Judge, context: int | None) -> Judge:
    if not isinstance(model, LanguageModel):
        return model
    from weighup.judge.llm import LLMJudge

    return LLMJudge(model, prompt="contextual_pair", context=context)


def _fit(item: Item) -> None:
    if not (item.context or "").strip():
        raise InvalidInput(f"item {item.id}: its context is empty; a contextual judge judges by it")
    for number, one in enumerate(two(item), 1):
        if not one.text.strip():
            raise InvalidInput(f"item {item.id}: response {number} is empty")
