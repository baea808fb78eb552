"""Prompts are files: versioned, in two languages, replaceable, and checked when read."""

from __future__ import annotations

from pathlib import Path

import pytest

from weighup.errors import SettingsError
from weighup.verify.prompts import NAMES, prompt


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_exists_in_both_languages_and_holds_the_claim(name: str, lang: str) -> None:
    read = prompt(name, lang)
    assert read.version
    assert "CLAIM-$x" in read.fill(claim="CLAIM-$x", passages="[1] a $y")
    assert name != "summarise" or "[1] a $y" in read.fill(claim="c", passages="[1] a $y")


def test_a_folder_replaces_single_prompts(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "explain.toml").write_text('version = "mine"\nuser = "Say: $claim"\n', encoding="utf-8")
    assert prompt("explain", "en", tmp_path).version == "mine"
    assert prompt("judge", "en", tmp_path).version == prompt("judge", "en").version


@pytest.mark.parametrize(
    "content",
    ["not toml [", 'version = "1"\n', 'version = "1"\nuser = "$unknown_name"\n', 'version="1"\nuser="$claim"\n'],
)
def test_a_broken_prompt_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "judge.toml").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"judge\.toml"):
        prompt("judge", "en", tmp_path)
