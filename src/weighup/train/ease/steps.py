"""What a training has finished, kept in `OUT/.ease`, so that a run that was stopped goes on where it was: plain
arrays beside a key that tells what they were made from. What was made from something else is made anew."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.train.ease.fit import Evaluators, Experts
from weighup.train.ease.table import Table
from weighup.verify.heads import Head
from weighup.verify.types import KINDS

log = logging.getLogger(__name__)
Arrays = dict[str, NDArray[Any]]
FOLDER = ".ease"
_BY_KIND, _WORDS = ("knowledge", "told"), ("texts", "tellings")


def key_of(**parts: Any) -> str:
    """A digest of everything that a step's result hangs on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def keep(path: Path, key: str, arrays: Mapping[str, NDArray[Any]], told: Mapping[str, Any] | None = None) -> None:
    """Write a step's arrays whole or not at all. `told` is anything that JSON can hold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    text = np.frombuffer(json.dumps({"key": key, "told": told or {}}).encode(), np.uint8)
    with beside.open("wb") as file:
        np.savez(file, __about__=text, **dict(arrays))  # type: ignore[arg-type]
    beside.replace(path)


def kept(path: Path, key: str) -> tuple[Arrays, dict[str, Any]] | None:
    """What `keep` wrote under the same key, or None."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        about = json.loads(arrays.pop("__about__").tobytes())
        return (arrays, about["told"]) if about["key"] == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s: cannot be read (%s); the step is done anew", path, error)
        return None


def table_arrays(table: Table) -> Arrays:
    """What `table_from` reads back."""
    found: Arrays = {}
    for field in fields(table):
        value = getattr(table, field.name)
        if field.name in _BY_KIND:
            found |= {f"{field.name}/{kind}": rows for kind, rows in value.items()}
        else:
            found[field.name] = np.frombuffer(json.dumps(value).encode(), np.uint8) if field.name in _WORDS else value
    return found


def table_from(arrays: Mapping[str, NDArray[Any]]) -> Table:
    """The table."""
    found: dict[str, Any] = {}
    for field in fields(Table):
        if field.name in _BY_KIND:
            found[field.name] = {kind: arrays[f"{field.name}/{kind}"] for kind in KINDS}
        elif field.name in _WORDS:
            found[field.name] = tuple(json.loads(arrays[field.name].tobytes()))
        else:
            found[field.name] = arrays[field.name]
    return Table(**found)


def evaluators_arrays(found: Evaluators) -> Arrays:
    """What `evaluators_from` reads back."""
    arrays: Arrays = {}
    for kind in KINDS:
        arrays |= found.opinions[kind].arrays(f"opinion/{kind}") | found.evaluators[kind].arrays(f"evaluator/{kind}")
        arrays |= {f"said/{kind}": found.opinion[kind], f"reliability/{kind}": found.reliability[kind]}
    return arrays


def evaluators_from(arrays: Mapping[str, NDArray[Any]], report: dict[str, Any]) -> Evaluators:
    """The evaluators."""
    return Evaluators(
        {kind: Head.from_arrays(arrays, f"opinion/{kind}") for kind in KINDS},
        {kind: Head.from_arrays(arrays, f"evaluator/{kind}") for kind in KINDS},
        {kind: arrays[f"said/{kind}"] for kind in KINDS},
        {kind: arrays[f"reliability/{kind}"] for kind in KINDS},
        report,
    )


def experts_arrays(found: Experts) -> Arrays:
    """What `experts_from` reads back."""
    arrays: Arrays = {"chosen": found.chosen}
    for kind in KINDS:
        arrays |= found.experts[kind].arrays(f"expert/{kind}")
        arrays |= {f"fake/{kind}": found.fake[kind], f"at/{kind}": np.asarray(found.reliable_at[kind])}
    return arrays


def experts_from(arrays: Mapping[str, NDArray[Any]], report: dict[str, Any]) -> Experts:
    """The experts."""
    return Experts(
        {kind: Head.from_arrays(arrays, f"expert/{kind}") for kind in KINDS},
        {kind: arrays[f"fake/{kind}"] for kind in KINDS},
        {kind: float(arrays[f"at/{kind}"]) for kind in KINDS},
        arrays["chosen"],
        report,
    )
