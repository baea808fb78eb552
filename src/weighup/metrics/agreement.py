"""Do judges agree, with each other and with people?

Labels are numbers, booleans or text, all of one kind; None or NaN is a vote that was not given. Every function raises
InvalidInput, naming the argument, for wrong shapes or lengths, fewer than two items, labels of mixed kinds, and where
the measure is not defined because nothing varies.

Cohen's kappa (Cohen 1960; weighted: Cohen 1968), Krippendorff's alpha (Krippendorff 2011), leave-one-out agreement
(HREF: Lyu et al. 2024, arXiv 2412.15524), pairwise accuracy of systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints
from weighup.metrics.intervals import bootstrap
from weighup.metrics.ranking import pair_counts, two_series

MOST = 2000  # different labels: a table of all pairs of them stays under 32 MB
CELLS = 2_000_000  # votes counted in one go: bounds the memory
MISSING = -1

Labels = ArrayLike | Sequence[Any]  # of numbers, text and, for a missing one, None


@dataclass(frozen=True, slots=True)
class Agreement:
    """`value` in [0, 1] is the mean of `items` over the `n` items with two votes or more.

    items [items]: the share of left-out annotators on which there was agreement, NaN for an item with fewer than two
    votes. low, high: 95 % bootstrap interval over items, None where no draws were asked for.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    items: Floats


def cohen_kappa(
    a: Labels,
    b: Labels,
    labels: Labels | None = None,
    weights: Literal["linear", "quadratic"] | None = None,
) -> float:
    """1 − disagreement seen / disagreement of two raters with these label counts who decide independently; ≤ 1.

    a, b: labels [n]. labels [k]: all labels in their order, needed with `weights` where text is not in alphabetical
    order or a step of the scale does not occur. A disagreement by d places in that order weighs 1, d ("linear") or d²
    ("quadratic"). Equals scikit-learn's `cohen_kappa_score`. Raises InvalidInput also for a missing label, a label not
    in `labels`, and where all of a and b are one label.
    """
    if weights not in (None, "linear", "quadratic"):
        raise InvalidInput(f"weights: None, 'linear' or 'quadratic' is needed, not {weights!r}")
    first, second = _given("a", a), _given("b", b)
    if len(first) != len(second):
        raise InvalidInput(f"a, b: one label an item is needed in each: a has {len(first)}, b has {len(second)}")
    if len(first) < 2:
        raise InvalidInput("a: two items or more are needed")
    _one_kind("b", second, first)
    if labels is None:
        known, place = np.unique(np.concatenate([first, second]), return_inverse=True)
        rows, columns = place[: len(first)], place[len(first) :]
    else:
        known = _given("labels", labels)
        _one_kind("labels", known, first)
        rows, columns = _places("a", first, known), _places("b", second, known)
    k = _few(len(known), "a, b")
    table = np.bincount(rows * k + columns, minlength=k * k).reshape(k, k)
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    weight = (apart > 0).astype(np.int64) if weights is None else apart if weights == "linear" else apart**2
    by_chance = np.sum(weight * np.outer(table.sum(axis=1), table.sum(axis=0))) / len(first)
    if by_chance == 0:
        raise InvalidInput("a, b: every label is the same; kappa needs two different ones")
    return float(1 - np.sum(weight * table) / by_chance)


def krippendorff_alpha(votes: Labels, level: Literal["nominal", "ordinal", "interval"] = "nominal") -> float:
    """1 − observed / expected disagreement of any number of raters, votes missing or not; ≤ 1, 0 is chance
    (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section D: coincidences of values within items).

    votes [raters, items]. level: what a difference between two votes means; "ordinal" and "interval" need numbers.
    Items with one vote tell nothing and are left out. Raises InvalidInput also for fewer than two raters, no item with
    two votes, and votes that are all the same on the items with two or more.
    """
    if level not in ("nominal", "ordinal", "interval"):
        raise InvalidInput(f"level: 'nominal', 'ordinal' or 'interval' is needed, not {level!r}")
    coded, known = _coded_votes(votes)
    if level != "nominal" and known.dtype.kind == "U":
        raise InvalidInput(f"votes: the level {level!r} needs numbers, not text; give the place of each in its order")
    counts = _counts(coded, len(known))
    counts = counts[counts.sum(axis=1) >= 2]
    if len(counts) == 0:
        raise InvalidInput("votes: no item has two votes or more")
    used = counts.any(axis=0)
    if used.sum() < 2:
        raise InvalidInput("votes: every vote is the same; alpha needs two different ones")
    counts = counts[:, used]
    total = counts.sum(axis=0)
    among = counts / (counts.sum(axis=1, keepdims=True) - 1)
    seen = counts.T @ among - np.diag(among.sum(axis=0))
    by_chance = (np.outer(total, total) - np.diag(total)) / (total.sum() - 1)
    apart = _distances(known[used], total, level)
    return float(1 - np.sum(seen * apart) / np.sum(by_chance * apart))


def leave_one_out_agreement(votes: Labels, verdicts: Labels, *, seed: int, draws: int = 0) -> Agreement:
    """How often a judge says what most people say: each annotator is left out in turn, and the verdict is held against
    the mode of the others' votes; modes that tie are drawn at random (Lyu et al. 2024, and its code).

    votes [annotators, items]; verdicts [items]. A missing verdict agrees with nobody, so that a judge gains nothing by
    keeping silent (ours). An item's share is over the annotators who voted on it, and items weigh the same. `seed` also
    draws the ties of `human_ceiling`: with the same seed both see the same modes. draws: bootstrap resamples of items
    for the interval, 5,000 in the paper. Raises InvalidInput also for no item with two votes, or draws < 0.
    """
    coded, known = _coded_votes(votes)
    said, missing = _read("verdicts", verdicts, 1)
    if len(said) != coded.shape[1]:
        raise InvalidInput(f"verdicts: one for each of {coded.shape[1]} items is needed, not {len(said)}")
    verdict = np.full(len(said), MISSING)
    if not missing.all():
        _one_kind("verdicts", said, known)
        place = np.minimum(np.searchsorted(known, said), len(known) - 1)
        verdict = np.where(~missing & (known[place] == said), place, MISSING)
    return _agreement(coded, len(known), np.broadcast_to(verdict, coded.shape), seed, draws)


def human_ceiling(votes: Labels, *, seed: int, draws: int = 0) -> Agreement:
    """How often one annotator says what most of the others say: `leave_one_out_agreement` with the vote of the one left
    out in place of the verdict. votes [annotators, items]; all else as there."""
    coded, known = _coded_votes(votes)
    return _agreement(coded, len(known), coded, seed, draws)


def pairwise_accuracy(gold: ArrayLike, score: ArrayLike, ties: Literal["half", "strict", "drop"] = "half") -> float:
    """Share in [0, 1] of pairs of systems that `score` orders as `gold` does (Kocmi et al. 2021, arXiv 2107.10821).

    gold, score: numbers [systems], finite, higher meaning better. ties "half": pairs that gold orders, a tied score
    counting half (Harrell's concordance index); "strict": all pairs, a tie being right only where both are tied
    (Deutsch et al. 2023, arXiv 2305.14324, their acc_eq); "drop": pairs that both order. Raises InvalidInput also where
    no pair is left.
    """
    if ties not in ("half", "strict", "drop"):
        raise InvalidInput(f"ties: 'half', 'strict' or 'drop' is needed, not {ties!r}")
    pairs = pair_counts(*two_series(gold=gold, score=score))
    right, of = float(pairs.alike), pairs.alike + pairs.otherwise
    if ties == "half":
        right, of = right + pairs.tied_y / 2, of + pairs.tied_y
    elif ties == "strict":
        right, of = right + pairs.tied_both, of + pairs.tied_x + pairs.tied_y + pairs.tied_both
    if of == 0:
        raise InvalidInput(f"gold, score: with ties={ties!r} no pair of systems is ordered")
    return right / of


def coded_labels(name: str, values: Labels, ndim: int = 1) -> tuple[Ints, NDArray[Any]]:
    """(place of each label among the distinct ones, −1 where missing; the distinct labels, sorted).

    Raises InvalidInput for another number of dimensions, no labels, mixed kinds, or a number that is infinite.
    """
    found, missing = _read(name, values, ndim)
    if missing.all():
        raise InvalidInput(f"{name}: every label is missing")
    known, place = np.unique(found[~missing], return_inverse=True)
    codes = np.full(found.shape, MISSING, dtype=np.int64)
    codes[~missing] = place
    return codes, known


def _agreement(coded: Ints, k: int, said: Ints, seed: int, draws: int) -> Agreement:
    """coded, said [annotators, items]: the votes, and what is held against the mode of the others."""
    if draws < 0:
        raise InvalidInput(f"draws: 0 or more are needed, not {draws}")
    rng = np.random.default_rng(seed)
    voters = np.sum(coded != MISSING, axis=0)
    step = max(1, CELLS // k)
    starts = range(0, len(voters), step)
    agreed = np.concatenate([_agreed(coded[:, i : i + step], k, said[:, i : i + step], rng) for i in starts])
    if voters.max() < 2:
        raise InvalidInput("votes: no item has two votes or more, so no annotator can be left out")
    items = np.where(voters >= 2, agreed / np.maximum(voters, 1), np.nan)
    used = items[voters >= 2]
    low, high = bootstrap(np.mean, used, n=draws, seed=seed) if draws else (None, None)
    return Agreement(float(used.mean()), low, high, len(used), items)


def _agreed(coded: Ints, k: int, said: Ints, rng: np.random.Generator) -> Ints:
    """On how many of its left-out annotators there is agreement, for each item."""
    counts, items = _counts(coded, k), np.arange(coded.shape[1])
    agreed = np.zeros(len(items), dtype=np.int64)
    for vote, held in zip(coded, said, strict=True):
        voted = vote != MISSING
        others = counts.astype(np.float64)
        others[items[voted], vote[voted]] -= 1
        mode = np.argmax(others + rng.random(others.shape), axis=1)  # less than a vote is added: only ties are drawn
        agreed += voted & (mode == held)
    return agreed


def _coded_votes(votes: Labels) -> tuple[Ints, NDArray[Any]]:
    coded, known = coded_labels("votes", votes, 2)
    if coded.shape[0] < 2 or coded.shape[1] < 2:
        raise InvalidInput(f"votes: two raters and two items or more are needed, not an array of shape {coded.shape}")
    _few(len(known), "votes")
    return coded, known


def _counts(coded: Ints, k: int) -> Ints:
    """coded [raters, items] -> votes an item has for each label [items, k]."""
    items = coded.shape[1]
    at = (np.arange(items) * k + coded)[coded != MISSING]
    return np.bincount(at, minlength=items * k).reshape(items, k)


def _few(k: int, name: str) -> int:
    if k > MOST:
        raise InvalidInput(f"{name}: {k} different labels, at most {MOST} can be compared; are these measurements?")
    return k


def _given(name: str, values: Labels) -> NDArray[Any]:
    found, missing = _read(name, values, 1)
    if missing.any():
        raise InvalidInput(f"{name}: item {int(np.argmax(missing))} is missing; leave it out of both")
    return found


def _one_kind(name: str, found: NDArray[Any], like: NDArray[Any]) -> None:
    if (found.dtype.kind == "U") != (like.dtype.kind == "U"):
        raise InvalidInput(f"{name}: text is compared with numbers; give labels of one kind")


def _distances(known: NDArray[Any], total: Ints, level: str) -> Floats:
    """Squared differences [k, k] between the labels, sorted, of which there are `total` [k] votes."""
    if level == "nominal":
        return 1.0 - np.eye(len(known))
    # On an ordinal scale, two labels are as far apart as there are votes between the middles of the two.
    at = known.astype(np.float64) if level == "interval" else np.cumsum(total) - total / 2
    return np.asarray(np.subtract.outer(at, at) ** 2, dtype=np.float64)


def _places(name: str, found: NDArray[Any], known: NDArray[Any]) -> Ints:
    """The place in `known` [k], in the order it is given in, of each label."""
    order = np.argsort(known)
    ranked = known[order]
    if (ranked[1:] == ranked[:-1]).any():
        raise InvalidInput("labels: a label is given twice")
    at = np.minimum(np.searchsorted(ranked, found), len(known) - 1)
    if (ranked[at] != found).any():
        raise InvalidInput(f"{name}: {found[ranked[at] != found][0]!r} is not one of labels")
    return order[at].astype(np.int64)


def _read(name: str, values: Labels, ndim: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """(labels as integers, float64 or text; which are missing). A list is read item by item, since NumPy would turn
    the NaN of a list with text into the text "nan"."""
    found = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    if found.ndim != ndim or not found.size:
        raise InvalidInput(f"{name}: an array of {ndim} dimensions with labels is needed, not of shape {found.shape}")
    missing = np.zeros(found.shape, dtype=np.bool_)
    if found.dtype.kind == "O":
        missing = np.array([one is None or one != one for one in found.flat]).reshape(found.shape)
        found = _typed(name, found, missing)
    if found.dtype.kind == "f":
        missing = missing | np.isnan(found)
        if np.isinf(found).any():
            raise InvalidInput(f"{name}: a label is infinite")
    elif found.dtype.kind not in "biuU":
        raise InvalidInput(f"{name}: labels are numbers or text, not {found.dtype}")
    return found, missing


def _typed(name: str, found: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    given = found[~missing].tolist()
    if all(isinstance(one, str) for one in given) and given:
        return np.where(missing, "", found).astype(np.str_)
    if all(isinstance(one, (bool, int, float, np.number, np.bool_)) for one in given):
        return np.where(missing, np.nan, found).astype(np.float64)
    raise InvalidInput(f"{name}: labels are numbers or text, all of one kind, and each item has one")
