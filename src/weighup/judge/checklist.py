"""Checklists: what a judge says of every leaf of a rubric, made one score by a rule, or by what people's scores teach.

Rules come from several methods: the mean of independent yes/no questions and the refitting are RocketEval's (Wei et al.
2025, arXiv 2503.05142); gates and sequences are those of Mind2Web 2's rubric trees (Gou et al. 2025, arXiv 2506.21506);
F1 over recall and precision of items is CLEAR's (ExpertLongBench, Ruan et al. 2025, arXiv 2506.01241).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.judge.types import Criterion, Item, Judge, Judgement, Rubric, unique
from weighup.metrics.extras import need

Rule = Literal["mean", "weighted", "gate", "sequential", "f1"]
Regressor = Literal["trees", "linear", "rising"]
RULES = ("mean", "weighted", "gate", "sequential", "f1")
TREES, DEPTH, SEED = 10, 2, 42
"""RocketEval's extremely randomised trees: how many, how deep, and their seed."""


def check(items: Sequence[Item], rubric: Rubric, judge: Judge) -> NDArray[np.float64]:
    """What `judge` says of every leaf: [items, leaves], in [0, 1], leaves in order. NaN where it could not say.

    The judge answers with `checks` by leaf id. Raises InvalidInput for no items, one there twice or with other than one
    response (a checklist is of one), a criterion that the rubric does not have, or a value outside [0, 1].
    """
    unique(items)
    for item in items:
        if len(item.responses) != 1:
            raise InvalidInput(f"item {item.id}: a checklist is of one response, this has {len(item.responses)}")
    return values(judge.judge(items, rubric), rubric)


def values(judgements: Sequence[Judgement], rubric: Rubric) -> NDArray[np.float64]:
    """The `checks` of judgements as an array [n, leaves], NaN where one is missing or unusable. Raises as `check`."""
    leaves = {leaf.id: place for place, leaf in enumerate(rubric.leaves())}
    table = np.full((len(judgements), len(leaves)), np.nan)
    for row, one in zip(table, judgements, strict=True):
        for name, value in one.checks.items() if one.usable else ():
            if name not in leaves:
                raise InvalidInput(f"item {one.item_id}: {one.judge} checked {name!r}, which the rubric does not have")
            if value is not None and not 0 <= value <= 1:
                raise InvalidInput(f"item {one.item_id}: {one.judge} gave {name!r} {value}; checks lie in [0, 1]")
            row[leaves[name]] = math.nan if value is None else value
    return table


def aggregate(rubric: Rubric, values: ArrayLike, rule: Rule = "mean", *, at: float = 0.5) -> NDArray[np.float64]:
    """One number in [0, 1] an item, [n], of what each leaf got, `values` [n, leaves] (or [leaves], for one item).

    - `mean`: of the leaves, weights and tree aside.
    - `weighted`: each node the mean of its children by their weights.
    - `gate`: a node with a critical child below `at` is 0; else it is the weighted mean of the other children, 1 where
      all are critical. In a node marked sequential, children after the first one below `at` are 0.
    - `sequential`: as `gate`, and the rubric's own list is in sequence too.
    - `f1`: values [n, leaves, 2], recall and precision of each leaf: harmonic mean of their means, or 0.

    NaN (not known) is left out of means; a node none of whose children is known, or whose gate hangs on an unknown, is
    NaN. Raises InvalidInput for another shape, values outside [0, 1], or an unknown rule.
    """
    if rule not in RULES:
        raise InvalidInput(f"checklist: rule: {rule!r} is none of {', '.join(RULES)}")
    table = _table(rubric, values, 3 if rule == "f1" else 2)
    if rule == "f1":
        recall, precision = _mean(table[..., 0]), _mean(table[..., 1])
        total = recall + precision
        return np.where(total == 0, 0.0, 2 * recall * precision / np.where(total == 0, 1.0, total))
    if rule == "mean":
        return _mean(table)
    columns = {leaf.id: table[:, place] for place, leaf in enumerate(rubric.leaves())}
    whole = Criterion(id="whole", text="", sequential=rule == "sequential", children=rubric.criteria)
    return _node(whole, columns, None if rule == "weighted" else at)


@dataclass(frozen=True, slots=True)
class Reweighted:
    """A regressor from what the leaves got to the scores people gave; `low`, `high` the scores it was taught with."""

    regressor: Any
    low: float
    high: float

    def predict(self, values: ArrayLike) -> NDArray[np.float64]:
        """values [n, leaves] -> scores [n], within the range of those taught. Raises InvalidInput for NaN."""
        table = _known(values)
        found: NDArray[np.float64] = np.clip(self.regressor.predict(table), self.low, self.high)
        return found


def reweight(values: ArrayLike, scores: ArrayLike, *, regressor: Regressor = "trees", seed: int = SEED) -> Reweighted:
    """Learn which leaves count from annotated scores [n] of items with values [n, leaves].

    `trees`: extremely randomised trees, 10 of depth 2 (RocketEval's); `linear`: ridge regression with penalty 1;
    `rising`: least squares with weights of at least 0, since a yes never counts against a response. Raises InvalidInput
    for fewer than two items, NaN, or lengths that differ, JobFailed where scikit-learn is missing.
    """
    table, taught = _known(values), np.asarray(scores, float)
    if taught.shape != (len(table),) or not np.isfinite(taught).all():
        raise InvalidInput(f"checklist: one finite score for each of {len(table)} annotated items is needed")
    if len(table) < 2:
        raise InvalidInput("checklist: reweighting needs the scores of two items or more")
    if regressor == "trees":
        made = need("sklearn.ensemble").ExtraTreesRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=seed)
    elif regressor == "linear":
        made = need("sklearn.linear_model").Ridge(alpha=1.0)
    else:
        made = need("sklearn.linear_model").LinearRegression(positive=True)
    return Reweighted(made.fit(table, taught), float(taught.min()), float(taught.max()))


def _table(rubric: Rubric, values: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    table = np.asarray(values, float)
    table = table[None] if table.ndim == dimensions - 1 else table
    shape = (len(rubric.leaves()), 2)[: dimensions - 1]
    if table.ndim != dimensions or table.shape[1:] != shape:
        told = ", ".join(map(str, shape))
        raise InvalidInput(f"checklist: values of shape (items, {told}) are needed, not {np.shape(values)}")
    if (table < 0).any() or (table > 1).any():
        raise InvalidInput("checklist: values lie in [0, 1]")
    return table


def _known(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, float)
    if table.ndim != 2 or not table.size:
        raise InvalidInput(f"checklist: values of shape (items, leaves) are needed, not {table.shape}")
    unknown = np.isnan(table).any(1)
    if unknown.any():
        raise InvalidInput(f"checklist: item {int(np.argmax(unknown))} has a leaf not known (NaN); leave it out")
    return table


def _mean(table: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Mean over the last axis of what is known, by weight; NaN where nothing is."""
    weights = np.where(np.isnan(table), 0.0, 1.0 if weight is None else weight)
    total = weights.sum(-1)
    return np.where(total > 0, np.nansum(weights * table, axis=-1), np.nan) / np.where(total > 0, total, 1.0)


def _node(node: Criterion, columns: dict[str, NDArray[np.float64]], at: float | None) -> NDArray[np.float64]:
    """`at` None: means only, without gates and sequences."""
    if not node.children:
        return columns[node.id]
    found = np.stack([_node(child, columns, at) for child in node.children], axis=1)
    weight = np.array([child.weight for child in node.children])
    if at is None:
        return _mean(found, weight)
    failed = found < at
    if node.sequential:
        unknown = np.cumsum(np.isnan(found), axis=1) - np.isnan(found) > 0
        stopped = np.cumsum(failed, axis=1) - failed > 0
        # Behind one that is not known, it is not known either, unless a known one failed.
        found = np.where(stopped, 0.0, np.where(unknown, np.nan, found))
        failed = found < at
    critical = np.array([child.critical for child in node.children])
    rest = ~critical & (weight > 0)
    mean = _mean(found[:, rest], weight[rest]) if rest.any() else np.ones(len(found))
    closed, open_ = failed[:, critical].any(1), np.isnan(found[:, critical]).any(1)
    return np.where(closed, 0.0, np.where(open_, np.nan, mean))
