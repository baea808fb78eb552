"""The courier: everything leaves or is a dead letter, whoever is killed, and no secret is told."""

from __future__ import annotations

import io
import json
import logging
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from alert_samples import DESK, PASSWORD, SECRET, Mailbox, mail_server, new, settings
from webserver import LoopbackServer, Request, Response

from weighup.errors import StoreError
from weighup.serve.alerts.courier import Courier, Delivered
from weighup.serve.alerts.history import recent
from weighup.serve.alerts.webhook import verify_signature
from weighup.serve.db import Database
from weighup.serve.db.alerts import ATTEMPTS
from weighup.serve.db.records import NewAlert
from weighup.serve.db.sessions import present


def test_all_channels_are_served_side_by_side(db: Database) -> None:
    box, out = Mailbox(), io.StringIO()
    with mail_server(box) as port, LoopbackServer({"/h": Response("ok")}) as server:
        used = settings(
            webhook=f"{server.url}/h",
            email_to=(DESK,),
            email_from="w@example.org",
            smtp=f"smtp://127.0.0.1:{port}",
            console=True,
        )
        db.alerts.put([new(f"w{n}") for n in range(20)] + [new("m", "email", DESK)])
        db.alerts.put([new("c", "console", "console", claim="One\n\x1b[2Jtwo")])
        with Courier(db, used, threads=4, stream=out) as courier:
            assert courier.deliver_once() == Delivered(sent=22)
            assert courier.deliver_once() == Delivered()
        assert len({request.headers["weighup-alert-id"] for request in server.requests}) == 20
        assert all(
            verify_signature(request.body, request.headers["weighup-signature"], SECRET) for request in server.requests
        )
    assert len(box.got) == 1
    assert out.getvalue().count("\n") == 1
    assert "Verdict changed: fake" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert Counter(one.state for one in recent(db, "", limit=99)) == {"sent": 22}


def test_no_more_are_under_way_than_threads(db: Database) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def answer(request: Request) -> Response:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        with lock:
            under_way -= 1
        return Response("ok")

    with LoopbackServer({"/h": answer}) as server:
        db.alerts.put([new(f"w{n}") for n in range(12)])
        with Courier(db, settings(webhook=f"{server.url}/h"), threads=3) as courier:
            assert courier.deliver_once().sent == 12
    assert 2 <= most <= 3


def test_a_failure_is_tried_again_then_dead_then_revived(db: Database) -> None:
    with LoopbackServer({"/h": Response("", 500)}) as server:
        db.alerts.put([new("a")])
        with Courier(db, settings(webhook=f"{server.url}/h")) as courier:
            states = []
            for _ in range(ATTEMPTS):
                states.append(courier.deliver_once())
                _make_due(db)
            assert states == [Delivered(failed=1)] * (ATTEMPTS - 1) + [Delivered(dead=1)]
            assert [request.headers["weighup-attempt"] for request in server.requests] == list("12345678")
            (dead,) = db.alerts.dead("")
            assert dead.last_error == f"{server.url} answered 500"
            server.routes["/h"] = Response("ok")
            db.alerts.revive("", [dead.id])
            assert courier.deliver_once() == Delivered(sent=1)


def test_410_is_final(db: Database) -> None:
    with LoopbackServer({"/h": Response("", 410)}) as server, Courier(db, settings(webhook=f"{server.url}/h")) as one:
        db.alerts.put([new("a")])
        assert one.deliver_once() == Delivered(dead=1)


def test_retry_after_is_kept_to_and_spares_the_receiver_the_others(db: Database) -> None:
    with LoopbackServer({"/h": Response("", 429, headers={"Retry-After": "600"})}) as server:
        db.alerts.put([new(f"w{n}") for n in range(10)])
        began = present()
        with Courier(db, settings(webhook=f"{server.url}/h"), threads=1) as courier:
            assert courier.deliver_once() == Delivered(failed=10)
            assert len(server.requests) == 1
            waiting = recent(db, "", states=["queued"], limit=99)
            assert len(waiting) == 10
            assert all(590 <= (one.next_try - began).total_seconds() <= 700 for one in waiting)


def test_a_channel_that_is_not_set_waits_and_says_so(db: Database) -> None:
    db.alerts.put([new("a", "email", DESK), new("b")])
    with Courier(db, settings()) as courier:
        assert courier.deliver_once() == Delivered(failed=2)
    assert {one.last_error for one in recent(db, "")} == {
        "no email is set; see the settings watch.…",
        "no webhook is set; see the settings watch.…",
    }


def test_a_message_that_nobody_foresaw_does_not_stop_the_others(db: Database) -> None:
    out = io.StringIO()
    db.alerts.put([NewAlert("a", "console", "console", {"probability_fake": "x"}), new("b", "console", "console")])
    with Courier(db, settings(console=True), stream=out) as courier:
        assert courier.deliver_once() == Delivered(sent=1, failed=1)
    assert "unexpected" in str([one.last_error for one in recent(db, "", states=["queued"])])


def test_a_closed_console_is_a_failure(db: Database) -> None:
    out = io.StringIO()
    out.close()
    db.alerts.put([new("a", "console", "console")])
    with Courier(db, settings(console=True), stream=out) as courier:
        assert courier.deliver_once() == Delivered(failed=1)


def test_it_runs_until_it_is_stopped_and_finishes_what_is_under_way(db: Database) -> None:
    asked = threading.Event()

    def answer(request: Request) -> Response:
        asked.set()
        time.sleep(0.4)
        return Response("ok")

    stop = threading.Event()
    with LoopbackServer({"/h": answer}) as server, Courier(db, settings(webhook=f"{server.url}/h")) as courier:
        runner = threading.Thread(target=courier.run, args=[stop])
        runner.start()
        db.alerts.put([new("a")])
        assert asked.wait(20)
        stop.set()
        runner.join(20)
        assert not runner.is_alive()
    assert [one.state for one in recent(db, "")] == ["sent"]


def test_a_database_that_is_away_for_a_while_is_waited_for(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take, failures = db.alerts.take, [StoreError("away"), StoreError("away")]

    def sometimes(*arguments: object, **more: object):  # type: ignore[no-untyped-def]
        if failures:
            raise failures.pop()
        return take(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(db.alerts, "take", sometimes)
    monkeypatch.setattr("weighup.serve.alerts.courier.IDLE", 0.05)
    stop, out = threading.Event(), io.StringIO()
    db.alerts.put([new("a", "console", "console")])
    with Courier(db, settings(console=True), stream=out) as courier:
        runner = threading.Thread(target=courier.run, args=[stop])
        runner.start()
        _until(lambda: [one.state for one in recent(db, "")] == ["sent"])
        stop.set()
        runner.join(20)
    assert "alerts wait: away" in caplog.text


def test_what_left_but_was_not_written_down_is_sent_again_under_its_id(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(ids: object) -> int:
        raise StoreError("away")

    db.alerts.put([new("a")])
    with LoopbackServer({"/h": Response("ok")}) as server, Courier(db, settings(webhook=f"{server.url}/h")) as courier:
        with monkeypatch.context() as away:
            away.setattr(db.alerts, "sent", broken)
            away.setattr("weighup.serve.alerts.courier.time.sleep", lambda seconds: None)
            assert courier.deliver_once() == Delivered()
        assert courier.deliver_once() == Delivered()  # the lease still holds
        _make_due(db)
        assert courier.deliver_once() == Delivered(sent=1)
        assert len(server.requests) == 2
        assert len({request.headers["weighup-alert-id"] for request in server.requests}) == 1


def test_couriers_killed_in_mid_delivery_lose_nothing(url: str, clean_environment: Path) -> None:
    """Killed with SIGKILL at random points, 12 times; the receiver sees every id at least once, few of them twice."""
    chance, count = random.Random(5), 60
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(request: Request) -> Response:
        with lock:
            told = json.loads(request.body)
            assert told["id"] == request.headers["weighup-alert-id"]
            seen[told["id"]] += 1
        time.sleep(chance.choice((0.0, 0.05, 0.2)))
        return Response("ok")

    with LoopbackServer({"/h": answer}) as server, Database.open(url) as db:
        db.alerts.put([new(f"a{n}") for n in range(count)])
        ids = {str(one.id) for one in recent(db, "", limit=count)}
        command = [sys.executable, str(Path(__file__).with_name("alert_worker.py")), url, f"{server.url}/h"]
        for _ in range(12):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                _until(lambda: len(seen) > 0)  # at first: a busy machine needs its time to send anything
                time.sleep(chance.uniform(0.0, 0.25))
                process.kill()
        killed = sum(seen.values())
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            _until(lambda: len(recent(db, "", states=["sent"], limit=999)) == count)
            process.kill()
        assert set(seen) == ids
        assert len(recent(db, "", limit=999)) == count
        assert db.alerts.dead("") == []
        assert killed > 0
        assert sum(seen.values()) <= count + 12 * 8  # again only what was under way when somebody was killed


def test_no_secret_is_logged_or_kept(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    box = Mailbox()
    with mail_server(box, authenticator=box.authenticate, auth_require_tls=False) as port, LoopbackServer() as server:
        box.data_reply = f"550 you said {PASSWORD}"
        used = settings(
            webhook=f"{server.url}/hook/t0ken?key=t0ken",
            email_to=(DESK,),
            email_from="w@example.org",
            smtp=f"smtp://weighup%40example.org@127.0.0.1:{port}",
        )
        db.alerts.put([new("a", claim="A claim nobody should log."), new("b", "email", DESK)])
        with Courier(db, used) as courier:
            told = courier.deliver_once()
            assert told == Delivered(failed=1, dead=1)
            kept = str([(one.last_error, one.target, one.payload) for one in recent(db, "")])
            # All that any library logged, but for the mail server, which is the other side.
            logged = "\n".join(one.getMessage() for one in caplog.records if one.name != "mail.log")
            everything = f"{logged} {kept} {courier.channels!r} {courier.channels['email'].target!r} {used!r}"  # type: ignore[attr-defined]
    assert "is dead after 1 tries" in logged
    for secret in (SECRET, PASSWORD):
        assert secret not in everything
    assert "t0ken" not in f"{logged} {kept}"
    assert "A claim nobody should log." not in logged


def _make_due(db: Database) -> None:
    """Let all waits and leases be over."""
    from sqlalchemy import update

    from weighup.serve.db.tables import AlertRow

    with db._sessions.writing() as session:
        past = present() - timedelta(seconds=1)
        session.execute(update(AlertRow).values(next_try=past, lease_until=past))


def _until(what, seconds: float = 120.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
