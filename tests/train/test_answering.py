"""What is asked of a judge, and what its answers cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from weighup.models.metering import Meter, Usage
from weighup.train.answering import answer
from weighup.train.labelled import Labelled
from weighup.train.protocol import Variant, drawn_for
from weighup.verify.decision import Judged
from weighup.verify.types import Claim

ROWS = [Labelled(Claim(f"Claim {i}."), i % 2, f"g{i}", "test", i + 1, "f") for i in range(70)]


class Metered:
    """A judge that says nothing of any claim and asks its model twice for each."""

    def __init__(self) -> None:
        self.run_meter = Meter()

    def judge(self, claims: Sequence[Claim]) -> list[Judged | None]:
        for _ in claims:
            self.run_meter.add(Usage(calls=2, tokens_in=100, tokens_out=7, usd=0.001))
        return [None] * len(claims)

    def versions(self) -> dict[str, str]:
        return {}


def test_the_cost_is_of_the_first_pass_a_claim() -> None:
    judging = Metered()
    judging.run_meter.add(Usage(calls=5, tokens_in=5, tokens_out=5, usd=5))
    cost = answer(judging, "x", ROWS, [Variant(1.0, 0.0, 0), Variant(0.0, 0.0, 0)], None).cost
    assert (cost.calls, cost.tokens_in, cost.tokens_out) == (2, 100, 7)
    assert cost.usd == pytest.approx(0.001)
    assert judging.run_meter.usage.calls == 5 + 2 * 2 * len(ROWS)


def test_variants_that_leave_the_same_evidence_are_asked_once() -> None:
    steps: list[int] = []
    wanted = [Variant(1.0, 0.0, seed) for seed in (0, 1, 2)] + [Variant(0.0, r, 0) for r in (0.0, 0.3)]
    found = answer(Metered(), "x", ROWS, wanted, lambda step=1, *, note=None: steps.append(step))
    assert set(found.answers) == {Variant(1.0, 0.0, 0), Variant(0.0, 0.0, 0)}
    assert sum(steps) == 2 * len(ROWS)
    assert (found.rows, found.skipped) == ([], len(ROWS))


def test_draws_depend_on_the_row_and_the_seed_alone() -> None:
    draws = {drawn_for(row, Variant(0.5, 0.3, seed)) for row in ROWS for seed in (0, 1)}
    assert len(draws) == 2 * len(ROWS)
    assert all(0 <= draw < 1 for draw in draws)
    assert drawn_for(ROWS[3], Variant(0.5, 0.3, 1)) == drawn_for(ROWS[3], Variant(1.0, 0.0, 1))
