"""Receivers on loopback, and the databases of the store's own tests: SQLite and PostgreSQL."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs pip install 'weighup[serve]'")
pytest.importorskip("aiosmtpd", reason="needs pip install 'weighup[dev]'")

_TESTS = Path(__file__).resolve().parents[2]
for _room in (_TESTS / "retrieve", _TESTS / "serve" / "db", Path(__file__).resolve().parent):
    if str(_room) not in sys.path:
        sys.path.append(str(_room))


def _store_fixtures() -> object:
    spec = importlib.util.spec_from_file_location("weighup_db_fixtures", _TESTS / "serve" / "db" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_store = _store_fixtures()
cluster, kind, sqlite_template = _store.cluster, _store.kind, _store.sqlite_template  # type: ignore[attr-defined]
new_url, url, db = _store.new_url, _store.url, _store.db  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def secrets(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test; both secrets are where the settings look for them."""
    from alert_samples import PASSWORD, SECRET

    monkeypatch.setenv("WATCH_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("WATCH_SMTP_PASSWORD", PASSWORD)
