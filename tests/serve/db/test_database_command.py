"""`weighup db`: what it prints, and what it ends with, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from db_samples import NOON, check, later
from typer.testing import CliRunner

from weighup.cli.database import app
from weighup.errors import WeighupError
from weighup.serve.db import Database
from weighup.serve.db.look import look, retention
from weighup.serve.db.migrate import scripts
from weighup.serve.db.records import AuditEntry, Feedback, FeedItemOutcome, ItemOutcome, NewItem, Poll
from weighup.serve.db.sessions import present
from weighup.train.labelled import read_labelled

PASSWORD, QUOTED = "s3cret/p@ss word", "s3cret%2Fp%40ss%20word"
PROGRAM = "from weighup.cli.database import app; from weighup.cli import main; main.app = app; main.main()"


@dataclass(frozen=True)
class Done:
    """What a command printed and ended with."""

    returncode: int
    stdout: str
    stderr: str


Db = Callable[..., Done]
Run = Callable[..., Done]


@pytest.fixture
def run(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `weighup db …` in this process, in an empty folder."""

    def run_on(url: str, *arguments: str) -> Done:
        monkeypatch.setenv("WEIGHUP_DATABASE", url)
        result = CliRunner().invoke(app, list(arguments))
        code, said = result.exit_code, ""
        if isinstance(result.exception, WeighupError):
            code, said = result.exception.exit_code, f"weighup: {result.exception}\n"
        elif result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert PASSWORD not in result.output + said
        return Done(code, result.stdout, result.stderr + said)

    return run_on


@pytest.fixture
def db(url: str, run: Run) -> Db:
    """Run it on a database that has our tables and nothing in them."""
    return lambda *arguments, on=url: run(on, *arguments)


def ok(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill(url: str, count: int = 3) -> None:
    """`count` verdicts of today and as many of 100 days ago, one of which is labelled."""
    old = present() - timedelta(days=100)
    with Database.open(url) as opened:
        opened.verdicts.record([check(f"New {i}", at=present()) for i in range(count)])
        done = opened.verdicts.record([check(f"Old {i}", at=old) for i in range(count)])
        opened.verdicts.record([check("Old of another", at=old, tenant="other")])
        opened.feedback.add("", [Feedback(done[0].id, "real", "ana")])


def test_status_says_where_it_stands_and_changes_nothing(db: Db, url: str, kind: str) -> None:
    fill(url)
    told = json.loads(ok(db("status", "--json")))
    assert (told["state"], told["kind"]) == ("current", kind)
    assert told["tables"] == told["newest_tables"] == scripts().get_current_head()
    assert told["counts"]["verdict"] == 7
    assert told["counts"]["feedback"] == 1
    assert told["size"] > 10_000
    assert told["server"].startswith("SQLite 3" if kind == "sqlite" else "PostgreSQL 1")
    assert (told["vector"] is None) is (kind == "sqlite")
    assert abs(told["clock_ahead"]) < 30
    assert json.loads(ok(db("status", "--json", "--tenant", "other")))["counts"]["verdict"] == 1
    shown = ok(db("status"))
    assert "up to date" in shown
    assert "verdict" in shown


def test_labelled_claims_become_rows_that_training_reads(db: Db, url: str, tmp_path: Path) -> None:
    with Database.open(url) as opened:
        done = opened.verdicts.record([check(f"Claim {i}", seen=("a passage",)) for i in range(4)])
        said = [(0, "real"), (0, "fake"), (1, "real"), (2, "not_checkable")]  # the last label of a verdict counts
        for place, label in said:
            opened.feedback.add("", [Feedback(done[place].id, label, "ana")])  # type: ignore[arg-type]
        opened.feedback.add(
            "other", [Feedback(opened.verdicts.record([check("X", tenant="other")])[0].id, "real", "bo")]
        )
    out = tmp_path / "mine.jsonl"
    assert "wrote 2 labelled claims" in ok(db("labels", str(out)))
    rows = sorted(read_labelled([out]), key=lambda row: row.claim.text)
    assert [(row.claim.text, row.label) for row in rows] == [("Claim 0", 1), ("Claim 1", 0)]
    assert [e.text for e in rows[0].claim.evidence or ()] == ["a passage"]
    assert "stance" not in out.read_text(encoding="utf-8")
    assert db("labels", str(out)).returncode == 2


def test_a_new_database_is_looked_at_and_then_made(empty_url: str, kind: str, run: Run) -> None:
    def db(*arguments: str) -> Done:
        return run(empty_url, *arguments)

    for _ in range(2):
        told = json.loads(ok(db("status", "--json")))
        assert told["state"] == ("absent" if kind == "sqlite" else "new")
        assert (told["tables"], told["counts"]) == (None, {})
    assert "tables made" in ok(db("upgrade"))
    assert "was up to date" in ok(db("upgrade"))
    assert json.loads(ok(db("status", "--json")))["state"] == "current"


def test_older_newer_and_foreign_tables_are_told_apart(clean_environment: Path, run: Run) -> None:
    file = clean_environment / "serve.sqlite"
    Database.open(file).close()

    def set_version(to: str) -> None:
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE weighup_schema SET version_num = ?", (to,))
        connection.close()

    oldest = [script.revision for script in scripts().walk_revisions()][-1]
    set_version(oldest)
    told = run(str(file), "status")
    assert "older weighup" in ok(told)
    assert oldest in told.stdout
    set_version("9999")
    newer = run(str(file), "status")
    assert newer.returncode == 1
    assert "newer weighup" in newer.stderr
    assert run(str(file), "upgrade").returncode == 1

    foreign = clean_environment / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE verdict (a)")
    connection.close()
    before = foreign.read_bytes()
    assert run(str(foreign), "status").returncode == 1
    assert foreign.read_bytes() == before  # not even switched to WAL

    (clean_environment / "text.sqlite").write_text("no database at all, but long enough to be looked at" * 100)
    broken = run("text.sqlite", "status")
    assert broken.returncode == 1
    assert "not an SQLite file" in broken.stderr


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_out_and_in_again(db: Db, url: str, new_url: Callable[[], str], clean_environment: Path, ending: str) -> None:
    fill(url)
    file = f"out.{ending}"
    assert ok(db("export", file)) == f"wrote 6 verdicts to {file}\n"
    again = db("export", file)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert ok(db("export", file, "--force", "--quiet"))
    other = new_url()
    assert "6 are new, with 6 checks and 1 labels" in ok(db("import", file, on=other))
    assert "0 are new, with 0 checks and 0 labels" in ok(db("import", file, on=other))
    assert json.loads(ok(db("status", "--json", on=other)))["counts"]["verdict"] == 6
    assert ok(db("import", file, "--tenant", "copy"))
    assert json.loads(ok(db("status", "--json", "--tenant", "copy")))["counts"]["verdict"] == 6
    assert ok(db("export", "none.jsonl", "--tenant", "nobody")) == "wrote 0 verdicts to none.jsonl\n"


def test_broken_lines_are_told_and_the_others_come_in(db: Db, url: str, clean_environment: Path) -> None:
    fill(url)
    ok(db("export", "out.jsonl"))
    lines = (clean_environment / "out.jsonl").read_text().splitlines()
    (clean_environment / "bad.jsonl").write_text("\n".join([*lines[:2], "{", *["[]"] * 30]))
    done = db("import", "bad.jsonl", "--tenant", "new")
    assert done.returncode == 1
    assert "read 33 verdicts: 2 are new" in done.stdout
    assert "bad.jsonl: line 3: " in done.stderr
    assert "and 11 more could not be read" in done.stderr
    assert "31 of 33 lines could not be read" in done.stderr


def test_prune_says_what_it_would_delete_and_deletes_that(db: Db, url: str) -> None:
    fill(url)
    would = json.loads(ok(db("prune", "--older-than", "90d", "--dry-run", "--json")))
    assert would == {"dry_run": True, "days": 90.0, "deleted": {"verdict": 3}}
    assert look(url).counts["verdict"] == 7
    mine = json.loads(ok(db("prune", "--older-than", "90d", "--json", "--tenant", "")))
    assert mine["deleted"] == {"verdict": 2}
    rest = ok(db("prune", "--older-than", "12w"))
    assert "deleted" in rest
    assert ok(db("prune", "--older-than", "90d")) == "nothing is older than 90d\n"
    with Database.open(url) as opened:
        left = {one.claim for one in opened.verdicts.page("").verdicts}
        assert left == {"New 0", "New 1", "New 2", "Old 0"}  # the labelled one stays
        assert opened.verdicts.count("other") == {}
        pruned = [entry for entry in opened.audit.read("") if entry.what == "database pruned"]
        assert [entry.after["deleted"] for entry in pruned if entry.after] == [{"verdict": 1}, {"verdict": 2}]
        assert isinstance(pruned[0], AuditEntry)


def test_one_tenants_entries_and_jobs_are_pruned_alone(url: str) -> None:
    with Database.open(url) as opened:
        for tenant in ("a", "b"):
            [feed] = opened.feeds.add(tenant, [f"https://example.org/{tenant}"], now=NOON)
            opened.feeds.polled([Poll(feed.id, [NewItem(str(i), "text") for i in range(3)])], now=NOON)
            opened.jobs.submit(tenant, [{}], now=NOON)
        taken = opened.feeds.take_items("w", limit=6, now=NOON)
        opened.feeds.finish_items([FeedItemOutcome(item.id, "skipped") for item in taken])
        jobs = opened.jobs.take("w", now=NOON)
        opened.jobs.finish("w", [ItemOutcome(item.id, {}) for item in jobs], now=NOON)
        when = later(days=3)
        both = {"feed_item": 6, "job": 2}
        assert retention(opened, tenant=None, dry_run=True).prune(1, now=when).counts == both
        for _ in range(2):
            assert retention(opened, tenant="a", dry_run=True).prune(1, now=when).counts == {"feed_item": 3, "job": 1}
        assert retention(opened, tenant="a", dry_run=False).prune(1, now=when).counts == {"feed_item": 3, "job": 1}
        assert retention(opened, tenant="a", dry_run=False).prune(1, now=when).counts == {}
        assert [item.state for item in opened.feeds.items("b")] == ["skipped"] * 3
        assert retention(opened, tenant=None, dry_run=False).prune(1, now=when).counts == {"feed_item": 3, "job": 1}


@pytest.mark.parametrize("text", ["90", "0d", "-1d", "d", "90 days", "1e3d", "9999999d", "٩d", "200y"])
def test_a_time_that_cannot_be_read_deletes_nothing(text: str, clean_environment: Path, run: Run) -> None:
    done = run("serve.sqlite", "prune", f"--older-than={text}")
    assert done.returncode == 2
    assert "as in 90d" in done.stderr
    assert not (clean_environment / "serve.sqlite").exists()


def test_bad_usage_is_told(clean_environment: Path, run: Run) -> None:
    for arguments, says in (
        (("export", "out.csv"), "use .jsonl or .parquet"),
        (("export", "no/folder/out.jsonl"), "cannot be written"),
        (("import", "none.jsonl"), "no such file"),
        (("status", "--database", "mysql://a:s3cret@b/c"), "no such kind of database"),
    ):
        done = run("serve.sqlite", *arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert says in done.stderr
        assert "s3cret" not in done.stderr


def test_an_unreachable_server_is_told_without_its_password(clean_environment: Path, run: Run) -> None:
    where = f"postgresql://weighup:{QUOTED}@/none?host={clean_environment}"
    for arguments in (("status",), ("upgrade",), ("export", "out.jsonl")):
        done = run(where, *arguments)
        assert done.returncode == 1
        assert "cannot be reached" in done.stderr
        assert not (clean_environment / "out.jsonl").exists()


def test_a_killed_import_is_simply_run_again(
    url: str, new_url: Callable[[], str], clean_environment: Path, run: Run
) -> None:
    count = 1_000
    with Database.open(url) as opened:
        opened.verdicts.record([check(f"Claim {i}") for i in range(count)])
        opened.transfer.export("", clean_environment / "out.jsonl")
    other = new_url()
    command = [sys.executable, "-c", PROGRAM, "import", "out.jsonl", "--quiet"]
    killed = subprocess.Popen(command, env={**os.environ, "WEIGHUP_DATABASE": other}, cwd=clean_environment)
    with Database.open(other) as seen:
        while not seen.verdicts.count("") and killed.poll() is None:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.wait(30)
        part = sum(seen.verdicts.count("").values())
    assert part % 200 == 0 or part == count  # whole batches only
    told = ok(run(other, "import", "out.jsonl"))
    assert f"read {count:,} verdicts: {count - part:,} are new" in told
    assert look(other).counts["verdict"] == count
