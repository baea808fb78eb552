"""The language model inside weighup: SmolLM2-135M-Instruct, or any other GGUF file, on llama.cpp.

Allal et al. 2025, SmolLM2 (arXiv 2502.02737). JSON is constrained by a grammar while it is written; probabilities
over answers come from the log-probabilities of the next token. A conversation that does not fit the context loses
the middle of its longest message, with a mark where, because claims open with what matters and prompts end with
what is asked. It is a small model: what it writes is a perspective, never a fact.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from weighup.errors import ModelMissing, ModelUnavailable
from weighup.models.answers import Top, weigh_answers
from weighup.models.backend import Message, Weighed, Wrote, opening
from weighup.models.catalogue import asset, require
from weighup.models.engine import Completion, ContextExceeded, EngineTimeout, LlamaEngine
from weighup.models.instances import shared
from weighup.models.onnx_encoder import fingerprint
from weighup.models.structured import json_schema
from weighup.models.types import Prompt, Question
from weighup.settings import ModelSettings

log = logging.getLogger(__name__)

# Alternatives listed for a token: enough that every sensible answer's first token is among 49,152.
_LISTED = 1000
_CUTS = 6
_CONTEXT = 4096
_GAP = "\n[…]\n"


class EmbeddedBackend:
    """A GGUF file and its engine, which loads at first use. Thread- and fork-safe, picklable."""

    constrains = True
    remote = False
    # One at a time: side by side they would share the same cores for no gain (benchmarks/engine.py), and what is
    # written would hang on who else is writing.
    concurrency: int | None = 1

    def __init__(self, path: Path, *, name: str, version: str, context: int = _CONTEXT, threads: int = 0) -> None:
        self.path = path
        self.name = name
        # What is cut out of a long prompt hangs on the context, and with it the answer that is kept.
        cut = "" if context == _CONTEXT else f"+context-{context}"
        self.version = f"{version}+xllamacpp-{installed('xllamacpp')}{cut}"
        self.context = context
        self.threads = threads

    @classmethod
    def load(cls, models: ModelSettings) -> EmbeddedBackend:
        """The file that `models.language` names. Raises ModelMissing saying what to do."""
        if models.language == "embedded":
            path, name, version = require("smollm2"), "smollm2", asset("smollm2").sha256[:12]
        else:
            path = Path(models.language).expanduser()
            if not path.is_file():
                raise ModelMissing(
                    f"setting models.language: {path} is not a file; name a GGUF file, or write `embedded` and run "
                    "`weighup models pull smollm2`"
                )
            name, version = path.stem, fingerprint(path)
        return cls(path, name=name, version=version, context=models.context, threads=models.threads)

    def write(self, prompt: Prompt, messages: Sequence[Message], *, timeout: float) -> Wrote:
        body: dict[str, Any] = {
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "seed": prompt.seed,
            "stop": list(prompt.stop),
        }
        if prompt.schema is not None:
            schema = {"name": prompt.schema.__name__, "schema": json_schema(prompt.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        done = self._fitting(messages, body, time.monotonic() + timeout)
        return Wrote(done.text, done.tokens_in, done.tokens_out)

    def weigh(self, question: Question, *, timeout: float) -> Weighed:
        body = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": _LISTED}
        messages = opening(question)
        deadline = time.monotonic() + timeout
        first = self._fitting(messages, body, deadline)
        tokens = [first.tokens_in, first.tokens_out]

        def ask(written: str) -> Top:
            # The engine keeps the prompt's state: this costs the few tokens written, not the prompt again.
            further = self._fitting([*messages, Message(role="assistant", content=written)], body, deadline)
            tokens[1] += further.tokens_out
            return further.top

        probabilities = weigh_answers(question.answers, first.top, ask)
        if not probabilities:
            raise ModelUnavailable(f"{self.name}: none of {', '.join(question.answers)} is a likely answer to it")
        return Weighed(probabilities, tokens[0], tokens[1])

    def _fitting(self, messages: Sequence[Message], body: dict[str, Any], deadline: float) -> Completion:
        """Ask; where the context is too small, cut the longest message and ask again. All of it ends by `deadline`."""
        engine = self._engine()
        # No token of any vocabulary in use spells more than about twenty characters on average text.
        messages = [_shortened(m, self.context * 20) for m in messages]
        for _ in range(_CUTS):
            try:
                done = engine.chat({**body, "messages": messages}, timeout=deadline - time.monotonic())
            except ContextExceeded as error:
                needed = error.tokens
            except EngineTimeout as error:
                raise ModelUnavailable(f"{self.name}: {error}") from error
            else:
                ran_out = done.finish == "length" and done.tokens_out < body["max_tokens"]
                if not ran_out:
                    return done
                needed = done.tokens_in
            room = self.context - min(body["max_tokens"], self.context // 2) - 8
            messages = _cut(messages, room / max(needed, 1))
            log.info("%s: a prompt of %d tokens does not fit a context of %d; cut", self.name, needed, self.context)
        raise ModelUnavailable(f"{self.name}: the prompt cannot be cut to a context of {self.context} tokens")

    def _engine(self) -> LlamaEngine:
        return shared(("llama", self.path, self.context, self.threads), self._open)

    def _open(self) -> LlamaEngine:
        return LlamaEngine(self.path, context=self.context, threads=self.threads)


def _cut(messages: Sequence[Message], share: float) -> list[Message]:
    """Shorten the longest message so that the whole keeps about `share` of its characters (a little less)."""
    total = sum(len(m["content"]) for m in messages)
    longest = max(messages, key=lambda m: len(m["content"]))
    keep = int(len(longest["content"]) - total * (1 - min(share, 0.98) * 0.97))
    return [_shortened(m, max(keep, 0)) if m is longest else m for m in messages]


def _shortened(message: Message, limit: int) -> Message:
    text = message["content"]
    if len(text) <= limit:
        return message
    half = max(limit - len(_GAP), 0) // 2
    return Message(role=message["role"], content=text[: limit - len(_GAP) - half] + _GAP + text[len(text) - half :])
