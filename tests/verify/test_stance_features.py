"""The lexical features of a claim and a passage, by name."""

from __future__ import annotations

import numpy as np
import pytest

from weighup.verify.stance_features import FEATURES, features, stem


def named(claim: str, passage: str) -> dict[str, float]:
    return dict(zip(FEATURES, features([(claim, passage)])[0].tolist(), strict=True))


def test_shape_range_and_order() -> None:
    pairs = [("Rice is white.", "Rice is white and 3 cm long."), ("", ""), ("A B", "x" * 10_000)]
    found = features(pairs)
    assert found.shape == (3, len(FEATURES))
    assert (np.abs(found) <= 1).all()
    np.testing.assert_array_equal(found, features(pairs[::-1])[::-1])
    assert features([]).shape == (0, len(FEATURES))


def test_equal_texts_overlap_fully() -> None:
    f = named("Warm water melts the ice shelf", "Warm water melts the ice shelf")
    assert f["overlap"] == f["overlap_bigram"] == f["overlap_order"] == f["passage_covered"] == 1
    assert f["missing_words"] == f["opposites"] == f["negation_mismatch"] == 0


@pytest.mark.parametrize(
    ("claim", "passage", "name", "value"),
    [
        ("It killed 1,200 people", "It killed 1200 people", "numbers_agree", 1),
        ("It killed 1,200 people", "It killed 300 people", "numbers_differ", 1),
        ("It killed 12 people", "It killed many people", "numbers_absent", 1),
        ("Masks do not work", "Masks work", "negation_mismatch", 1),
        ("Masks don't work", "Masks do not work", "negation_mismatch", 0),
        ("Masks work", "There is no sign that masks are any use", "negation_near", 1),
        ("Ice is warming", "Ice is cooling", "opposites", 0.5),
        ("Rates increased", "Rates fell", "direction_differ", 1),
        ("Rates increased", "Rates rose", "direction_agree", 1),
        ("It is seen by Darwin", "It is seen by Wallace", "names_found", 0),
        ("It is seen by Darwin", "Only Darwin saw it", "names_found", 1),
        ("All birds fly", "Some birds fly", "absolute_only_claim", 1),
        ("Is it so?", "It is", "question", 1),
        ("The red fox runs", "The red fox sleeps", "one_word_missing", 1),
        ("A happens", "It may happen", "hedge_passage", 1),
    ],
)
def test_feature(claim: str, passage: str, name: str, value: float) -> None:
    assert named(claim, passage)[name] == pytest.approx(value)


@pytest.mark.parametrize(("a", "b"), [("infections", "infection"), ("reduces", "reduced"), ("warming", "warms")])
def test_stem_joins_forms(a: str, b: str) -> None:
    assert stem(a) == stem(b)


def test_stem_leaves_three_letters() -> None:
    assert stem("is") == "is"
    assert stem("sing") == "sing"
