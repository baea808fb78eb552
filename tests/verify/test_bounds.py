"""Tomorrow's news cannot come in as a claim's own evidence."""

from __future__ import annotations

import pytest

from weighup.dates import parse_bound, parse_published
from weighup.retrieve.types import Evidence
from weighup.verify.bounds import without_later
from weighup.verify.types import Claim
from weighup.verify.verifier import Verifier


def claim(date: str | None, *days: str | None) -> Claim:
    return Claim(
        text="The dam broke on Monday.",
        date=None if date is None else parse_bound(date),
        evidence=tuple(
            Evidence(
                text=f"It was seen on {day}.", origin="row", published=None if day is None else parse_published(day)
            )
            for day in days
        ),
    )


@pytest.mark.parametrize(
    ("date", "day", "stays"),
    [
        ("2024-05-08", "2024-05-07", True),
        ("2024-05-08", "2024-05-08", True),
        ("2024-05-08", "2024-05-09", False),
        ("2024-05-08", None, True),
        (None, "2024-05-09", True),
        ("2024-05-08T12:00:00Z", "2024-05-08T11:59:00Z", True),
        ("2024-05-08T12:00:00Z", "2024-05-08T12:01:00Z", False),
        ("2024-05-08T12:00:00Z", "2024-05-08", True),
    ],
)
def test_what_is_certainly_later_is_left_out_with_a_warning(date: str | None, day: str | None, stays: bool) -> None:
    kept, warnings = without_later(claim(date, day, None))
    assert len(kept.evidence or ()) == (2 if stays else 1)
    assert len(warnings) == (0 if stays else 1)
    assert all(str(day)[:10] in warning for warning in warnings)


@pytest.mark.usefixtures("models_ready", "clean_environment")
def test_the_facade_lets_nothing_from_tomorrow_in() -> None:
    with Verifier(offline=True, search=False, brief=True) as verifier:
        (verdict,) = verifier.check([claim("2024-05-08", "2024-05-06", "2024-05-10")])
    assert [passage.date for passage in verdict.evidence] == ["2024-05-06"]
    assert any("2024-05-10" in warning for warning in verdict.warnings)
