"""What is stored: lists with filters, one verdict with its timeline, as ClaimReview, and what people say of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from api_samples import Served, verdict

from weighup.serve.db.claim_vectors import ClaimVector
from weighup.serve.db.records import Check

NOON = datetime(2026, 5, 10, 12, tzinfo=UTC)


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def stored(served: Served, tenant: str) -> list[str]:
    """Ids of five verdicts, oldest first: P(fake) 0.1, 0.3, 0.5, 0.7, 0.9."""
    checks = [
        Check(
            verdict(f"Claim number {n} about the dam.", 0.1 + 0.2 * n, date=f"2026-04-0{n + 1}"),
            "k",
            tenant,
            at=NOON + timedelta(hours=n),
            settled=n == 0,
            source="example.org",
            url="https://example.org/a",
            lang="en",
        )
        for n in range(5)
    ]
    return [str(one.id) for one in served.database.verdicts.record(checks)]


def ids(client: httpx.Client, **query: Any) -> list[str]:
    answer = client.get("/v1/verdicts", params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["verdicts"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"label": "fake"}, [4, 3]),
        ({"label": ["fake", "real"]}, [4, 3, 1, 0]),
        ({"q": "dam"}, [4, 3, 2, 1, 0]),
        ({"q": "number 3"}, [3]),
        ({"q": "bridge"}, []),
        ({"since": "2026-05-10T14:00:00Z"}, [4, 3, 2]),
        ({"until": "2026-05-10T14:00:00Z"}, [1, 0]),
        ({"dated_since": "2026-04-03", "dated_until": "2026-04-05"}, [3, 2]),
        ({"low": 0.25, "high": 0.6}, [2, 1]),
        ({"settled": "true"}, [0]),
        ({"settled": "false"}, [4, 3, 2, 1]),
        ({"reviewed": "true"}, []),
        ({"order": "uncertain", "limit": 1}, [2]),
        ({"limit": 2}, [4, 3]),
    ],
)
def test_lists_are_narrowed_by_every_filter(
    client: httpx.Client, stored: list[str], query: dict[str, Any], expected: list[int]
) -> None:
    assert ids(client, **query) == [stored[n] for n in expected]


def test_a_list_is_read_page_by_page(client: httpx.Client, stored: list[str]) -> None:
    seen, cursor = [], None
    for _ in range(3):
        page = client.get("/v1/verdicts", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["id"] for one in page["verdicts"]]
        cursor = page["cursor"]
    assert cursor is None
    assert seen == stored[::-1]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 201},
        {"label": "true"},
        {"low": 2},
        {"low": "nan"},
        {"low": 0.9, "high": 0.1},
        {"since": "yesterday"},
        {"cursor": "nonsense"},
        {"q": "?!"},
        {"order": "oldest"},
        {"settled": "perhaps"},
    ],
)
def test_a_filter_that_makes_no_sense_is_named(client: httpx.Client, query: dict[str, Any]) -> None:
    answer = client.get("/v1/verdicts", params=query)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_one_verdict_has_its_timeline_and_its_labels(
    client: httpx.Client, served: Served, stored: list[str], tenant: str
) -> None:
    again = Check(verdict("Claim number 2 about the dam.", 0.8, date="2026-04-03"), "later", tenant)
    served.database.verdicts.record([again])
    assert client.post("/v1/feedback", json={"verdict_id": stored[2], "label": "fake", "note": "seen it"}).is_success
    told = client.get(f"/v1/verdicts/{stored[2]}").json()
    assert [(one["label"], one["reason"]) for one in told["timeline"]] == [("unknown", "first"), ("fake", "recheck")]
    assert told["verdict"]["evidence"][0]["stance"] == "refutes"
    assert [(one["label"], one["note"]) for one in told["feedback"]] == [("fake", "seen it")]
    assert ids(client, reviewed="true") == [stored[2]]


def vectored(text: str, *vector: float, tenant: str) -> Check:
    return Check(verdict(text, 0.9), "k", tenant, vector=ClaimVector.of("reader@1", vector))


def test_what_is_like_a_claim_is_told_nearest_first_and_nothing_of_another_tenant(
    client: httpx.Client, served: Served, tenant: str
) -> None:
    checks = [
        vectored("The dam broke.", 1, 0, tenant=tenant),
        vectored("The dam has broken.", 0.8, 0.6, tenant=tenant),
        vectored("A dam broke.", 0.96, 0.28, tenant=tenant),
        vectored("It rained.", 0, 1, tenant=tenant),
        Check(verdict("No vector.", 0.5), "k", tenant),
        vectored("Another's dam broke.", 1, 0, tenant=f"{tenant}2"),
    ]
    made = [str(one.id) for one in served.database.verdicts.record(checks)]

    def told(number: str, **query: Any) -> list[tuple[str, float]]:
        answer = client.get(f"/v1/verdicts/{number}/similar", params=query)
        assert answer.status_code == 200, answer.text
        return [(one["claim"], one["similarity"]) for one in answer.json()["verdicts"]]

    assert told(made[0]) == [("A dam broke.", 0.96), ("The dam has broken.", 0.8)]
    assert told(made[0], limit=1) == [("A dam broke.", 0.96)]
    assert told(made[0], least=0.9) == [("A dam broke.", 0.96)]
    assert told(made[0], least=0)[-1] == ("It rained.", 0.0)
    assert told(made[4]) == []
    assert client.get(f"/v1/verdicts/{made[5]}/similar").status_code == 404
    for wrong in ({"limit": 0}, {"limit": 101}, {"least": 2}):
        assert client.get(f"/v1/verdicts/{made[0]}/similar", params=wrong).status_code == 422


@pytest.mark.parametrize(
    "path",
    ["/v1/verdicts/{}", "/v1/verdicts/{}/similar", "/v1/verdicts/{}/claimreview", "/v1/jobs/{}", "/v1/stories/{}"],
)
def test_what_is_not_there_is_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(path.format(uuid.uuid4())).status_code == 404
    assert client.get(path.format("7")).status_code == 422


def test_a_verdict_as_claimreview(client: httpx.Client, stored: list[str], served: Served) -> None:
    answer = client.get(f"/v1/verdicts/{stored[4]}/claimreview")
    told = answer.json()
    assert answer.headers["content-type"] == "application/ld+json"
    assert (told["@context"], told["@type"]) == ("https://schema.org", "ClaimReview")
    assert told["claimReviewed"] == "Claim number 4 about the dam."
    assert told["reviewRating"]["ratingValue"] == 1.4  # P(real) of 0.1, on the scale from 1 to 5
    assert (told["reviewRating"]["worstRating"], told["reviewRating"]["bestRating"]) == (1, 5)
    assert told["itemReviewed"]["datePublished"].startswith("2026-04-05")
    assert told["itemReviewed"]["author"]["name"] == "example.org"
    assert told["url"] == f"{served.url}/v1/verdicts/{stored[4]}"
    assert told["citation"][0]["url"] == "https://example.org/never"
    by_type = client.get(f"/v1/verdicts/{stored[4]}", headers={"Accept": "application/ld+json"})
    assert by_type.json() == told


def test_a_verdict_of_unknown_is_rated_in_words_only(client: httpx.Client, stored: list[str]) -> None:
    rating = client.get(f"/v1/verdicts/{stored[2]}/claimreview").json()["reviewRating"]
    assert "ratingValue" not in rating
    assert rating["alternateName"]


def test_what_is_no_claim_has_no_review(client: httpx.Client, served: Served, tenant: str) -> None:
    nothing = verdict("Hello there!", 0.5).model_copy(update={"verdict": "not_checkable", "expert": None})
    number = served.database.verdicts.record([Check(nothing, "k", tenant)])[0].id
    assert client.get(f"/v1/verdicts/{number}/claimreview").status_code == 404
    refused = client.get(f"/v1/verdicts/{number}", headers={"Accept": "application/ld+json"})
    assert (refused.status_code, refused.json()["type"].partition("#")[2]) == (406, "not-acceptable")


def test_a_humans_label_is_kept_once_and_written_into_the_audit_log(client: httpx.Client, stored: list[str]) -> None:
    key = {"Idempotency-Key": "label-1"}
    body = {"verdict_id": stored[0], "label": "fake", "note": "It was a hoax."}
    first = client.post("/v1/feedback", json=body, headers=key)
    again = client.post("/v1/feedback", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.headers["location"] == f"/v1/verdicts/{stored[0]}"
    listed = client.get("/v1/feedback").json()["feedback"]
    assert [(one["verdict_id"], one["label"]) for one in listed] == [(stored[0], "fake")]
    assert client.get("/v1/feedback", params={"since": "2999-01-01"}).json() == {"feedback": []}
    entry = client.get("/v1/audit", params={"subject": f"verdict:{stored[0]}"}).json()["entries"][0]
    assert (entry["what"], entry["before"]["label"], entry["after"]["label"]) == ("feedback", "real", "fake")
    assert entry["who"].startswith("key ")


@pytest.mark.parametrize(
    "wrong",
    [{"verdict_id": None}, {"verdict_id": "7"}, {"label": "wrong"}, {"label": None}, {"note": "x" * 2001}, {"a": 1}],
)
def test_a_label_that_is_none_is_refused(client: httpx.Client, stored: list[str], wrong: dict[str, Any]) -> None:
    body = {"verdict_id": stored[0], "label": "fake"}
    assert client.post("/v1/feedback", json=body | wrong).status_code == 422
    assert client.get("/v1/feedback").json() == {"feedback": []}
