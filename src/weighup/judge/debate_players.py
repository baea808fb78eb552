"""Who debates: the two sides of a debate (`debate`), played by a language model or by a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from weighup.judge.converse import ModelPlayer, Player, ScriptedPlayer, Transcript
from weighup.judge.converse_answers import listed
from weighup.judge.fence import fenced
from weighup.judge.types import Item
from weighup.models.types import LanguageModel

Side = Literal["pro", "con"]


@dataclass(frozen=True, slots=True)
class Case:
    """What a debater is told: the item, its side, the official answer, and how many rounds there are at most."""

    item: Item
    side: Side
    official: str
    rounds: int


class Debater(Protocol):
    """Takes a side. The player's turns begin with `Answer: …`, the answer it defends."""

    name: str

    def player(self, case: Case) -> Player: ...


class ModelDebater:
    """A language model as debater, by the prompts `debate_pro` and `debate_con`. `name` None: the model's."""

    def __init__(
        self, model: LanguageModel, *, name: str | None = None, temperature: float = 0.0, seed: int = 0
    ) -> None:
        self.name = name or model.name
        self._model, self._temperature, self._seed = model, temperature, seed

    def player(self, case: Case) -> Player:
        values = {
            "question": fenced(question(case.item), name="question"),
            "answer": fenced(case.official, name="answer"),
        }
        name = f"debate_{case.side}"
        return ModelPlayer(self._model, name, values, temperature=self._temperature, seed=self._seed)


class ScriptedDebater:
    """A debater whose every turn is computed from its case and the transcript."""

    def __init__(self, name: str, script: Callable[[Case, Transcript], str]) -> None:
        self.name = name
        self._script = script

    def player(self, case: Case) -> Player:
        return ScriptedPlayer(self.name, lambda transcript: self._script(case, transcript))


def debater(player: Debater | LanguageModel) -> Debater:
    """A language model as a debater; a debater as it is."""
    return ModelDebater(player) if isinstance(player, LanguageModel) else player


def question(item: Item) -> str:
    """The question with its options."""
    return f"{item.prompt}\n{listed(item)}".strip()
