"""Accuracy of the top k: precision, recall, hit, F1, AP, nDCG, reciprocal ranks, rank correlation, serendipity.

All from one matrix of the gains at each place of each list, `gains` [users, K] (0: not relevant), by running sums.
Precision divides by k and recall by all relevant items, as trec_eval; AP@k by all relevant items; nDCG's gains are the
ratings (linear, Järvelin and Kekäläinen 2002) over 1/log2(rank + 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.metrics.arrays import Floats, Ints
from weighup.metrics.recommender_inputs import Coded
from weighup.metrics.recommender_measure import Measure, gap, mean

USERS_AT_ONCE = 20_000


def matched(coded: Coded, gain: Floats) -> Floats:
    """Gain of each recommended item [users, K], 0 where it is not held out. gain [held-out pairs]."""
    pair = coded.pairs(coded.held_user, coded.held_item)
    wanted = coded.pairs(np.arange(len(coded.top))[:, None], coded.top)
    place = np.minimum(np.searchsorted(pair, wanted), len(pair) - 1)
    found: Floats = np.where((pair[place] == wanted) & (coded.top >= 0), gain[place], 0.0)
    return found


def ideal_dcg(user: Ints, gain: Floats, users: int, k: int) -> Floats:
    """DCG [users, k] of each user's best list at each cut."""
    order = np.lexsort((-gain, user))
    sorted_user = user[order]
    rank = np.arange(len(user)) - np.searchsorted(sorted_user, np.arange(users))[sorted_user]
    inside = rank < k
    table = np.zeros((users, k))
    table[sorted_user[inside], rank[inside]] = gain[order][inside]
    return np.cumsum(table * discount(k), axis=1)


def discount(k: int) -> Floats:
    found: Floats = 1 / np.log2(np.arange(k) + 2.0)
    return found


def accuracy_measures(
    coded: Coded,
    gain: Floats,
    ks: Sequence[int],
    counted: NDArray[np.bool_],
    group: Ints | None,
    popular: NDArray[np.bool_] | None,
    names: frozenset[str],
) -> list[Measure]:
    """Measures at each k. gain [held-out pairs] ≥ 0; counted [users]; group [users] or None; popular [items, ks] or
    None: whether an item is among the k most popular ones."""
    users, widest = coded.top.shape
    gains = matched(coded, gain)
    hits = (gains > 0).astype(np.float64)
    relevant = np.bincount(coded.held_user, gain > 0, users)
    some = np.maximum(relevant, 1.0)
    rank = np.arange(1.0, widest + 1)
    hit_sum = np.cumsum(hits, axis=1)
    precision_sum = np.cumsum(hits * hit_sum / rank, axis=1) if "map" in names else None
    reciprocal_sum = np.cumsum(hits / rank, axis=1) if "arhr" in names else None
    wants_dcg = bool({"ndcg", "gap_ndcg"} & names)
    dcg = np.cumsum(gains * discount(widest), axis=1) if wants_dcg else None
    best = ideal_dcg(coded.held_user, gain, users, widest) if wants_dcg else None
    first = np.where(hits.any(1), hits.argmax(1) + 1.0, np.inf)
    found: list[Measure] = []
    for place, k in enumerate(ks):
        found_here = hit_sum[:, k - 1]
        values = {
            "precision": found_here / k,
            "recall": found_here / some,
            "hit": (found_here > 0).astype(np.float64),
            "f1": 2 * found_here / (k + relevant),
            "mrr": np.where(first <= k, 1 / first, 0.0),
        }
        if precision_sum is not None:
            values["map"] = precision_sum[:, k - 1] / some
        if reciprocal_sum is not None:
            values["arhr"] = reciprocal_sum[:, k - 1]
        if dcg is not None and best is not None:
            values["ndcg"] = dcg[:, k - 1] / np.where(best[:, k - 1] > 0, best[:, k - 1], 1.0)
        if popular is not None and "serendipity" in names:
            unexpected = ~popular[coded.top[:, :k], place] & (coded.top[:, :k] >= 0)
            values["serendipity"] = (hits[:, :k] * unexpected).sum(1) / k
        found += [mean(name, k, value, counted) for name, value in values.items() if name in names]
        if group is not None:
            found += [
                gap(f"gap_{name}", k, values[name], counted, group)
                for name in ("recall", "ndcg")
                if f"gap_{name}" in names
            ]
    return found


def correlation_measures(coded: Coded, ks: Sequence[int]) -> list[Measure]:
    """Kendall's τ-b between a list's order and the held-out ratings of its items, over users whose top k holds two or
    more rated items that are not all rated alike."""
    assert coded.rating is not None
    # 0 means "not held out" in `matched`; ratings may be 0 themselves, so they are moved up by 1.
    rated = matched(coded, coded.rating + 1)
    found = []
    for k in ks:
        tau = np.concatenate([_tau(rated[i : i + USERS_AT_ONCE, :k]) for i in range(0, len(rated), USERS_AT_ONCE)])
        found.append(mean("rank_correlation", k, np.nan_to_num(tau), ~np.isnan(tau)))
    return found


def _tau(rated: Floats) -> Floats:
    """τ-b [users] of rated [users, k] (0: none) falling with the place; not a number where it is undefined."""
    concordant, compared, untied = np.zeros((3, len(rated)))
    for step in range(1, rated.shape[1]):
        above, below = rated[:, :-step], rated[:, step:]
        both = (above > 0) & (below > 0)
        concordant += np.where(both, np.sign(above - below), 0.0).sum(1)
        compared += both.sum(1)
        untied += (both & (above != below)).sum(1)
    with np.errstate(invalid="ignore"):
        tau: Floats = concordant / np.sqrt(compared * untied)
    return tau
