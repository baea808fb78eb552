"""The folder of kept answers, and what a folder that somebody else wrote can do: be wrong, no more."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diskcache
import pytest
from model_server import model_server, openai_text, openai_top

from weighup.models import Prompt, Question
from weighup.models.cache import RequestCache
from weighup.models.client import Client
from weighup.models.openai import OpenAIBackend
from weighup.settings import ModelSettings, Price


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with diskcache.Cache(str(tmp_path / "requests")) as planted:
        planted["key"] = Trap(tmp_path / "sprung")
    cache = RequestCache(tmp_path / "requests", size=1_000_000)
    with caplog.at_level(logging.WARNING):
        assert cache.get("key") is None
    assert not (tmp_path / "sprung").exists()
    assert "not kept by weighup" in caplog.text


def test_long_answers_are_kept(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path, size=10_000_000)
    cache.put("key", {"text": "long " * 50_000})
    assert cache.get("key") == {"text": "long " * 50_000}


@pytest.mark.parametrize("kept", ["{}", "[]", "not json", '{"text": 7}', '{"probabilities": ["x", 1]}'])
def test_an_answer_that_is_none_is_asked_for_again(kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    with model_server(openai_text("ok"), openai_top(("real", -0.1)), openai_text("ok")) as server:
        models = ModelSettings(base_url=server.url, retries=0)
        cache = RequestCache(tmp_path, size=1_000_000)
        client = Client(OpenAIBackend.load("m", models), models, price=Price(), cache=cache)
        client.generate([Prompt("x")])
        client.choose([Question("x", ("real", "fake"))])
        with diskcache.Cache(str(tmp_path)) as planted:
            for key in list(planted):
                planted[key] = kept
        assert client.generate([Prompt("x")])[0].text == "ok"
        assert client.choose([Question("x", ("real", "fake"))])[0].error is not None  # the last reply tells none
    assert len(server.requests) > 3


def test_a_damaged_database_is_gone_without(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    cache = RequestCache(tmp_path, size=1_000_000)
    cache.put("key", {"text": "x"})
    assert cache.get("key") is None


def test_a_database_that_somebody_holds_is_gone_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighup.models.cache._LONGEST_WAIT", 0.1)
    cache = RequestCache(tmp_path, size=1_000_000)
    cache.put("key", {"text": "x"})
    holder = sqlite3.connect(tmp_path / "cache.db")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert cache.get("key") is None
    finally:
        holder.rollback()
        holder.close()
    assert json.dumps(cache.get("key")) == '{"text": "x"}'


def test_threads_wait_for_their_turn_and_no_answer_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = RequestCache(tmp_path, size=1_000_000)
    with ThreadPoolExecutor(64) as threads:
        list(threads.map(lambda n: cache.put(str(n), {"text": n}), range(400)))
        assert list(threads.map(lambda n: cache.get(str(n)), range(400))) == [{"text": n} for n in range(400)]
    assert not caplog.records


def test_a_turn_that_never_comes_is_gone_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("weighup.models.cache._LONGEST_WAIT", 0.05)
    cache = RequestCache(tmp_path, size=1_000_000)
    with cache._turn():
        cache.put("key", {"text": "x"})
    assert "cannot be used (other threads hold it)" in caplog.text
    assert cache.get("key") is None
