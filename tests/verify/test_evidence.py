"""What passages add up to, in words; and what of a written summary is not believed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from weighup.retrieve.types import Evidence
from weighup.verify.evidence import extract, grounded
from weighup.verify.types import Stanced

PASSAGE = Evidence(
    text="The bridge opened in 1937.",
    origin="row",
    title="Golden Gate Bridge",
    published=datetime(2020, 1, 2, 23, 59, 59, tzinfo=UTC),
)


def test_the_extract_counts_quotes_and_dates() -> None:
    text = extract([Stanced(PASSAGE, 0.8, 0.1, 0.1), Stanced(PASSAGE, 0.1, 0.1, 0.8)])
    assert text.startswith("Of 2 passages, 1 supports it, 1 says nothing either way.")
    assert "“The bridge opened in 1937.” (Golden Gate Bridge, 2020-01-02)" in text


def test_no_evidence_is_said() -> None:
    assert "No evidence was found" in extract([])


@pytest.mark.parametrize(
    ("summary", "fault"),
    [
        ("The bridge opened in 1937.", None),
        ("The bridge opened in 1940.", "figures"),
        ("It was opened by President Roosevelt, the bridge.", "names"),
        ("Completely different matters concerning economics prevail.", "words"),
    ],
)
def test_a_summary_must_stand_on_what_was_read(summary: str, fault: str | None) -> None:
    found = grounded(summary, "The Golden Gate Bridge opened before the war.", [PASSAGE.text])
    assert (found is None) if fault is None else (found is not None and fault in found)
