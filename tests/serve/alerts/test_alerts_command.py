"""`weighup alerts`: what it prints, and what it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from alert_samples import SECRET, new
from webserver import LoopbackServer, Response

from weighup.serve.db import Database


def weighup(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weighup.cli.main", "alerts", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


@pytest.fixture
def file(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with one alert that waits and one dead letter."""
    path = clean_environment / "serve.sqlite"
    monkeypatch.setenv("WEIGHUP_DATABASE", str(path))
    with Database.open(path) as db:
        db.alerts.put([new("a", target="https://hooks.example", claim="The \x1b[31mdam [bold]broke.")])
        (one,) = db.alerts.take("w")
        db.alerts.failed(one.id, "answered 410", final=True)
        db.alerts.put([new("b", "email", "desk@example.org")])
    return path


def test_list_dead_retry(file: Path) -> None:
    listed = weighup("list", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [(row["channel"], row["state"]) for row in rows] == [("email", "queued"), ("webhook", "dead")]
    assert len(weighup("list", "--state", "queued", "--json").stdout.splitlines()) == 1

    dead = weighup("dead")
    assert "answered 410" in dead.stdout
    assert "The [31mdam [bold]broke." in dead.stdout
    assert weighup("dead", "--tenant", "other").stderr == "no alerts\n"

    retried = weighup("retry", rows[1]["id"])
    assert (retried.returncode, retried.stdout) == (0, "1 dead letters will be tried again\n")
    again = weighup("retry", rows[1]["id"])
    assert again.returncode == 2
    assert "no dead letters" in again.stderr
    assert weighup("retry", "--all").stdout == "0 dead letters will be tried again\n"


def test_bad_usage_is_named(file: Path) -> None:
    for arguments, says in (
        (("retry",), "--all"),
        (("retry", "x" * 500), "is not an alert's id"),
        (("list", "--state", "lost"), "none of queued, sent, dead"),
    ):
        done = weighup(*arguments)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr


def test_a_test_message_goes_through_all_that_is_set() -> None:
    with LoopbackServer({"/h/t0ken": Response("ok")}) as server:
        told = {"WEIGHUP_WATCH__WEBHOOK": f"{server.url}/h/t0ken", "WEIGHUP_RETRIEVE__ALLOW_LOOPBACK": "true"}
        done = weighup("test", **told)
        assert done.returncode == 0, done.stderr
        assert f"webhook {server.url}: sent" in done.stdout
        assert "Test of alerts" in done.stdout
        assert json.loads(server.requests[0].body)["type"] == "test"
        server.routes.clear()
        failed = weighup("test", **told)
    assert failed.returncode == 1
    assert f"webhook {server.url}: not sent: {server.url} answered 404" in failed.stderr
    assert SECRET not in done.stdout + done.stderr + failed.stdout + failed.stderr
    assert "t0ken" not in done.stdout + done.stderr + failed.stdout + failed.stderr


def test_what_is_not_set_up_says_what_to_do() -> None:
    nobody = weighup("test", WEIGHUP_WATCH__CONSOLE="false")
    assert nobody.returncode == 2
    assert "watch.webhook" in nobody.stderr
    unsigned = weighup("test", WEIGHUP_WATCH__WEBHOOK="https://example.org/", WATCH_WEBHOOK_SECRET="")
    assert unsigned.returncode == 2
    assert "WATCH_WEBHOOK_SECRET" in unsigned.stderr
