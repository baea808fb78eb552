"""From next-token log-probabilities to probabilities over answers."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.models.answers import weigh_answers


def test_case_and_leading_blanks_do_not_matter() -> None:
    top = [("Real", log(0.3)), (" real", log(0.1)), ("fake", log(0.2)), ("FAKE", log(0.2)), ("dog", log(0.1))]
    assert weigh_answers(("real", "fake"), top) == pytest.approx((0.5, 0.5))


def test_a_token_that_says_more_than_the_answer_counts_for_it_but_another_word_does_not() -> None:
    top = [("no.", log(0.2)), ("yes", log(0.2)), ("nobody", log(0.5))]
    assert weigh_answers(("yes", "no"), top) == pytest.approx((0.5, 0.5))


def test_a_fork_is_asked_on() -> None:
    asked = []

    def ask(written: str) -> list[tuple[str, float]]:
        asked.append(written)
        return [(" proven", log(0.25)), (" guilty", log(0.75))]

    top = [("not", log(0.8)), ("guilty", log(0.2))]
    chances = weigh_answers(("not proven", "not guilty", "guilty"), top, ask)
    assert asked == ["not"]
    assert chances == pytest.approx((0.2, 0.6, 0.2))


def test_a_word_that_only_begins_like_an_answer_does_not_count_for_it() -> None:
    top = [("no", log(0.9)), ("yes", log(0.1))]
    chances = weigh_answers(("yes", "not sure"), top, lambda written: [(",", log(0.9)), (" way", log(0.1))])
    assert chances[0] > 0.5


def test_a_fork_is_shared_where_it_cannot_be_asked_on() -> None:
    top = [("not", log(0.8)), ("guilty", log(0.2))]
    assert weigh_answers(("not proven", "not guilty", "guilty"), top) == pytest.approx((0.4, 0.4, 0.2))


def test_an_answer_that_begins_another_is_still_told_apart() -> None:
    top = [("real", log(0.6)), ("fake", log(0.4))]
    chances = weigh_answers(("real", "really", "fake"), top)
    assert chances[0] > chances[2] > chances[1]


def test_nothing_fits() -> None:
    assert weigh_answers(("real", "fake"), [("dog", -0.1), ("", -1.0)]) == ()
    assert weigh_answers(("real", "fake"), []) == ()


@given(
    st.lists(st.text(min_size=1, max_size=6).filter(str.strip), min_size=2, max_size=5, unique=True),
    st.lists(st.tuples(st.text(max_size=4), st.floats(-30, 0)), max_size=20),
)
def test_always_a_distribution_or_nothing(answers: list[str], top: list[tuple[str, float]]) -> None:
    chances = weigh_answers(answers, top, lambda written: top)
    assert chances == () or (len(chances) == len(answers) and sum(chances) == pytest.approx(1) and min(chances) >= 0)
