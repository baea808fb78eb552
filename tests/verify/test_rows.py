"""What an input row may hold, what is mended with a warning, and what is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from weighup.errors import InvalidInput
from weighup.verify.rows import EVIDENCE_LIMIT, TEXT_LIMIT, BadRow, Row, make_claim, read_row, row_schema
from weighup.verify.types import Claim

NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)


def good(**data: Any) -> Row:
    row = read_row({"text": "The bridge was closed on Monday.", **data}, 1, moment=NOW)
    assert isinstance(row, Row), row
    return row


def bad(data: object) -> str:
    row = read_row(data, 17, moment=NOW)
    assert isinstance(row, BadRow)
    assert row.line == 17
    assert row.error.startswith("line 17: ")
    return row.error


def given(**evidence: Any) -> Claim:
    return good(date="2024-05-31", evidence=[{"text": "It was closed.", **evidence}]).claim


def test_a_full_row_becomes_a_claim() -> None:
    row = good(
        id=7,
        date="2024-05-31",
        source="example.com",
        lang="en-GB",
        url="https://example.com/a",
        evidence=[{"text": "Closed.", "url": "https://e.example/1", "title": "T", "date": "2024-05-30", "source": "e"}],
        something_else={"ignored": True},
    )
    assert row.id == 7
    assert row.claim.id == "7"
    assert row.claim.date == datetime(2024, 5, 31, tzinfo=UTC)
    assert (row.claim.source, row.claim.lang, row.claim.url) == ("example.com", "en", "https://example.com/a")
    assert row.claim.evidence is not None
    passage = row.claim.evidence[0]
    assert (passage.origin, passage.url, passage.title, passage.source) == ("row", "https://e.example/1", "T", "e")
    assert passage.published == datetime(2024, 5, 30, 23, 59, 59, tzinfo=UTC)
    assert row.claim.warnings == ()


@pytest.mark.parametrize("empty", [None, ""])
def test_nulls_are_as_good_as_absent(empty: str | None) -> None:
    claim = good(id=empty, date=empty, source=empty, lang=empty, url=empty, evidence=None).claim
    assert (claim.date, claim.source, claim.lang, claim.url, claim.evidence) == (None, None, None, None, None)


def test_no_evidence_given_differs_from_an_empty_list() -> None:
    assert good(evidence=[]).claim.evidence == ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"text": ""}, "text: is empty"),
        ({"text": " \t\n\u200b"}, "text: is empty"),
        ({"text": "\x00\x01\x02"}, "text: is empty"),
        ({"text": "?!… —"}, "no letter or number"),
        ({"id": 1}, "text: is missing"),
        ({"text": None}, "text: input should be a valid string (got NoneType)"),
        ({"text": ["a"]}, "text:"),
        ({"text": "A claim.", "id": {"a": 1}}, "id"),
        ({"text": "A claim.", "date": "last Tuesday"}, "'last Tuesday' is not a date"),
        ({"text": "A claim.", "date": "2024-06-17"}, "2024-06-17T00:00:00Z is in the future"),
        ({"text": "A claim.", "date": "2024-06-15T18:00:00Z"}, "in the future"),
        ({"text": "A claim.", "evidence": "not a list"}, "evidence:"),
        ({"text": "A claim.", "evidence": [{"url": "https://a.example"}]}, "evidence.0.text: is missing"),
        ({"text": "A claim.", "evidence": [None]}, "evidence.0: is NoneType, not an object"),
        ([1, 2], "is list, not an object"),
        (None, "is null, not an object"),
        ("text", "is str, not an object"),
    ],
)
def test_what_cannot_be_used_is_named(data: object, says: str) -> None:
    assert says in bad(data)


def test_today_may_have_begun_elsewhere() -> None:
    late = datetime(2024, 6, 15, 11, tzinfo=UTC)
    row = read_row({"text": "A claim.", "date": "2024-06-16"}, 1, moment=late)
    assert isinstance(row, Row)
    assert row.claim.date == late


def test_evidence_dated_after_the_claim_is_dropped_with_a_warning() -> None:
    claim = given(date="2024-06-01")
    assert claim.evidence == ()
    assert claim.warnings == ("evidence 1 is dated 2024-06-01, after the claim (2024-05-31), and was left out",)


@pytest.mark.parametrize("date", [None, "", "2024-05-31", "2024-05-31T18:00:00Z", "2024-05", "2019"])
def test_undated_same_day_and_older_evidence_is_taken_on_the_users_word(date: str | None) -> None:
    claim = given(date=date)
    assert claim.evidence is not None
    assert len(claim.evidence) == 1
    assert claim.warnings == ()


def test_a_claim_with_a_time_bounds_its_own_day() -> None:
    row = good(date="2024-05-31T10:00:00Z", evidence=[{"text": "Later.", "date": "2024-05-31T18:00:00Z"}])
    assert row.claim.evidence == ()


def test_evidence_from_the_future_is_dropped_when_the_claim_is_undated() -> None:
    row = good(evidence=[{"text": "Tomorrow.", "date": "2024-06-16"}, {"text": "Today.", "date": "2024-06-15"}])
    assert row.claim.evidence is not None
    assert [e.text for e in row.claim.evidence] == ["Today."]


def test_an_unreadable_evidence_date_is_undated_and_said() -> None:
    claim = given(date="some day")
    assert claim.evidence is not None
    assert claim.evidence[0].published is None
    assert "evidence 1: 'some day' is not a date" in claim.warnings[0]


def test_empty_evidence_and_addresses_that_are_not_http_are_left_out() -> None:
    row = good(
        url="javascript:alert(1)",
        evidence=[{"text": "  "}, {"text": "Kept.", "url": "file:///etc/passwd"}],
    )
    assert row.claim.url is None
    assert row.claim.evidence is not None
    assert [(e.text, e.url) for e in row.claim.evidence] == [("Kept.", None)]
    assert len(row.claim.warnings) == 3


def test_a_megabyte_of_text_is_cut_and_said() -> None:
    row = good(text="The dam broke. " * 70_000)
    assert len(row.claim.text) <= TEXT_LIMIT
    assert "1,050,000 characters" in row.claim.warnings[0]


def test_too_much_evidence_is_cut_and_said() -> None:
    row = good(evidence=[{"text": f"Passage {i}"} for i in range(EVIDENCE_LIMIT + 5)])
    assert row.claim.evidence is not None
    assert len(row.claim.evidence) == EVIDENCE_LIMIT
    assert "205 evidence passages" in row.claim.warnings[0]


def test_lone_surrogates_and_control_characters_cannot_reach_the_output() -> None:
    row = good(text="It \ud800broke\x1b[31m.", id="a\udfff")
    row.claim.text.encode("utf-8")
    assert "\x1b" not in row.claim.text
    assert str(row.id).encode("utf-8")


def test_the_digest_names_what_matters() -> None:
    assert good(id=1).digest == good(id=1, other="ignored").digest
    assert good(id=1).digest != good(id=2).digest
    assert good().digest != good(text="Another text.").digest
    assert good().digest != good(evidence=[{"text": "A"}]).digest


def test_odd_numbers_do_not_raise() -> None:
    bad({"text": "A claim.", "id": math.nan})
    bad({"text": "A claim.", "id": True} | {"date": []})


def test_a_claim_from_flags_obeys_the_same_rules() -> None:
    claim = make_claim("The bridge  was closed.", date="2024-05-31", evidence=("Yes.",), moment=NOW)
    assert claim.text == "The bridge was closed."
    assert claim.evidence is not None
    assert claim.evidence[0].origin == "row"
    with pytest.raises(InvalidInput, match="text: is empty"):
        make_claim("  ", moment=NOW)


def test_the_schema_describes_a_row() -> None:
    import jsonschema

    schema = row_schema()
    jsonschema.validate({"id": 1, "text": "x", "evidence": None, "extra": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"id": 1}, schema)
