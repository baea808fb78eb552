"""How alike users or items are: cosine, Jaccard, Pearson, and nearness by Euclidean and Manhattan distance.

Rows of a matrix [n, f], dense or SciPy sparse (an absent cell is 0), against themselves or against others [m, f]; the
answer is dense [n, m]. Sparse rows stay sparse until the answer. Distances become nearness 1/(1 + d) in (0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats
from weighup.metrics.extras import need

CELLS = 50_000_000  # of one answer, 400 MB


def similarity(matrix: Any, kind: str, other: Any = None) -> Floats:
    """Similarity of each row of `matrix` [n, f] with each of `other` [m, f], or of its own: [n, m].

    kind: "cosine" in [−1, 1], "jaccard" of the cells that are not 0 in [0, 1], "pearson" over all f cells in [−1, 1],
    "euclidean" or "manhattan" in (0, 1]. Rows without a cell (for pearson: all cells equal) have similarity 0 with
    every row, but for the distances. Raises InvalidInput for another kind, shapes that do not fit, a value that is not
    finite, or more than 50 million answers (give the rows in parts).
    """
    if kind not in KINDS:
        raise InvalidInput(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    a = _matrix("matrix", matrix)
    b = a if other is None else _matrix("other", other)
    if a.shape[1] != b.shape[1]:
        raise InvalidInput(f"other: {b.shape[1]} columns, and the matrix has {a.shape[1]}")
    if a.shape[0] * b.shape[0] > CELLS:
        raise InvalidInput(f"matrix: {a.shape[0]} × {b.shape[0]} answers are over {CELLS:,}; give the rows in parts")
    return KINDS[kind](a, b)


def _matrix(name: str, values: Any) -> Any:
    try:
        found = need("scipy.sparse").csr_matrix(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name}: a matrix of numbers is needed: {error}") from error
    if not found.shape[0] or not found.shape[1]:
        raise InvalidInput(f"{name}: one row and one column or more are needed, not {found.shape}")
    if not np.isfinite(found.data).all():
        raise InvalidInput(f"{name}: a value is not a finite number")
    return found


def _cosine(a: Any, b: Any) -> Floats:
    return _divided((a @ b.T).toarray(), np.sqrt(np.outer(_squares(a), _squares(b))))


def _jaccard(a: Any, b: Any) -> Floats:
    x, y = (a != 0).astype(np.float64), (b != 0).astype(np.float64)
    shared = (x @ y.T).toarray()
    return _divided(shared, np.add.outer(_sums(x), _sums(y)) - shared)


def _pearson(a: Any, b: Any) -> Floats:
    """(Σxy − n·x̄ȳ)/(n·σ_x·σ_y), so that rows need not be centred and stay sparse."""
    n = a.shape[1]
    mean_a, mean_b = _sums(a) / n, _sums(b) / n
    spread_a, spread_b = _squares(a) / n - mean_a**2, _squares(b) / n - mean_b**2
    # A row of equal cells has a spread of rounding alone.
    spread_a[spread_a <= 1e-14 * mean_a**2] = 0.0
    spread_b[spread_b <= 1e-14 * mean_b**2] = 0.0
    return _divided((a @ b.T).toarray() / n - np.outer(mean_a, mean_b), np.sqrt(np.outer(spread_a, spread_b)))


def _euclidean(a: Any, b: Any) -> Floats:
    found: Floats = 1 / (1 + need("sklearn.metrics.pairwise").euclidean_distances(a, b))
    return found


def _manhattan(a: Any, b: Any) -> Floats:
    found: Floats = 1 / (1 + need("sklearn.metrics.pairwise").manhattan_distances(a, b))
    return found


KINDS: dict[str, Callable[[Any, Any], Floats]] = {
    "cosine": _cosine,
    "jaccard": _jaccard,
    "pearson": _pearson,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}


def _divided(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _sums(matrix: Any) -> Floats:
    found: Floats = np.asarray(matrix.sum(1), np.float64).ravel()
    return found


def _squares(matrix: Any) -> Floats:
    return _sums(matrix.multiply(matrix))
