"""Pairs of responses to a context of which the better one is known: one defect is planted in the worse one, and, for a
pair that pulls both ways, a defect of a less important criterion in the better one.

Ours, after the construction of ContextualJudgeBench (Xu et al. 2025, arXiv 2503.15620, section 3), which perturbs and
pairs responses so that one criterion decides. The good response is the beginning of the context itself: complete and
faithful by construction.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weighup.errors import InvalidInput
from weighup.judge.corrupt import Planted, corrupt
from weighup.judge.types import Item, Winner
from weighup.texts import sentences

CRITERIA = ("refusal", "faithfulness", "completeness", "concision")
"""From the most to the least important."""
DEFECT = {"faithfulness": "unsupported", "completeness": "dropped", "concision": "padded"}
REFUSAL = "The text does not contain enough information to answer this."
SENTENCES = 5
PROMPT = "Tell what the beginning of the text says."


@dataclass(frozen=True, slots=True)
class PlantedPairs:
    """`gold`: the better response, by item; `planted`: by item, the defects of response 1 and of response 2, by
    criterion; `source`: by item, the place of its context among those given."""

    items: tuple[Item, ...]
    gold: Mapping[str, Winner]
    planted: Mapping[str, tuple[Mapping[str, Planted], Mapping[str, Planted]]]
    source: Mapping[str, int]


def planted_pairs(contexts: Sequence[str], *, seed: int, conflict: bool = False) -> PlantedPairs:
    """For each context a pair for each criterion, or with `conflict` one for each two criteria, of which the more
    important decides. Which response is the worse is drawn by seed. `category`: the deciding criterion.

    Raises InvalidInput naming a context of fewer than five sentences, or for none.
    """
    if not contexts:
        raise InvalidInput("contexts: there are none")
    chance = np.random.default_rng(seed)
    items: list[Item] = []
    gold: dict[str, Winner] = {}
    planted: dict[str, tuple[Mapping[str, Planted], Mapping[str, Planted]]] = {}
    source: dict[str, int] = {}
    for place, context in enumerate(contexts):
        lines = sentences(context)
        if len(lines) < SENTENCES:
            raise InvalidInput(f"context {place + 1}: has {len(lines)} sentences, {SENTENCES} or more are needed")
        good, donors = " ".join(lines[:SENTENCES]), [contexts[place - 1]] if len(contexts) > 1 else []
        for worse, lower in _decided(conflict):
            bad, bad_defect = _with_defect(good, worse, donors, seed)
            better, defect = _with_defect(good, lower, donors, seed) if lower else (good, {})
            id = f"{place}-{worse}-{lower}" if lower else f"{place}-{worse}"
            sides = [(bad, bad_defect), (better, defect)]
            first = int(chance.integers(2))  # 0: the worse one stands first
            (text, one), (other, two) = sides if first == 0 else sides[::-1]
            items.append(Item.pair(id, PROMPT, text, other, context=context, category=worse))
            gold[id], planted[id], source[id] = "2" if first == 0 else "1", (one, two), place
    return PlantedPairs(tuple(items), gold, planted, source)


def _decided(conflict: bool) -> list[tuple[str, str]]:
    """(the criterion that decides, the less important one of the better response, or "")."""
    if not conflict:
        return [(one, "") for one in CRITERIA]
    return list(itertools.combinations(CRITERIA, 2))


def _with_defect(good: str, criterion: str, donors: Sequence[str], seed: int) -> tuple[str, Mapping[str, Planted]]:
    if criterion == "refusal":
        return REFUSAL, {criterion: Planted("refusal", 0, REFUSAL)}
    made = corrupt(good, [DEFECT[criterion]], seed=seed, donors=donors)
    return made.text, {criterion: made.planted[0]}
