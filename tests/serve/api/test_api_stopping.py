"""A server that is told to stop finishes what it is at; one that is killed loses nothing and doubles nothing."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_samples import until

from weighup.serve.db import Database
from weighup.serve.db.sessions import present

SCRIPT = Path(__file__).with_name("api_process.py")
ROWS = [{"text": f"Row {n} is real.", "id": n} for n in range(40)]  # more than a worker takes together


@contextlib.contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    command = [sys.executable, str(SCRIPT), str(folder / "serve.sqlite"), str(folder)]
    with (folder / "log").open("a") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert running.stdout is not None
    try:
        address = running.stdout.readline().strip()
        assert address, (folder / "log").read_text()
        with httpx.Client(base_url=address, timeout=30, verify=False) as client:
            yield running, client
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def finished(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: (told := client.get(f"/v1/jobs/{job}").json())["finished_at"] and told)
    return found


def listens(client: httpx.Client) -> bool:
    try:
        socket.create_connection((client.base_url.host, client.base_url.port), 5).close()
    except OSError:
        return False
    return True


def sound(folder: Path, verdicts: int) -> None:
    """Nothing lost, nothing doubled, and the file is whole."""
    with contextlib.closing(sqlite3.connect(folder / "serve.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM verdict").fetchone() == (verdicts,)
        assert database.execute("SELECT count(*) FROM timeline").fetchone() == (verdicts,)


def test_a_job_survives_the_death_of_its_server(tmp_path: Path) -> None:
    with process(tmp_path) as (server, client):
        job = client.post("/v1/checks", json={"rows": ROWS}, headers={"Idempotency-Key": "once"}).json()["id"]
        until((tmp_path / "begun").exists)
        server.send_signal(signal.SIGKILL)
        assert server.wait(30) == -signal.SIGKILL
    (tmp_path / "go").touch()
    with Database.open(tmp_path / "serve.sqlite") as database:
        # Two minutes on, when the time of what the dead one held is up, it is free to be taken.
        free = database.jobs.take("somebody", limit=1_000, now=present() + timedelta(minutes=2))
        assert len(free) == len(ROWS)
        assert {item.attempts for item in free} == {1, 2}
        database.jobs.release("somebody", [item.id for item in free])
    with process(tmp_path) as (_, client):
        again = client.post("/v1/checks", json={"rows": ROWS}, headers={"Idempotency-Key": "once"})
        assert again.json()["id"] == job
        assert finished(client, job)["counts"] == {"done": len(ROWS)}
        lines = client.get(f"/v1/jobs/{job}/results").json()["results"]
        assert [line["result"]["id"] for line in lines] == [row["id"] for row in ROWS]
    sound(tmp_path, len(ROWS))


def test_told_to_stop_it_finishes_what_it_is_at_and_gives_back_the_rest(tmp_path: Path) -> None:
    with process(tmp_path) as (server, client), ThreadPoolExecutor(1) as aside:
        job = client.post("/v1/checks", json={"rows": ROWS}).json()["id"]
        until((tmp_path / "begun").exists)
        (tmp_path / "begun").unlink()
        single = aside.submit(client.post, "/v1/checks", json={"text": "A single one is fake."})
        until((tmp_path / "begun").exists)
        server.send_signal(signal.SIGTERM)
        until(lambda: not listens(client))  # so that it has heard of it
        (tmp_path / "go").touch()
        assert single.result().json()["verdict"]["verdict"] == "fake"
        assert server.wait(60) == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "serve.sqlite")) as database:
        states = dict(database.execute("SELECT state, count(*) FROM job_item GROUP BY state").fetchall())
        leases = database.execute("SELECT count(*) FROM job_item WHERE lease_owner IS NOT NULL").fetchone()
    assert states == {"done": 32, "queued": 8}
    assert leases == (0,)
    with process(tmp_path) as (_, client):
        assert finished(client, job)["counts"] == {"done": len(ROWS)}
    sound(tmp_path, len(ROWS) + 1)


def test_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    with process(tmp_path) as (server, client), ThreadPoolExecutor(1) as aside:
        job = client.post("/v1/checks", json={"rows": ROWS}).json()["id"]
        until((tmp_path / "begun").exists)
        seen: list[str] = []

        def follow() -> None:
            with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
                for line in stream.iter_lines():
                    seen.append(line)  # one by one: others look

        following = aside.submit(follow)
        until(lambda: "event: progress" in seen)
        server.send_signal(signal.SIGTERM)
        following.result(60)
        (tmp_path / "go").touch()
        assert server.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path) as (server, client):
        assert client.get("/readyz").json() == {"status": "ready"}
        server.send_signal(number)
        assert server.wait(30) == 0
