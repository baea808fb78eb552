"""Anthropic's Messages API (version 2023-06-01).

It offers neither log-probabilities nor a schema constraint for every model: JSON is asked for in words and validated,
and `weigh` always says NoProbabilities, upon which the client asks for probabilities in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weighup.models.backend import Message, NoProbabilities, Transient, Weighed, Wrote, counted
from weighup.models.endpoint import Endpoint, Rejected
from weighup.models.types import Prompt, Question
from weighup.settings import ModelSettings


class AnthropicBackend:
    """One Anthropic model. Thread-safe."""

    constrains = False
    remote = True
    concurrency: int | None = None

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        self.model = model
        self.name = f"anthropic:{model}"
        self.version = endpoint.base_url
        self.endpoint = endpoint
        self._sampled = True

    @classmethod
    def load(cls, model: str, models: ModelSettings) -> AnthropicBackend:
        """The model at `models.base_url`, or at Anthropic. Raises SettingsError if its key is missing."""
        endpoint = Endpoint(
            # An address ending in /v1, as OpenAI's do, means the same server.
            (models.base_url or "https://api.anthropic.com").rstrip("/").removesuffix("/v1"),
            label=f"anthropic:{model}",
            key_env=models.api_key_env or "ANTHROPIC_API_KEY",
            scheme="x-api-key",
            headers={"anthropic-version": "2023-06-01"},
        )
        return cls(model, endpoint)

    def write(self, prompt: Prompt, messages: Sequence[Message], *, timeout: float) -> Wrote:
        try:
            reply = self.endpoint.post("/v1/messages", self._body(prompt, messages), timeout=timeout)
        except Rejected as error:
            # Newer models refuse a temperature; they are asked without one from then on.
            if error.status != 400 or "temperature" not in error.detail or not self._sampled:
                raise
            self._sampled = False
            reply = self.endpoint.post("/v1/messages", self._body(prompt, messages), timeout=timeout)
        blocks = reply.get("content")
        if not isinstance(blocks, list):
            raise Transient(f"{self.name}: a reply without content: {self.endpoint.quoted(reply)}")
        text = "".join(str(b.get("text", "")) for b in blocks if isinstance(b, dict) and b.get("type") == "text")
        return Wrote(text, *_tokens(reply, messages, text))

    def weigh(self, question: Question, *, timeout: float) -> Weighed:
        raise NoProbabilities(f"{self.name} tells no log-probabilities")

    def _body(self, prompt: Prompt, messages: Sequence[Message]) -> dict[str, Any]:
        system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": prompt.max_tokens,
            "messages": [m for m in messages if m["role"] != "system"],
        }
        if self._sampled:
            body["temperature"] = min(prompt.temperature, 1.0)
        # A stop sequence of blanks alone is refused by the API.
        stops = [stop for stop in prompt.stop if stop.strip()]
        return body | ({"system": system} if system else {}) | ({"stop_sequences": stops} if stops else {})


def _tokens(reply: dict[str, Any], messages: Sequence[Message], text: str) -> tuple[int, int]:
    """Tokens read (kept prompts included) and written; about four bytes each where the server does not say."""
    usage = reply.get("usage")
    wrote = counted(usage.get("output_tokens")) if isinstance(usage, dict) else None
    if isinstance(usage, dict) and wrote is not None:
        kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return sum(counted(usage.get(kind)) or 0 for kind in kinds), wrote
    return sum(len(m["content"].encode()) for m in messages) // 4 + 1, len(text.encode()) // 4 + 1
