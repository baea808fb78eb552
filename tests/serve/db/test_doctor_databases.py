"""What `weighup doctor` says of the database: absent, without tables, older, current, foreign, out of reach."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from db_samples import check

from weighup.cli import findings_served
from weighup.cli.findings import Finding
from weighup.serve.db import Database
from weighup.serve.db.look import look
from weighup.serve.db.migrate import scripts

Looked = Callable[[str], dict[str, Finding]]


@pytest.fixture
def looked(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Looked:
    def run(url: str) -> dict[str, Finding]:
        monkeypatch.setenv("WEIGHUP_DATABASE", url)
        return {one.name: one for one in findings_served.database()}

    return run


def test_before_and_after_its_tables_are_made(empty_url: str, kind: str, looked: Looked) -> None:
    for _ in range(2):
        found = looked(empty_url)["database"]
        assert found.state == "note"
        assert "made when first used" in found.said
        assert look(empty_url).state == ("absent" if kind == "sqlite" else "new")
    with Database.open(empty_url) as db:
        db.verdicts.record([check("Claim")])
    found = looked(empty_url)["database"]
    assert found.state == "ok"
    assert "tables up to date; 1 verdicts, 0 feeds" in found.said
    assert ("pgvector" in looked(empty_url)) is (kind == "postgresql")


def test_clocks_that_differ(url: str, kind: str, looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "clocks" not in looked(url)
    monkeypatch.setattr(findings_served, "CLOCKS", -1.0)
    found = looked(url)["clocks"]
    assert found.state == "missing"
    assert "NTP" in str(found.remedy)


def test_tables_that_are_not_ours_to_use(clean_environment: Path, looked: Looked) -> None:
    file = clean_environment / "serve.sqlite"
    Database.open(file).close()
    oldest = [script.revision for script in scripts().walk_revisions()][-1]
    for version, state, says in ((oldest, "note", "older weighup"), ("9999", "missing", "a newer weighup")):
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE weighup_schema SET version_num = ?", (version,))
        connection.close()
        found = looked(str(file))["database"]
        assert (found.state, says in found.said) == (state, True)
    foreign = clean_environment / "foreign.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE verdict (a)")
    connection.close()
    assert "another program" in looked(str(foreign))["database"].said


def test_one_that_may_only_be_read(cluster: object, looked: Looked) -> None:
    running: Any = cluster
    name = running.new()
    running.run(f"ALTER DATABASE {name} SET search_path = pg_catalog", database="postgres")
    running.run("CREATE ROLE reader LOGIN PASSWORD 's3cret/p@ss word'")
    url = running.url(name).replace("//weighup:", "//reader:")
    found = looked(url)["database"]
    assert found.state == "missing"
    assert "may only be read" in found.said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://weighup:s3cret@/none?host=/nowhere", "cannot be reached"),
        ("postgresql://weighup:s3cret@127.0.0.1:1/none", "cannot be reached"),
        ("mysql://weighup:s3cret@127.0.0.1/none", "no such kind of database"),
        ("host=127.0.0.1 password=s3cret", "write it as an URL"),
    ],
)
def test_one_out_of_reach_is_told_without_its_password(url: str, says: str, looked: Looked) -> None:
    found = looked(url)["database"]
    assert found.state == "missing"
    assert says in found.said
    assert "s3cret" not in f"{found}"
    assert found.remedy
