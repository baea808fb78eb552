"""Usage adds up; budgets are hard; what is set aside comes back."""

from __future__ import annotations

import threading

import pytest

from weighup.errors import BudgetExceeded
from weighup.models import Budget, Meter, Usage


def test_usage_adds_up_to_the_parent() -> None:
    run = Meter()
    claims = [Meter(parent=run) for _ in range(2)]
    for claim in claims:
        claim.add(Usage(calls=1, tokens_in=2, tokens_out=3, seconds=0.5, usd=0.1))
    assert run.usage == Usage(calls=2, tokens_in=4, tokens_out=6, seconds=1.0, usd=0.2)


def test_what_is_set_aside_counts_until_it_is_settled_or_given_back() -> None:
    run = Meter(Budget(tokens=100))
    claim = Meter(parent=run)
    with claim.reserve(tokens=60, usd=0) as hold:
        with pytest.raises(BudgetExceeded), Meter(parent=run).reserve(tokens=60, usd=0):
            pass
        hold.settle(Usage(calls=1, tokens_in=10))
        run.check(tokens=90)
    run.check(tokens=90)
    with pytest.raises(KeyError), claim.reserve(tokens=60, usd=0):
        raise KeyError
    run.check(tokens=90)
    assert run.usage.tokens_in == 10


def test_a_refusal_by_the_parent_leaves_nothing_set_aside_on_the_child() -> None:
    claim = Meter(Budget(tokens=50), parent=Meter(Budget(tokens=10)))
    with pytest.raises(BudgetExceeded), claim.reserve(tokens=40, usd=0):
        pass
    assert claim._held_tokens == 0


def test_threads_cannot_overspend_together() -> None:
    meter = Meter(Budget(tokens=1000))
    refused = []

    def spend() -> None:
        for _ in range(50):
            try:
                with meter.reserve(tokens=7, usd=0) as hold:
                    hold.settle(Usage(tokens_out=7))
            except BudgetExceeded:
                refused.append(1)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.usage.tokens_out == 994
    assert len(refused) == 200 - 142


@pytest.mark.parametrize(
    ("budget", "spent"),
    [
        (Budget(tokens=10), Usage(tokens_in=4, tokens_out=6)),
        (Budget(usd=0.5), Usage(usd=0.5)),
        (Budget(usd=0.0), Usage(usd=0.01)),
        (Budget(seconds=0.0), Usage()),
    ],
)
def test_a_spent_budget_says_no(budget: Budget, spent: Usage) -> None:
    meter = Meter(budget)
    meter.add(spent)
    with pytest.raises(BudgetExceeded):
        meter.check()


def test_the_nearest_time_limit_counts() -> None:
    run = Meter(Budget(seconds=5))
    assert Meter().remaining_seconds() is None
    left = Meter(Budget(seconds=1000), parent=run).remaining_seconds()
    assert left is not None
    assert left <= 5
