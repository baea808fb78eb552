"""Who takes part in `prefdisco`: attributes and personas, users who answer only what they are asked, and assistants."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from weighup.errors import InvalidInput
from weighup.judge.converse import ModelPlayer, Player, ScriptedPlayer, Transcript, as_text, filled, generated, number
from weighup.judge.converse_answers import listed
from weighup.judge.fence import fenced
from weighup.judge.types import Criterion, Item
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt

SCALE = (1.0, 5.0)
READY = "READY"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something users may have a preference about. `values`: what one may prefer; `rubric`: how well a response meets
    the preferred value, on the scale 1 to 5; `words`: how questions name it, besides the words of its id."""

    id: str
    text: str
    values: tuple[str, ...]
    rubric: Criterion | None
    words: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """What a question about it says."""
        return (" ".join(re.split(r"[\W_]+", self.id)), *self.words)


@dataclass(frozen=True, slots=True)
class Preference:
    """Which value, and how much it matters (at least 0)."""

    value: str
    weight: float


@dataclass(frozen=True, slots=True)
class Persona:
    """A user: a preference about some of the attributes, by their ids. To the others it is indifferent."""

    id: str
    preferences: Mapping[str, Preference] = field(default_factory=dict)


def make_personas(attributes: Sequence[Attribute], n: int, sparsity: float, seed: int) -> list[Persona]:
    """n personas who are indifferent to a share `sparsity` in [0, 1) of the attributes, at random, and care for at
    least one; values uniform, weights from a flat Dirichlet distribution, summing to 1. The same for the same seed.

    Raises InvalidInput for n < 1, a sparsity outside [0, 1), and as `checked`.
    """
    known = list(checked(attributes).values())
    if n < 1:
        raise InvalidInput(f"n: one persona or more is needed, not {n}")
    if not 0 <= sparsity < 1:
        raise InvalidInput(f"sparsity: in [0, 1), not {sparsity}")
    count = max(1, round((1 - sparsity) * len(known)))
    rng = np.random.default_rng(seed)
    found = []
    for place in range(n):
        some = sorted(rng.choice(len(known), count, replace=False).tolist())
        weights = rng.dirichlet(np.ones(count)).tolist()
        liked = {
            known[at].id: Preference(known[at].values[int(rng.integers(len(known[at].values)))], weight)
            for at, weight in zip(some, weights, strict=True)
        }
        found.append(Persona(f"p{place + 1}", liked))
    return found


def checked(attributes: Sequence[Attribute]) -> dict[str, Attribute]:
    """Attributes by id. Raises InvalidInput for none, an id that stands twice, fewer than two values, no rubric, or a
    rubric that is not on the scale 1 to 5."""
    if not attributes:
        raise InvalidInput("attributes: there are none")
    found: dict[str, Attribute] = {}
    for one in attributes:
        if one.id in found:
            raise InvalidInput(f"attribute {one.id}: stands there twice")
        if len(set(one.values)) < 2 or len(set(one.values)) < len(one.values):
            raise InvalidInput(f"attribute {one.id}: two or more different values are needed, not {one.values}")
        if one.rubric is None:
            raise InvalidInput(f"attribute {one.id}: has no rubric; without one no response can be graded by it")
        if one.rubric.scale != SCALE:
            raise InvalidInput(f"attribute {one.id}: its rubric is on {one.rubric.scale}; the scale 1 to 5 is needed")
        found[one.id] = one
    return found


@dataclass(frozen=True, slots=True)
class User:
    """A simulated user: its persona, the attributes there are, and who speaks for it."""

    persona: Persona
    attributes: tuple[Attribute, ...]
    player: Player


def passive_user(persona: Persona, attributes: Sequence[Attribute]) -> User:
    """A user by rule: tells the value of the attribute that the question is about, and nothing else."""

    def script(transcript: Transcript) -> str:
        about = asked_about(transcript.said("assistant")[-1], attributes)
        if not about:
            return "Please ask about something in particular."
        liked = persona.preferences.get(about[0].id)
        if liked is None:
            return f"I do not mind about {about[0].names()[0]}."
        return f"As to {about[0].names()[0]}: {liked.value}."

    return User(persona, tuple(attributes), ScriptedPlayer(f"passive {persona.id}", script))


def model_user(
    model: LanguageModel, persona: Persona, attributes: Sequence[Attribute], *, temperature: float = 0.0, seed: int = 0
) -> User:
    """A user played by a language model, by the prompt `prefdisco_user`."""
    told = in_words(persona.preferences, checked(attributes))
    values = {"preferences": told}
    player = ModelPlayer(model, "prefdisco_user", values, temperature=temperature, seed=seed)
    return User(persona, tuple(attributes), player)


def asked_about(question: str, attributes: Sequence[Attribute]) -> tuple[Attribute, ...]:
    """The attributes that a question names; where it names none, those whose values it holds."""
    named = tuple(one for one in attributes if any(_holds(question, name) for name in one.names()))
    return named or tuple(one for one in attributes if any(_holds(question, value) for value in one.values))


def told_of(reply: str, user: User) -> set[str]:
    """Ids of the attributes whose preferred value a user's reply holds."""
    return {id for id, liked in user.persona.preferences.items() if _holds(reply, liked.value)}


def refused(user: User, transcript: Transcript, text: str) -> str:
    """Why a turn is not taken: a question about two things at once, or a user who tells what was not asked."""
    if transcript.speaker == "assistant":
        about = asked_about(text, user.attributes)
        if len(about) < 2 or is_ready(text):
            return ""
        return f"it asks about {len(about)} things at once; ask about one"
    about = asked_about(transcript.said("assistant")[-1], user.attributes)
    told = told_of(text, user)
    asked = {one.id for one in about}
    # Values that the attribute asked about has too tell nothing of the others.
    shared = {value.casefold() for one in about for value in one.values}
    extra = {id for id in told - asked if user.persona.preferences[id].value.casefold() not in shared}
    if extra if asked else len(told) > 1:
        return "it tells a preference that was not asked about"
    return ""


def is_ready(text: str) -> bool:
    """Whether an assistant says that it asks no more."""
    return text.strip(" .!*\"'`\n").upper() == READY


def in_words(preferences: Mapping[str, Preference], attributes: Mapping[str, Attribute]) -> str:
    """Preferences for a prompt, those that matter most first."""
    some = sorted(preferences.items(), key=lambda one: (-one[1].weight, one[0]))
    return "\n".join(f"- {attributes[id].text}: {liked.value}" for id, liked in some) or "(none)"


@dataclass(frozen=True, slots=True)
class Told:
    """A task to be done, with what was said before, or with the preferences themselves, or with neither."""

    item: Item
    transcript: Transcript | None = None
    preferences: Mapping[str, Preference] | None = None


class Assistant(Protocol):
    """What is evaluated. `asker` speaks first, one question a turn, and says READY; `respond` gives responses in order,
    None where it failed."""

    name: str

    def asker(self, item: Item, questions: int) -> Player: ...

    def respond(
        self, asked: Sequence[Told], attributes: Mapping[str, Attribute], *, meter: Meter | None = None
    ) -> list[str | None]: ...


class ModelAssistant:
    """A language model as the assistant, by the prompts `prefdisco_ask` and `prefdisco_respond`."""

    def __init__(self, model: LanguageModel, *, temperature: float = 0.0, seed: int = 0) -> None:
        self.name = model.name
        self._model, self._temperature, self._seed = model, temperature, seed

    def asker(self, item: Item, questions: int) -> Player:
        values = {"question": _task(item), "questions": str(questions)}
        return ModelPlayer(self._model, "prefdisco_ask", values, temperature=self._temperature, seed=self._seed)

    def respond(
        self, asked: Sequence[Told], attributes: Mapping[str, Attribute], *, meter: Meter | None = None
    ) -> list[str | None]:
        replies = generated(self._model, [self._prompt(one, attributes) for one in asked], meter=meter)
        return [None if one.error is not None or not one.text.strip() else one.text for one in replies]

    def _prompt(self, one: Told, attributes: Mapping[str, Attribute]) -> Prompt:
        values = {
            "question": _task(one.item),
            "preferences": "(not told)" if one.preferences is None else in_words(one.preferences, attributes),
            "talk": "(nothing)" if one.transcript is None else as_text(one.transcript),
        }
        seed = number(f"{self._seed}\n{one.item.id}\n{'' if one.transcript is None else one.transcript.id}")
        return filled("prefdisco_respond", values, temperature=self._temperature, seed=seed)


class ScriptedAssistant:
    """An assistant whose questions are a function of the item and whose responses are one of what it was told."""

    def __init__(self, name: str, ask: Callable[[Item], Sequence[str]], respond: Callable[[Told], str | None]) -> None:
        self.name = name
        self._ask, self._respond = ask, respond

    def asker(self, item: Item, questions: int) -> Player:
        return ScriptedPlayer(self.name, [*self._ask(item)[:questions], READY])

    def respond(
        self, asked: Sequence[Told], attributes: Mapping[str, Attribute], *, meter: Meter | None = None
    ) -> list[str | None]:
        return [self._respond(one) for one in asked]


def task_attributes(item: Item, known: Collection[str]) -> tuple[str, ...]:
    """Ids of the attributes that matter to a task: `meta["attributes"]`, else all. Raises InvalidInput for an unknown
    one."""
    told = item.meta.get("attributes")
    if told is None:
        return tuple(known)
    if not isinstance(told, list | tuple):
        raise InvalidInput(f"item {item.id}: meta.attributes must be a list of attributes' ids, not {told!r}")
    if unknown := [one for one in told if one not in known]:
        raise InvalidInput(f"item {item.id}: meta.attributes names {unknown[0]!r}, which is no attribute")
    return tuple(str(one) for one in told)


def _task(item: Item) -> str:
    return fenced(f"{item.prompt}\n{listed(item)}".strip(), name="task")


def _holds(text: str, words: str) -> bool:
    """Whether a text holds these words together, whole and in whatever case."""
    return re.search(rf"(?<!\w){re.escape(words.casefold())}(?!\w)", text.casefold()) is not None
