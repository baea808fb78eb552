"""Any endpoint that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp's server, and many more.

Servers differ in what they take. What one refuses with status 400 is left out or replaced from then on: JSON Schema,
then JSON mode, then the schema in words; `max_tokens` or `max_completion_tokens`; temperature; seed; log-probabilities.
`weigh` reads the first token's `top_logprobs` (20, the protocol's limit); a fork between answers is shared evenly,
since the protocol cannot carry on a half-written answer. Servers without log-probabilities are asked in words.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from weighup.models.answers import weigh_answers
from weighup.models.backend import Message, NoProbabilities, Transient, Weighed, Wrote, counted, opening
from weighup.models.endpoint import Endpoint, Rejected
from weighup.models.structured import json_schema, with_instruction
from weighup.models.types import Prompt, Question
from weighup.settings import ModelSettings

log = logging.getLogger(__name__)

_FORMATS = ("json_schema", "json_object", "words")
_REFUSED = (400, 404, 415, 422, 501)


class OpenAIBackend:
    """One model at one endpoint. Thread-safe."""

    constrains = True  # as far as the server does; the client validates either way
    remote = True
    concurrency: int | None = None

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        self.model = model
        self.name = f"openai:{model}"
        self.version = endpoint.base_url
        self.endpoint = endpoint
        self._format = 0
        self._renamed = False
        self._left_out: frozenset[str] = frozenset()

    @classmethod
    def load(cls, model: str, models: ModelSettings) -> OpenAIBackend:
        """The model at `models.base_url`, or at OpenAI. Raises SettingsError if its key is missing."""
        endpoint = Endpoint(
            models.base_url or "https://api.openai.com/v1",
            label=f"openai:{model}",
            key_env=models.api_key_env or "OPENAI_API_KEY",
            scheme="Authorization",
            headers={},
        )
        return cls(model, endpoint)

    def write(self, prompt: Prompt, messages: Sequence[Message], *, timeout: float) -> Wrote:
        reply = self._adapted(prompt, list(messages), timeout)
        message = self._choice(reply).get("message")
        text = message.get("content") if isinstance(message, dict) else None
        if not isinstance(text, str):
            said = (message.get("refusal") if isinstance(message, dict) else None) or message
            spent = _tokens(reply, messages, "") if isinstance(reply.get("usage"), dict) else (0, 0)
            raise Transient(f"{self.name}: a reply without text: {self.endpoint.quoted(said)}", spent=spent)
        return Wrote(text, *_tokens(reply, messages, text))

    def weigh(self, question: Question, *, timeout: float) -> Weighed:
        if "logprobs" in self._left_out:
            raise NoProbabilities(f"{self.name} tells no log-probabilities")
        messages = opening(question)
        body = self._body(messages, 1, 0.0, None, ())
        body |= {"logprobs": True, "top_logprobs": 20}
        try:
            reply = self.endpoint.post("/chat/completions", body, timeout=timeout)
        except Rejected as error:
            # Whatever it dislikes about so small a request, asking in words will find out or succeed.
            if error.status not in _REFUSED:
                raise
            if "logprob" in f"{error.detail} {error.parameter}":
                self._left_out |= {"logprobs"}
            raise NoProbabilities(f"{self.name} refuses to tell log-probabilities: {error.detail[:120]}") from error
        top = _top(self._choice(reply))
        probabilities = weigh_answers(question.answers, top) if top else ()
        if not probabilities:
            if not top:
                self._left_out |= {"logprobs"}
            raise NoProbabilities(
                f"{self.name} lists no log-probability for any of the answers", spent=_tokens(reply, messages, "")
            )
        return Weighed(probabilities, *_tokens(reply, messages, ""))

    def _adapted(self, prompt: Prompt, messages: list[Message], timeout: float) -> dict[str, Any]:
        """Post; on a refusal that names something optional, go without it and post again."""
        while True:
            form = self._format
            body = self._body(messages, prompt.max_tokens, prompt.temperature, prompt.seed, prompt.stop)
            if prompt.schema is not None:
                body |= _format(prompt, _FORMATS[form])
                if _FORMATS[form] != "json_schema":
                    body["messages"] = with_instruction(messages, prompt.schema)
            try:
                return self.endpoint.post("/chat/completions", body, timeout=timeout)
            except Rejected as error:
                if error.status not in _REFUSED or not self._adapt(error, body, form):
                    raise
                log.info("%s; asking without it from now on", error)

    def _adapt(self, error: Rejected, body: dict[str, Any], form: int) -> bool:
        said = f"{error.detail} {error.parameter}".casefold()
        if "max_completion_tokens" in said and not self._renamed:
            self._renamed = True
            return True
        for name in ("temperature", "seed", "stop"):
            if name in said and name in body:
                self._left_out |= {name}
                return True
        if "response_format" in body and form < len(_FORMATS) - 1:
            # Refusals of a format seldom name it; anything left to drop is worth one more request.
            self._format = max(self._format, form + 1)
            return True
        return False

    def _choice(self, reply: dict[str, Any]) -> dict[str, Any]:
        choices = reply.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise Transient(f"{self.name}: a reply without choices: {self.endpoint.quoted(reply)}")
        return choices[0]

    def _body(
        self, messages: list[Message], most: int, temperature: float, seed: int | None, stop: tuple[str, ...]
    ) -> dict[str, Any]:
        optional = {"temperature": temperature, "seed": seed, "stop": list(stop) or None}
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        body["max_completion_tokens" if self._renamed else "max_tokens"] = most
        return body | {k: v for k, v in optional.items() if v is not None and k not in self._left_out}


def _format(prompt: Prompt, form: str) -> dict[str, Any]:
    if form == "words" or prompt.schema is None:
        return {}
    if form == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": prompt.schema.__name__, "schema": json_schema(prompt.schema)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _top(choice: dict[str, Any]) -> list[tuple[str, float]]:
    try:
        listed = choice["logprobs"]["content"][0]["top_logprobs"]
        found = [(str(t["token"]), float(t["logprob"])) for t in listed]
        return [(token, min(logprob, 0.0)) for token, logprob in found if math.isfinite(logprob)]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return []


def _tokens(reply: dict[str, Any], messages: Sequence[Message], text: str) -> tuple[int, int]:
    """Tokens read and written as the server counts them; about four bytes each where it does not say."""
    usage = reply.get("usage")
    if isinstance(usage, dict):
        read, wrote = counted(usage.get("prompt_tokens")), counted(usage.get("completion_tokens"))
        if read is not None and wrote is not None:
            return read, wrote
    return sum(len(m["content"].encode()) for m in messages) // 4 + 1, len(text.encode()) // 4 + 1
