"""P(yes): from probabilities, from samples where there are none, and never guessed."""

from __future__ import annotations

import numpy as np
import pytest
from scripted_model import Scripted

from weighup.errors import BudgetExceeded, InvalidInput, ModelUnavailable
from weighup.judge.choice import p_yes
from weighup.models.metering import Meter


def test_yes_against_no() -> None:
    model = Scripted(weigh=lambda q: (0.3, 0.1) if "first" in q.user else (0.0, 1.0))
    meter = Meter()
    found = p_yes(model, ["first?", "second?"], system="Be strict.", meter=meter)
    assert found.tolist() == pytest.approx([0.75, 0.0])
    assert {q.answers for q in model.questions} == {("yes", "no")}
    assert {q.system for q in model.questions} == {"Be strict."}
    assert model.meters == [meter]


def test_without_probabilities_samples_are_counted() -> None:
    said = iter(["Yes.", "no", "yes", "perhaps"])
    model = Scripted(lambda p: next(said), lambda q: ModelUnavailable("none"))
    assert p_yes(model, ["q?"], fallback_samples=4).tolist() == pytest.approx([2 / 3])
    assert [p.seed for p in model.prompts] == [0, 1, 2, 3]
    assert {p.temperature for p in model.prompts} == {1.0}


def test_only_what_is_missing_is_sampled() -> None:
    model = Scripted(lambda p: "no", lambda q: (1.0, 0.0) if "a" in q.user else ModelUnavailable("none"))
    assert p_yes(model, ["a", "b"], fallback_samples=2).tolist() == [1.0, 0.0]
    assert len(model.prompts) == 2


def test_neither_yes_nor_no_is_nan() -> None:
    model = Scripted(lambda p: "maybe", lambda q: ModelUnavailable("none"))
    assert np.isnan(p_yes(model, ["q"])).all()
    assert np.isnan(p_yes(model, ["q"], fallback_samples=0)).all()


def test_a_spent_budget_is_said() -> None:
    with pytest.raises(BudgetExceeded):
        p_yes(Scripted(weigh=lambda q: BudgetExceeded("spent")), ["q"])


def test_bad_input() -> None:
    model = Scripted(weigh=lambda q: (1.0, 0.0))
    assert p_yes(model, []).shape == (0,)
    with pytest.raises(InvalidInput, match="question 2: is empty"):
        p_yes(model, ["a", "  "])
    with pytest.raises(InvalidInput, match="fallback_samples"):
        p_yes(model, ["a"], fallback_samples=-1)
