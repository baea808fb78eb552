"""A judge for one person, who says how sure it is ("Can LLM be a Personalized Judge?", Dong, Hu and Collier 2024,
arXiv 2406.11657).

Faithful: a persona and two texts, which this person would prefer, and a verbal certainty from 1 to 100 on five named
bands; a variant with ties; personas of all features, the key ones, the least important one, or none; abstaining below
a threshold, and accuracy by certainty.

Ours: the wording of prompts and bands; choice and certainty are constrained JSON; features are the sentences of the
persona, put in order by the model itself, of which three are key; the curve comes with expected calibration error,
AUROC and agreement with itself in the other order, each with an interval over items. A pair judged in both orders or
twice stays one item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from weighup.errors import InvalidInput
from weighup.judge.orders import by_item, conflict_rate
from weighup.judge.selective import CoveragePoint, abstain_below, coverage_curve
from weighup.judge.types import Item, Judgement, Rubric, Spent, Winner, answered, two
from weighup.metrics.calibration import ece
from weighup.metrics.classification import auroc
from weighup.metrics.estimate import Estimate, estimated
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Reply
from weighup.registry import Method
from weighup.texts import sentences

METHOD = Method(
    name="personal",
    room="judge",
    paper="Can LLM be a Personalized Judge? (Dong et al. 2024)",
    arxiv="2406.11657",
    command="weighup judge run",
    claim_check="weighup.judge.personal_claim:check",
)
Features = Literal["all", "key", "least", "none"]
BANDS: tuple[tuple[int, int, str], ...] = (
    (1, 20, "very uncertain"),
    (21, 40, "uncertain"),
    (41, 60, "moderately certain"),
    (61, 80, "certain"),
    (81, 100, "very certain"),
)
KEY = 3
"""So many features are key."""
_SIDES: dict[str, Winner] = {"A": "1", "B": "2", "C": "tie"}

__all__ = ["BANDS", "CertaintyCurve", "PersonalJudge", "abstain_below", "certainty_curve"]


class _Choice(BaseModel):
    choice: Literal["A", "B"]


class _TieChoice(BaseModel):
    choice: Literal["A", "B", "C"]


class _Sure(_Choice):
    certainty: int = Field(ge=1, le=100)


class _TieSure(_TieChoice):
    certainty: int = Field(ge=1, le=100)


_SCHEMAS: dict[tuple[bool, bool], type[BaseModel]] = {
    (False, False): _Choice,
    (True, False): _TieChoice,
    (False, True): _Sure,
    (True, True): _TieSure,
}


class _Order(BaseModel):
    order: list[int]


class PersonalJudge:
    """Says which of two texts the person of `item.persona` would prefer.

    certainty: asks for it as well; ties: C, both alike, is allowed; features: how much of the persona is shown. What
    "key" and "least" cost more is one call an item. A reply that is no choice, or without the certainty asked for, is
    `invalid`.
    """

    def __init__(
        self,
        model: LanguageModel,
        certainty: bool = True,
        *,
        ties: bool = False,
        features: Features = "all",
        name: str | None = None,
        meter: Meter | None = None,
    ) -> None:
        if features not in ("all", "key", "least", "none"):
            raise InvalidInput(f"features: all, key, least or none, not {features!r}")
        self.model, self.certainty, self.ties, self.meter = model, certainty, ties, meter
        self.features: Features = features
        self.name = name or f"{model.name}/{features}{'+tie' if ties else ''}"

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement each, in order. The rubric is not looked at: the person's taste is what counts.

        Raises InvalidInput naming an item without two texts, with an empty one, or, unless features are "none", without
        a persona.
        """
        from weighup.judge.llm import status_of
        from weighup.judge.prompt_files import prompt

        for item in items:
            _checked(item, self.features)
        file, chosen = prompt("personal_pair"), prompt("personal_features")
        personas, ordering = self._personas(items)
        told = file.told | (chosen.told if self.features in ("key", "least") else {})
        schema = _SCHEMAS[self.ties, self.certainty]
        asked = [
            Prompt(self._message(item, persona), file.system, max_tokens=file.max_tokens, schema=schema)
            for item, persona in zip(items, personas, strict=True)
        ]
        found = []
        for item, reply, before in zip(items, self.model.generate(asked, meter=self.meter), ordering, strict=True):
            said: dict[str, Any] = {"prompts": told, "usage": Spent.of(reply.usage) + before}
            winner = _SIDES.get(getattr(reply.value, "choice", ""))
            if reply.error is not None:
                said |= {"status": status_of(reply.error), "rationale": str(reply.error)}
            elif not isinstance(reply.value, schema) or winner is None:
                said |= {"status": "invalid", "rationale": reply.text}
            else:
                sure = getattr(reply.value, "certainty", None)
                said |= {"winner": winner, "certainty": None if sure is None else sure / 100}
            found.append(answered(item, self.name, **said))
        return found

    def _message(self, item: Item, persona: str) -> str:
        from weighup.judge.fence import fenced
        from weighup.judge.prompt_files import prompt

        choices = "A, B, or C if they would like both alike" if self.ties else "A or B"
        bands = "; ".join(f"{low} to {high} {name}" for low, high, name in BANDS)
        first, second = (one.text for one in item.shown())
        return prompt("personal_pair").fill(
            persona=fenced(persona, name="persona") if persona else "Nothing.",
            question=fenced(item.prompt, name="question"),
            first=fenced(first, name="text_a"),
            second=fenced(second, name="text_b"),
            task=f"Which would this person prefer? Choose {choices}.",
            bands=f"Then say how certain you are, from 1 to 100: {bands}." if self.certainty else "",
        )

    def _personas(self, items: Sequence[Item]) -> tuple[list[str], list[Spent]]:
        """The persona shown with each item, and what choosing its features cost."""
        from weighup.judge.fence import fenced
        from weighup.judge.prompt_files import prompt

        if self.features in ("all", "none"):
            return [item.persona or "" if self.features == "all" else "" for item in items], [Spent() for _ in items]
        file = prompt("personal_features")
        known = [[one.strip() for one in sentences(item.persona or "") if one.strip()] for item in items]
        asked = [
            Prompt(
                file.fill(
                    features="\n".join(fenced(f"{n}. {one}", name="fact") for n, one in enumerate(facts, 1)),
                    question=fenced(item.prompt, name="question"),
                ),
                file.system,
                max_tokens=file.max_tokens,
                schema=_Order,
            )
            for item, facts in zip(items, known, strict=True)
        ]
        replies = self.model.generate(asked, meter=self.meter)
        some = [_picked(facts, reply, self.features) for facts, reply in zip(known, replies, strict=True)]
        return some, [Spent.of(reply.usage) for reply in replies]


@dataclass(frozen=True, slots=True)
class CertaintyCurve:
    """`points`: accuracy of what is at least so certain, one a threshold; `bands`: accuracy within each of `BANDS`;
    `accuracy` of all with a certainty; `ece`, `auroc`: how well certainty tells right from wrong; `conflict`: share of
    the items judged in both orders whose winners differ; `without`: usable judgements that told no certainty; `items`:
    the distinct pairs, which a pair judged in both orders is one of."""

    points: tuple[CoveragePoint, ...]
    bands: Mapping[str, Estimate]
    accuracy: Estimate
    ece: Estimate
    auroc: Estimate
    conflict: Estimate
    without: int
    items: int


def certainty_curve(
    judgements: Sequence[Judgement],
    gold: Mapping[str, Winner],
    thresholds: Sequence[float] | None = None,
    *,
    seed: int = 0,
) -> CertaintyCurve:
    """Is the judge right where it says that it is sure? certainty and thresholds in [0, 1].

    Judgements that are not usable, of items without gold, or without a certainty (counted in `without`) are left out.
    Intervals of accuracy, ECE and AUROC are over items, all judgements of an item drawn together; those of points and
    bands are Wilson's. AUROC is NaN where all are right or all wrong. Raises InvalidInput where nothing is left.
    """
    known = [one for one in judgements if one.usable and one.winner is not None and one.item_id in gold]
    sure = [one for one in known if one.certainty is not None]
    if not sure:
        raise InvalidInput("certainty curve: no usable judgement of an item with gold tells its certainty")
    right = np.array([one.winner == gold[one.item_id] for one in sure], float)
    certainty = np.array([one.certainty for one in sure], float)
    groups = np.array([one.item_id for one in sure])
    bands = {
        name: coverage_curve(right[inside], certainty[inside], [0.0])[0].accuracy
        for low, high, name in BANDS
        if (inside := (certainty > (low - 1) / 100) & (certainty <= high / 100)).any()
    }
    both = [
        (given[0], swapped[0])
        for some in by_item(known).values()
        if (given := [one for one in some if one.order == "given"])
        and (swapped := [one for one in some if one.order == "swapped"])
    ]
    mixed = 0 < right.sum() < len(right)
    nothing = Estimate(math.nan, math.nan, math.nan, len(right))
    return CertaintyCurve(
        points=tuple(coverage_curve(right, certainty, thresholds)),
        bands=bands,
        accuracy=estimated(np.mean, right, seed=seed, groups=groups),
        ece=estimated(ece, right, certainty, seed=seed, groups=groups),
        auroc=estimated(auroc, right, certainty, seed=seed, groups=groups) if mixed else nothing,
        conflict=conflict_rate(both),
        without=len(known) - len(sure),
        items=len(set(groups.tolist())),
    )


def _checked(item: Item, features: Features) -> None:
    for number, one in enumerate(two(item), 1):
        if not one.text.strip():
            raise InvalidInput(f"item {item.id}: response {number} is empty; leave the item out")
    if features != "none" and not (item.persona or "").strip():
        raise InvalidInput(f"item {item.id}: its persona is empty; give one, or take features='none'")


def _picked(facts: Sequence[str], reply: Reply, features: Features) -> str:
    """The key features, or the least important one; all of them where no order could be had."""
    told = reply.value.order if isinstance(reply.value, _Order) else []
    order = [n for n in dict.fromkeys(told) if 1 <= n <= len(facts)]
    if not order:
        return " ".join(facts)
    return " ".join(facts[n - 1] for n in (order[:KEY] if features == "key" else order[-1:]))
