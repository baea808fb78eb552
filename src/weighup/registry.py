"""The list of implemented methods, read from the source itself.

A method's file holds one top-level `METHOD = Method(...)` with literal arguments. Files are parsed, not imported,
so that listing needs none of their dependencies (no torch for `moe`) and costs milliseconds.
"""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

ROOMS = ("verify", "retrieve", "models", "judge", "arena", "metrics", "select", "route", "moe", "preference", "bench")


@dataclass(frozen=True, slots=True)
class Method:
    """One published method. `module` is filled in from where it stands; `claim_check` is `module:function` or None.

    `status`: `ready` (works, tested) or `partial` (works; what is left is said in its docs row).
    """

    name: str
    room: str
    paper: str
    arxiv: str | None
    command: str
    status: str = "ready"
    claim_check: str | None = None
    module: str = ""


@functools.cache
def methods() -> tuple[Method, ...]:
    """Every method of this package, by room then name."""
    return read_methods(Path(__file__).parent)


def read_methods(package: Path) -> tuple[Method, ...]:
    """Every method under a package's folder. Raises ValueError naming the file for a METHOD that is not literal."""
    found: list[Method] = []
    for path in sorted(package.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "\nMETHOD = Method(" not in source:
            continue
        module = ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _names_method(node):
                found.append(_read(node.value, module, path))
    return tuple(sorted(found, key=lambda m: (ROOMS.index(m.room), m.name)))


def _names_method(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "METHOD" for target in node.targets)


def _read(call: ast.Call, module: str, path: Path) -> Method:
    try:
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        method = Method(**{**values, "module": module})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: METHOD must be written with literal keyword arguments: {error}") from error
    if method.room not in ROOMS:
        raise ValueError(f"{path}: METHOD names room {method.room!r}; rooms are {', '.join(ROOMS)}")
    return method
