"""Sources by name: which there are, what they need, and how other packages add theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_worlds import KEYS, SECRET

from weighup.errors import SettingsError
from weighup.retrieve.sources import available_sources, open_sources
from weighup.retrieve.types import Source
from weighup.retrieve.web import WebClient
from weighup.settings import RetrieveSettings

EVERYTHING = RetrieveSettings(
    sources=tuple(source.name for source in available_sources()),
    searxng_url="http://localhost:8888",
    feeds=("https://example.org/rss",),
)
PLUG_IN = """
from weighup.errors import SettingsError
class Press:
    name = "press"
    def search(self, query, *, before=None, limit=10):
        return []
def open_press(settings, client):
    return Press()
def refuse(settings, client):
    raise SettingsError("press needs PRESS_URL")
def break_down(settings, client):
    raise KeyError("oops")
def no_source(settings, client):
    return object()
"""


def test_every_named_source_opens_under_its_name(client: WebClient) -> None:
    opened = open_sources(EVERYTHING, client)
    assert [source.name for source in opened] == list(EVERYTHING.sources)
    assert all(isinstance(source, Source) for source in opened)


def test_defaults_open_without_keys_or_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key)
    assert [source.name for source in open_sources(RetrieveSettings())] == ["wikipedia", "gdelt"]
    assert open_sources(RetrieveSettings(sources=())) == []


def test_needs_are_told_before_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {source.name: (source.key, source.setting, source.ready) for source in available_sources()}
    assert needs["wikipedia"] == (None, None, True)
    assert needs["brave"] == ("BRAVE_SEARCH_API_KEY", None, True)
    assert needs["searxng"] == (None, "retrieve.searxng_url", True)
    monkeypatch.delenv("BRAVE_SEARCH_API_KEY")
    assert not {source.name: source.ready for source in available_sources()}["brave"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("brave", "BRAVE_SEARCH_API_KEY"),
        ("serper", "SERPER_API_KEY"),
        ("factcheck", "GOOGLE_FACTCHECK_API_KEY"),
        ("searxng", "retrieve.searxng_url"),
        ("feeds", "retrieve.feeds"),
        ("bing", "there is no source 'bing'; known are wikipedia, gdelt"),
    ],
)
def test_what_is_missing_is_named(name: str, told: str, client: WebClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, "  ")
    with pytest.raises(SettingsError, match=told):
        open_sources(RetrieveSettings(sources=(name,)), client)


def test_a_mangled_key_is_refused_without_showing_it(client: WebClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAVE_SEARCH_API_KEY", f"{SECRET}\nHost: evil")
    with pytest.raises(SettingsError, match="BRAVE_SEARCH_API_KEY") as raised:
        open_sources(RetrieveSettings(sources=("brave",)), client)
    assert SECRET not in str(raised.value)


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that adds sources."""
    (tmp_path / "press_plug_in.py").write_text(PLUG_IN)
    info = tmp_path / "press_plug_in-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: press-plug-in\nVersion: 1.0\n")
    points = "".join(f"{name} = press_plug_in:{name}\n" for name in ("refuse", "break_down", "no_source", "missing"))
    (info / "entry_points.txt").write_text(f"[weighup.sources]\npress = press_plug_in:open_press\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("plug_in")
def test_installed_packages_add_sources(client: WebClient) -> None:
    assert "press" in [source.name for source in available_sources()]
    (opened,) = open_sources(RetrieveSettings(sources=("press",)), client)
    assert opened.name == "press"


@pytest.mark.usefixtures("plug_in")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("refuse", "press needs PRESS_URL"),
        ("break_down", "source break_down .press_plug_in:break_down. could not be opened"),
        ("no_source", "is not a Source"),
        ("missing", "could not be opened"),
    ],
)
def test_plug_ins_that_do_not_open_are_named(name: str, told: str, client: WebClient) -> None:
    with pytest.raises(SettingsError, match=told):
        open_sources(RetrieveSettings(sources=(name,)), client)
