"""The one model client. Every engine and endpoint is used through it, and only here are calls side by side,
retried, timed out, cached and metered.

Batch in, batch out. A failed item carries its error (ModelUnavailable, BudgetExceeded); the rest is done.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from weighup.errors import BudgetExceeded, ModelUnavailable, WeighupError
from weighup.models.backend import Backend, Message, NoProbabilities, Transient, Weighed, Wrote, opening
from weighup.models.cache import RequestCache, request_key
from weighup.models.instances import shared
from weighup.models.metering import Hold, Meter, Usage
from weighup.models.retries import retried
from weighup.models.side_by_side import side_by_side
from weighup.models.structured import asked_again, json_schema, read_json, with_instruction
from weighup.models.types import Choice, Prompt, Question, Reply
from weighup.settings import ModelSettings, Price

log = logging.getLogger(__name__)

Asked = TypeVar("Asked", Prompt, Question)
Got = TypeVar("Got", Reply, Choice)

RE_ASKED = 2


class Client:
    """A LanguageModel over one Backend. Thread-safe; survives a fork.

    `price` is None when it is not known: money is then counted as 0, and a budget in dollars refuses to be guessed.
    """

    def __init__(
        self,
        backend: Backend,
        settings: ModelSettings,
        *,
        price: Price | None,
        cache: RequestCache | None = None,
        backoff: float = 0.5,
    ) -> None:
        self.name = backend.name
        self.version = backend.version
        self.backend = backend
        self.settings = settings
        self.price = price
        self.cache = cache
        self.backoff = backoff
        self.concurrency = min(settings.concurrency, backend.concurrency or settings.concurrency)

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        """One reply per prompt, in order."""
        return self._batch(prompts, self._reply, meter or Meter())

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        """Probabilities over each question's answers, in order. One metered call each."""
        return self._batch(questions, self._choice, meter or Meter())

    def _batch(self, items: Sequence[Asked], one: Callable[[Asked, Meter], Got], meter: Meter) -> list[Got]:
        # With a cache, the second of two equal items would find the first's answer: it is asked once.
        unique = list(dict.fromkeys(items)) if self.cache else list(items)
        answers = side_by_side(
            lambda item: one(item, meter), unique, workers=self.concurrency, leave_behind=self.backend.remote
        )
        if len(unique) == len(items):
            return answers
        return self._spread(items, dict(zip(unique, answers, strict=True)), meter)

    def _spread(self, items: Sequence[Asked], answers: dict[Asked, Got], meter: Meter) -> list[Got]:
        seen: set[Hashable] = set()
        spread: list[Got] = []
        for item in items:
            answer = answers[item]
            if item in seen and answer.error is None:
                again = Usage(calls=1, cached=1)
                meter.add(again)
                answer = dataclasses.replace(answer, usage=again)
            seen.add(item)
            spread.append(answer)
        return spread

    def _reply(self, prompt: Prompt, meter: Meter) -> Reply:
        tally = _Tally(meter)
        try:
            text, value = self._written(prompt, tally)
        except WeighupError as error:
            return Reply(usage=tally.usage, error=error)
        return Reply(text=text, value=value, usage=tally.usage)

    def _written(self, prompt: Prompt, tally: _Tally) -> tuple[str, BaseModel | None]:
        messages = opening(prompt)
        if prompt.schema is None:
            return self._write(prompt, messages, tally), None
        if not self.backend.constrains:
            messages = with_instruction(messages, prompt.schema)
        wrong = ""
        for _ in range(1 + RE_ASKED):
            text = self._write(prompt, messages, tally)
            value, wrong = read_json(text, prompt.schema)
            if value is not None:
                return text, value
            log.info("%s: reply is not a %s: %s", self.name, prompt.schema.__name__, wrong)
            messages = asked_again(messages, text, wrong)
        raise ModelUnavailable(
            f"{self.name}: no reply conforms to {prompt.schema.__name__} after {1 + RE_ASKED} tries: {wrong}"
        )

    def _write(self, prompt: Prompt, messages: list[Message], tally: _Tally) -> str:
        request = {
            "messages": messages,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "stop": prompt.stop,
            "seed": prompt.seed,
            "schema": json_schema(prompt.schema) if prompt.schema else None,
        }
        answer = self._ask(
            "write", request, prompt.max_tokens, lambda t: self.backend.write(prompt, messages, timeout=t), tally
        )
        return str(answer["text"])

    def _choice(self, question: Question, meter: Meter) -> Choice:
        tally = _Tally(meter)
        try:
            try:
                probabilities = self._weigh(question, tally)
            except NoProbabilities as error:
                log.info("%s; asking for probabilities in words", error)
                probabilities = self._weigh_in_words(question, tally)
        except WeighupError as error:
            return Choice(usage=tally.usage, error=error)
        return Choice(probabilities=probabilities, usage=tally.usage)

    def _weigh(self, question: Question, tally: _Tally) -> tuple[float, ...]:
        request = {"messages": opening(question), "answers": question.answers}
        answer = self._ask("weigh", request, 1, lambda t: self.backend.weigh(question, timeout=t), tally)
        return tuple(float(p) for p in answer["probabilities"])

    def _weigh_in_words(self, question: Question, tally: _Tally) -> tuple[float, ...]:
        from weighup.models.asked import prompt_for, read_probabilities

        _, value = self._written(prompt_for(question), tally)
        return read_probabilities(question, value)

    def _ask(
        self, kind: str, request: dict[str, Any], most: int, call: Callable[[float], Wrote | Weighed], tally: _Tally
    ) -> dict[str, Any]:
        """One call, or its kept answer. `most` is the most tokens that can be written."""
        key = request_key(self.name, self.version, kind, request)
        kept = self.cache.get(key) if self.cache else None
        if kept is not None and _is_answer(kind, request, kept):
            tally.add(Usage(calls=1, cached=1))
            return kept
        read = _estimate(request["messages"], request.get("schema"))
        self._refuse_unpriced(tally.meter)
        with tally.meter.reserve(tokens=read + most, usd=self._money(read, most)) as hold:
            started = time.monotonic()
            try:
                answer = self._limited(call, tally, hold)
            except NoProbabilities:
                raise
            except WeighupError:
                hold.settle(tally.count(Usage(calls=1, seconds=time.monotonic() - started)))
                raise
            usage = Usage(
                calls=1,
                tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out,
                seconds=time.monotonic() - started,
                usd=self._money(answer.tokens_in, answer.tokens_out),
            )
            hold.settle(tally.count(usage))
        fields = dataclasses.asdict(answer)
        if self.cache:
            self.cache.put(key, fields)
        return fields

    def _limited(self, call: Callable[[float], Wrote | Weighed], tally: _Tally, hold: Hold) -> Wrote | Weighed:
        """Call with a free place, within the time left, retried. Tokens of tries that came to nothing are counted."""
        meter = tally.meter
        # One set of places per backend and process, however many clients and batches there are.
        key = ("places", self.name, self.version, self.concurrency)
        places = shared(key, lambda: threading.BoundedSemaphore(self.concurrency))

        def attempt() -> Wrote | Weighed:
            left = meter.remaining_seconds()
            if not places.acquire(timeout=left if left is None else min(max(left, 0.0), threading.TIMEOUT_MAX)):
                raise BudgetExceeded(f"time budget is spent; {self.name} was busy with other calls")
            try:
                hold.check()
                left = meter.remaining_seconds()
                return call(self.settings.timeout if left is None else min(self.settings.timeout, left))
            except (Transient, NoProbabilities) as error:
                read, wrote = error.spent
                tally.add(Usage(tokens_in=read, tokens_out=wrote, usd=self._money(read, wrote)))
                raise
            finally:
                places.release()

        try:
            return retried(
                attempt, retries=self.settings.retries, backoff=self.backoff, longest=self.settings.timeout, meter=meter
            )
        except ModelUnavailable as error:
            left = meter.remaining_seconds()
            if left is not None and left <= 0 and not isinstance(error, NoProbabilities):
                raise BudgetExceeded(f"time budget is spent; {error}") from error
            raise

    def _money(self, tokens_in: int, tokens_out: int) -> float:
        if self.price is None:
            return 0.0
        return (tokens_in * self.price.input + tokens_out * self.price.output) / 1e6

    def _refuse_unpriced(self, meter: Meter | None) -> None:
        while meter is not None and self.price is None:
            if meter.budget.usd is not None:
                raise BudgetExceeded(
                    f"{self.name}: its price is not known, so a budget in dollars cannot be kept; set "
                    f'models.prices."{self.name}" (dollars for a million tokens, input and output)'
                )
            meter = meter.parent


class _Tally:
    """What one item used, also told to the meter."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.usage = Usage()

    def count(self, usage: Usage) -> Usage:
        self.usage = self.usage + usage
        return usage

    def add(self, usage: Usage) -> None:
        self.meter.add(self.count(usage))


def _estimate(messages: Sequence[Message], schema: dict[str, Any] | None) -> int:
    """Tokens in a conversation: about four bytes of UTF-8 each, and a few for each turn; a schema is read too."""
    extra = len(json.dumps(schema)) // 4 if schema else 0
    return extra + sum(len(m["content"].encode("utf-8", "replace")) // 4 + 8 for m in messages)


def _is_answer(kind: str, request: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Whether what a cache holds is an answer to the request; anything else counts as not kept."""
    if kind == "write":
        return isinstance(kept.get("text"), str)
    chances = kept.get("probabilities")
    return (
        isinstance(chances, list)
        and len(chances) == len(request["answers"])
        and all(isinstance(p, int | float) and math.isfinite(p) and 0 <= p <= 1 for p in chances)
    )
