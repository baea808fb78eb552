"""PrefAlign, the measure of `prefdisco`: how well a response meets a persona's preferences, and its normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput, JobFailed
from weighup.judge.prefdisco_players import SCALE, Attribute, Persona, Preference, checked, task_attributes
from weighup.judge.types import Item, Judge, Judgement, Response, Rubric


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to be graded. `id` names it to the judge and is unique."""

    id: str
    item: Item
    persona: Persona
    response: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """`score`: PrefAlign, 1 to 5; None where a grade could not be had. `grades` by attribute; `weights` sum to 1."""

    score: float | None
    grades: Mapping[str, float | None]
    weights: Mapping[str, float]
    judgements: tuple[Judgement, ...] = ()


def prefalign(
    response: str, persona: Persona, judge: Judge, *, item: Item, attributes: Sequence[Attribute]
) -> Alignment:
    """How well a response meets a persona's preferences, as `prefalign_many`."""
    return prefalign_many([Answer(f"{item.id}@{persona.id}", item, persona, response)], judge, attributes)[0]


def prefalign_many(answers: Sequence[Answer], judge: Judge, attributes: Sequence[Attribute]) -> list[Alignment]:
    """PrefAlign of each response, one batch an attribute. `judge` scores single responses from 1 to 5.

    Raises InvalidInput naming the item for an empty response, a persona with none of the task's attributes or whose
    weights there are all 0, a preference for an unknown attribute or value; and as `checked`.
    """
    known = checked(attributes)
    liked = [relevant(one.item, one.persona, known) for one in answers]
    by_attribute: dict[str, list[int]] = {}
    for place, (one, some) in enumerate(zip(answers, liked, strict=True)):
        if not one.response.strip():
            raise InvalidInput(f"item {one.item.id}: the response is empty")
        if not some:
            raise InvalidInput(f"item {one.item.id}: no preference of persona {one.persona.id} matters to it")
        for id in some:
            by_attribute.setdefault(id, []).append(place)
    said: list[dict[str, Judgement]] = [{} for _ in answers]
    for id, places in by_attribute.items():
        asked = [_graded(answers[place], known[id], liked[place][id]) for place in places]
        for place, judgement in zip(places, _judgements(judge, asked, known[id]), strict=True):
            said[place][id] = judgement
    return [_alignment(some, told) for some, told in zip(liked, said, strict=True)]


def normalised(baseline: ArrayLike, discovery: ArrayLike, oracle: ArrayLike) -> NDArray[np.float64]:
    """100·(discovery − baseline)/(oracle − baseline) of each instance [n]; NaN where oracle is not above baseline."""
    low, mid, high = (np.asarray(one, float) for one in (baseline, discovery, oracle))
    gap = high - low
    fine = gap > 1e-9
    return np.where(fine, 100 * (mid - low) / np.where(fine, gap, 1.0), np.nan)


def relevant(item: Item, persona: Persona, known: Mapping[str, Attribute]) -> dict[str, Preference]:
    """The persona's preferences that matter to a task, by attribute; empty if none does.

    Raises InvalidInput for an unknown attribute or value, a negative weight, or weights that are all 0.
    """
    for id, liked in persona.preferences.items():
        if id not in known:
            raise InvalidInput(f"persona {persona.id}: prefers something about {id!r}, which is no attribute")
        if liked.value not in known[id].values:
            raise InvalidInput(f"persona {persona.id}: {liked.value!r} is no value of {id}: {known[id].values}")
        if not (liked.weight >= 0 and math.isfinite(liked.weight)):
            raise InvalidInput(f"persona {persona.id}: the weight of {id} is at least 0, not {liked.weight}")
    matters = set(task_attributes(item, known))
    found = {id: liked for id, liked in persona.preferences.items() if id in matters}
    if found and not any(liked.weight > 0 for liked in found.values()):
        raise InvalidInput(f"item {item.id}: all weights of persona {persona.id} are 0 there")
    return found


def _graded(answer: Answer, attribute: Attribute, liked: Preference) -> Item:
    """What the judge sees for one attribute: the response, and what the user prefers there."""
    return Item(
        id=f"{answer.id}/{attribute.id}",
        prompt=answer.item.prompt,
        responses=(Response(text=answer.response),),
        persona=f"Prefers, as to {attribute.text}: {liked.value}",
    )


def _judgements(judge: Judge, items: Sequence[Item], attribute: Attribute) -> list[Judgement]:
    assert attribute.rubric is not None  # `checked` has seen to it
    said = judge.judge(items, Rubric(criteria=(attribute.rubric,)))
    if len(said) != len(items):
        raise JobFailed(f"judge {judge.name}: gave {len(said)} judgements of {len(items)} responses")
    return said


def _alignment(liked: Mapping[str, Preference], said: Mapping[str, Judgement]) -> Alignment:
    total = math.fsum(one.weight for one in liked.values())
    weights = {id: one.weight / total for id, one in liked.items()}
    grades = {id: _grade(said[id]) for id in liked}
    known = [weights[id] * grade for id, grade in grades.items() if grade is not None]
    # A missing grade is not guessed, unless it counts for nothing.
    whole = all(grade is not None or not weights[id] for id, grade in grades.items())
    return Alignment(math.fsum(known) if whole else None, grades, weights, tuple(said[id] for id in liked))


def _grade(judgement: Judgement) -> float | None:
    """The score of a usable judgement; None for one that is not, or that is off the scale."""
    score = judgement.scores[0] if judgement.usable and judgement.scores else None
    return score if score is not None and SCALE[0] <= score <= SCALE[1] else None
