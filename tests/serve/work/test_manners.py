"""What stays is set aside from the garbage collector only where collecting it takes long, and only so often."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from weighup.serve.work import manners


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = list(gc.callbacks)
    yield
    assert gc.callbacks == before
    assert gc.get_freeze_count() == 0


def test_what_survives_a_long_collection_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manners, "LONG", 0.0)
    many = [[] for _ in range(10_000)]
    with manners.set_aside():
        gc.collect(1)
        assert gc.get_freeze_count() == 0  # a collection of what is young has nothing to do with it
        gc.collect()
        assert gc.get_freeze_count() >= len(many)
        assert len(gc.get_objects(2)) < len(many)


def test_short_collections_leave_everything_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manners, "LONG", 1e9)
    with manners.set_aside():
        gc.collect()
        assert gc.get_freeze_count() == 0


def test_it_is_done_so_often_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manners, "LONG", 0.0)
    monkeypatch.setattr(manners, "ASIDE", 2)
    with manners.set_aside():
        gc.collect()
        gc.collect()
        held = gc.get_freeze_count()
        many = [[] for _ in range(10_000)]
        gc.collect()
        assert gc.get_freeze_count() <= held
        assert len(many) <= len(gc.get_objects(2))
