"""Prompt files: what is shipped reads, a user's folder replaces, and what cannot be used is named."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import pytest

from weighup.errors import InvalidInput
from weighup.judge.llm_forms import FORMS, NEEDS
from weighup.judge.prompt_files import prompt, prompts_from

SHIPPED = Path(str(files("weighup.judge"))) / "prompts"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_prompt_reads(path: Path) -> None:
    read = prompt(path.stem)
    assert read.version
    assert read.user
    assert read.hash == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert read.told == {path.stem: read.hash}
    if read.form:
        assert NEEDS[read.form] <= read.placeholders


def test_there_is_a_prompt_of_every_form() -> None:
    assert {prompt(form).form for form in FORMS} == set(FORMS)


def test_values_are_put_in_as_they_are(tmp_path: Path) -> None:
    read = prompt(_write(tmp_path / "a.toml", 'user = "Q: $question costs $$5"'))
    assert read.fill(question="$money ${x} {y}", more="unused") == "Q: $money ${x} {y} costs $5"
    with pytest.raises(InvalidInput, match=r"prompt a: nothing is given for \$question"):
        read.fill()


def test_a_folder_replaces_by_name(tmp_path: Path) -> None:
    shipped = prompt("pair")
    _write(tmp_path / "pair.toml", 'user = "mine"')
    assert prompt("pair", tmp_path).user == "mine"
    assert prompt("score", tmp_path) == prompt("score")
    with prompts_from(tmp_path):
        assert prompt("pair").hash != shipped.hash
        with prompts_from(None):
            assert prompt("pair") == shipped
    assert prompt("pair") == shipped
    with pytest.raises(InvalidInput, match="is not a folder"), prompts_from(tmp_path / "none"):
        pass


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    import os

    path = _write(tmp_path / "a.toml", 'user = "one"')
    first = prompt(path)
    _write(path, 'user = "two"')
    os.utime(path, ns=(1, 1))
    assert (prompt(path).user, prompt(path).hash != first.hash) == ("two", True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 1", "the key user is missing"),
        ('user = "x"\nusr = 1\nversion = 1', "unknown keys usr; known are"),
        ('user = "50 $ a day"\nversion = 1', r"begins no placeholder"),
        ('user = "x"\nversion = 1\nmax_tokens = 0', "max_tokens must be 1 or more"),
        ('user = "x"\nversion = 1\nmax_tokens = "many"', "cannot be used"),
        ("user = ", "cannot be used"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message) as caught:
        prompt(path)
    assert "bad.toml" in str(caught.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="prompt 'nothing': there is none of that name"):
        prompt("nothing")
    with pytest.raises(InvalidInput, match=r"away.toml: there is no such file"):
        prompt(tmp_path / "away.toml")


def _write(path: Path, text: str) -> Path:
    path.write_text(f'version = "1"\n{text}\n')
    return path
