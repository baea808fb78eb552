"""JSON replies: read them out of what a model wrote, say what is wrong with them, and ask again."""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import BaseModel, ValidationError

from weighup.models.backend import Message
from weighup.texts import shorten


@functools.lru_cache(maxsize=256)
def json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Its JSON Schema, made once: pydantic takes most of a millisecond for it. Not to be changed."""
    return schema.model_json_schema()


def schema_in_words(schema: type[BaseModel]) -> str:
    """The instruction for models that cannot be constrained."""
    return f"Answer with one JSON object and nothing else. It must conform to this JSON Schema:\n{_compact(schema)}"


def with_instruction(messages: list[Message], schema: type[BaseModel]) -> list[Message]:
    """The conversation with that instruction at the end of its system text."""
    words = schema_in_words(schema)
    if messages and messages[0]["role"] == "system":
        first = Message(role="system", content=f"{messages[0]['content']}\n\n{words}")
        return [first, *messages[1:]]
    return [Message(role="system", content=words), *messages]


def read_json(text: str, schema: type[BaseModel]) -> tuple[BaseModel | None, str]:
    """The validated value and "", or None and what was wrong. Prose and code fences around the object are ignored."""
    found = _object(text)
    if found is None:
        return None, "there is no JSON object in it"
    try:
        # As JSON, not as Python's values: a strict model takes a date or a tuple from JSON only.
        return schema.model_validate_json(json.dumps(found)), ""
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'the whole'}: {e['msg']}" for e in error.errors()[:5]]
        return None, "; ".join(wrong)


def asked_again(messages: list[Message], reply: str, wrong: str) -> list[Message]:
    """The conversation carried on with the refused reply and the reason."""
    again = f"That was not usable: {wrong}. Answer again with one complete, shorter JSON object and nothing else."
    return [
        *messages,
        Message(role="assistant", content=shorten(reply, 2000) or "…"),
        Message(role="user", content=again),
    ]


def _object(text: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(20):  # prose may hold a few braces before the object; a page of them is junk
        if start < 0:
            return None
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return found if isinstance(found, dict) else None
    return None


def _compact(schema: type[BaseModel]) -> str:
    return json.dumps(json_schema(schema), ensure_ascii=False, separators=(",", ":"))
