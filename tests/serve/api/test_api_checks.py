"""One claim is answered at once, many become a job; whoever asks twice under one key is served once."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_samples import Served, serving, settings_of, until


def events(answer: httpx.Response) -> list[dict[str, str]]:
    """The events of a stream that has ended."""
    found = []
    for block in answer.text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in (":", ""))
        if "event" in fields:
            found.append(fields)
    return found


def finished(client: httpx.Client, job: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        told: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
        return told if told["finished_at"] else None

    found: dict[str, Any] = until(ended)
    return found


def test_one_claim_is_answered_and_kept(client: httpx.Client) -> None:
    answer = client.post("/v1/checks", json={"text": "This is fake.", "id": 7, "date": "2024-05-31"})
    told = answer.json()
    assert answer.status_code == 200
    assert told["created"] is True
    assert (told["verdict"]["verdict"], told["verdict"]["id"]) == ("fake", 7)
    kept = client.get(f"/v1/verdicts/{told['id']}").json()
    assert kept["claim"] == "This is fake."
    assert [entry["label"] for entry in kept["timeline"]] == ["fake"]
    again = client.post("/v1/checks", json={"text": "This is fake.", "date": "2024-05-31"}).json()
    assert (again["id"], again["created"]) == (told["id"], False)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/text"),
        ({"text": ""}, "/text"),
        ({"text": 3}, "/text"),
        ({"text": "a", "more": 1}, "/more"),
        ({"text": "a", "options": {"risk": 2.0}}, "/options/risk"),
        ({"text": "a", "options": {"online": True}}, "/options/online"),
        ({"rows": []}, "/rows"),
        ({"rows": [{"text": "a"}, {"id": 2}]}, "/rows/1/text"),
        ({"rows": [{"text": "a"}], "text": "b"}, "/text"),
    ],
)
def test_a_body_that_is_not_as_described_is_refused_by_its_place(
    client: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/v1/checks", json=body)
    told = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["type"].endswith("#invalid")
    assert pointer in [one.get("pointer") for one in told["errors"]]


@pytest.mark.parametrize(
    "row", [{"text": "   "}, {"text": "a claim", "date": "31 May"}, {"text": "x", "date": "2999-01-01"}]
)
def test_a_row_that_cannot_be_checked_says_why(client: httpx.Client, row: dict[str, Any]) -> None:
    answer = client.post("/v1/checks", json=row)
    assert answer.status_code == 422
    assert "line 1" not in answer.json()["detail"]


def test_a_checker_that_fails_does_not_show_what_it_said(client: httpx.Client, served: Served) -> None:
    answer = client.post("/v1/checks", json={"text": "explode"})
    assert answer.status_code == 422
    assert client.post("/v1/checks", json={"text": "It is real."}).status_code == 200


def test_many_claims_become_a_job(client: httpx.Client) -> None:
    rows = [{"text": f"Claim {n} is fake.", "id": n} for n in range(5)]
    handed = client.post("/v1/checks", json={"rows": rows, "options": {"brief": True}})
    assert handed.status_code == 202
    job = handed.json()["id"]
    assert handed.headers["location"] == f"/v1/jobs/{job}"
    done = finished(client, job)
    assert (done["state"], done["counts"], done["finished"]) == ("done", {"done": 5}, 5)
    first = client.get(f"/v1/jobs/{job}/results", params={"limit": 3}).json()
    rest = client.get(f"/v1/jobs/{job}/results", params={"limit": 3, "cursor": first["cursor"]}).json()
    assert [line["result"]["id"] for line in first["results"] + rest["results"]] == [0, 1, 2, 3, 4]
    assert rest["cursor"] is None


def test_one_claim_can_be_a_job_too(client: httpx.Client) -> None:
    handed = client.post("/v1/checks", json={"text": "It is real."}, headers={"Prefer": "respond-async, wait=1"})
    assert handed.status_code == 202
    assert finished(client, handed.json()["id"])["counts"] == {"done": 1}


def test_a_bad_row_costs_only_itself(client: httpx.Client) -> None:
    rows = [{"text": "It is real."}, {"text": "explode"}, {"text": "ok", "date": "2999-01-01"}]
    job = client.post("/v1/checks", json={"rows": rows}).json()["id"]
    finished(client, job)
    lines = client.get(f"/v1/jobs/{job}/results").json()["results"]
    assert [line["state"] for line in lines] == ["done", "failed", "failed"]
    assert lines[1]["error"]
    assert "2999" in lines[2]["error"]


def test_progress_is_told_as_it_happens_and_can_be_taken_up(client: httpx.Client) -> None:
    rows = [{"text": f"Row {n} is real."} for n in range(4)]
    job = client.post("/v1/checks", json={"rows": rows}).json()["id"]
    stream = client.get(f"/v1/jobs/{job}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    told = events(stream)
    results = [json.loads(one["data"]) for one in told if one["event"] == "result"]
    assert [one["position"] for one in results] == [0, 1, 2, 3]
    assert {one["label"] for one in results} == {"real"}
    assert told[-1]["event"] == "end"
    assert json.loads(told[-1]["data"])["state"] == "done"
    later = events(client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "1"}))
    assert [one["id"] for one in later if one["event"] == "result"] == ["2", "3"]


def test_a_cancelled_job_ends_and_keeps_what_was_finished(tmp_path: Path) -> None:
    with serving(tmp_path, settings=settings_of(workers=1)) as served, served.client() as client:
        served.reader.go.clear()
        rows = [{"text": f"Row {n} is real."} for n in range(40)]  # more than a worker takes together
        job = client.post("/v1/checks", json={"rows": rows}).json()["id"]
        assert served.reader.begun.wait(30)
        ended = client.delete(f"/v1/jobs/{job}").json()
        assert (ended["state"], ended["counts"]) == ("cancelled", {"cancelled": 40})
        served.reader.go.set()
        assert events(client.get(f"/v1/jobs/{job}/events"))[-1]["event"] == "end"
        assert client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"


def test_the_same_request_under_one_key_is_carried_out_once(client: httpx.Client, served: Served) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"rows": [{"text": "It is real."}]}
    first = client.post("/v1/checks", json=body, headers=key)
    again = client.post("/v1/checks", json=body, headers=key)
    assert first.json() == again.json()
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["location"] == first.headers["location"]
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    other = client.post("/v1/checks", json={"text": "Another."}, headers=key)
    assert (other.status_code, other.json()["type"].partition("#")[2]) == (422, "key-reused")
    with served.client(served.key(tenant="somebody else")) as stranger:
        assert stranger.post("/v1/checks", json=body, headers=key).json()["id"] != first.json()["id"]


def test_an_error_is_not_kept_under_an_idempotency_key(client: httpx.Client) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    assert client.post("/v1/checks", json={"text": "  "}, headers=key).status_code == 422
    assert client.post("/v1/checks", json={"text": "  "}, headers=key).json()["type"].endswith("#invalid")


def test_the_same_request_while_it_is_carried_out_is_told_to_wait(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as client, ThreadPoolExecutor(1) as aside:
        served.reader.go.clear()
        key = {"Idempotency-Key": "k"}
        first = aside.submit(client.post, "/v1/checks", json={"text": "It is real."}, headers=key)
        assert served.reader.begun.wait(30)
        second = client.post("/v1/checks", json={"text": "It is real."}, headers=key)
        assert (second.status_code, second.json()["type"].partition("#")[2]) == (409, "in-progress")
        assert int(second.headers["retry-after"]) >= 1
        served.reader.go.set()
        assert first.result().status_code == 200
        assert len(served.database.verdicts.timelines("", [uuid.UUID(first.result().json()["id"])])[0]) == 1


def test_checks_that_wait_together_are_checked_together(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as client, ThreadPoolExecutor(8) as aside:
        served.reader.go.clear()
        first = aside.submit(client.post, "/v1/checks", json={"text": "Claim 0."})
        assert served.reader.begun.wait(30)
        rest = [aside.submit(client.post, "/v1/checks", json={"text": f"Claim {n}."}) for n in range(1, 7)]
        until(lambda: len(served.parts.line) == 6)
        served.reader.go.set()
        assert {one.result().status_code for one in (first, *rest)} == {200}
        assert served.reader.sizes == [1, 6]


def test_a_full_line_is_told_to_come_again_and_reads_go_on(tmp_path: Path) -> None:
    with (
        serving(tmp_path, settings=settings_of(waiting=2)) as served,
        served.client() as client,
        ThreadPoolExecutor(8) as aside,
    ):
        served.reader.go.clear()
        first = aside.submit(client.post, "/v1/checks", json={"text": "Claim 0."})
        assert served.reader.begun.wait(30)
        waiting = [aside.submit(client.post, "/v1/checks", json={"text": f"Claim {n}."}) for n in (1, 2)]
        until(lambda: len(served.parts.line) == 2)
        refused = client.post("/v1/checks", json={"text": "Claim 3."})
        assert (refused.status_code, refused.json()["type"].partition("#")[2]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/v1/verdicts").status_code == 200
        served.reader.go.set()
        assert {one.result().status_code for one in (first, *waiting)} == {200}
        assert client.post("/v1/checks", json={"text": "Claim 3."}).status_code == 200


def test_who_hangs_up_leaves_the_line(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as client, ThreadPoolExecutor(2) as aside:
        served.reader.go.clear()
        first = aside.submit(client.post, "/v1/checks", json={"text": "Claim 0."})
        assert served.reader.begun.wait(30)
        with pytest.raises(httpx.ReadTimeout), served.client() as hasty:
            hasty.post("/v1/checks", json={"text": "Claim 1."}, timeout=1)
        until(lambda: not len(served.parts.line))
        served.reader.go.set()
        assert first.result().status_code == 200
        assert client.post("/v1/checks", json={"text": "Claim 2."}).status_code == 200
        assert served.reader.sizes == [1, 1]
