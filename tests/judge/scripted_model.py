"""Language models that say what a test has them say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from weighup.errors import ModelUnavailable, WeighupError
from weighup.models.metering import Meter, Usage
from weighup.models.types import Choice, Prompt, Question, Reply

Written = dict[str, Any] | WeighupError | str
USAGE = Usage(calls=1, tokens_in=10, tokens_out=5, seconds=0.5, usd=0.001)


class Scripted:
    """`write` and `weigh` say what comes of a prompt or question. A reply that does not conform is asked for again as
    the client does, twice; then it is an error."""

    version = "1"

    def __init__(
        self,
        write: Callable[[Prompt], Written] | None = None,
        weigh: Callable[[Question], tuple[float, ...] | WeighupError] | None = None,
        name: str = "scripted",
    ) -> None:
        self.name = name
        self._write, self._weigh = write, weigh
        self.prompts: list[Prompt] = []
        self.questions: list[Question] = []
        self.batches: list[int] = []
        self.tries = 0
        self.meters: list[Meter | None] = []

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.prompts += prompts
        self.batches.append(len(prompts))
        self.meters.append(meter)
        return [self._reply(prompt) for prompt in prompts]

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        self.questions += questions
        self.meters.append(meter)
        found = []
        for question in questions:
            assert self._weigh is not None
            said = self._weigh(question)
            failed = isinstance(said, WeighupError)
            found.append(Choice(error=said, usage=USAGE) if failed else Choice(said, USAGE))  # type: ignore[arg-type]
        return found

    def _reply(self, prompt: Prompt) -> Reply:
        assert self._write is not None
        for _ in range(3):
            self.tries += 1
            said = self._write(prompt)
            if isinstance(said, WeighupError):
                return Reply(usage=USAGE, error=said)
            text = said if isinstance(said, str) else json.dumps(said)
            if prompt.schema is None:
                return Reply(text=text, usage=USAGE)
            try:
                return Reply(text=text, value=prompt.schema.model_validate_json(text), usage=USAGE)
            except ValueError:
                continue
        return Reply(usage=USAGE, error=ModelUnavailable("no reply conforms after 3 tries"))
