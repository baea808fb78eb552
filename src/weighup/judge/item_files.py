"""Items from files: JSON lines, CSV and Parquet, read a row at a time.

Fields: `id`, `prompt`, and either `responses` (texts, or objects with `text`, `system`, `sources`) or `response_1`,
`response_2`, … with `system_1`, … beside them; optionally `reference`, `context`, `persona`, `category` and `meta` (an
object; in CSV as JSON, or in columns `meta.NAME`). Unknown fields are refused, so that a misspelt one is not lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weighup.errors import InvalidInput
from weighup.judge.types import Item
from weighup.rowfile import Row, read_rows

_NUMBERED = re.compile(r"(response|system)_([1-9]\d*)")


def read_items(path: Path) -> Iterator[Item]:
    """The items of a .jsonl (.ndjson), .csv or .parquet file, as they are read.

    Raises InvalidInput naming file, row (from 1; in CSV, without the header) and field; or an id that stands twice.
    """
    seen: dict[tuple[str, str, int], int] = {}
    for number, row in _rows(path):
        item = as_item(row, f"{path}: row {number}")
        key = (item.id, item.order, item.sample)
        if key in seen:
            raise InvalidInput(f"{path}: row {number}: id: {item.id!r} stands in row {seen[key]} already")
        seen[key] = number
        yield item
    if not seen:
        raise InvalidInput(f"{path}: there are no items in it")


def write_items(items: Iterable[Item], path: Path) -> int:
    """Items as JSON lines, without what stands at its default; how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for item in items:
            row = item.model_dump(mode="json", exclude_defaults=True)
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
            count += 1
    return count


def as_item(row: Mapping[str, Any], where: str) -> Item:
    """An item of a row of a table. Raises InvalidInput saying where, and which field is wrong."""
    values = {name: value for name, value in row.items() if value is not None}
    numbered: dict[str, dict[int, Any]] = {"response": {}, "system": {}}
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in values.items():
        match = _NUMBERED.fullmatch(name)
        if match is not None:
            numbered[match.group(1)][int(match.group(2))] = value
        elif name.startswith("meta."):
            extra[name.removeprefix("meta.")] = value
        else:
            fields[name] = value
    if numbered["response"]:
        if "responses" in fields:
            raise InvalidInput(f"{where}: responses: stands there beside response_1; one of the two is enough")
        fields["responses"] = _listed(numbered, where)
    elif isinstance(fields.get("responses"), list | tuple):
        fields["responses"] = [{"text": one} if isinstance(one, str) else one for one in fields["responses"]]
    if isinstance(fields.get("id"), int):
        fields["id"] = str(fields["id"])
    if extra:
        fields["meta"] = {**fields.get("meta", {}), **extra}
    try:
        return Item.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the row"
        message = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise InvalidInput(f"{where}: {field}: {message}") from error


def _listed(numbered: Mapping[str, Mapping[int, Any]], where: str) -> list[dict[str, Any]]:
    count = len(numbered["response"])
    for n in range(1, count + 1):
        if n not in numbered["response"]:
            raise InvalidInput(f"{where}: response_{n}: is missing")
    lonely = [n for n in numbered["system"] if n > count]
    if lonely:
        raise InvalidInput(f"{where}: system_{lonely[0]}: there is no response_{lonely[0]}")
    return [{"text": numbered["response"][n], "system": numbered["system"].get(n, "")} for n in range(1, count + 1)]


def _rows(path: Path) -> Iterator[Row]:
    """Rows of plain values: in CSV, words as what they stand for; in Parquet, as JSON has them."""
    kind = path.suffix.lower()
    for number, row in read_rows(path, empty=True):
        where = f"{path}: row {number}"
        if kind == ".csv":
            # An empty field is one that is not there, but for a response: a system may have said nothing.
            yield number, {name: _read(name, said, where) for name, said in row.items() if _there(name, said)}
        else:
            yield number, _plain_row(row, where) if kind == ".parquet" else row


def _there(name: str, said: str | None) -> bool:
    return bool(said) or (said is not None and name.startswith("response_"))


def _read(name: str, said: str, where: str) -> Any:
    """A CSV field as what it stands for."""
    if name in ("responses", "meta"):
        try:
            return json.loads(said)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{where}: {name}: is not JSON ({str(error)[:80]})") from error
    if name == "sample":
        return int(said) if said.strip().isdigit() else said
    if name.startswith("meta."):
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            return said  # a word: what stands there is text
    return said


def _plain_row(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A Parquet row as JSON has it: maps come as lists of pairs, and may be written as JSON."""
    found = {name: _plain(value) for name, value in row.items()}
    meta = found.get("meta")
    if isinstance(meta, str):
        found["meta"] = _read("meta", meta, where)
    elif isinstance(meta, list):
        found["meta"] = {str(pair[0]): pair[1] for pair in meta}
    return found


def _plain(value: Any) -> Any:
    """Without the fields that are in the table, but not in this row."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
