"""The one progress bar."""

from __future__ import annotations

import sys

import pytest

from weighup.console import progress


def test_what_looks_like_markup_in_a_note_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("rows of [/data/a.csv]", 2) as advance:
        advance(note="[/b] not closed")
        advance()
