"""Fixtures shared by all tests. Nothing here downloads: what is absent is skipped, with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
