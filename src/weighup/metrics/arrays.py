"""What the measures take: one-dimensional arrays without holes. Said no to here, trusted everywhere else."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def numbers(name: str, values: ArrayLike) -> Floats:
    """values [n], n ≥ 1 -> float64. Raises InvalidInput for another shape, no items, text, or a value not finite."""
    try:
        found = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise InvalidInput(f"{name}: one number an item is needed, not rows of different lengths") from None
    if found.dtype.kind not in "biuf":
        raise InvalidInput(f"{name}: numbers are needed, not {found.dtype}")
    if found.ndim != 1 or not found.size:
        raise InvalidInput(f"{name}: a list of one or more numbers is needed, not an array of shape {found.shape}")
    result = found.astype(np.float64)
    if not np.isfinite(result).all():
        raise InvalidInput(f"{name}: item {int(np.argmin(np.isfinite(result)))} is not a finite number")
    return result


def labels(name: str, values: ArrayLike) -> Ints:
    """values [n] of whole numbers or booleans -> int64. Raises InvalidInput as `numbers`, and for a fraction."""
    found = numbers(name, values)
    if (found != np.floor(found)).any():
        raise InvalidInput(f"{name}: labels are whole numbers; are these probabilities?")
    return found.astype(np.int64)


def binary(name: str, values: ArrayLike) -> Floats:
    """values [n] of 0 and 1 or booleans -> 0.0 and 1.0. Raises InvalidInput as `numbers`, and for any other value."""
    found = numbers(name, values)
    if not np.isin(found, (0.0, 1.0)).all():
        raise InvalidInput(f"{name}: only 0 and 1 (or false and true) are allowed")
    return found


def probabilities(name: str, values: ArrayLike) -> Floats:
    """values [n] in [0, 1]. Raises InvalidInput as `numbers`, and for a value outside."""
    found = numbers(name, values)
    if found.min() < 0 or found.max() > 1:
        raise InvalidInput(f"{name}: probabilities lie in [0, 1], these in [{found.min():g}, {found.max():g}]")
    return found


def weights(values: ArrayLike | None, n: int) -> Floats:
    """values [n] ≥ 0, not all 0; None: one each. Raises InvalidInput otherwise."""
    if values is None:
        return np.ones(n)
    found = numbers("weight", values)
    if len(found) != n:
        raise InvalidInput(f"weight: {len(found)} weights for {n} items")
    if found.min() < 0 or not found.any():
        raise InvalidInput("weight: weights are at least 0 and not all 0")
    return found


def same_length(**arrays: Floats | Ints) -> None:
    """Raises InvalidInput, naming the arrays, when their lengths differ."""
    if len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{name} has {len(array)}" for name, array in arrays.items())
        raise InvalidInput(f"one value an item is needed in each: {found}")


def inside(name: str, value: float) -> float:
    """value strictly between 0 and 1. Raises InvalidInput otherwise."""
    if not 0 < value < 1:
        raise InvalidInput(f"{name}: between 0 and 1 (neither of them) is needed, not {value}")
    return float(value)
