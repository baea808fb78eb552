"""Replay what a model once answered, from a file: `recorded:FILE`. And the recorder that writes such files.

One JSON object a line: `{"kind": "write"|"weigh", "request": {...}, "answer": {...}, "model": "name version"}`.
Replays are exact: a request differing in anything but its order in the file is not found. Nothing is paid for them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput, ModelUnavailable
from weighup.models.backend import Message, Weighed, Wrote
from weighup.models.cache import request_key
from weighup.models.metering import Meter
from weighup.models.onnx_encoder import fingerprint
from weighup.models.types import Choice, LanguageModel, Prompt, Question, Reply


class RecordedBackend:
    """Answers from a file of recordings. Raises InvalidInput naming the line if it is not one."""

    constrains = True  # the text was validated when it was recorded
    remote = False
    concurrency: int | None = None

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InvalidInput(f"setting models.language: recorded:{path} names no file")
        self.path = path
        self.name = f"recorded:{path.name}"
        self.version = fingerprint(path)
        self._answers = dict(_lines(path))

    def write(self, prompt: Prompt, messages: Sequence[Message], *, timeout: float) -> Wrote:
        answer = self._find("write", _prompt(prompt))
        return Wrote(str(answer["text"]), int(answer.get("tokens_in", 0)), int(answer.get("tokens_out", 0)))

    def weigh(self, question: Question, *, timeout: float) -> Weighed:
        answer = self._find("weigh", _question(question))
        chances = tuple(float(p) for p in answer["probabilities"])
        return Weighed(chances, int(answer.get("tokens_in", 0)), int(answer.get("tokens_out", 0)))

    def _find(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._answers.get(request_key("", "", kind, request))
        if answer is None:
            raise ModelUnavailable(f"{self.path}: no recorded answer to {request['user'][:60]!r}; record it first")
        return answer


class Recorder:
    """A LanguageModel that passes everything to another and writes each good answer down, at once. Thread-safe."""

    def __init__(self, model: LanguageModel, path: Path) -> None:
        self.name = model.name
        self.version = model.version
        self.model = model
        self.path = path
        self._lock = threading.Lock()

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        replies = self.model.generate(prompts, meter=meter)
        for prompt, reply in zip(prompts, replies, strict=True):
            if reply.error is None:
                self._keep("write", _prompt(prompt), {"text": reply.text}, reply)
        return replies

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        choices = self.model.choose(questions, meter=meter)
        for question, choice in zip(questions, choices, strict=True):
            if choice.error is None:
                self._keep("weigh", _question(question), {"probabilities": choice.probabilities}, choice)
        return choices

    def _keep(self, kind: str, request: dict[str, Any], answer: dict[str, Any], got: Reply | Choice) -> None:
        tokens = {"tokens_in": got.usage.tokens_in, "tokens_out": got.usage.tokens_out}
        line = {"kind": kind, "request": request, "answer": answer | tokens, "model": f"{self.name} {self.version}"}
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _prompt(prompt: Prompt) -> dict[str, Any]:
    return {
        "user": prompt.user,
        "system": prompt.system,
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "stop": list(prompt.stop),
        "seed": prompt.seed,
        "schema": prompt.schema.model_json_schema() if prompt.schema else None,
    }


def _question(question: Question) -> dict[str, Any]:
    return {"user": question.user, "system": question.system, "answers": list(question.answers)}


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    """The row's answer. Raises ValueError, KeyError or TypeError if it is not one to its request."""
    answer: dict[str, Any] = row["answer"]
    if row["kind"] not in ("write", "weigh"):
        raise ValueError("kind")
    tokens = [int(answer.get(name, 0)) for name in ("tokens_in", "tokens_out")]
    if min(tokens) < 0:
        raise ValueError("tokens")
    if row["kind"] == "write":
        if not isinstance(answer["text"], str):
            raise TypeError("text")
    else:
        chances = [float(p) for p in answer["probabilities"]]
        if len(chances) != len(row["request"]["answers"]) or not all(0 <= p <= 1 for p in chances):
            raise ValueError("probabilities")
    return answer


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    # Bytes that are no UTF-8 become question marks, so that the line they stand in can be named if it is broken.
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                key = request_key("", "", row["kind"], row["request"])
                if not isinstance(row["request"]["user"], str):
                    raise TypeError("user")
                found.append((key, _answer(row)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InvalidInput(f"{path}:{number}: not a recorded answer ({error!r})") from error
    return found
