"""Beyond accuracy: novelty, popularity, diversity, coverage, Gini, personalisation, calibration.

Lists are a sparse matrix `shown` [users, items] of the top k. Averages are over users who were shown something;
diversity needs two items, personalisation two users, calibration a history with genres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints
from weighup.metrics.extras import need
from weighup.metrics.recommender_inputs import Coded
from weighup.metrics.recommender_measure import Exposure, Measure, mean

USERS_AT_ONCE = 5_000
SMOOTHING = 0.01  # share of the history mixed into the list's genres, so that KL is finite (Steck 2018)


def list_matrix(coded: Coded, k: int) -> Any:
    """1 where an item is in a user's top k: sparse [users, items of the catalogue]."""
    sparse = need("scipy.sparse")
    top = coded.top[:, :k]
    there = top >= 0
    starts = np.concatenate([[0], np.cumsum(there.sum(1))])
    return sparse.csr_matrix((np.ones(starts[-1]), top[there], starts), (len(top), len(coded.items)))


def popularity(coded: Coded) -> Ints:
    """How many users used each item in `train` [items]."""
    return np.bincount(coded.train_item, minlength=len(coded.items))


def most_popular(counts: Ints, ks: Sequence[int]) -> NDArray[np.bool_]:
    """[items, ks]: whether an item is among the k most used ones (equally used: the one named first)."""
    place = np.empty(len(counts), np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return place[:, None] < np.array(ks)[None, :]


def popularity_measures(coded: Coded, counts: Ints, ks: Sequence[int], names: frozenset[str]) -> list[Measure]:
    """novelty: mean −log2 p(i), p the share of training users who used the item (Zhou et al. 2010), an item nobody
    used being taken as used once. arp: mean number of training users of the items shown (Yin et al. 2012)."""
    trained = np.count_nonzero(np.bincount(coded.train_user))
    surprise = -np.log2(np.maximum(counts, 1) / trained)
    there = coded.top >= 0
    found = []
    for name, value in (("novelty", surprise), ("arp", counts.astype(np.float64))):
        if name in names:
            total = np.cumsum(np.where(there, value[coded.top], 0.0), axis=1)
            length = np.cumsum(there, axis=1)
            found += [
                mean(name, k, total[:, k - 1] / np.maximum(length[:, k - 1], 1), length[:, k - 1] > 0) for k in ks
            ]
    return found


def exposure_measures(coded: Coded, ks: Sequence[int], names: frozenset[str]) -> list[Measure | Exposure]:
    """coverage: share of the catalogue shown to anyone. gini: inequality of how often items are shown, 0 (all alike)
    to 1 − 1/items. personalisation: 1 − mean cosine of two users' lists (1: nothing in common)."""
    found: list[Measure | Exposure] = []
    for k in ks:
        shown = list_matrix(coded, k)
        length = np.diff(shown.indptr)
        served = int((length > 0).sum())
        if "coverage" in names:
            found.append(Exposure("coverage", k, served, "users", shown, _coverage))
        if "gini" in names:
            found.append(Exposure("gini", k, served, "users", shown, _gini))
        if "personalisation" in names:
            found.append(Exposure("personalisation", k, served, "users", _scaled(shown, length), _unlike))
    return found


def _coverage(counts: Floats) -> Floats:
    found: Floats = (counts > 0).mean(-1)
    return found


def _gini(counts: Floats) -> Floats:
    ordered = np.sort(counts, axis=-1)
    n = ordered.shape[-1]
    weight = 2 * np.arange(1, n + 1) - n - 1.0
    found: Floats = ordered @ weight / (n * ordered.sum(-1))
    return found


def _scaled(shown: Any, length: Ints) -> Any:
    """Lists of length 1, with a last column that counts users served, so that `_unlike` needs no other sums."""
    sparse = need("scipy.sparse")
    scale = np.where(length > 0, 1 / np.sqrt(np.maximum(length, 1)), 0.0)
    return sparse.hstack([sparse.diags(scale) @ shown, sparse.csr_matrix((length > 0).astype(float)[:, None])]).tocsr()


def _unlike(total: Floats) -> Floats:
    """1 − mean over pairs u ≠ v of x_u·x_v, from Σ x: |Σ x|² is the sum over all pairs and each user has x·x = 1."""
    users = total[..., -1]
    alike = (total[..., :-1] ** 2).sum(-1) - users
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = 1 - alike / (users * (users - 1))
    return found


def feature_matrix(features: Any, items: int) -> Any:
    """Features as sparse float [items, f]. Raises InvalidInput for another shape or a value that is not finite."""
    sparse = need("scipy.sparse")
    try:
        found = sparse.csr_matrix(features, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"items.features: a matrix of numbers is needed: {error}") from error
    if found.shape[0] != items or not found.shape[1]:
        raise InvalidInput(f"items.features: one row for each of {items} items is needed, not {found.shape}")
    if not np.isfinite(found.data).all():
        raise InvalidInput("items.features: a value is not a finite number")
    return found


def diversity_measures(coded: Coded, features: Any, ks: Sequence[int]) -> list[Measure]:
    """1 − mean cosine over the pairs of items of a list (Ziegler et al. 2005); one without features is like none."""
    sparse = need("scipy.sparse")
    norm = np.sqrt(np.asarray(features.multiply(features).sum(1)).ravel())
    unit = sparse.diags(np.where(norm > 0, 1 / np.where(norm > 0, norm, 1), 0.0)) @ features
    found = []
    for k in ks:
        shown = list_matrix(coded, k)
        length = np.diff(shown.indptr)
        alike = np.concatenate([_square(part @ unit) for part in _parts(shown)])
        alike -= shown @ (norm > 0).astype(np.float64)
        value = 1 - alike / np.maximum(length * (length - 1), 1)
        found.append(mean("diversity", k, value, length > 1))
    return found


def calibration_measures(coded: Coded, features: Any, ks: Sequence[int]) -> list[Measure]:
    """KL(p‖q) in nats between the genre shares of a user's training items, p, and of the list, q, which is mixed with a
    hundredth of p (Steck 2018, equations 2 to 7, unweighted). 0: the list has the user's mix of genres."""
    if features.nnz and features.data.min() < 0:
        raise InvalidInput("items.features: calibration takes them as shares of genres, which are not negative")
    sparse = need("scipy.sparse")
    total = np.asarray(features.sum(1)).ravel()
    share = (sparse.diags(np.where(total > 0, 1 / np.where(total > 0, total, 1), 0.0)) @ features).tocsr()
    history = sparse.csr_matrix(
        (np.ones(len(coded.train_user)), (coded.train_user, coded.train_item)), (len(coded.users), features.shape[0])
    )
    found = []
    for k in ks:
        values = [
            _kl((past @ share).toarray(), (part @ share).toarray())
            for past, part in zip(_parts(history), _parts(list_matrix(coded, k)), strict=True)
        ]
        kl = np.concatenate(values)
        found.append(mean("calibration", k, np.nan_to_num(kl), ~np.isnan(kl)))
    return found


def _kl(past: Floats, listed: Floats) -> Floats:
    """[users]; not a number for a user without genres on either side."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p, q = past / past.sum(1, keepdims=True), listed / listed.sum(1, keepdims=True)
        terms = np.where(p == 0, 0.0, p * np.log(p / ((1 - SMOOTHING) * q + SMOOTHING * p)))
    terms[np.isnan(p) | np.isnan(q)] = np.nan
    found: Floats = terms.sum(1)
    return found


def _parts(matrix: Any) -> Iterator[Any]:
    for start in range(0, matrix.shape[0], USERS_AT_ONCE):
        yield matrix[start : start + USERS_AT_ONCE]


def _square(matrix: Any) -> Floats:
    found: Floats = np.asarray(matrix.multiply(matrix).sum(1)).ravel()
    return found
