"""A server on loopback with the pages, and something in its database to show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fastapi", reason="needs pip install 'weighup[serve]'")

_TESTS = Path(__file__).resolve().parents[2]
for _room in (_TESTS / "verify", _TESTS / "serve" / "api"):
    if str(_room) not in sys.path:
        sys.path.append(str(_room))

if TYPE_CHECKING:
    from page_samples import Desk


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server without keys: this machine's user may do everything."""
    from page_samples import desk

    with desk(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server with keys: who wants to see something signs in."""
    from page_samples import desk

    with desk(tmp_path_factory.mktemp("keyed")) as running:
        running.served.key("read", tenant="nobody")
        yield running
