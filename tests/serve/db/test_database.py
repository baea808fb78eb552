"""Opening a database: which one, at which version, and what is said when it cannot be used."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from db_secret import PASSWORD, QUOTED
from sqlalchemy import inspect, text

from weighup.errors import InvalidInput, StoreError, WeighupError
from weighup.serve.db import Database
from weighup.serve.db.migrate import VERSIONS, scripts, version
from weighup.serve.db.tables import Base
from weighup.serve.db.url import resolve, shown
from weighup.settings import load_settings


def test_without_an_url_it_is_a_file_in_the_users_data_folder(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(clean_environment / "data"))
    with Database.open() as db:
        assert db.name == str(clean_environment / "data" / "weighup" / "serve.sqlite")
        assert db.kind == "sqlite"
        db.ping()


def test_the_environment_names_another_and_the_settings_know_the_name(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHUP_DATABASE", f"sqlite:///{clean_environment}/mine.sqlite")
    load_settings()
    with Database.open() as db:
        assert db.name == f"{clean_environment}/mine.sqlite"
    assert shown(resolve("given.sqlite")) == f"{clean_environment}/given.sqlite"


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "postgresql+asyncpg://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:",
            "postgresql://u:hunter2@h:port/d", "host=h password=hunter2", "://hunter2@"],
)  # fmt: skip
def test_what_names_no_usable_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(url)
    assert "hunter2" not in everything(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:1/d",
        "postgres://u@127.0.0.1:1/d?password=hunter2",
        "postgresql://u:hunter2@/d?host=/nowhere",
        "postgresql://u:hunter2@127.0.0.1:1/d?no_such_option=hunter2",
    ],
)
def test_one_that_cannot_be_reached_is_told_without_its_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError) as caught:
        Database.open(url)
    assert "hunter2" not in everything(caught.value) + caplog.text + shown(resolve(url))


def test_a_wrong_password_is_told_without_it(request: pytest.FixtureRequest) -> None:
    cluster, secret = request.getfixturevalue("cluster"), "-".join(["not", "it"])
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        Database.open(cluster.url("template", secret))
    assert secret not in everything(caught.value)


def everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_its_name_shows_no_password(db: Database) -> None:
    assert PASSWORD not in db.name
    assert QUOTED not in db.name


def test_opening_again_changes_nothing(url: str) -> None:
    with Database.open(url) as db:
        db.jobs.submit("", [{}], key="k")
    with Database.open(url) as db:
        assert db.jobs.submit("", [{}, {}], key="k").counts == {"queued": 1}


def test_the_migrations_make_the_tables_that_the_code_expects(empty_url: str) -> None:
    """From nothing, by every step that is shipped: no column, index or constraint is missing or left over."""
    with Database.open(empty_url) as db, db._sessions.engine.connect() as connection:
        kept = {"version_table": VERSIONS, "compare_type": True, "target_metadata": Base.metadata}
        kept["include_object"] = lambda _o, name, kind, _r, _c: (
            not str(name).startswith(("verdict_words", "ix_verdict_words"))
        )
        assert compare_metadata(MigrationContext.configure(connection, opts=kept), Base.metadata) == []
        found = inspect(connection)
        for table in Base.metadata.sorted_tables:
            assert {c["name"] for c in found.get_check_constraints(table.name)} == {
                c.name for c in table.constraints if c.__visit_name__.endswith("check_constraint")
            }
        assert version(connection) == scripts().get_current_head()


def test_a_database_of_a_newer_weighup_is_refused_and_left_alone(url: str) -> None:
    with Database.open(url) as db, db._sessions.writing() as session:
        session.execute(text(f"UPDATE {VERSIONS} SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"newer weighup \(tables 9999.*upgrade weighup"):
        Database.open(url)


def test_a_database_at_an_older_version_is_brought_up_to_date(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from weighup.serve.db import migrate

    def first(shipped: object, connection: object) -> None:
        with migrate.EnvironmentContext(
            migrate.Config(),
            shipped,
            fn=lambda now, _: shipped._upgrade_revs("0001", now),  # type: ignore
        ) as environment:
            environment.configure(connection=connection, version_table=VERSIONS, transactional_ddl=True)  # type: ignore
            environment.run_migrations()

    with monkeypatch.context() as patched:
        patched.setattr(migrate, "_run", first)
        with Database.open(empty_url) as db, db._sessions.engine.connect() as connection:
            assert version(connection) == "0001"
    with Database.open(empty_url) as db, db._sessions.engine.connect() as connection:
        assert version(connection) == scripts().get_current_head()


def test_another_programs_tables_are_refused_and_left_alone(empty_url: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(resolve(empty_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE job(mine INTEGER)"))
    with pytest.raises(StoreError, match=r"another program \(job\)"):
        Database.open(empty_url)
    assert inspect(engine).get_table_names() == ["job"]
    engine.dispose()


def test_sqlite_is_set_up_for_many_processes(tmp_path: Path) -> None:
    with Database.open(tmp_path / "serve.sqlite") as db, db._sessions.reading() as session:
        told = [session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "busy_timeout")]
        assert told == ["wal", 1, 30_000]


def test_readers_do_not_wait_for_a_writer(db: Database) -> None:
    with db._sessions.writing() as session:
        session.execute(text("UPDATE job SET state = 'done'"))
        assert db.jobs.get("", []) == []
        assert db.verdicts.page("").verdicts == []


@pytest.mark.parametrize("make", [lambda p: p.write_text("no database, " * 99), lambda p: p.mkdir()])
def test_a_file_that_is_none_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "serve.sqlite"
    make(path)
    with pytest.raises(WeighupError, match=r"serve\.sqlite"):
        Database.open(path)


def test_after_closing_it_says_so(url: str) -> None:
    db = Database.open(url)
    db.close()
    with pytest.raises(StoreError, match="closed"):
        db.ping()


def test_the_core_does_not_load_it() -> None:
    import subprocess
    import sys

    code = "import sys, weighup.cli.main, weighup.verify, weighup.serve; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_a_database_that_goes_away_is_told(tmp_path: Path) -> None:
    path = tmp_path / "serve.sqlite"
    with Database.open(path) as db:
        with sqlite3.connect(path) as raw:
            raw.execute("DROP TABLE job_item")
        with pytest.raises(StoreError, match="job_item"):
            db.jobs.take("w")
