"""What the one client asks of an engine or endpoint: write a text, weigh answers, and say how it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

from weighup.errors import ModelUnavailable
from weighup.models.types import Prompt, Question
from weighup.texts import whole


class Message(TypedDict):
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """A text and the tokens it took."""

    text: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Weighed:
    """Probabilities over a question's answers, in order, summing to 1, and the tokens it took."""

    probabilities: tuple[float, ...]
    tokens_in: int
    tokens_out: int


class Transient(ModelUnavailable):
    """A failure that may pass: busy, down, hung, junk. `retry_after` is what the server asked for, in seconds;
    `spent` the tokens it read and wrote all the same, which have to be paid."""

    def __init__(self, message: str, *, retry_after: float | None = None, spent: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.spent = spent


class NoProbabilities(ModelUnavailable):
    """This backend does not tell log-probabilities; the client asks for them in words. `spent` as above."""

    def __init__(self, message: str, *, spent: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.spent = spent


class Backend(Protocol):
    """One engine or endpoint. Both calls raise Transient (try again) or ModelUnavailable (do not), nothing else.

    `constrains`: it can be made to write only JSON of a given schema. `concurrency`: how many calls at a time it
    can take, None if that is for the settings to say. `remote`: it waits for another machine, and may be left waiting.
    """

    name: str
    version: str
    constrains: bool
    remote: bool
    concurrency: int | None

    def write(self, prompt: Prompt, messages: Sequence[Message], *, timeout: float) -> Wrote: ...

    def weigh(self, question: Question, *, timeout: float) -> Weighed: ...


def opening(prompt: Prompt | Question) -> list[Message]:
    """The conversation a prompt or question starts: its system text, if any, and the user's."""
    messages = [Message(role="user", content=whole(prompt.user))]
    if prompt.system:
        messages.insert(0, Message(role="system", content=whole(prompt.system)))
    return messages


def counted(value: object) -> int | None:
    """A number of tokens as a server states it; None if it is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
