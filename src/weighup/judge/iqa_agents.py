"""Who evaluates and who is evaluated in `iqa_eval`: personas, agents that play a user and rate, and assistants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from weighup.judge.converse import (
    ModelPlayer,
    Player,
    ScriptedPlayer,
    Transcript,
    as_text,
    filled,
    generated,
    number,
)
from weighup.judge.converse_answers import listed, stated
from weighup.judge.fence import fenced
from weighup.judge.prompt_files import prompt
from weighup.judge.types import Item, Spent
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Reply

LOW, HIGH = 1.0, 5.0
NOBODY = "A person of no particular kind."


@dataclass(frozen=True, slots=True)
class Persona:
    """A kind of user: what it is like and what it cares for."""

    name: str
    text: str


PERSONAS = (
    Persona("expert", "You know the field well. You want precise, correct detail, and are bored by what is basic."),
    Persona(
        "critical-thinker", "You doubt what you are told. You want reasons and evidence, and notice contradictions."
    ),
    Persona(
        "adaptability-seeker", "You want replies that follow your own words and needs, also when you change course."
    ),
    Persona("clarity-seeker", "You want plain, short and well ordered replies, and are put off by jargon and length."),
)
"""The four kinds of the paper, in our words."""


class IqaRating(BaseModel):
    """What one persona (None: nobody in particular) thought of one conversation: 1 to 5 each, None unless `ok`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    talk: str
    persona: str | None = None
    fluency: float | None = Field(None, ge=LOW, le=HIGH)
    helpfulness: float | None = Field(None, ge=LOW, le=HIGH)
    rationale: str = ""
    status: Literal["ok", "invalid"] = "ok"
    note: str = ""
    usage: Spent = Spent()
    prompts: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToRate:
    """A conversation to be rated, by whom, and about which question."""

    question: Item
    transcript: Transcript
    persona: Persona | None = None


class Agent(Protocol):
    """Plays the user, rates conversations, and answers questions from them; batch in, batch out, same order."""

    name: str

    def user(self, question: Item, persona: Persona | None) -> Player: ...

    def rate(self, asked: Sequence[ToRate], *, meter: Meter | None = None) -> list[IqaRating]: ...

    def answer(self, asked: Sequence[ToRate], *, meter: Meter | None = None) -> list[str | None]: ...


class Assistant(Protocol):
    """What is evaluated. Its player sees the conversation and nothing else."""

    name: str

    def player(self) -> Player: ...


class _Rated(BaseModel):
    reason: str
    fluency: int = Field(ge=int(LOW), le=int(HIGH))
    helpfulness: int = Field(ge=int(LOW), le=int(HIGH))


class ModelAgent:
    """A language model as evaluating agent, by the prompts `iqa_user`, `iqa_rate` and `iqa_answer`."""

    def __init__(self, model: LanguageModel, *, temperature: float = 0.0, seed: int = 0) -> None:
        self.name = model.name
        self._model, self._temperature, self._seed = model, temperature, seed

    def user(self, question: Item, persona: Persona | None) -> Player:
        values = {"question": _question(question), "persona": _who(persona)}
        return ModelPlayer(self._model, "iqa_user", values, temperature=self._temperature, seed=self._seed)

    def rate(self, asked: Sequence[ToRate], *, meter: Meter | None = None) -> list[IqaRating]:
        prompts = [self._prompt("iqa_rate", one, _Rated) for one in asked]
        replies = generated(self._model, prompts, meter=meter)
        return [_rating(one, reply) for one, reply in zip(asked, replies, strict=True)]

    def answer(self, asked: Sequence[ToRate], *, meter: Meter | None = None) -> list[str | None]:
        replies = generated(self._model, [self._prompt("iqa_answer", one) for one in asked], meter=meter)
        return [None if one.error is not None else stated(one.text) for one in replies]

    def _prompt(self, name: str, one: ToRate, schema: type[BaseModel] | None = None) -> Prompt:
        values = {
            "question": _question(one.question),
            "persona": _who(one.persona),
            "talk": as_text(one.transcript),
            "ended": ENDINGS[one.transcript.ended or "turns"],
        }
        seed = number(f"{self._seed}\n{name}\n{one.transcript.id}\n{one.persona.name if one.persona else ''}")
        return filled(name, values, schema=schema, temperature=self._temperature, seed=seed)


class ModelAssistant:
    """A language model as the assistant, by the prompt `iqa_assistant`."""

    def __init__(self, model: LanguageModel, *, temperature: float = 0.0, seed: int = 0) -> None:
        self.name = model.name
        self._player = ModelPlayer(model, "iqa_assistant", temperature=temperature, seed=seed)

    def player(self) -> Player:
        return self._player


class ScriptedAssistant:
    """An assistant whose replies are written down, or computed from the conversation."""

    def __init__(self, name: str, script: Sequence[str] | Callable[[Transcript], str]) -> None:
        self.name = name
        self._player = ScriptedPlayer(name, script)

    def player(self) -> Player:
        return self._player


ENDINGS = {
    "stopped": "the user could answer the question",
    "turns": "there were no turns left",
    "loop": "somebody repeated what they had said before",
    "echo": "the assistant gave the user's own message back",
    "empty": "somebody said nothing",
    "rejected": "somebody broke the rules",
    "overlong": "a message was far too long",
    "failed": "a model failed",
}


def _rating(one: ToRate, reply: Reply) -> IqaRating:
    said: dict[str, object] = {"status": "invalid"}
    if reply.error is not None:
        said["note"] = str(reply.error)
    elif isinstance(reply.value, _Rated):
        told = reply.value
        said = {"fluency": told.fluency, "helpfulness": told.helpfulness, "rationale": told.reason}
    return IqaRating.model_validate(
        {
            "talk": one.transcript.id,
            "persona": one.persona.name if one.persona else None,
            "usage": Spent.of(reply.usage),
            "prompts": prompt("iqa_rate").told,
            **said,
        }
    )


def _question(item: Item) -> str:
    return fenced(f"{item.prompt}\n{listed(item)}".strip(), name="question")


def _who(persona: Persona | None) -> str:
    return NOBODY if persona is None else persona.text
