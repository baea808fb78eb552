"""Where the trained parts are read from, and whether they are whole: a folder of the user's, else what is shipped.

A part is its card, `<part>.json`, and the files whose sha256 the card records (under `sha256` or `files`). A folder
may hold some of the parts; the others are the shipped ones, but for a calibration, which says nothing of other heads
than its own. Everything is checked where it is read, once in a process for each folder; only the hashes of the shipped
files are left to a test, for speed.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import WeightsError
from weighup.files import sha256
from weighup.verify.heads import Head

Part = Literal["content", "ease", "calibration", "evaluator", "stance"]
PARTS: dict[Part, tuple[str, ...]] = {
    "content": ("content.npz",),
    "ease": ("ease.npz",),
    "calibration": ("calibration.npz",),
    "evaluator": ("evaluator.gguf",),
    "stance": ("stance.onnx", "stance-wide.npz"),
}
OF: dict[Part, Part] = {"calibration": "ease", "evaluator": "ease"}
"""A part measured on another: it may be missing, and the shipped one is not put on top of another of the user's."""
FORMAT = 1
"""The layout of cards and arrays that this version reads; a card without `format` has the first."""
TOKENIZER = "minilm-tokenizer.json"
"""Named by the stance card; a folder that lacks it takes the shipped one, which must be the one trained with."""
SHIPPED = Path(__file__).parent.parent / "_weights"


def find(part: Part, folder: Path | None) -> Path:
    """The folder that has the part, absolute: `folder` if it holds any file of the part, else the shipped one.

    A part of another (`OF`) is not taken from the shipped ones if `folder` holds that other: `has` says if it is there.
    Raises WeightsError if `folder` is not a folder or holds no part at all.
    """
    if folder is None:
        return SHIPPED
    home = folder.absolute()
    if not os.path.isdir(home):
        raise WeightsError(
            f"{folder}: is not a folder; expected one with {_told()}; name another or leave --weights out"
        )
    held = [name for name in PARTS if any(os.path.lexists(home / file) for file in _files(name))]
    if not held:
        raise WeightsError(
            f"{folder}: holds no trained part; looked for {_told()}; "
            "train one with `weighup train` or leave --weights out"
        )
    return home if part in held or OF.get(part) in held else SHIPPED


def has(part: Part, folder: Path | None) -> bool:
    """Whether any file of the part is where `find` says. Raises WeightsError, as `find` does."""
    home = find(part, folder)
    return any(os.path.lexists(home / file) for file in _files(part))


def card(part: Part, folder: Path | None) -> dict[str, Any]:
    """The part's card, after checking its `format` and `version` and that its files are there and are those it names.

    Raises WeightsError, as `find` does.
    """
    return _card(part, find(part, folder))


def recorded(part: Part, folder: Path | None, name: str) -> str | None:
    """The sha256 that the part's card records for a file, of another part perhaps; None if it says nothing of it."""
    digest: str | None = _named(card(part, folder)).get(name)
    return digest.lower() if digest is not None else None


def check(folder: Path | None) -> None:
    """Raises WeightsError if a folder of the user's cannot be used: early, before models are loaded. None is fine."""
    for part in PARTS if folder is not None else ():
        if part not in OF or has(part, folder):
            card(part, folder)


def digests(part: Part, card: Mapping[str, Any], path: Path) -> dict[str, str]:
    """File name -> sha256 of the part's own files, as its card at `path` says. Raises WeightsError.

    Left out are files of other parts, which a card names to say what it was fitted on top of.
    """
    named = _named(card)
    if not isinstance(named, dict) or not all(isinstance(value, str) for value in named.values()):
        raise unusable(path, "has no `sha256`, expected a mapping of file names to digests")
    for name in named:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise unusable(path, f"names the file {name[:80]!r}, expected names within its own folder")
    missing = [name for name in PARTS[part] if name not in named]
    if missing:
        raise unusable(path, f"names no sha256 of {' and '.join(missing)}, expected one")
    foreign = {name for other, names in PARTS.items() if other != part for name in names}
    return {name: digest for name, digest in named.items() if name not in foreign}


def place(home: Path, name: str) -> Path:
    """Where the file of that name is: in `home`; the tokenizer, which parts share, perhaps only among the shipped."""
    return SHIPPED / name if name == TOKENIZER and not (home / name).is_file() else home / name


def unusable(path: Path, what: str) -> WeightsError:
    """The error for a file: what is wrong with it, what was expected, what to do."""
    remedy = (
        "install weighup again"
        if path.parent == SHIPPED
        else "train it again with `weighup train` or leave --weights out"
    )
    return WeightsError(f"{path}: {what}; {remedy}")


@dataclass(frozen=True, slots=True)
class Arrays:
    """The arrays of an .npz, each checked as it is taken. Nothing is ever unpickled."""

    path: Path
    found: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Arrays:
        """Raises WeightsError if it is not an .npz of plain arrays."""
        try:
            with np.load(path, allow_pickle=False) as found:
                return cls(path, {name: found[name] for name in found.files})
        except Exception as error:  # numpy and zipfile raise many kinds on bytes that are not theirs
            raise unusable(path, f"cannot be read ({error}), expected an .npz of plain arrays") from error

    def take(self, name: str, *shape: int | None) -> NDArray[Any]:
        """An array of finite numbers of that shape (None: any length but zero). Raises WeightsError."""
        array = self.found.get(name)
        wanted = f"[{', '.join('any' if n is None else str(n) for n in shape)}]"
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise unusable(self.path, f"has no numbers named {name}, expected {wanted}")
        fits = array.ndim == len(shape) and all(n in (None, have) for n, have in zip(shape, array.shape, strict=True))
        if not fits or not array.size:
            raise unusable(self.path, f"{name} is {list(array.shape)}, expected {wanted}")
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(np.float32)).all()
        if not finite:
            raise unusable(self.path, f"{name} holds what is not a number, expected finite ones")
        return array

    def above_zero(self, name: str, *shape: int) -> NDArray[np.float32]:
        """As `take`, for what is divided by."""
        array = self.take(name, *shape).astype(np.float32)
        if not (array > 0).all():
            raise unusable(self.path, f"{name} holds {array.min()}, expected numbers above 0")
        return array

    def head(self, name: str, width: int | None, classes: int) -> Head:
        """The head of that name on `width` numbers (None: any) with `classes` answers. Raises WeightsError."""
        width = len(self.take(f"{name}/mean", width))
        self.above_zero(f"{name}/scale", width)
        self.above_zero(f"{name}/temperature")
        members = len(self.take(f"{name}/b2", None, classes))
        if f"{name}/w1" in self.found:
            hidden = self.take(f"{name}/w1", members, width, None).shape[2]
            self.take(f"{name}/b1", members, hidden)
            width = hidden
        self.take(f"{name}/w2", members, width, classes)
        return Head.from_arrays(self.found, name)


@functools.cache
def _card(part: Part, home: Path) -> dict[str, Any]:
    path = home / f"{part}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unusable(path, f"cannot be read ({error.strerror or error}), expected the card of {part}") from error
    except (ValueError, RecursionError) as error:
        raise unusable(path, f"is not JSON ({error}), expected the card of {part}") from error
    if not isinstance(found, dict):
        raise unusable(path, f"is not a JSON object, expected the card of {part}")
    layout = found.get("format", 1)
    if type(layout) is not int or layout != FORMAT:
        newer = " (a newer weighup made it: upgrade)" if type(layout) is int and layout > FORMAT else ""
        raise unusable(path, f"has format {repr(layout)[:40]}, expected {FORMAT}{newer}")
    if not isinstance(found.get("version"), str) or not found["version"].strip():
        raise unusable(path, "has no `version`, expected a text")
    for name, digest in digests(part, found, path).items():
        file = place(home, name)
        if not file.is_file():
            raise unusable(file, f"is missing, expected because {path.name} names it")
        if home != SHIPPED and (have := _sha256(file)) != digest.lower():
            raise unusable(file, f"has sha256 {have[:12]}…, expected {digest[:12]}… as {path.name} says")
    return found


def _named(card: Mapping[str, Any]) -> Any:
    return card.get("sha256", card.get("files"))


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise unusable(path, f"cannot be read ({error.strerror or error}), expected a file") from error


def _files(part: Part) -> tuple[str, ...]:
    return (f"{part}.json", *PARTS[part])


def _told() -> str:
    return ", ".join(f"{part} ({', '.join(_files(part))})" for part in PARTS)
