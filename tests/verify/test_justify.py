"""Justifications quote what they rest on, and a quotation that stands nowhere is found out."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from weighup.retrieve.types import Evidence
from weighup.verify.evidence import numbers
from weighup.verify.justify import agreement, justify, quotable, quotations, stands
from weighup.verify.tone import tone
from weighup.verify.types import KINDS, Stanced
from weighup.verify.writing import Written

CLAIM = "SHOCKING secret: drinking bleach cures everyone."
REFUTES = Evidence(
    text="Drinking  bleach “cures” nothing and can kill.",
    origin="row",
    title="Myths",
    published=datetime(2020, 4, 3, tzinfo=UTC),
)
SUPPORTS = Evidence(text="A spoonful of bleach clears the lungs.", origin="row", source="blog.example.com")
STANCED = [Stanced(REFUTES, 0.1, 0.83, 0.07), Stanced(SUPPORTS, 0.7, 0.2, 0.1)]
FAKE, REAL, OPEN = (0.1, 0.8, 0.1), (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)
ALL = dict.fromkeys(KINDS, True)


def weighed(**changes: Any) -> Any:
    base = {
        "prepared": SimpleNamespace(text=CLAIM, wording=CLAIM, lang="en"),
        "stanced": STANCED,
        "evidence_row": numbers(CLAIM, STANCED),
        "prior": 0.9,
        "tones": tone([CLAIM])[0],
        "written": Written(opinion=FAKE, explanation="Bleach is a disinfectant for surfaces."),
        "writer": "smollm2",
    }
    return cast(Any, SimpleNamespace(**{**base, **changes}))


def test_evidence_quotes_the_passage_on_its_side_and_the_one_against_it() -> None:
    text = justify("evidence", weighed(), {"evidence": FAKE, "reasoning": FAKE, "sentiment": REAL}, ALL)
    assert "it rests on “Drinking bleach ‘cures’ nothing and can kill.” (Myths, 2020-04-03" in text
    assert "which refutes it at 0.83; against it stands “A spoonful of bleach clears the lungs.” (blog.ex" in text
    assert text.endswith("reasoning comes to the same verdict, sentiment comes to another (real)")
    assert stands(text, REFUTES.text, SUPPORTS.text)


def test_a_verdict_of_real_rests_on_what_supports_it() -> None:
    text = justify("evidence", weighed(), {"evidence": REAL, "reasoning": FAKE, "sentiment": REAL}, ALL)
    assert text.startswith("it rests on “A spoonful of bleach clears the lungs.”")
    open_ended = justify("evidence", weighed(), {"evidence": OPEN, "reasoning": FAKE, "sentiment": REAL}, ALL)
    assert open_ended.startswith("the clearest passage is “Drinking bleach")


def test_reasoning_quotes_the_models_words_where_there_are_some() -> None:
    opinions = dict.fromkeys(KINDS, FAKE)
    text = justify("reasoning", weighed(), opinions, ALL)
    assert text.startswith("it rests on “Bleach is a disinfectant for surfaces.”, in the words of smollm2; ")
    brief = justify("reasoning", weighed(written=None, writer=None), opinions, ALL)
    assert brief.startswith("wording and subject give clear indication")
    assert not quotations(brief)


def test_sentiment_quotes_the_claims_own_words() -> None:
    text = justify("sentiment", weighed(), dict.fromkeys(KINDS, FAKE), {**ALL, "evidence": False})
    assert {"SHOCKING", "secret"} & set(quotations(text))
    assert stands(text, CLAIM)
    assert text.endswith("reasoning comes to the same verdict")
    plain = weighed(tones=np.zeros_like(tone([CLAIM])[0]))
    assert "“" not in justify("sentiment", plain, dict.fromkeys(KINDS, FAKE), ALL)


@pytest.mark.parametrize(
    ("said", "stood"),
    [
        ("it rests on “bleach 'CURES'   nothing”", True),
        ("it rests on “Drinking bleach…”", True),
        ("it rests on “bleach heals”", False),
        ("it rests on “bleach” and “a study”", False),
        ("it rests on “…”", False),
        ("it rests on “bleach", False),
        ("it rests on a study", False),
    ],
)
def test_only_what_was_read_counts_as_quoted(said: str, stood: bool) -> None:
    assert stands(said, REFUTES.text, "another text") is stood


def test_a_quotation_does_not_run_over_the_end_of_a_text() -> None:
    assert not stands("“kill. another”", REFUTES.text, "another text")


def test_what_is_quoted_is_one_line_with_single_marks() -> None:
    assert quotable("a “b”\n c" + " d" * 100, 12) == "a ‘b’ c d…"


def test_verdicts_of_the_others_are_told() -> None:
    assert agreement("fake", {"reasoning": "fake", "sentiment": "fake"}) == (
        "reasoning and sentiment come to the same verdict"
    )
    assert agreement("fake", {"reasoning": "unknown"}) == "reasoning comes to another (unknown)"
