"""Fixtures shared by all tests. Nothing here downloads: what is absent is skipped, with the reason."""

from __future__ import annotations

import gzip
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples every time, and no limit on how long one may take on a busy machine.
settings.register_profile("weighup", derandomize=True, deadline=None)
settings.load_profile("weighup")

# Replies kept from an earlier run would hide a model that no longer answers; tests of the cache turn it on.
os.environ["WEIGHUP_MODELS__CACHE"] = "false"

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def process_left_as_found() -> Iterator[None]:
    """A command run in this process sets how much is logged and which settings are read; that must not follow into the
    next test."""
    log = logging.getLogger("weighup")
    before, named = log.level, os.environ.get("WEIGHUP_CONFIG")
    yield
    log.setLevel(before)
    if named is None:
        os.environ.pop("WEIGHUP_CONFIG", None)
    else:
        os.environ["WEIGHUP_CONFIG"] = named


@pytest.fixture(scope="session")
def tests_data() -> Path:
    """The shared data sets (`WEIGHUP_DATA`, else ../shared/data beside the repository)."""
    folder = Path(os.environ.get("WEIGHUP_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set WEIGHUP_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def models_ready() -> Path:
    """The folder with both embedded models, pulled before."""
    from weighup.models.catalogue import ASSETS, models_folder

    missing = [asset.name for asset in ASSETS if asset.needed and not asset.present]
    if missing:
        pytest.skip(f"run `weighup models pull {' '.join(missing)}` first (looked in {models_folder()})")
    return models_folder()


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No WEIGHUP_… setting of the user's, no weighup.toml: defaults only, in an empty working folder."""
    for name in list(os.environ):
        if name.startswith("WEIGHUP_") and name not in ("WEIGHUP_DATA", "WEIGHUP_CACHE_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def news_rows(tests_data: Path) -> Callable[[str, str], list[dict[str, Any]]]:
    """Rows of a set's split: `news_rows("liar", "valid")`."""

    def read(name: str, split: str) -> list[dict[str, Any]]:
        with gzip.open(tests_data / "news" / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    return read
