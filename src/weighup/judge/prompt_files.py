"""Prompts of judges are files with versions: `prompts/NAME.toml`. A folder of the user's may replace any of them.

Keys: `version`, `system`, `user` with `$placeholders`, and optionally `answers`, `max_tokens` and `form` (which kind of
verdict is asked for, see `llm`). The hash of the file goes into every judgement, so that it is known what was asked.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from weighup.errors import InvalidInput

HASH_LENGTH = 12
_KEYS = {"version", "system", "user", "answers", "max_tokens", "form"}
_folder: ContextVar[Path | None] = ContextVar("judge_prompts", default=None)


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One prompt as read. `hash`: first 12 hex digits of the file's SHA-256."""

    name: str
    version: str
    system: str
    user: str
    hash: str
    answers: tuple[str, ...] = ()
    max_tokens: int = 512
    form: str = ""

    @property
    def placeholders(self) -> frozenset[str]:
        """The names that `user` has places for."""
        return frozenset(Template(self.user).get_identifiers())

    @property
    def told(self) -> dict[str, str]:
        """Name and hash, as `Judgement.prompts` holds them."""
        return {self.name: self.hash}

    def fill(self, **values: str) -> str:
        """The user message. Values are put in as they are (a `$` in them means nothing), those without a place are
        left out. Raises InvalidInput naming a placeholder without a value."""
        try:
            return Template(self.user).substitute(values)
        except KeyError as error:
            raise InvalidInput(f"prompt {self.name}: nothing is given for ${error.args[0]}") from error


def prompt(name: str | Path, folder: Path | None = None) -> PromptFile:
    """A prompt by its name, from `folder` (else that of `prompts_from`) if it has one; or a .toml file by its path.

    Raises InvalidInput for a file that is not there or cannot be used.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise InvalidInput(f"prompt {path}: there is no such file")
        return _read(path, path.stat().st_mtime_ns)
    folder = folder or _folder.get()
    own = folder / f"{name}.toml" if folder is not None else None
    if own is not None and own.is_file():
        return _read(own, own.stat().st_mtime_ns)
    shipped = Path(str(files("weighup.judge"))) / "prompts" / f"{name}.toml"
    if not shipped.is_file():
        raise InvalidInput(f"prompt {name!r}: there is none of that name; give the path of a .toml file")
    return _read(shipped, 0)


@contextmanager
def prompts_from(folder: Path | None) -> Iterator[None]:
    """Prompts asked for by name within are taken from this folder where it has them. Raises InvalidInput if it is not
    there. Holds for this thread: what starts threads of its own reads its prompts before."""
    if folder is not None and not folder.is_dir():
        raise InvalidInput(f"prompts: {folder} is not a folder")
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


@functools.lru_cache(maxsize=512)
def _read(path: Path, changed: int) -> PromptFile:
    """`changed`: when the file was; another time is another file."""
    try:
        raw = path.read_bytes()
        values = tomllib.loads(raw.decode("utf-8"))
        unknown = sorted(set(values) - _KEYS)
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}")
        made = PromptFile(
            name=path.stem,
            version=str(values["version"]),
            system=str(values.get("system", "")).strip(),
            user=str(values["user"]).strip("\n"),
            hash=hashlib.sha256(raw).hexdigest()[:HASH_LENGTH],
            answers=tuple(map(str, values.get("answers", ()))),
            max_tokens=int(values.get("max_tokens", 512)),
            form=str(values.get("form", "")),
        )
    except KeyError as error:
        raise InvalidInput(f"prompt {path}: the key {error.args[0]} is missing") from error
    except (OSError, ValueError, TypeError) as error:  # TOML and Unicode errors are ValueErrors
        raise InvalidInput(f"prompt {path}: cannot be used: {error}") from error
    if not Template(made.user).is_valid():
        raise InvalidInput(f"prompt {path}: a $ in `user` begins no placeholder; write $$ for the sign itself")
    if made.max_tokens < 1:
        raise InvalidInput(f"prompt {path}: max_tokens must be 1 or more, not {made.max_tokens}")
    return made
