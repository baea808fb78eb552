"""The Dockerfile, read."""

from __future__ import annotations

import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def instructions() -> list[tuple[str, str]]:
    """Each instruction with what follows it, on one line."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    whole = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in whole]


def value(word: str) -> str:
    """What follows the last instruction of this name."""
    return [rest for one, rest in instructions() if one == word][-1]


def environment() -> dict[str, str]:
    """The image's own environment but for PATH."""
    pairs = re.findall(r"(\w+)=(\S+)", value("ENV"))
    return {name: text for name, text in pairs if name != "PATH"}
