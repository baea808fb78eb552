"""Made click data: sparse labels of several tasks, and users with few or many behaviours. Drawn from a seed.

`clicks`: a row is a user shown an item, with counts of very different scale beside the identities (as in logs of a
video feed) and six labels in two groups, from common to rare. Users and items have hidden vectors; a task's score is
a product of both through a map that is partly everybody's, partly its group's, partly its own, plus a user's activity
and an item's popularity (mixed alike), the hour and the counts; a label is drawn from the score at the task's rate.

`sequences`: a row is a user's past items and one more item, with a click or none. An item has a category, price and
quality; a user mixes four tastes (cheap, fine, of a few categories, new), and both past items and clicks follow from
the user's mix, so that past items tell the taste, the better the more of them there are. Half of the users have 1 to
4 of them, as many items follow a long tail. Rows of one user are all in one split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Split = Literal["train", "valid", "test"]

TASKS = ("click", "long view", "complete view", "like", "comment", "share")
GROUPS = (0, 0, 0, 1, 1, 1)
"""Watching, interacting."""
RATES = (0.4, 0.25, 0.15, 0.08, 0.03, 0.015)
"""Share of positives of each task; `share` is the sparse one."""
TASTES, CATEGORIES, LONGEST = 4, 12, 24


@dataclass(frozen=True, eq=False)
class Clicks:
    """`fields` [n, 4] identities (user, item, hour, place), `counts` [n, 6] raw counts, `labels` [n, 6] 0 or 1."""

    fields: Ints
    counts: Floats
    labels: Floats
    sizes: tuple[int, ...]
    """How many values each field has."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Sequences:
    """`behaviours` [n, LONGEST] items, 0 where there is none (those that are there come first); `target` [n] item;
    `labels` [n] 0 or 1; `lengths` [n] number of behaviours; `items` [number of items + 1, CATEGORIES + 2] what is known
    of an item: its category (one of them 1), price, quality (row 0 is the padding)."""

    behaviours: Ints
    target: Ints
    labels: Floats
    lengths: Ints
    items: Floats

    def __len__(self) -> int:
        return len(self.labels)


def clicks(
    seed: int, *, train: int = 16_000, valid: int = 8_000, test: int = 40_000, users: int = 400, items: int = 300
) -> dict[Split, Clicks]:
    """Multi-task click data by split. Raises InvalidInput for sizes below 1."""
    _positive(train=train, valid=valid, test=test, users=users, items=items)
    chance = np.random.default_rng(seed)
    width, groups, n = 4, max(GROUPS) + 1, train + valid + test
    user, item = chance.normal(size=(users, width)), chance.normal(size=(items, width))
    everybody, grouped = _maps(chance, 1, width)[0], _maps(chance, groups, width)
    own = _maps(chance, len(TASKS), width)
    # How much a user does of it and how popular an item is: a direction of the hidden vectors.
    biases = chance.normal(size=(2, 1 + groups + len(TASKS), width)) / width**0.5
    sizes = (users, items, 24, 10)
    # Few users and items make most rows.
    columns = [chance.choice(size, n, p=_tail(size)) for size in sizes[:2]]
    fields = np.stack([*columns, *(chance.integers(size, size=n) for size in sizes[2:])], 1)
    context = chance.normal(size=(len(TASKS), sizes[2])) * 0.3
    activity = chance.normal(size=(n, 3))
    popular = 0.7 * item[fields[:, 1], :3] + 0.7 * chance.normal(size=(n, 3))
    hidden = np.concatenate((activity, popular), 1)
    counts = np.floor(np.exp(1.2 * hidden + np.array([0, 1, 2, 0, 2, 4])))
    effect = chance.normal(size=(len(TASKS), hidden.shape[1])) * 0.35
    labels = np.empty((n, len(TASKS)), np.float32)
    for task, group in enumerate(GROUPS):
        mixed = 0.6 * everybody + 0.5 * grouped[group] + 0.4 * own[task]
        score = np.einsum("nd,de,ne->n", user[fields[:, 0]], mixed, item[fields[:, 1]])
        bias = 0.6 * biases[:, 0] + 0.5 * biases[:, 1 + group] + 0.4 * biases[:, 1 + groups + task]
        score = score + (user @ bias[0])[fields[:, 0]] + (item @ bias[1])[fields[:, 1]]
        score = score + context[task, fields[:, 2]] + hidden @ effect[task]
        labels[:, task] = chance.random(n) < _at_rate(score, RATES[task])
    ends = np.cumsum([0, train, valid, test])
    parts: tuple[tuple[Split, slice], ...] = (
        ("train", slice(ends[0], ends[1])),
        ("valid", slice(ends[1], ends[2])),
        ("test", slice(ends[2], ends[3])),
    )
    told = counts.astype(np.float32)
    return {name: Clicks(fields[rows], told[rows], labels[rows], sizes) for name, rows in parts}


def sequences(
    seed: int, *, train: int = 2_000, valid: int = 1_000, test: int = 4_000, rows: int = 8, items: int = 400
) -> dict[Split, Sequences]:
    """User-sequence data by split: so many users with `rows` rows each. Raises InvalidInput for sizes below 1."""
    _positive(train=train, valid=valid, test=test, rows=rows, items=items)
    chance = np.random.default_rng(seed)
    known = np.stack((chance.integers(CATEGORIES, size=items), chance.normal(size=items), chance.normal(size=items)), 1)
    table = np.zeros((items + 1, CATEGORIES + 2), np.float32)
    table[np.arange(1, items + 1), known[:, 0].astype(int)] = 1
    table[1:, CATEGORIES:] = known[:, 1:]
    newness = chance.normal(size=items)
    found: dict[Split, Sequences] = {}
    sizes: tuple[tuple[Split, int], ...] = (("train", train), ("valid", valid), ("test", test))
    for name, users in sizes:
        mix = chance.dirichlet(np.full(TASTES, 0.3), users)
        liked = chance.integers(CATEGORIES, size=(users, 2))
        wanted = (known[None, :, 0, None] == liked[:, None, :]).any(2)
        # What each taste thinks of every item [users, items].
        utility = mix[:, :1] * (-2 * known[:, 1]) + mix[:, 1:2] * (2 * known[:, 2] + known[:, 1])
        utility += mix[:, 2:3] * (4.0 * wanted - 1.0) + mix[:, 3:] * (2 * newness)
        few = chance.random(users) < 0.5
        length = np.where(few, chance.integers(1, 5, users), chance.integers(5, LONGEST + 1, users))
        popular = np.log(_tail(items))
        chosen = np.argsort(-(utility + 0.5 * popular + chance.gumbel(size=utility.shape)), 1)[:, :LONGEST] + 1
        order = chance.permuted(np.broadcast_to(np.arange(LONGEST), (users, LONGEST)), axis=1)
        past = np.take_along_axis(chosen, order, 1)
        past[np.arange(LONGEST)[None] >= length[:, None]] = 0
        target = chance.integers(items, size=(users, rows))
        worth = np.take_along_axis(utility, target, 1)
        labels = chance.random(worth.shape) < _sigmoid(1.2 * worth - 0.5)
        found[name] = Sequences(
            np.repeat(past, rows, 0), target.reshape(-1) + 1, labels.reshape(-1).astype(np.float32),
            np.repeat(length, rows), table,
        )  # fmt: skip
    return found


def _maps(chance: np.random.Generator, n: int, width: int) -> NDArray[np.float64]:
    return chance.normal(size=(n, width, width)) / width


def _tail(size: int) -> NDArray[np.float64]:
    """Zipf-like shares, exponent 0.7."""
    found = np.arange(1, size + 1, dtype=np.float64) ** -0.7
    return np.asarray(found / found.sum(), np.float64)


def _sigmoid(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)), np.float64)


def _at_rate(score: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Probabilities sigmoid(score + b), b such that their mean is the rate (bisection)."""
    low, high = -20.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(score + middle).mean() < rate else (low, middle)
    return _sigmoid(score + low)


def _positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise InvalidInput(f"made data: {name} of 1 or more is needed, not {value}")
