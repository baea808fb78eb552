"""What is said of a set's rows, with their evidence thinned out in every way that is asked for, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.models.metering import Usage
from weighup.retrieve.types import Evidence
from weighup.train.labelled import Labelled
from weighup.train.protocol import Variant, drawn_for, strangers, thinned
from weighup.train.results import Cost
from weighup.train.scoring import Answers
from weighup.train.transfer import Judging
from weighup.verify.decision import Judged

BATCH = 64


@dataclass(slots=True)
class Answered:
    """A set's checkable rows, what was said of them, by settled variant, and what the first pass cost."""

    rows: list[Labelled]
    answers: dict[Variant, Answers]
    skipped: int
    cost: Cost
    labels: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = np.asarray([row.label for row in self.rows], np.int64)

    @property
    def known(self) -> NDArray[np.bool_]:
        return self.labels < 2

    @property
    def fake(self) -> NDArray[np.int64]:
        return self.labels[self.known]


def answer(
    judging: Judging,
    name: str,
    rows: Sequence[Labelled],
    wanted: Sequence[Variant],
    advance: Advance | None,
) -> Answered:
    """Judge all rows under each variant that is wanted, those that leave the same evidence once. `name` is told."""
    own: Sequence[tuple[Evidence, ...]] = strangers(rows) if any(v.r and v.q for v in wanted) else [()] * len(rows)
    answers: dict[Variant, Answers] = {}
    checkable: list[bool] = [True] * len(rows)
    cost: Cost | None = None
    for variant in dict.fromkeys(v.settled for v in wanted):
        before, started = judging.run_meter.usage, time.monotonic()
        found: list[Judged | None] = []
        for start in range(0, len(rows), BATCH):
            batch = zip(rows[start : start + BATCH], own[start : start + BATCH], strict=True)
            claims = [thinned(row, strange, variant) for row, strange in batch]
            found += judging.judge(claims)
            if advance is not None:
                advance(len(claims), note=name)
        cost = cost or _cost(before, judging.run_meter.usage, time.monotonic() - started, len(rows))
        checkable = [one is not None for one in found]
        chance = [drawn_for(row, variant) for row, fine in zip(rows, checkable, strict=True) if fine]
        answers[variant] = Answers.of([one for one in found if one is not None], chance)
    kept = [row for row, fine in zip(rows, checkable, strict=True) if fine]
    return Answered(kept, answers, len(rows) - len(kept), cost or _cost(Usage(), Usage(), 0.0, len(rows)))


def _cost(before: Usage, after: Usage, seconds: float, claims: int) -> Cost:
    """What lies between two readings of a meter, a claim."""
    per = 1 / max(claims, 1)
    return Cost(
        claims=claims,
        calls=(after.calls - before.calls) * per,
        tokens_in=(after.tokens_in - before.tokens_in) * per,
        tokens_out=(after.tokens_out - before.tokens_out) * per,
        seconds=seconds * per,
        usd=(after.usd - before.usd) * per,
    )
