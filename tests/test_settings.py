"""Settings from file, environment and flags: what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from weighup.errors import SettingsError
from weighup.settings import ModelSettings, load_settings


def test_flags_overrule_the_environment_which_overrules_the_file(
    monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    (clean_environment / "weighup.toml").write_text(
        "[models]\nretries = 1\nconcurrency = 1\ntimeout = 1\n[verify]\npassages = 7\n"
    )
    monkeypatch.setenv("WEIGHUP_MODELS__CONCURRENCY", "2")
    monkeypatch.setenv("WEIGHUP_MODELS__TIMEOUT", "2")
    settings = load_settings({"models": {"timeout": 3}})
    assert (settings.models.retries, settings.models.concurrency, settings.models.timeout) == (1, 2, 3)
    assert settings.verify.passages == 7


@pytest.mark.parametrize("name", ["WEIGHUP_VERFY__PASSAGES", "WEIGHUP_MODELS_LANGUAGE", "WEIGHUP_MODELS__LANGAUGE"])
def test_a_misspelt_name_in_the_environment_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(SettingsError, match="there is no such setting"):
        load_settings()


@pytest.mark.parametrize("name", ["WEIGHUP_MODELS", "WEIGHUP_RETRIEVE__SOURCES"])
def test_a_list_that_is_not_json_is_told(name: str, monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> None:
    monkeypatch.setenv(name, "wikipedia")
    with pytest.raises(SettingsError, match="written as JSON"):
        load_settings()


@pytest.mark.parametrize("value", ["inf", "nan", "1e12"])
def test_a_timeout_no_clock_can_keep_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    monkeypatch.setenv("WEIGHUP_MODELS__TIMEOUT", value)
    with pytest.raises(SettingsError, match=r"models\.timeout"):
        load_settings()


def test_an_address_that_is_none_is_not_on_this_machine() -> None:
    assert not ModelSettings(language="openai:m", base_url="http://[bad").is_local


@pytest.mark.parametrize(
    ("language", "base_url", "local"),
    [
        ("embedded", None, True),
        ("none", None, True),
        ("/models/own.gguf", None, True),
        ("recorded:answers.jsonl", None, True),
        ("openai:own.gguf", None, False),
        ("openai:own.gguf", "http://127.0.0.1:8080/v1", True),
        ("anthropic:claude", None, False),
        ("plugin:model", None, False),
    ],
)
def test_what_stays_on_this_machine(language: str, base_url: str | None, local: bool) -> None:
    assert ModelSettings(language=language, base_url=base_url).is_local is local
