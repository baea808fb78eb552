"""`weighup serve` as it is installed: where it listens, what it refuses, how it stops."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_samples import until
from typer.testing import CliRunner

from weighup.cli.main import app
from weighup.serve.db import Database

COMMAND = [sys.executable, "-m", "weighup.cli.main", "serve", "--port", "0", "--brief", "--offline"]


@contextlib.contextmanager
def command(folder: Path, *more: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client, Path]]:
    """A running `weighup serve`, a client of it, and its log."""
    log = folder / "serve.log"
    told = {**os.environ, "WEIGHUP_DATABASE": str(folder / "serve.sqlite"), **environment}
    with log.open("w") as stream:
        running = subprocess.Popen([*COMMAND, *more], env=told, stderr=stream, stdout=stream, cwd=folder)
    try:
        until(lambda: "listening on" in log.read_text() or running.poll() is not None, 60)
        said = [line for line in log.read_text().splitlines() if "listening on" in line]
        assert said, log.read_text()
        address = said[0].rpartition(" ")[2]
        with httpx.Client(base_url=address, timeout=60, verify=False) as client:
            yield running, client, log
    finally:
        running.kill()
        running.wait()


def test_a_claim_is_checked_kept_and_there_after_a_restart(models_ready: Path, tmp_path: Path) -> None:
    claim = "Drinking bleach cures COVID-19."
    with command(tmp_path, WEIGHUP_LOG="info") as (server, client, log):
        assert client.base_url.host == "127.0.0.1"
        told = client.post("/v1/checks", json={"text": claim, "date": "2020-04-24"}).json()
        assert told["verdict"]["verdict"] == "fake"
        assert told["verdict"]["perspectives"]["reasoning"]["written_by"] is None
        assert client.get("/v1/evidence", params={"q": "bleach"}).json()["passages"]
        job = client.post("/v1/checks", json={"rows": [{"text": "The moon is made of cheese."}]}).json()["id"]
        until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "done", 60)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        assert {"/v1/checks", "/v1/evidence"} <= {line.get("route") for line in lines}
        assert "bleach" not in "".join(map(str, lines))
    with command(tmp_path) as (_, client, _):
        kept = client.get(f"/v1/verdicts/{told['id']}").json()
        assert (kept["claim"], kept["label"], len(kept["timeline"])) == (claim, "fake", 1)


def refused(folder: Path, *more: str, **environment: str) -> str:
    told = {**os.environ, "WEIGHUP_DATABASE": str(folder / "serve.sqlite"), **environment}
    done = subprocess.run([*COMMAND, *more], env=told, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_it_listens_nowhere_else_without_a_key(tmp_path: Path, host: str) -> None:
    assert "no API key" in refused(tmp_path, "--host", host)


def test_a_revoked_key_is_none(tmp_path: Path) -> None:
    with Database.open(tmp_path / "serve.sqlite") as database:
        key, _ = database.api_keys.create("k", scopes=("read",))
        database.api_keys.revoke([key.prefix])
    assert "no API key" in refused(tmp_path, "--host", "0.0.0.0")


def test_with_a_key_it_listens_and_asks_for_it(tmp_path: Path) -> None:
    with Database.open(tmp_path / "serve.sqlite") as database:
        text = database.api_keys.create("k", scopes=("read",))[1]
    with command(tmp_path, "--host", "0.0.0.0") as (_, client, _):
        assert client.get("/v1/verdicts").status_code == 401
        assert client.get("/v1/verdicts", headers={"Authorization": f"Bearer {text}"}).status_code == 200


def test_what_cannot_be_bound_or_read_is_said(tmp_path: Path) -> None:
    assert "name another" in refused(tmp_path, "--host", "192.0.2.1", WEIGHUP_DATABASE=str(keyed(tmp_path)))
    assert "not a file" in refused(tmp_path, "--config", "nowhere.toml")
    assert "watch" in refused(tmp_path, WEIGHUP_WATCH__WEBHOOK="http://169.254.169.254/")


def keyed(folder: Path) -> Path:
    with Database.open(folder / "keyed.sqlite") as database:
        database.api_keys.create("k", scopes=("read",))
    return folder / "keyed.sqlite"


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_keys_are_made_listed_and_revoked_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHUP_DATABASE", str(tmp_path / "keys.sqlite"))
    flags = ("--scope", "read", "--tenant", "a", "--per-minute", "5", "--days", "2", "--json")
    made = json.loads(run("create", "desk", *flags))
    assert made["key"].startswith(f"wu_{made['prefix']}_")
    plain = run("create", "other").splitlines()[0]
    listed = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [(one["name"], one["tenant"], one["scopes"]) for one in listed] == [
        ("desk", "a", ["read"]),
        ("other", "", ["check", "read"]),
    ]
    assert "key" not in listed[0]
    assert made["key"].rpartition("_")[2] not in run("list") + run("list", "--json")
    with Database.open() as database:
        assert database.api_keys.verify(made["key"]) is not None
        assert database.api_keys.verify(plain) is not None
        assert "keys revoked: 1" in run("revoke", made["prefix"])
        assert database.api_keys.verify(made["key"]) is None
        assert [entry.what for entry in database.audit.read("a")] == ["key revoked", "key created"]


@pytest.mark.parametrize(
    "arguments",
    [("create", "x", "--scope", "all"), ("create", " "), ("revoke", "ffff"), ("create", "x", "--days", "0")],
)
def test_a_key_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    from weighup.errors import InvalidInput

    monkeypatch.setenv("WEIGHUP_DATABASE", str(tmp_path / "keys.sqlite"))
    done = CliRunner().invoke(app, ["keys", *arguments])
    assert isinstance(done.exception, InvalidInput) or done.exit_code == 2
    with Database.open() as database:
        assert database.api_keys.known() == []
