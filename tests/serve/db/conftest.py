"""Every test that asks for `db` or `url` runs on SQLite and on a real PostgreSQL, started here and only for it.

Where PostgreSQL is not installed its half is skipped, with the reason; under CI, or where
WEIGHUP_REQUIRE_POSTGRES says so, that is a failure.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

pytest.importorskip("sqlalchemy", reason="needs pip install 'weighup[serve]'")
pytest.importorskip("alembic", reason="needs pip install 'weighup[serve]'")

from db_secret import PASSWORD, QUOTED

from weighup.serve.db import Database
from weighup.serve.db.migrate import VERSIONS, scripts
from weighup.serve.db.tables import Base

# Read and taken away: the settings know no such name, and refuse names they do not know.
REQUIRED = os.environ.pop("WEIGHUP_REQUIRE_POSTGRES", "") not in ("", "0") or os.environ.get("CI", "") not in ("", "0")


@dataclass
class Cluster:
    """A PostgreSQL of our own, reached through a socket in its folder."""

    folder: Path
    made: int = 0
    kept: set[str] = field(default_factory=set)

    def url(self, name: str, password: str = QUOTED) -> str:
        return f"postgresql://weighup:{password}@/{name}?host={self.folder}"

    def new(self) -> str:
        """A database without tables."""
        self.made += 1
        name = f"new{self.made}"
        self.run(f"CREATE DATABASE {name}")
        return name

    def emptied(self, number: int) -> str:
        """One of a few databases with our tables and nothing in them: making them anew costs more than the tests."""
        name = f"kept{number}"
        if name not in self.kept:
            self.run(f"CREATE DATABASE {name} TEMPLATE template")
            self.kept.add(name)
        else:
            # As a replica: else the triggers that guard the audit log would refuse this too.
            self.run(
                f"SET session_replication_role = replica; TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY;"
                f" UPDATE {VERSIONS} SET version_num = '{scripts().get_current_head()}'",
                database=name,
            )
        return name

    def run(self, statement: str, *, database: str = "postgres") -> None:
        import psycopg

        told: dict[str, Any] = {"host": str(self.folder), "user": "weighup", "password": PASSWORD}
        with psycopg.connect(dbname=database, autocommit=True, **told) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


def programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    versions = glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/usr/pgsql-*/bin")
    folders += [Path(one) for one in sorted(versions, reverse=True)]
    return next((one for one in folders if (one / "initdb").is_file() and (one / "pg_ctl").is_file()), None)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL with the database `template` at our newest tables."""
    where = programs()
    if where is None or not _has_driver():
        missing("PostgreSQL is not installed (Debian: apt-get install postgresql; pip install 'weighup[postgres]')")
    with started(where) as running:
        running.run("CREATE DATABASE template")
        Database.open(running.url("template")).close()
        yield running


@pytest.fixture(scope="session")
def vector_cluster() -> Iterator[Cluster]:
    """A running PostgreSQL that has pgvector, with the database `template` at our newest tables."""
    package = importlib.util.find_spec("pgserver")
    if package is None or package.origin is None or not _has_driver():
        missing("no PostgreSQL with pgvector is here (pip install pgserver 'weighup[postgres]')")
    with started(Path(package.origin).parent / "pginstall" / "bin") as running:
        running.run("CREATE DATABASE template")
        Database.open(running.url("template")).close()
        yield running


def missing(reason: str) -> NoReturn:
    """Skip, or fail where a PostgreSQL is asked for."""
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def started(where: Path) -> Iterator[Cluster]:
    """A PostgreSQL with nothing in it, run by the programs in `where`."""
    # Short: a socket's path has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="wu-pg-"))
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": str(folder)}
        shutil.chown(folder, "postgres", "postgres")
        folder.chmod(0o755)

    def call(*command: str) -> None:
        with (folder / "started.log").open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, timeout=60, check=False, **as_user)
        assert done.returncode == 0, (folder / "started.log").read_text(errors="replace")

    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data = str(folder / "data")
    call(
        str(where / "initdb"), "-D", data, "-U", "weighup", "--pwfile", str(folder / "password"), "-E", "UTF8",
        "--locale=C", "--auth=scram-sha-256", "--no-sync",
    )  # fmt: skip
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c max_connections=60"
    call(str(where / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield Cluster(folder)
    finally:
        call(str(where / "pg_ctl"), "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _has_driver() -> bool:
    return importlib.util.find_spec("psycopg") is not None


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any tables."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'serve.sqlite'}"
    cluster = request.getfixturevalue("cluster")
    return str(cluster.url(cluster.new()))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file at our newest tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "template.sqlite"
    Database.open(path).close()
    return path


@pytest.fixture
def new_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes databases with nothing in them."""
    made = 0

    def make() -> str:
        nonlocal made
        made += 1
        if kind == "sqlite":
            template = request.getfixturevalue("sqlite_template")
            return f"sqlite:///{shutil.copy(template, tmp_path / f'serve{made}.sqlite')}"
        cluster = request.getfixturevalue("cluster")
        return str(cluster.url(cluster.emptied(made)))

    return make


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    return new_url()


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    with Database.open(url) as opened:
        yield opened
