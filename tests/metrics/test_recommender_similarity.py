"""Similarities of rows, against NumPy and SciPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from weighup.errors import InvalidInput
from weighup.metrics.recommenders import similarity


def test_similarities_agree_with_numpy_and_scipy() -> None:
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 3, (6, 9)).astype(float)
    other = rng.normal(size=(4, 9))
    matrix = sparse.csr_matrix(dense)
    np.testing.assert_allclose(similarity(matrix, "cosine", other), 1 - cdist(dense, other, "cosine"), atol=1e-12)
    np.testing.assert_allclose(similarity(matrix, "pearson"), np.corrcoef(dense), atol=1e-12)
    jaccard = 1 - cdist(dense > 0, dense > 0, "jaccard")
    np.testing.assert_allclose(similarity(matrix, "jaccard"), jaccard, atol=1e-12)
    for kind, metric in (("euclidean", "euclidean"), ("manhattan", "cityblock")):
        np.testing.assert_allclose(similarity(matrix, kind, other), 1 / (1 + cdist(dense, other, metric)), atol=1e-7)


def test_rows_that_tell_nothing_are_like_none() -> None:
    rows = [[0, 0, 0], [0.1, 0.1, 0.1], [1, 2, 3]]
    assert similarity(rows, "cosine")[0].tolist() == similarity(rows, "jaccard")[0].tolist() == [0, 0, 0]
    assert similarity(rows, "pearson")[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("matrix", "kind", "other", "says"),
    [
        ([[1]], "hamming", None, "none of cosine"),
        ([[1]], "cosine", [[1, 2]], "2 columns"),
        ([[math.nan]], "cosine", None, "finite"),
        ([["x"]], "cosine", None, "matrix of numbers"),
        (np.empty((0, 3)), "cosine", None, "one row"),
        (sparse.csr_matrix((8_000, 2)), "cosine", None, "in parts"),
    ],
)
def test_similarity_refuses(matrix: Any, kind: str, other: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        similarity(matrix, kind, other)
