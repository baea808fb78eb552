"""A model's words are shown as its words, made fit to read, and left out when they say nothing."""

from __future__ import annotations

import pytest

from weighup.verify.reasoning import note, repeats, template, written


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        ("Claim: Bleach cures COVID-19.", True),
        ("This claim is true.", True),
        ("No. Bleach is a poison and no treatment works by drinking disinfectant.", False),
    ],
)
def test_repeating_the_claim_explains_nothing(text: str, empty: bool) -> None:
    assert repeats(text, "Bleach cures COVID-19.") is empty


def test_what_was_cut_off_ends_at_a_sentence() -> None:
    assert written("It is a lyric poem by the poet Matthew Arnold.\x00 It was first publ").endswith("Matthew Arnold.")
    assert len(written("word " * 500)) <= 600


def test_numbers_of_passages_are_not_taken_for_figures() -> None:
    assert written("1. The bridge [2] opened in 1937 [1].") == "The bridge opened in 1937."


def test_both_voices_are_told_as_probabilities() -> None:
    text = template(0.81, (0.2, 0.7, 0.1), "smollm2")
    assert "0.81" in text
    assert "smollm2 leans to fake (0.70)" in text
    assert "smollm2" not in template(0.81, None, "smollm2")
    assert "same way" in note(0.81, (0.2, 0.7, 0.1))
    assert "other way" in note(0.81, (0.7, 0.2, 0.1))
