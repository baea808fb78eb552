"""Real labelled claims for the tests of this room."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rows = Callable[[str, str], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def news_rows(tests_data: Path) -> Rows:
    """Rows of a set's split: `news_rows("liar", "valid")`."""

    def read(name: str, split: str) -> list[dict[str, Any]]:
        with gzip.open(tests_data / "news" / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    return read
