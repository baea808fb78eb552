"""Prompts are files with versions, English and Chinese; a folder named in `verify.prompts` replaces any of them.

Layout: `<language>/<name>.toml` with `version`, `system`, `user` (`$claim`, `$passages`), and `answers` or
`max_tokens`. The versions used are part of every verdict (`model_versions`).
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from weighup.errors import SettingsError

NAMES = ("judge", "explain", "summarise")


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One prompt as read. `answers` for choosing, `max_tokens` for writing."""

    name: str
    version: str
    system: str
    user: str
    answers: tuple[str, ...] = ()
    max_tokens: int = 80

    def fill(self, **values: str) -> str:
        """The user message. Values are put in as they are: a `$` in a claim means nothing."""
        return Template(self.user).substitute(values)


@functools.cache
def prompt(name: str, lang: str, folder: Path | None = None) -> PromptFile:
    """Read `<lang>/<name>.toml`, from `folder` if it has one. Raises SettingsError for a file that cannot be used."""
    lang = "zh" if lang == "zh" else "en"
    own = folder / lang / f"{name}.toml" if folder is not None else None
    path = own if own is not None and own.is_file() else files(__package__) / lang / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        made = PromptFile(
            name=name,
            version=str(values["version"]),
            system=str(values.get("system", "")).strip(),
            user=str(values["user"]).strip("\n"),
            answers=tuple(values.get("answers", ())),
            max_tokens=int(values.get("max_tokens", 80)),
        )
        made.fill(claim="", passages="")
    except (OSError, tomllib.TOMLDecodeError, KeyError, ValueError) as error:
        raise SettingsError(f"prompt {path}: cannot be used: {type(error).__name__}: {error}") from error
    if name == "judge" and len(made.answers) != 3:
        raise SettingsError(f"prompt {path}: answers must be the words for real, fake and unknown, in that order")
    return made
