"""Signing in, and who may do what at the pages: keys, cookies, tokens, tenants."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import httpx
import pytest
from page_samples import Desk, Reader, desk, fill

from weighup.serve.db.records import VerdictFilter
from weighup.serve.page import session
from weighup.serve.page.session import Sessions

PAGES = ("/", "/verdicts", "/stories", "/feeds", "/review", "/arena", "/search", "/model")
NOBODY = "00000000-0000-4000-8000-000000000000"


def signed_in(desk: Desk, *scopes: str, tenant: str = "a") -> Reader:
    reader = desk.reader()
    reader.open("/signin")
    reader.send("/signin", key=desk.served.key(*scopes, tenant=tenant), next="/model")
    assert "Model card" in reader.text
    return reader


@pytest.fixture(scope="module")
def filled(keyed: Desk) -> dict[str, uuid.UUID]:
    """Samples of the tenant `a`."""
    return fill(keyed.database, "a")[0]


def test_who_has_not_signed_in_is_sent_to_do_so(keyed: Desk, filled: dict[str, uuid.UUID]) -> None:
    for path in (*PAGES, f"/verdicts/{filled['fake']}?x=1"):
        got = httpx.get(keyed.url + path, headers={"Accept": "text/html"})
        assert got.status_code == 303, path
        assert got.headers["location"].startswith("/signin"), path
    assert got.headers["location"] == f"/signin?next=%2Fverdicts%2F{filled['fake']}%3Fx%3D1"
    fragment = httpx.get(f"{keyed.url}/review", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (204, "/signin")


def test_signing_in_and_out(keyed: Desk, filled: dict[str, uuid.UUID]) -> None:
    reader = keyed.reader()
    reader.open(f"/verdicts/{filled['fake']}")
    assert "<h1>Sign in</h1>" in reader.text
    before = dict(reader.client.cookies)["weighup"]
    page = reader.send("/signin", key=keyed.served.key("read", tenant="a"), next=f"/verdicts/{filled['fake']}")
    assert str(page.url).endswith(f"/verdicts/{filled['fake']}")
    assert "Drinking bleach cures" in page.text
    after = dict(reader.client.cookies)["weighup"]
    assert after != before  # a name that was planted is worth nothing
    assert "signed in" in [entry.what for entry in keyed.database.audit.read("a")]
    reader.send("/signout")
    assert "<h1>Sign in</h1>" in reader.open("/verdicts").text
    reader.client.cookies.set("weighup", after, domain="127.0.0.1")
    assert "<h1>Sign in</h1>" in reader.open("/verdicts").text


def test_the_cookie_is_kept_from_scripts_and_other_sites(keyed: Desk) -> None:
    reader = keyed.reader()
    told = reader.open("/signin").headers["set-cookie"]
    flags = {part.strip().lower() for part in told.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert "secure" not in flags  # over http it would not come back
    assert "set-cookie" not in reader.open("/signin").headers


@pytest.mark.parametrize("public", ["https://desk.example.org", "HTTPS://desk.example.org/"])
def test_over_https_the_cookie_needs_https(tmp_path_factory: pytest.TempPathFactory, public: str) -> None:
    with desk(tmp_path_factory.mktemp("https"), public_url=public) as running:
        told = running.reader().open("/signin").headers["set-cookie"]
    assert told.startswith("__Host-weighup=")
    assert "; secure" in told.lower()


@pytest.mark.parametrize("key", ["", "wu_x", "wu_0123456789ab_" + "0" * 64, "x" * 10_000, "é\u202e", "a b"])
def test_a_wrong_key_opens_nothing(keyed: Desk, key: str) -> None:
    reader = keyed.reader()
    reader.open("/signin")
    page = reader.send("/signin", key=key, next="/verdicts")
    assert page.status_code in (401, 400)
    assert key == "" or key not in page.text
    assert "<h1>Sign in</h1>" in reader.open("/verdicts").text


def test_wrong_keys_are_slowed_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    with desk(tmp_path_factory.mktemp("slow")) as running:
        running.served.key("read", tenant="nobody")
        reader = running.reader()
        reader.open("/signin")
        token = reader.token()
        codes = [
            reader.send("/signin", csrf=token, key=f"wu_0123456789ab_{n}", next="/").status_code for n in range(25)
        ]
    assert codes[0] == 401
    assert codes[-1] == 429


@pytest.mark.parametrize(
    "target",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: a=b", ""],
)
def test_signing_in_leads_nowhere_else(keyed: Desk, target: str) -> None:
    reader = Reader(httpx.Client(base_url=keyed.url))
    reader.open("/signin")
    answer = reader.send("/signin", key=keyed.served.key("read", tenant="a"), next=target)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


def forms(ids: dict[str, uuid.UUID]) -> Iterator[tuple[str, dict[str, str]]]:
    yield "/checks", {"text": "The dam broke on Monday."}
    yield f"/checks/{NOBODY}/cancel", {}
    yield f"/verdicts/{ids['fake']}/label", {"label": "real"}
    yield f"/verdicts/{ids['fake']}/again", {}
    yield f"/verdicts/{ids['fake']}/without", {}
    yield f"/review/{ids['fake']}", {"label": "real"}
    yield f"/arena/{NOBODY}", {"winner": "a"}
    yield "/feeds", {"url": "https://www.example.net/rss"}
    yield f"/feeds/{NOBODY}/remove", {}
    yield "/signout", {}


def test_a_form_without_its_token_is_refused(keyed: Desk, filled: dict[str, uuid.UUID]) -> None:
    reader, other = signed_in(keyed), signed_in(keyed)
    for action, given in forms(filled):
        for token in ("none", "", "0" * 64, "é", other.token()):
            reader.open("/model")
            answer = reader.send(action, csrf=token, **given)
            assert answer.status_code == 403, (action, token)
            assert "out of date" in answer.text
    assert not keyed.database.feedback.of("a", [filled["fake"]])[0]
    assert "https://www.example.net/rss" not in {feed.url for feed in keyed.database.feeds.watched("a")}
    assert reader.open("/verdicts").status_code == 200  # nor was it signed out


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_a_form_of_another_site_is_refused_even_with_its_token(
    keyed: Desk, filled: dict[str, uuid.UUID], headers: dict[str, str]
) -> None:
    reader = signed_in(keyed)
    answer = reader.send(f"/verdicts/{filled['fake']}/label", headers=headers, label="real")
    assert answer.status_code == 403
    assert "another site" in answer.text


def test_this_machines_user_needs_the_token_too(local: Desk) -> None:
    reader = local.reader()
    reader.open("/")
    assert reader.send("/checks", csrf="0" * 64, text="The dam broke on Monday.").status_code == 403
    assert Reader(httpx.Client(base_url=local.url)).send("/checks", csrf="0" * 64, text="x").status_code == 403


def test_a_link_from_another_site_leads_on_by_itself(keyed: Desk, filled: dict[str, uuid.UUID]) -> None:
    reader = signed_in(keyed)
    told = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert "signin" in reader.open("/signin", headers=told).text
    reader.client.cookies.clear()  # as a browser does
    page = reader.open(f"/verdicts/{filled['fake']}", headers=told)
    assert "set-cookie" not in page.headers  # which would sign out whoever is signed in
    assert "set-cookie" not in reader.open("/nothing", headers={"Sec-Fetch-Site": "cross-site"}).headers
    assert f'http-equiv="refresh" content="0;url=/verdicts/{filled["fake"]}"' in page.text
    assert "bleach" not in page.text


@pytest.mark.parametrize(
    ("scopes", "open_to", "closed_to"),
    [
        (
            ("read",),
            ("/verdicts", "/stories", "/search", "/feeds", "/model", "/"),
            ("/review", "/arena", "/arena/board"),
        ),
        (("check",), ("/", "/model"), ("/verdicts", "/review", "/search", "/feeds", "/stories")),
        (("review",), ("/review", "/arena", "/arena/board", "/model"), ("/", "/verdicts", "/feeds")),
        (("feeds",), ("/feeds", "/model"), ("/", "/verdicts", "/review", "/arena")),
        (("admin",), PAGES, ()),
    ],
    ids=str,
)
def test_a_key_opens_what_its_scopes_say(
    keyed: Desk, scopes: tuple[str, ...], open_to: tuple[str, ...], closed_to: tuple[str, ...]
) -> None:
    reader = signed_in(keyed, *scopes)
    for path in open_to:
        assert reader.open(path).status_code == 200, path
    for path in closed_to:
        assert reader.open(path).status_code == 403, path
        assert "needs a key with scope" in reader.text


def test_a_reader_changes_nothing(keyed: Desk, filled: dict[str, uuid.UUID]) -> None:
    reader = signed_in(keyed, "read")
    token = reader.token()
    for action, given in forms(filled):
        if action != "/signout":
            assert reader.send(action, csrf=token, **given).status_code == 403, action
    page = reader.open(f"/verdicts/{filled['fake']}").text
    assert "Keep label" not in page
    assert "Check again" not in page
    assert "Pause" not in reader.open("/feeds").text


def test_another_tenants_things_are_not_there(keyed: Desk, filled: dict[str, uuid.UUID]) -> None:
    ids, story, feed = fill(keyed.database, "theirs")
    reader = signed_in(keyed, tenant="a")
    token = reader.token()
    for path in (f"/verdicts/{ids['fake']}", f"/stories/{story}", f"/verdicts/{ids['fake']}/claimreview.json"):
        assert reader.open(path).status_code == 404, path
    for action, given in (
        (f"/verdicts/{ids['fake']}/label", {"label": "real"}),
        (f"/verdicts/{ids['fake']}/again", {}),
        (f"/verdicts/{ids['fake']}/without", {}),
        (f"/review/{ids['fake']}", {"label": "real"}),
        (f"/feeds/{feed}/remove", {}),
    ):
        assert reader.send(action, csrf=token, **given).status_code == 404, action
    job = keyed.database.jobs.submit("theirs", [{"text": "The dam broke on Monday."}])
    assert reader.open(f"/checks/{job.id}").status_code == 404
    assert reader.send(f"/checks/{job.id}/cancel", csrf=token).status_code == 404
    page = reader.open("/verdicts").text
    assert not [one for one in ids.values() if str(one) in page]
    assert keyed.database.verdicts.page("theirs", VerdictFilter()).verdicts


def test_a_revoked_key_ends_its_sessions_at_once(keyed: Desk) -> None:
    reader = signed_in(keyed, "read")
    prefix = keyed.database.api_keys.known("a")[-1].prefix
    keyed.database.api_keys.revoke([prefix])
    assert "<h1>Sign in</h1>" in reader.open("/verdicts").text


def test_the_cookie_opens_no_api(keyed: Desk, filled: dict[str, uuid.UUID]) -> None:
    reader = signed_in(keyed)
    assert reader.client.get("/v1/verdicts").status_code == 401
    assert reader.client.get("/metrics").status_code == 401
    assert (
        reader.client.post("/v1/feedback", json={"verdict_id": str(filled["fake"]), "label": "real"}).status_code == 401
    )


def test_no_key_is_written_into_the_log(keyed: Desk, caplog: pytest.LogCaptureFixture) -> None:
    key = keyed.served.key("read", tenant="a")
    reader = keyed.reader()
    reader.open("/signin")
    with caplog.at_level(logging.DEBUG, "weighup"):
        reader.send("/signin", key=key, next="/verdicts")
        reader.open("/verdicts")
    assert [record for record in caplog.records if record.name.startswith("weighup")]
    told = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert key not in told
    assert key.rpartition("_")[2] not in told
    assert dict(reader.client.cookies)["weighup"] not in told


def test_a_session_ends_when_nobody_comes_and_in_any_case_some_day() -> None:
    now = 0.0
    sessions = Sessions(clock=lambda: now)
    name = sessions.begin(uuid.uuid4(), "a")
    now = session.IDLE - 1
    assert sessions.find(name) is not None
    now += session.IDLE - 1
    assert sessions.find(name) is not None
    now += session.IDLE + 1
    assert sessions.find(name) is None
    name = sessions.begin(uuid.uuid4(), "a")
    ends = now + session.LONGEST
    while now < ends - session.IDLE:
        now += session.IDLE / 2
        assert sessions.find(name) is not None
    now = ends + 1
    assert sessions.find(name) is None


def test_sessions_are_bounded_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST", 3)
    sessions = Sessions()
    names = [sessions.begin(uuid.uuid4(), "a") for _ in range(5)]
    assert [sessions.find(name) is not None for name in names] == [False, False, True, True, True]


def test_tokens_belong_to_one_browser_of_one_process() -> None:
    one, other = Sessions(), Sessions()
    name = session.new_name()
    assert one.matches(name, one.token(name))
    assert not one.matches(name, other.token(name))
    assert not one.matches(session.new_name(), one.token(name))
    assert not one.matches(None, one.token(name))
