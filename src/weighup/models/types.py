"""What every model is to the rest of weighup: the seams `LanguageModel` and `Encoder`, and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from weighup.errors import InvalidInput, WeighupError
from weighup.models.metering import Meter, Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to write. With `schema` the reply must be JSON conforming to that pydantic model.

    Raises InvalidInput unless `max_tokens` is positive: engines take less for no limit.
    """

    user: str
    system: str = ""
    max_tokens: int = 256
    temperature: float = 0.0
    schema: type[BaseModel] | None = None
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InvalidInput(f"a prompt's max_tokens must be 1 or more, not {self.max_tokens}")


@dataclass(frozen=True, slots=True)
class Question:
    """One request to choose among `answers` (two or more distinct strings, e.g. real / fake / unknown).

    Raises InvalidInput where they are not, letter case and blanks at the ends aside.
    """

    user: str
    answers: tuple[str, ...]
    system: str = ""

    def __post_init__(self) -> None:
        distinct = {answer.strip().casefold() for answer in self.answers} - {""}
        if len(distinct) < 2 or len(distinct) < len(self.answers):
            raise InvalidInput(f"a question needs two or more answers that differ, not {self.answers!r}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one Prompt. On failure `error` is set, `text` is empty and `value` None."""

    text: str = ""
    value: Any = None
    usage: Usage = field(default_factory=Usage)
    error: WeighupError | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Probabilities over a Question's answers, in their order, summing to 1; empty when `error` is set."""

    probabilities: tuple[float, ...] = ()
    usage: Usage = field(default_factory=Usage)
    error: WeighupError | None = None


@runtime_checkable
class LanguageModel(Protocol):
    """Batch in, batch out, same order. A failed item carries its error; only BudgetExceeded is also put per item."""

    name: str
    version: str

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]: ...

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]: ...


class TokenStates(NamedTuple):
    """Last-layer states: `states` float32 [n, t, d], `mask` bool [n, t] (True where a real token stands)."""

    states: NDArray[np.float32]
    mask: NDArray[np.bool_]


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors. `encode` rows have unit length; empty input gives shape (0, dimension)."""

    name: str
    version: str
    dimension: int

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]: ...

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates: ...
