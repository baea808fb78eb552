"""The databases of the store's own tests, SQLite and PostgreSQL, and the loopback server of the web client's, for the
conftests of the rooms beside it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs pip install 'weighup[serve]'")

_TESTS = Path(__file__).resolve().parents[1]
for _room in ("retrieve", "serve/db", "serve/feeds", "serve/watch"):
    if str(_TESTS / _room) not in sys.path:
        sys.path.append(str(_TESTS / _room))


def _store_fixtures() -> object:
    if "weighup_db_fixtures" not in sys.modules:  # one cluster for all who ask for it
        spec = importlib.util.spec_from_file_location("weighup_db_fixtures", _TESTS / "serve" / "db" / "conftest.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules["weighup_db_fixtures"]


_store = _store_fixtures()
cluster, kind, sqlite_template = _store.cluster, _store.kind, _store.sqlite_template  # type: ignore[attr-defined]
new_url, url, db = _store.new_url, _store.url, _store.db  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def no_settings(clean_environment: Path) -> None:
    """No settings but those of the test."""
