"""What is watched, what came of it, who was told, who may ask."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from api_samples import Served, verdict

from weighup.serve.db.records import Check, FeedItemOutcome, NewAlert, NewItem, Poll


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def test_a_feed_is_watched_paused_and_forgotten(client: httpx.Client) -> None:
    added = client.post("/v1/feeds", json={"url": "https://EXAMPLE.org/news.rss", "every": 600})
    feed = added.json()
    assert (added.status_code, added.headers["location"]) == (201, f"/v1/feeds/{feed['id']}")
    assert (feed["url"], feed["every"], feed["enabled"]) == ("https://example.org/news.rss", 600.0, True)
    again = client.post("/v1/feeds", json={"url": "https://example.org/news.rss"}).json()
    assert again == feed
    assert client.get("/v1/feeds").json() == {"feeds": [feed]}
    paused = client.patch(f"/v1/feeds/{feed['id']}", json={"enabled": False}).json()
    assert paused["enabled"] is False
    assert client.get(f"/v1/feeds/{feed['id']}").json() == paused
    assert client.delete(f"/v1/feeds/{feed['id']}").status_code == 204
    assert client.get(f"/v1/feeds/{feed['id']}").status_code == 404
    assert client.delete(f"/v1/feeds/{feed['id']}").status_code == 404
    done = [one["what"] for one in client.get("/v1/audit").json()["entries"]]
    assert done == ["feed removed", "feed paused", "feed added"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.org/",
        "data:text/xml,<rss/>",
        "http://127.0.0.1/",
        "http://localhost/feed",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user:password@example.org/",
        "http://10.0.0.1/",
        "//example.org/",
        "example.org",
        "http://",
        " ",
    ],
)
def test_an_address_that_is_no_public_web_address_is_refused(client: httpx.Client, url: str) -> None:
    refused = client.post("/v1/feeds", json={"url": url})
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("#invalid")
    assert client.get("/v1/feeds").json() == {"feeds": []}


@pytest.mark.parametrize(
    "body", [{}, {"url": "https://example.org/", "every": 1}, {"url": "https://a.org/", "kind": "x"}]
)
def test_a_feed_that_is_not_as_described_is_refused(client: httpx.Client, body: dict[str, Any]) -> None:
    assert client.post("/v1/feeds", json=body).status_code == 422


def test_stories_show_their_entries_with_the_verdict_on_each(client: httpx.Client, served: Served, tenant: str) -> None:
    database = served.database
    feed = database.feeds.add(tenant, ["https://example.org/news.rss"])[0]
    entries = [NewItem(n, f"Entry {n} is fake.", f"https://example.org/{n}", f"Entry {n}") for n in ("1", "2")]
    database.feeds.polled([Poll(feed.id, entries)])
    taken = {item.title: item for item in database.feeds.items(tenant)}
    story = database.stories.put(tenant, "Entries", [item.id for item in taken.values()])
    first = taken["Entry 1"]
    check = Check(verdict(first.text, 0.9), first.check_key, tenant)
    database.feeds.finish_items([FeedItemOutcome(first.id, "checked", check, story)])
    listed = client.get("/v1/stories").json()["stories"]
    assert [(one["id"], one["title"], one["items"]) for one in listed] == [(str(story), "Entries", 2)]
    shown = {one["title"]: one for one in client.get(f"/v1/stories/{story}").json()["items"]}
    assert (shown["Entry 1"]["state"], shown["Entry 2"]["state"]) == ("checked", "new")
    assert client.get(f"/v1/verdicts/{shown['Entry 1']['verdict_id']}").json()["label"] == "fake"
    assert client.get("/v1/stories", params={"since": "2999-01-01"}).json() == {"stories": []}


def test_dead_alerts_are_shown_and_tried_again(client: httpx.Client, served: Served, tenant: str) -> None:
    alerts = served.database.alerts
    told = {"type": "verdict.changed", "claim": "It is fake."}
    alerts.put([NewAlert("k", "webhook", "https://example.org/hook", told, tenant)])
    number = next(one["id"] for one in client.get("/v1/alerts").json()["alerts"])
    assert client.post(f"/v1/alerts/{number}/retry").status_code == 404
    while taken := alerts.take("test"):
        for alert in taken:
            alerts.failed(alert.id, "the receiver answered 500", final=True)
    dead = client.get("/v1/alerts", params={"state": "dead"}).json()["alerts"]
    assert [(one["id"], one["claim"], one["last_error"]) for one in dead] == [
        (number, "It is fake.", "the receiver answered 500")
    ]
    assert client.post(f"/v1/alerts/{number}/retry").json() == {"revived": 1}
    assert client.get("/v1/alerts", params={"state": "dead"}).json() == {"alerts": []}
    assert client.get("/v1/audit").json()["entries"][0]["what"] == "alert retried"


def test_keys_are_made_listed_and_revoked(client: httpx.Client, served: Served) -> None:
    made = client.post("/v1/keys", json={"name": "desk", "scopes": ["read"], "per_minute": 5, "days": 2})
    told = made.json()
    assert made.status_code == 201
    assert told["key"].startswith(f"wu_{told['prefix']}_")
    assert (told["scopes"], told["per_minute"]) == (["read"], 5)
    with served.client(told["key"]) as desk:
        assert desk.get("/v1/verdicts").status_code == 200
        assert desk.get("/v1/keys").status_code == 403
        assert client.delete(f"/v1/keys/{told['prefix']}").status_code == 204
        assert desk.get("/v1/verdicts").status_code == 401
    listed = client.get("/v1/keys")
    assert told["key"] not in listed.text
    assert next(one for one in listed.json()["keys"] if one["prefix"] == told["prefix"])["revoked_at"]
    assert client.delete(f"/v1/keys/{told['prefix']}").status_code == 204
    assert client.delete("/v1/keys/ffffffffffff").status_code == 404
    entries = client.get("/v1/audit", params={"subject": f"key:{told['prefix']}"}).json()["entries"]
    assert [one["what"] for one in entries] == ["key revoked", "key created"]
    older = client.get("/v1/audit", params={"before": entries[0]["id"], "subject": f"key:{told['prefix']}"}).json()
    assert [one["what"] for one in older["entries"]] == ["key created"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["all"]},
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": ["read"], "tenant": "other"},
    ],
)
def test_a_key_that_is_not_as_described_is_not_made(client: httpx.Client, body: dict[str, Any]) -> None:
    before = client.get("/v1/keys").json()
    assert client.post("/v1/keys", json=body).status_code == 422
    assert client.get("/v1/keys").json() == before


def test_methods_are_those_of_the_registry(client: httpx.Client) -> None:
    from weighup.registry import methods

    told = client.get("/v1/methods").json()
    assert [(one["room"], one["name"]) for one in told["methods"]] == [(m.room, m.name) for m in methods()]


def test_an_id_of_another_kind_is_not_found(client: httpx.Client, served: Served, tenant: str) -> None:
    number = served.database.verdicts.record([Check(verdict("It is real.", 0.1), "k", tenant)])[0].id
    assert client.get(f"/v1/verdicts/{number}").status_code == 200
    for path in ("jobs", "feeds", "stories"):
        assert client.get(f"/v1/{path}/{number}").status_code == 404
    assert client.post(f"/v1/alerts/{uuid.uuid4()}/retry").status_code == 404
