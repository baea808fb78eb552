"""`weighup watch` as a process: folders, lines, feeds on loopback, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from feed_bodies import rss
from webserver import LoopbackServer, Response

from weighup.retrieve.store import EvidenceStore
from weighup.serve.db import Database

pytestmark = pytest.mark.usefixtures("models_ready")

COMMAND = [sys.executable, "-c", "from weighup.cli.main import main; main()", "watch"]
BLEACH = "Hot water with lemon kills the coronavirus within two days."
TOWER = "The Eiffel Tower is located in Paris, France."


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as opened:
        yield opened


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'watch.sqlite'}"
    monkeypatch.setenv("WEIGHUP_DATABASE", url)
    monkeypatch.setenv("WEIGHUP_RETRIEVE__STARTER_PACK", "false")
    monkeypatch.setenv("WEIGHUP_RETRIEVE__ALLOW_LOOPBACK", "true")
    return url


def run(*arguments: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def feed(*titles: str) -> Response:
    rows = [
        {
            "guid": f"https://n.example/{place}",
            "link": f"https://n.example/{place}",
            "title": title,
            "pubDate": "Fri, 31 May 2024 08:00:00 GMT",
        }
        for place, title in enumerate(titles)
    ]
    return Response(rss(rows), type="application/rss+xml")


def test_a_folder_once_then_what_is_watched_then_no_more(database: str, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.jsonl").write_text(json.dumps({"text": BLEACH, "source": "A blog"}) + "\nbroken\n")
    first = run(str(drop), "--once", "--brief", "--offline")
    (line,) = first.stdout.splitlines()
    assert "new     fake P(fake) 0." in line
    assert line.endswith(f": {BLEACH} (A blog)")
    assert "a.jsonl:2" in first.stderr
    assert "1 polls brought 1 entries; 1 checked" in first.stderr
    (drop / "b.txt").write_text(TOWER)
    second = run("--once", "--brief", "--offline")
    assert second.stdout == ""  # not due before its time
    (watched,) = [json.loads(row) for row in run("--list", "--json").stdout.splitlines()]
    assert (watched["url"], watched["kind"], watched["errors"]) == (str(drop), "folder", 0)
    assert str(drop) in run("--list").stdout.replace("\n", "")
    run("--remove", str(drop))
    assert run("--list", "--json").stdout == ""
    assert "nothing is watched yet" in run("--once", code=2).stderr
    with Database.open(database) as db:
        assert db.verdicts.count("") == {"fake": 1}


def test_lines_are_checked_until_they_end(database: str) -> None:
    done = run("-", "--json", "--brief", "--offline", stdin=f"{BLEACH}\nGood morning all!\n{BLEACH}\n{TOWER}\n")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["type"], one["claim"], one["source"]) for one in told] == [
        ("new", BLEACH, "stdin"),
        ("new", TOWER, "stdin"),
    ]
    assert told[0]["label"] == "fake"
    assert "2 checked, 0 copies, 1 without a claim" in done.stderr


def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(database: str, server: LoopbackServer) -> None:
    server.routes["/feed"] = feed(BLEACH, TOWER)
    process = subprocess.Popen(
        [*COMMAND, f"{server.url}/feed", "--brief", "--offline", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["type"] == "new"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "stopping when what is being checked is done" in said
    run("--once", "--brief", "--offline")
    with Database.open(database) as db:
        assert sum(db.verdicts.count("").values()) == 2
        assert {item.state for item in db.feeds.items("")} == {"checked"}


def test_killed_at_any_moment_the_next_one_finishes(database: str, server: LoopbackServer) -> None:
    titles = [f"The town of Ostby{i} closed its harbour for {i + 2} weeks after a fire." for i in range(30)]
    server.routes["/feed"] = feed(*titles)
    with Database.open(database) as db:
        db.feeds.add("", [f"{server.url}/feed"], every=900)
    for pause in (0.4, 1.5, 3.0):
        process = subprocess.Popen(
            [*COMMAND, "--brief", "--offline"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with Database.open(database) as db:
        with db._sessions.writing() as session:  # as a minute later, when the leases have run out
            from sqlalchemy import text

            for table in ("feed", "feed_item"):
                session.execute(text(f"UPDATE {table} SET lease_until = 0 WHERE lease_until IS NOT NULL"))
        run("--once", "--brief", "--offline")
        assert {item.state for item in db.feeds.items("")} == {"checked"}
        stored = db.verdicts.page("", limit=100).verdicts
        assert {one.claim for one in stored} == set(titles)
        assert {len(entries) for entries in db.verdicts.timelines("", [one.id for one in stored])} == {1}


def test_an_evidence_feed_fills_the_store_and_is_not_checked(
    database: str, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHUP_RETRIEVE__STORE", str(tmp_path / "evidence.sqlite"))
    wire = "Hot water with lemon does not kill the coronavirus, the health agency said on Friday."
    server.routes["/wire"] = feed(wire)
    done = run("--evidence-from", f"{server.url}/wire", "--once", "--brief", "--offline")
    assert (done.stdout, "0 checked" in done.stderr) == ("", True)
    with EvidenceStore.open(tmp_path / "evidence.sqlite", create=False) as store:
        (kept,) = store.documents()
        assert (kept.text or kept.title, kept.published and kept.published.year) == (wire, 2024)
    refused = run(f"{server.url}/wire", "--once", code=2)
    assert "is watched already as evidence" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "neither an http(s) address nor a folder"),
        (["file:///etc/passwd"], "neither an http(s) address nor a folder"),
        (["http://10.0.0.1/feed"], "was not fetched"),
        (["--evidence-from", "-"], "lines have no date"),
        (["--list", "--once"], "stand alone"),
        (["--remove", "nothing"], "is not watched"),
        (["--json", "--quiet"], "leave one out"),
        (["x", "--config", "missing.toml"], "is not a file"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_words(database: str, arguments: list[str], says: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_is_refused_with_what_to_do(database: str, tmp_path: Path) -> None:
    (tmp_path / "posts.txt").write_text(TOWER)
    assert "weighup watch - < FILE" in run(str(tmp_path / "posts.txt"), code=2).stderr
