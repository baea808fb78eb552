"""Webhooks against a real receiver on loopback: signed, bounded in time, never led elsewhere."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

import pytest
from alert_samples import SECRET, alert, settings
from webserver import FakeInternet, LoopbackServer, Request, Response

from weighup.serve.alerts.courier import channels
from weighup.serve.alerts.delivery import Undelivered
from weighup.serve.alerts.webhook import Webhook, sign, verify_signature

KNOWN = "c32de42341dece79a1511c9e7f74a2734112edcfcf48943c976faf07047065db"
"""printf '1000.{}' | openssl dgst -sha256 -hmac key"""


@pytest.fixture
def receiver() -> Iterator[LoopbackServer]:
    with LoopbackServer({"/hook/t0ken": Response("thanks")}) as server:
        yield server


def webhook(url: str, **more: object) -> Webhook:
    made = channels(settings(webhook=url, timeout=1.0), **more)["webhook"]  # type: ignore[arg-type]
    assert isinstance(made, Webhook)
    return made


def test_a_message_is_signed_and_names_its_alert(receiver: LoopbackServer) -> None:
    one = alert(claim='Said "no" — 不是真的\u202e')
    way = webhook(f"{receiver.url}/hook/t0ken")
    way.send(one)
    way.send(one)
    first, second = receiver.requests
    assert (first.method, first.headers["content-type"]) == ("POST", "application/json")
    assert first.headers["weighup-alert-id"] == second.headers["weighup-alert-id"] == str(one.id)
    assert first.body == second.body
    told = json.loads(first.body)
    assert (told["id"], told["version"], told["type"]) == (str(one.id), 1, "verdict.changed")
    assert told["claim"] == 'Said "no" — 不是真的'
    signature = first.headers["weighup-signature"]
    assert verify_signature(first.body, signature, SECRET)
    assert verify_signature(first.body, signature, SECRET.encode())
    assert not verify_signature(first.body + b" ", signature, SECRET)
    assert not verify_signature(first.body, signature, SECRET + "x")
    way.close()


def test_signatures_known_answer_age_and_junk() -> None:
    cut = f"t=1000,v1={KNOWN[:32]}"
    made = sign(b"{}", "key", 1000)
    assert made == f"t=1000,v1={KNOWN}"
    assert verify_signature(b"{}", made, "key", now=1000)
    assert verify_signature(b"{}", made, "key", now=1300)
    assert verify_signature(b"{}", made, "key", 10, now=991)
    assert not verify_signature(b"{}", made, "key", now=1301)
    assert not verify_signature(b"{}", made, "key", now=699)
    assert verify_signature(b"{}", f"{made},v1={'0' * 64}", "key", now=1000)
    assert verify_signature(b"{}", f"v1={'0' * 64}, {made}", "key", now=1000)
    moved = made.replace("t=1000", "t=1001")
    junk = [
        "",
        "t=1000",
        "v1=00",
        "t=,v1=",
        "t=-1,v1=a",
        "t=１０００,v1=a",
        "t=1000,t=1000,v1=a",
        "é=1",
        "\0",
        cut,
        moved,
    ]
    junk += [f"t=1000,{made}", "x" * 100_000, made.replace("v1", "v0"), "t=1000,v1=\udcff"]
    for header in junk:
        assert verify_signature(b"{}", header, "key", now=1000) is False, header[:40]


@pytest.mark.parametrize("status", [400, 404, 410, 500])
def test_an_answer_that_is_no_yes_is_a_failure(receiver: LoopbackServer, status: int) -> None:
    receiver.routes["/hook/t0ken"] = Response("\x1b[31mno", status)
    with pytest.raises(Undelivered, match=f"answered {status}$") as failed:
        webhook(f"{receiver.url}/hook/t0ken").send(alert())
    assert failed.value.final is (status == 410)
    assert failed.value.wait is None


@pytest.mark.parametrize(
    ("value", "wait"),
    [("120", 120.0), ("0", 0.0), ("9" * 400, 86_400.0), ("soon", None), ("-5", None), ("1e9", None)],
)
def test_retry_after_is_read(receiver: LoopbackServer, value: str, wait: float | None) -> None:
    receiver.routes["/hook/t0ken"] = Response("", 429, headers={"Retry-After": value})
    with pytest.raises(Undelivered, match="429") as failed:
        webhook(f"{receiver.url}/hook/t0ken").send(alert())
    assert failed.value.wait == wait


def test_retry_after_may_be_a_date(receiver: LoopbackServer) -> None:
    from email.utils import formatdate

    receiver.routes["/hook/t0ken"] = Response("", 503, headers={"Retry-After": formatdate(time.time() + 60)})
    with pytest.raises(Undelivered) as failed:
        webhook(f"{receiver.url}/hook/t0ken").send(alert())
    assert 50 < (failed.value.wait or 0) <= 61


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: LoopbackServer, status: int) -> None:
    world = FakeInternet({"hooks.example": ["93.184.216.34"]}, {"93.184.216.34": receiver.port})
    receiver.routes["/a"] = Response("", status, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
    way = channels(settings(webhook="http://hooks.example/a"), connector=world)["webhook"]
    with pytest.raises(Undelivered, match="redirect"):
        way.send(alert())
    assert world.connected == [("93.184.216.34", 80)]
    assert [request.path for request in receiver.requests] == ["/a"]


@pytest.mark.parametrize("answer", ["169.254.169.254", "10.1.2.3", "127.0.0.1", "::1", "::ffff:192.168.0.1", "0.0.0.0"])
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(receiver: LoopbackServer, answer: str) -> None:
    world = FakeInternet({"hooks.example": ["93.184.216.34", answer]}, {answer: receiver.port})
    way = channels(settings(webhook="http://hooks.example/a/t0ken"), connector=world)["webhook"]
    with pytest.raises(Undelivered, match=r"hooks\.example resolves to") as failed:
        way.send(alert())
    assert world.connected == []
    assert receiver.requests == []
    assert "t0ken" not in str(failed.value)


def test_a_name_that_changes_its_mind_gains_nothing(receiver: LoopbackServer) -> None:
    world = FakeInternet({"hooks.example": [["93.184.216.34"], ["127.0.0.1"]]}, {"93.184.216.34": receiver.port})
    receiver.routes["/a"] = Response("", 500, headers={"Connection": "close"})
    way = channels(settings(webhook="http://hooks.example/a"), connector=world)["webhook"]
    with pytest.raises(Undelivered, match="500"):
        way.send(alert())
    with pytest.raises(Undelivered, match="resolves to"):
        way.send(alert())
    assert world.connected == [("93.184.216.34", 80)]


def test_a_receiver_that_hangs_or_drips_is_given_up_in_time(receiver: LoopbackServer) -> None:
    def drip(request: Request):  # type: ignore[no-untyped-def]
        def write(out):  # type: ignore[no-untyped-def]
            out(b"HTTP/1.1 200 OK\r\nX: ")
            while not receiver.stopping.wait(0.1):
                out(b"x")

        return write

    receiver.routes["/drip"] = drip
    receiver.routes["/hang"] = lambda request: lambda write: receiver.stopping.wait(30) and None
    for path in ("/drip", "/hang"):
        began = time.monotonic()
        with pytest.raises(Undelivered, match="did not answer within 1 seconds"):
            webhook(f"{receiver.url}{path}").send(alert())
        assert time.monotonic() - began < 10  # a hang would be ended by the test's own limit


def test_a_long_answer_is_not_read_to_its_end(receiver: LoopbackServer) -> None:
    def flood(request: Request):  # type: ignore[no-untyped-def]
        def write(out):  # type: ignore[no-untyped-def]
            out(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            while not receiver.stopping.is_set():
                out(b"x" * 65_536)

        return write

    receiver.routes["/flood"] = flood
    webhook(f"{receiver.url}/flood").send(alert())


def test_no_receiver_no_secret_in_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with LoopbackServer() as server:
        url = f"{server.url}/hook/t0ken?key=t0ken"
    way = webhook(url)
    with pytest.raises(Undelivered, match="cannot be reached") as failed:
        way.send(alert())
    told = f"{failed.value} {caplog.text} {way.target!r} {way.target.name}"
    assert SECRET not in told
    assert "t0ken" not in told
