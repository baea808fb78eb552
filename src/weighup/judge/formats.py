"""Judgements in others' formats, read and written: Chatbot Arena battles and AlpacaEval annotations here, MT-Bench
judgements of FastChat and logs of inspect_ai in `formats_logs`. Runs in TREC's formats are read by `metrics.trec`.

Every reader gives `Judged`: items and what was said of them, in the items' own numbering. What a format calls a tie
is a tie; what it marks as an error, or leaves empty, is `invalid`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.types import Item, Judgement, Response, Winner

_ARENA: dict[str, Winner] = {"model_a": "1", "model_b": "2", "tie": "tie", "tie (bothbad)": "tie"}
_NOT_SHOWN = "(not in the file)"


@dataclass(frozen=True, slots=True)
class Judged:
    """Items, and judgements of them: one of each, at the same place."""

    items: tuple[Item, ...]
    judgements: tuple[Judgement, ...]

    def __len__(self) -> int:
        return len(self.items)


def read_arena(path: Path) -> Judged:
    """Chatbot Arena battles (lm-sys): JSON list or JSONL of `model_a`, `model_b`, `winner` (`model_a`, `model_b`,
    `tie`, `tie (bothbad)`), and optionally `question_id`, `judge`, `conversation_a`, `conversation_b`, `turn`,
    `language`, `tstamp`. A conversation's first user turn is the prompt, its assistant turns the response.

    Raises InvalidInput naming row and field.
    """
    items, said = [], []
    for number, row in rows_of(path):
        where = f"{path}: row {number}"
        names = [text_of(row, name, where) for name in ("model_a", "model_b")]
        winner = text_of(row, "winner", where)
        if winner not in _ARENA:
            raise InvalidInput(f"{where}: winner: {winner!r} is none of {', '.join(_ARENA)}")
        told = [_conversation(row.get(f"conversation_{side}"), where) for side in "ab"]
        texts = (Response(text=told[0][1], system=names[0]), Response(text=told[1][1], system=names[1]))
        meta: dict[str, Any] = {key: row[key] for key in ("turn", "anony", "language", "tstamp") if key in row}
        if winner == "tie (bothbad)":
            meta["both_bad"] = True
        item = Item(id=f"{row.get('question_id', number)}#{number}", prompt=told[0][0], responses=texts, meta=meta)
        items.append(item)
        said.append(Judgement(item_id=item.id, judge=str(row.get("judge", "arena")), winner=_ARENA[winner]))
    return Judged(tuple(items), tuple(said))


def write_arena(judged: Judged, path: Path) -> int:
    """Usable verdicts on pairs as Chatbot Arena battles, JSONL; how many. Raises InvalidInput for a nameless system."""
    names: dict[str | None, str] = {"1": "model_a", "2": "model_b", "tie": "tie"}
    found: list[dict[str, Any]] = []
    for item, one in pairs_of(judged):
        sides: dict[str, Any] = {}
        for side, response in zip("ab", item.responses, strict=True):
            sides[f"model_{side}"] = system_of(item, response)
            turns = [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": response.text}]
            sides[f"conversation_{side}"] = turns
        winner = "tie (bothbad)" if item.meta.get("both_bad") and one.winner == "tie" else names[one.winner]
        about = {key: item.meta[key] for key in ("turn", "anony", "language", "tstamp") if key in item.meta}
        question = item.id.rpartition("#")[0] or item.id
        found.append({"question_id": question, **sides, "winner": winner, "judge": one.judge, **about})
    return write_rows(found, path)


def read_alpaca(path: Path) -> Judged:
    """AlpacaEval annotations: JSON list or JSONL of `instruction`, `output_1`, `generator_1`, `output_2`,
    `generator_2`, `annotator`, `preference`: 1 the first, 2 the second, 1.5 (before: 0) a tie, between them a
    probability; null where the annotator failed. Certainty is that of the winner, scores are each one's chance.

    Raises InvalidInput naming row and field.
    """
    items, said = [], []
    for number, row in rows_of(path):
        where = f"{path}: row {number}"
        texts = tuple(
            Response(text=text_of(row, f"output_{n}", where), system=str(row.get(f"generator_{n}") or ""))
            for n in (1, 2)
        )
        meta = {key: row[key] for key in ("dataset", "datasplit") if row.get(key) is not None}
        item = Item(id=str(number), prompt=text_of(row, "instruction", where), responses=texts, meta=meta)
        items.append(item)
        base = Judgement(item_id=item.id, judge=str(row.get("annotator") or "annotator"), status="invalid")
        preference = row.get("preference")
        if preference is None or (isinstance(preference, float) and math.isnan(preference)):
            said.append(base)
            continue
        if not isinstance(preference, int | float) or not (preference == 0 or 1 <= preference <= 2):
            raise InvalidInput(f"{where}: preference: a number from 1 to 2 is needed, not {preference!r}")
        second = 0.5 if preference == 0 else float(preference) - 1
        winner: Winner = "tie" if second == 0.5 else ("2" if second > 0.5 else "1")
        raw = row.get("raw_completion")
        update = {
            "winner": winner,
            "status": "ok",
            "scores": (1 - second, second),
            "certainty": None if winner == "tie" else max(second, 1 - second),
            "rationale": raw if isinstance(raw, str) else "",
        }
        said.append(base.model_copy(update=update))
    return Judged(tuple(items), tuple(said))


def write_alpaca(judged: Judged, path: Path) -> int:
    """Verdicts on pairs as AlpacaEval annotations, a JSON list; how many. The preference is 2's probability + 1 where
    the scores are probabilities, else 1, 1.5 or 2; null where the judgement is not usable."""
    found: list[dict[str, Any]] = []
    for item, one in pairs_of(judged, usable=False):
        preference = {"1": 1.0, "tie": 1.5, "2": 2.0}.get(str(one.winner)) if one.usable else None
        chances = one.scores or ()
        if preference is not None and len(chances) == 2 and None not in chances:
            first, second = (float(chance or 0) for chance in chances)
            if abs(first + second - 1) < 1e-6 and 0 <= second <= 1:
                preference = 1 + second
        row: dict[str, Any] = {"instruction": item.prompt}
        for n, response in enumerate(item.responses, 1):
            row |= {f"output_{n}": response.text, f"generator_{n}": response.system}
        row |= {"annotator": one.judge, "preference": preference, "raw_completion": one.rationale or None}
        found.append(row | {key: item.meta[key] for key in ("dataset", "datasplit") if key in item.meta})
    path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return len(found)


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a JSON list, or of JSON lines, numbered from 1. Raises InvalidInput naming the row."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            start = file.read(1_000).lstrip()[:1]
            file.seek(0)
            if start == "[":
                rows = enumerate(json.load(file), 1)
                yield from ((number, _object(row, path, number)) for number, row in rows)
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(_json(line, path, number), path, number)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path}: cannot be read as JSON: {error}") from error


def write_rows(rows: list[dict[str, Any]], path: Path) -> int:
    """Rows as JSON lines; how many."""
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return len(rows)


def text_of(row: Mapping[str, Any], name: str, where: str) -> str:
    """A field that must be there and be text."""
    value = row.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"{where}: {name}: {'is missing' if value is None else 'is not text'}")
    return value


def pairs_of(judged: Judged, *, usable: bool = True) -> Iterator[tuple[Item, Judgement]]:
    """Items of two responses with their judgements, those with a winner if `usable`. Raises InvalidInput for others."""
    for item, one in zip(judged.items, judged.judgements, strict=True):
        if len(item.responses) != 2:
            raise InvalidInput(f"item {item.id}: this format holds pairs, and it has {len(item.responses)} responses")
        if not usable or (one.usable and one.winner is not None):
            yield item, one


def system_of(item: Item, response: Response) -> str:
    """The name of the system that answered."""
    if not response.system:
        raise InvalidInput(f"item {item.id}: this format names the system of each response; one has no name")
    return response.system


def _conversation(told: JsonValue, where: str) -> tuple[str, str]:
    """The first user turn, and all that the assistant said."""
    if told is None:
        return _NOT_SHOWN, _NOT_SHOWN
    if not isinstance(told, list) or not all(isinstance(turn, dict) for turn in told):
        raise InvalidInput(f"{where}: conversation_a or _b: is not a list of turns")
    turns = [(str(turn.get("role")), str(turn.get("content", ""))) for turn in told if isinstance(turn, dict)]
    asked = [text for role, text in turns if role == "user"]
    said = [text for role, text in turns if role == "assistant"]
    return (asked[0] if asked else _NOT_SHOWN), "\n\n".join(said)


def _json(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: row {number}: is not JSON ({error})") from error


def _object(row: object, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InvalidInput(f"{path}: row {number}: is not a JSON object")
    return row
