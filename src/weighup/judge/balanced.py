"""Judges that ask another one more than once: in both orders of a pair, and in several samples.

Both orders: FairEval's balanced position calibration (Wang et al. 2023, arXiv 2305.17926, section 3.2), and the rule of
Zheng et al. 2023 (arXiv 2306.05685, section 3.4) that a pair judged otherwise when swapped is a tie (`vote`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.orders import How, combine
from weighup.judge.panel import at_a_time, described, kept_of, waits
from weighup.judge.types import Item, Judge, Judgement, Rubric


class Samples:
    """Asks `judge` `samples` times for each item (in both orders with `balance`) and combines what it says.

    `how` as in `combine`. Which samples are drawn follows from `Item.sample`, so that samples of samples differ. With
    a judge that is waiting for an answer the item is `waiting`.
    """

    def __init__(
        self, judge: Judge, samples: int = 3, *, how: How = "vote", balance: bool = False, name: str | None = None
    ) -> None:
        if samples < 1:
            raise InvalidInput(f"samples: one or more is needed, not {samples}")
        if how not in get_args(How):
            raise InvalidInput(f"how: {', '.join(get_args(How))}, not {how!r}")
        self.inner, self.samples, self.how, self.balance = judge, samples, how, balance
        self.name = name or f"{judge.name}/{'balanced' if balance else f'{samples} samples'}"
        self.waits, self.concurrency = waits(judge), at_a_time(judge)

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        told: dict[str, JsonValue] = {"judge": "samples", "name": self.name, "of": described(self.inner)}
        return told | {"samples": self.samples, "how": self.how, "balance": self.balance}

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement an item, in order; all its samples go to the judge in one batch.

        Raises InvalidInput for an item that, to be balanced, is no pair.
        """
        asked = [self._asked(item) for item in items]
        said = self.inner.judge([one for some in asked for one in some], rubric) if items else []
        if len(said) != sum(map(len, asked)):
            raise InvalidInput(f"judge {self.inner.name}: gave {len(said)} judgements of {sum(map(len, asked))} items")
        rest = iter(said)
        return [self._one(item, [next(rest) for _ in some]) for item, some in zip(items, asked, strict=True)]

    def _asked(self, item: Item) -> list[Item]:
        drawn = [item.drawn(item.sample * self.samples + n) for n in range(self.samples)]
        return [*drawn, *(one.swapped() for one in drawn)] if self.balance else drawn

    def _one(self, item: Item, said: Sequence[Judgement]) -> Judgement:
        kept = kept_of(item, said)
        if any(one.status == "waiting" for one in said):
            return Judgement(item_id=item.id, judge=self.name, status="waiting", **kept | {"rationale": ""})
        if len(said) == 1:
            return said[0].model_copy(update={"judge": self.name})
        return combine(said, self.how, name=self.name).model_copy(update=kept)


class Calibrated(Samples):
    """Asks `judge` in both orders, `samples` times each, and combines: by `vote`, a pair judged otherwise when swapped
    ties; by `mean` of scores, the bias for a place is averaged out; by `consistent`, such a pair is left undecided."""

    def __init__(self, judge: Judge, *, how: How = "vote", samples: int = 1, name: str | None = None) -> None:
        super().__init__(judge, samples, how=how, balance=True, name=name)
