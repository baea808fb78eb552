"""Texts as claims and citations, and the lexical baseline of entailment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.claim_texts import (
    NEUTRAL,
    REFUTES,
    SUPPORTS,
    Entails,
    checked,
    cited_spans,
    lexical_entails,
    split_claims,
)

SOURCE = "The museum in Oslo opened in 2001. It has 1,200 objects. Dogs are not allowed in its halls."


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("", []),
        ("The sky is blue. Grass is green.", ["The sky is blue.", "Grass is green."]),
        ("The sky is blue; the grass is green.", ["The sky is blue.", "The grass is green."]),
        ("Rome was founded early, and it was ruled by kings.", ["Rome was founded early.", "It was ruled by kings."]),
        ("She bought apples, pears, and the plums.", ["She bought apples, pears, and the plums."]),
        ("Dr. Lee works in the U.S. now [3].", ["Dr. Lee works in the U.S. now."]),
        ("What is it? I don't know. I'm not sure what to say.", []),
        ("Sorry, I cannot help with that.", []),
        ("Here is a list:\n- Cats sleep a lot.\n- Dogs bark.", ["Cats sleep a lot.", "Dogs bark."]),
        ("It runs fast.\n```\nx = 1. Y is 2.\n```", ["It runs fast."]),
    ],
)
def test_claims_of_a_text(text: str, claims: list[str]) -> None:
    assert split_claims(text) == claims


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Cats sleep [1].", [("Cats sleep.", ("1",))]),
        ("Cats sleep [2, 3][5].", [("Cats sleep.", ("2", "3", "5"))]),
        ("Cats sleep [4-6].", [("Cats sleep.", ("4", "5", "6"))]),
        ("Cats sleep. [2] Dogs bark.", [("Cats sleep.", ("2",)), ("Dogs bark.", ())]),
        ("Owls hunt (Smith 2020).", [("Owls hunt.", ("Smith 2020",))]),
        (
            "Owls hunt (Smith et al., 2020; Doe and Roe, 2021b).",
            [("Owls hunt.", ("Smith et al. 2020", "Doe and Roe 2021b"))],
        ),
        ("It grew (by 2020) [note].", [("It grew (by 2020) [note].", ())]),
        ("", []),
    ],
)
def test_statements_with_what_they_cite(text: str, said: list[tuple[str, tuple[str, ...]]]) -> None:
    found = cited_spans(text)
    assert [(one.text, one.marks) for one in found] == said


def test_a_span_is_where_it_says() -> None:
    text = "Cats sleep [1]. Dogs bark. [2]  Owls hunt."
    assert [text[one.start : one.end] for one in cited_spans(text)] == [
        "Cats sleep [1].",
        "Dogs bark. [2]",
        "Owls hunt.",
    ]


@given(st.text(alphabet="aB c.[]1,;()\n-?2020", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    spans = cited_spans(text)
    assert all(0 <= one.start < one.end <= len(text) for one in spans)
    assert all(isinstance(one, str) and one for one in split_claims(text))


@pytest.mark.parametrize(
    ("claim", "column"),
    [
        ("The museum in Oslo opened in 2001.", SUPPORTS),
        ("It has 1,200 objects.", SUPPORTS),
        ("It has 1200 objects.", SUPPORTS),
        ("The museum in Oslo opened in 1999.", REFUTES),
        ("The museum in Oslo was not opened in 2001.", REFUTES),
        ("Dogs are allowed in its halls.", REFUTES),
        ("Penguins live in the south.", NEUTRAL),
        ("and of the", NEUTRAL),
    ],
)
def test_words_tell_support_from_refutation(claim: str, column: int) -> None:
    assert int(lexical_entails([(SOURCE, claim)])[0].argmax()) == column


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=5))
def test_the_baseline_gives_probabilities(pairs: list[tuple[str, str]]) -> None:
    entails: Entails = lexical_entails
    np.testing.assert_array_equal(checked(entails(pairs), len(pairs)), lexical_entails(pairs))


@pytest.mark.parametrize("found", [[[1.0, 0.0]], [[0.5, 0.6, 0.0]], [[np.nan, 0, 1]], [[2.0, -1.0, 0.0]]])
def test_what_is_no_entailment_is_refused(found: list[list[float]]) -> None:
    with pytest.raises(InvalidInput, match="entailment"):
        checked(found, 1)
