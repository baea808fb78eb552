"""A judge of known strengths and faults, for power analysis and for showing that a method mends what it claims to.

What a response is worth is read from the item: `meta["quality"]`, one number a response in the item's own numbering;
`meta["own"]`, the number of the response that the judge itself wrote, if any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.types import Item, Judgement, Kind, Rubric, answered, by_scores


@dataclass(frozen=True, slots=True)
class Faults:
    """`noise`: standard deviation added to each score; `accuracy`: if set, the better of a pair is named with this
    chance instead, whatever the noise. `order_bias` is added to the response shown first, `length_bias` per 1,000
    characters, `self_bias` to the judge's own. `compression` in [0, 1) draws scores to the middle of the scale; a pair
    within `ties` of each other ties; `refuse` is the share of items refused."""

    noise: float = 0.0
    accuracy: float | None = None
    order_bias: float = 0.0
    length_bias: float = 0.0
    self_bias: float = 0.0
    compression: float = 0.0
    ties: float = 0.0
    refuse: float = 0.0

    def __post_init__(self) -> None:
        shares = {"accuracy": self.accuracy, "compression": self.compression, "refuse": self.refuse}
        for name, value in shares.items():
            if value is not None and not 0 <= value <= 1:
                raise InvalidInput(f"simulated judge: {name} lies in [0, 1], not {value}")
        if self.noise < 0 or self.ties < 0:
            raise InvalidInput("simulated judge: noise and ties are at least 0")


class SimulatedJudge:
    """Scores on `scale` from true qualities and known faults. The same item, order and sample get the same answer."""

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        seed: int,
        name: str = "simulated",
        kind: Kind = "pair",
        scale: tuple[float, float] = (1.0, 10.0),
    ) -> None:
        self.name = name
        self.kind: Kind = kind
        self.faults = faults or Faults()
        self.scale = scale
        self._seed = seed

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Judges as its faults let it. Raises InvalidInput for an item without `meta["quality"]`."""
        return [self._one(item) for item in items]

    def _one(self, item: Item) -> Judgement:
        chance = np.random.default_rng([self._seed, *_number(f"{self.name}\n{item.id}\n{item.order}\n{item.sample}")])
        if chance.random() < self.faults.refuse:
            return answered(item, self.name, kind=self.kind, status="refused")
        scores = self._scores(item, chance)
        if self.kind != "pair" or len(scores) != 2:
            ranking = tuple(int(one) + 1 for one in np.argsort(-scores, kind="stable"))
            return answered(item, self.name, kind=self.kind, scores=tuple(map(float, scores)), ranking=ranking)
        told = tuple(map(float, scores))
        return answered(item, self.name, kind="pair", winner=by_scores(told, within=self.faults.ties), scores=told)

    def _scores(self, item: Item, chance: np.random.Generator) -> NDArray[np.float64]:
        """Scores as shown."""
        faults, (low, high) = self.faults, self.scale
        quality = _quality(item)
        if faults.accuracy is not None and len(quality) == 2 and quality[0] != quality[1]:
            if chance.random() >= faults.accuracy:
                quality = quality[::-1]
        else:
            quality = quality + chance.normal(0.0, faults.noise, len(quality)) if faults.noise else quality
        quality = quality + faults.length_bias * np.array([len(one.text) for one in item.responses]) / 1000
        own = item.meta.get("own")
        if isinstance(own, int) and faults.self_bias:
            quality = quality + faults.self_bias * (np.arange(1, len(quality) + 1) == own)
        shown = quality[::-1].copy() if item.order == "swapped" else quality.copy()
        shown[0] += faults.order_bias
        middle = (low + high) / 2
        return np.clip(middle + (1 - faults.compression) * (shown - middle), low, high)


def _quality(item: Item) -> NDArray[np.float64]:
    told = item.meta.get("quality")
    numbers = isinstance(told, list | tuple) and all(isinstance(one, int | float) for one in told)
    if not isinstance(told, list | tuple) or not numbers or len(told) != len(item.responses):
        raise InvalidInput(f"item {item.id}: meta.quality must hold one number a response for a simulated judge")
    return np.array(told, float)


def _number(text: str) -> list[int]:
    digest = hashlib.sha256(text.encode()).digest()
    return [int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")]
