"""What recommendations did: click-through, conversion, adoption, revenue; and whether users come back.

Over the top k shown. ctr: clicks/impressions. conversion: purchases/clicks, of clicked impressions. adoption: share of
users shown a list who bought something from it. revenue: money from the list, a user. retention: share of users who
come back between one and two periods after their first interaction, over those whose second period is over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints, binary, numbers
from weighup.metrics.recommender_inputs import Coded, Recommendations
from weighup.metrics.recommender_measure import Measure, mean, ratio


def list_measures(coded: Coded, table: Recommendations, ks: Sequence[int], names: frozenset[str]) -> list[Measure]:
    """ctr, conversion, adoption and revenue, of the columns that are there. Raises InvalidInput for a negative sum."""
    there = coded.row >= 0

    def placed(column: Floats) -> Floats:
        """[users, K] of a column [rows], 0 where nothing is shown."""
        found: Floats = np.where(there, column[coded.row], 0.0)
        return found

    clicked = bought = revenue = None
    if table.clicked is not None:
        clicked = placed(binary("recommendations.clicked", table.clicked))
    if table.bought is not None:
        bought = placed(binary("recommendations.bought", table.bought))
    if table.revenue is not None:
        money = numbers("recommendations.revenue", table.revenue)
        if money.min() < 0:
            raise InvalidInput(f"recommendations.revenue: row {int(money.argmin())} is negative")
        revenue = placed(money)
    shown = there.astype(np.float64)
    served = there[:, 0]  # lists have no holes
    found = []
    for k in ks:
        if clicked is not None and "ctr" in names:
            found.append(_share("ctr", k, clicked[:, :k], shown[:, :k], "impressions"))
        if clicked is not None and bought is not None and "conversion" in names:
            found.append(_share("conversion", k, (clicked * bought)[:, :k], clicked[:, :k], "clicks"))
        if bought is not None and "adoption" in names:
            found.append(mean("adoption", k, np.asarray(bought[:, :k].max(1)), served))
        if revenue is not None and "revenue" in names:
            found.append(mean("revenue", k, np.asarray(revenue[:, :k].sum(1)), served))
    return found


def _share(name: str, k: int, part: Floats, whole: Floats, of: str) -> Measure:
    sums = np.stack([part.sum(1), whole.sum(1)], axis=1).astype(np.float64)
    return Measure(name, k, int(whole.sum()), of, sums, ratio)


def retention(user: Ints, users: int, timestamp: Floats, period: float) -> Measure:
    """user, timestamp [interactions], `period` in the unit of the timestamps, over 0."""
    first = np.full(users, np.inf)
    np.minimum.at(first, user, timestamp)
    since = timestamp - first[user]
    back = np.zeros(users)
    back[user[(since >= period) & (since < 2 * period)]] = 1.0
    return mean("retention", None, back, first + 2 * period <= timestamp.max())
