"""/v1/evidence searches the stores, online nowhere, and bounds what it finds by date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_samples import serving

from weighup.dates import parse_bound
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("evidence")
    told = [
        ("The old dam broke after heavy rain.", "2024-03-01"),
        ("Engineers had warned that the dam might break.", "2024-01-05"),
        ("The mayor opened a new library.", "2024-02-01"),
    ]
    documents = [
        Document(text=text, url=f"https://example.org/{n}", title=f"Report {n}", published=parse_bound(date))
        for n, (text, date) in enumerate(told)
    ]
    with EvidenceStore.open(folder / "evidence.sqlite") as store:
        store.add(documents)
        with serving(folder, stores=[store]) as served, served.client() as client:
            yield client


def found(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/evidence", params=query)
    assert answer.status_code == 200, answer.text
    passages: list[dict[str, Any]] = answer.json()["passages"]
    return passages


def test_passages_are_found_best_first(evidence: httpx.Client) -> None:
    passages = found(evidence, q="dam broke")
    assert passages[0]["text"] == "The old dam broke after heavy rain."
    assert passages[0]["url"] == "https://example.org/0"
    assert passages[0]["date"].startswith("2024-03-01")
    assert [one["score"] for one in passages] == sorted((one["score"] for one in passages), reverse=True)
    assert len(found(evidence, q="dam", limit=1)) == 1


def test_nothing_is_found_that_was_published_later(evidence: httpx.Client) -> None:
    assert {one["title"] for one in found(evidence, q="dam", before="2024-02-01")} == {"Report 1"}
    assert found(evidence, q="library", before="2023-01-01") == []


@pytest.mark.parametrize(
    "query", [{}, {"q": ""}, {"q": "?!"}, {"q": "dam", "before": "soon"}, {"q": "dam", "limit": 51}]
)
def test_a_search_that_makes_no_sense_is_refused(evidence: httpx.Client, query: dict[str, Any]) -> None:
    assert evidence.get("/v1/evidence", params=query).status_code == 422


def test_a_store_that_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    with EvidenceStore.open(tmp_path / "gone.sqlite") as store:
        pass
    with serving(tmp_path, stores=[store]) as served, served.client() as client:
        answer = client.get("/v1/evidence", params={"q": "dam"})
        assert (answer.status_code, answer.json()["type"].partition("#")[2]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert str(tmp_path) not in answer.text
