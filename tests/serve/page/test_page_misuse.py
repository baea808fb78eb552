"""Whatever is sent to the pages, they answer as they should: never with an error of their own making."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_samples import Desk, Parsed, desk

ANY = st.text(st.characters(codec="utf-8"), max_size=60)
FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(q=ANY, label=ANY, since=ANY, order=ANY, cursor=ANY)
def test_any_filter_is_shown_or_refused(local: Desk, q: str, label: str, since: str, order: str, cursor: str) -> None:
    given = {"q": q, "label": label, "since": since, "order": order, "cursor": cursor}
    page = local.reader().open("/verdicts", params=given)
    assert page.status_code in (200, 422), (given, page.text[-800:])
    assert len(Parsed(page.text).of("script")) == 2


@FEW
@given(q=ANY, before=ANY)
def test_any_search_is_answered_or_refused(local: Desk, q: str, before: str) -> None:
    page = local.reader().open("/search", params={"q": q, "before": before})
    assert page.status_code in (200, 422), (q, before)
    assert len(Parsed(page.text).of("script")) == 2


@FEW
@given(note=st.text(st.characters(codec="utf-8"), max_size=3_000))
def test_any_note_is_kept(local: Desk, note: str) -> None:
    reader, id = local.reader(), local.ids["real"]
    reader.open(f"/verdicts/{id}")
    assert reader.send(f"/verdicts/{id}/label", label="real", note=note).status_code == 200


@FEW
@given(text=ANY, source=ANY, once=ANY, date=ANY)
def test_any_claim_is_taken_or_refused(local: Desk, text: str, source: str, once: str, date: str) -> None:
    reader = local.reader()
    reader.open("/")
    page = reader.send("/checks", text=text, source=source, once=once, date=date)
    assert page.status_code in (200, 422), (text, source, once, date)


@pytest.mark.parametrize(
    "cookie",
    [
        "weighup=",
        "weighup=x",
        "weighup=" + "a" * 43,
        "weighup=" + "a" * 8_000,
        "weighup=é; weighup=b",
        "=;;=",
        "\xff\xfe",
    ],
    ids=lambda text: text[:12],
)
def test_any_cookie_is_nobodys(keyed: Desk, cookie: str) -> None:
    got = httpx.get(f"{keyed.url}/verdicts", headers={b"Cookie": cookie.encode("latin-1")})
    assert got.status_code == 303
    assert got.headers["location"] == "/signin?next=%2Fverdicts"


def test_a_form_holds_no_files_and_few_fields(local: Desk) -> None:
    reader = local.reader()
    reader.open("/")
    told = {"csrf": reader.token(), "text": "The dam broke."}
    origin = {"Origin": local.url}
    file = reader.client.post("/checks", data=told, files={"file": b"x"}, headers=origin)
    assert file.status_code == 400
    many = [*told, *(f"f{n}" for n in range(200))]
    crowd = reader.client.post("/checks", files=dict.fromkeys(many, (None, "x")), headers=origin)
    assert crowd.status_code == 400
    as_json = reader.client.post("/checks", json=told, headers=origin)
    assert as_json.status_code == 403
    large = reader.client.post("/checks", data={**told, "text": "x" * 3_000_000}, headers=origin)
    assert large.status_code == 413


def test_a_name_that_is_not_ours_shows_nothing(local: Desk) -> None:
    got = httpx.get(f"{local.url}/verdicts", headers={"Host": "desk.evil.example"})
    assert got.status_code == 421
    assert "bleach" not in got.text


def test_a_page_of_another_site_reads_nothing_of_this_machines_user(local: Desk) -> None:
    for mode in ("no-cors", "cors"):
        told = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": "empty"}
        got = httpx.get(f"{local.url}/verdicts", headers=told)
        assert got.status_code == 303
        assert "bleach" not in got.text
        assert "access-control-allow-origin" not in got.headers


def test_a_path_with_two_slashes_leads_nowhere_else(keyed: Desk) -> None:
    where = urlsplit(keyed.url)
    assert where.hostname is not None
    assert where.port is not None
    with socket.create_connection((where.hostname, where.port), 30) as raw:
        raw.sendall(
            b"GET //evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        while part := raw.recv(65_536):
            answer += part
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b" 404 " in head.splitlines()[0]
    assert b"\r\nlocation:" not in head


def test_a_key_that_asks_too_fast_is_told_when_to_come_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    with desk(tmp_path_factory.mktemp("fast")) as running:
        key = running.served.key("read", tenant="", per_minute=3)
        reader = running.reader(headers={"Authorization": f"Bearer {key}"})
        codes = [reader.open("/verdicts").status_code for _ in range(6)]
        assert codes[0] == 200
        assert codes[-1] == 429
        assert reader.page is not None
        assert int(reader.page.headers["retry-after"]) >= 1
        assert "Too many requests" in reader.text
