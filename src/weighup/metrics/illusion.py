"""Many metrics against many human judgements: which one can be trusted? Most often none everywhere.

"The Illusion of a Perfect Metric: Why Evaluating AI's Words Is Harder Than It Looks" (Oliva, Correia, Vankov and Botev
2025, arXiv 2508.13816). The paper reviews how metrics were validated and finds that each catches some sides of quality
only and that its correlation with people changes with task and data set. Faithful: metrics are described
(`weighup.metrics.cards`) and validated by rank correlation with people, task by task. Ours: the table as a function,
bootstrap intervals, and the stability line.

A column is one human dimension of one data set. At segment level all items are ranked together; at system level the
means of the systems are. Correlations are signed: a metric that ranks people's favourites last is below 0; only one
whose own scale runs downwards (TER) is turned round first. Scales need not match, since only ranks count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics import illusion_intervals as resample
from weighup.metrics.arrays import Floats, numbers
from weighup.metrics.illusion_table import Cell, MetricTable, Stability
from weighup.metrics.text import TextMetric, find_metric
from weighup.metrics.text_words import References, Texts, checked_texts
from weighup.registry import Method

METHOD = Method(
    name="illusion",
    room="metrics",
    paper="The Illusion of a Perfect Metric: Why Evaluating AI's Words Is Harder Than It Looks (Oliva et al. 2025)",
    arxiv="2508.13816",
    command="weighup metrics compare",
    claim_check="weighup.metrics.illusion_claim:check",
)
Level = Literal["segment", "system"]
Coefficient = Literal["spearman", "kendall"]
LEVELS: tuple[Level, ...] = ("segment", "system")
FEWEST = 3  # items, or systems, below which no correlation is looked at


@dataclass(frozen=True)
class HumanScores:
    """A data set of n texts that people scored.

    human: {dimension: scores [n]}, higher is better. references, sources: as the metrics take them. systems [n]: who
    wrote each text; None: no system level. groups [n]: texts that hang together (one document), drawn together by the
    bootstrap; None: each by itself. recorded: values of metrics that were run elsewhere, [n] for all dimensions or
    {dimension: [n]} for some.
    """

    name: str
    hypotheses: Texts
    human: Mapping[str, ArrayLike]
    references: References | None = None
    sources: Texts | None = None
    systems: Sequence[object] | None = None
    groups: Sequence[object] | None = None
    recorded: Mapping[str, ArrayLike | Mapping[str, ArrayLike]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """Correlations at one level: `values` [metrics, columns], `draws` [draws, metrics, columns], NaN where undefined;
    keys: (data set, dimension, n) of each column."""

    level: Level
    metrics: tuple[str, ...]
    keys: tuple[tuple[str, str, int], ...]
    values: Floats
    draws: Floats


def compare_metrics(
    metrics: Sequence[str | TextMetric],
    datasets: Sequence[HumanScores],
    *,
    levels: Sequence[Level] = LEVELS,
    coefficient: Coefficient = "spearman",
    missing: Literal["refuse", "leave out"] = "refuse",
    draws: int = 1000,
    seed: int = 0,
) -> MetricTable:
    """Rank correlation of every metric with every human dimension, and how stable each metric's place is.

    metrics: names in `METRICS`, or a `TextMetric` (bound to its model, or your own); recorded metrics of the data sets
    join them. missing: what to do where a metric needs references or sources that a data set lacks: "refuse" (raise),
    or "leave out" of that data set's columns, and say so. draws: bootstrap resamples of each data set, whole groups at
    a time. Raises InvalidInput for human scores that are constant or not finite, a metric that returns something not
    finite, lengths that differ, names that stand twice, fewer than three items, and as the metrics do.
    """
    columns, notes = correlate(
        metrics, datasets, levels=levels, coefficient=coefficient, missing=missing, draws=draws, seed=seed
    )
    cells = tuple(cell for part in columns for cell in _cells(part))
    return MetricTable(coefficient, cells, tuple(s for part in columns for s in stability(part)), tuple(notes))


def correlate(
    metrics: Sequence[str | TextMetric],
    datasets: Sequence[HumanScores],
    *,
    levels: Sequence[Level] = LEVELS,
    coefficient: Coefficient = "spearman",
    missing: Literal["refuse", "leave out"] = "refuse",
    draws: int = 1000,
    seed: int = 0,
) -> tuple[list[Columns], list[str]]:
    """The correlations behind `compare_metrics`, with those of every resample: one `Columns` a level, and the notes."""
    chosen = [metric if isinstance(metric, TextMetric) else find_metric(metric) for metric in metrics]
    names = [metric.name for metric in chosen] + list(
        dict.fromkeys(name for each in datasets for name in each.recorded)
    )
    _once("metrics", names)
    _once("datasets", [dataset.name for dataset in datasets])
    if not names or not datasets:
        raise InvalidInput("compare_metrics: one metric and one data set or more are needed")
    if coefficient not in ("spearman", "kendall") or missing not in ("refuse", "leave out") or draws < 1:
        raise InvalidInput(
            "compare_metrics: coefficient is spearman or kendall, missing refuse or leave out, draws ≥ 1"
        )
    if not levels or set(levels) - set(LEVELS):
        raise InvalidInput(f"levels: one or more of {', '.join(LEVELS)} are needed, not {list(levels)}")
    notes: list[str] = []
    parts: dict[Level, list[Columns]] = {level: [] for level in levels}
    for dataset, rng in zip(datasets, np.random.default_rng(seed).spawn(len(datasets)), strict=True):
        human = _human(dataset)
        values, places = _metric_values(chosen, names, dataset, list(human), missing, notes)
        groups = _labels(dataset, "groups", dataset.groups)
        drawn = resample.resampling_weights(groups, draws, rng)
        weights = np.concatenate([np.ones((1, len(groups))), drawn])
        for level in levels:
            systems = None if level == "segment" else _systems(dataset, notes)
            if level == "system" and systems is None:
                continue
            scores = np.stack(list(human.values()), axis=1)
            found = _correlations(coefficient, values, scores, weights, systems)
            # A metric without values here points at the column of NaN put last.
            found = np.concatenate([found, np.full((len(found), 1, len(human)), np.nan)], axis=1)
            found = found[:, places, np.arange(len(human))]
            items = len(groups) if systems is None else int(systems.max()) + 1
            keys = tuple((dataset.name, dimension, items) for dimension in human)
            parts[level].append(Columns(level, tuple(names), keys, found[0], found[1:]))
    return [_joined(several) for several in parts.values() if several], notes


def stability(columns: Columns) -> list[Stability]:
    """The stability line of every metric with two columns or more."""
    ranks = ranks_in_columns(columns.values)
    lines = []
    for row, metric in enumerate(columns.metrics):
        has = np.isfinite(columns.values[row])
        if has.sum() < 2:
            continue
        own, place = columns.values[row, has], ranks[row, has]
        low, high = _percentiles(np.ptp(columns.draws[:, row, has], axis=1))
        best, worst = int(place.min()), int(place.max())
        spread = float(np.ptp(own))
        first = float(np.mean(place == 1))
        lines.append(
            Stability(
                metric=metric,
                level=columns.level,
                columns=int(has.sum()),
                best_rank=best,
                worst_rank=worst,
                rank_range=worst - best,
                best_share=first,
                lowest=float(own.min()),
                highest=float(own.max()),
                spread=spread,
                spread_low=low,
                spread_high=high,
            )
        )
    return lines


def ranks_in_columns(values: Floats) -> Floats:
    """values [..., metrics, columns] -> rank from 1 in each column, highest first, ties sharing the best; NaN kept."""
    above = np.sum(values[..., None, :, :] > values[..., :, None, :], axis=-2)
    return np.where(np.isnan(values), np.nan, above + 1.0)


def _human(dataset: HumanScores) -> dict[str, Floats]:
    """The human scores, each [n]."""
    n = len(checked_texts(f"{dataset.name}: hypotheses", dataset.hypotheses))
    if n < FEWEST:
        raise InvalidInput(f"{dataset.name}: {n} texts; a rank correlation needs {FEWEST} or more")
    if not dataset.human:
        raise InvalidInput(f"{dataset.name}: human: one dimension or more is needed")
    found = {dimension: _column(dataset, f"human {dimension}", values) for dimension, values in dataset.human.items()}
    for dimension, values in found.items():
        if values.min() == values.max():
            raise InvalidInput(
                f"{dataset.name}: human {dimension} is {values[0]:g} for every text; no metric can be held against it"
            )
    return found


def _column(dataset: HumanScores, name: str, values: ArrayLike) -> Floats:
    found = numbers(f"{dataset.name}: {name}", values)
    if len(found) != len(dataset.hypotheses):
        raise InvalidInput(f"{dataset.name}: {name}: {len(found)} values for {len(dataset.hypotheses)} texts")
    return found


def _metric_values(
    chosen: Sequence[TextMetric],
    names: Sequence[str],
    dataset: HumanScores,
    dimensions: Sequence[str],
    missing: str,
    notes: list[str],
) -> tuple[Floats, NDArray[np.int64]]:
    """Values [n, A] of all metrics, and which of these columns each metric uses for each dimension, [metrics,
    dimensions], −1 for none."""
    columns: list[Floats] = []
    places = np.full((len(names), len(dimensions)), -1, dtype=np.int64)

    def put(name: str, values: Floats, where: Sequence[str]) -> None:
        if values.min() == values.max():
            notes.append(f"{dataset.name}: {name} is {values[0]:g} for every text, so it has no correlation")
        for dimension in where:
            places[names.index(name), dimensions.index(dimension)] = len(columns)
        columns.append(values)

    for metric in chosen:
        given = {"reference": dataset.references, "source": dataset.sources}
        lacking = [need for need in sorted(metric.needs & given.keys()) if given[need] is None]
        if lacking and missing == "refuse":
            raise InvalidInput(
                f"{dataset.name}: {metric.name} needs a {lacking[0]} for every text; give {lacking[0]}s, drop the "
                "metric, or say missing='leave out'"
            )
        if lacking:
            notes.append(f"{dataset.name}: {metric.name} is left out, as there are no {lacking[0]}s")
            continue
        values = _column(dataset, metric.name, metric(dataset.hypotheses, dataset.references, dataset.sources))
        put(metric.name, values if metric.higher_is_better else -values, dimensions)
    for name, recorded in dataset.recorded.items():
        if not isinstance(recorded, Mapping):
            put(name, _column(dataset, name, recorded), dimensions)
            continue
        if unknown := sorted(set(recorded) - set(dimensions)):
            raise InvalidInput(f"{dataset.name}: recorded {name} names {unknown[0]!r}, which is no human dimension")
        for dimension, each in recorded.items():
            put(name, _column(dataset, f"{name} {dimension}", each), [dimension])
    n = len(dataset.hypotheses)
    return (np.stack(columns, axis=1) if columns else np.zeros((n, 0))), places


def _systems(dataset: HumanScores, notes: list[str]) -> NDArray[np.int64] | None:
    """The numbered systems, or None, with a note, where there are too few for a system level."""
    if dataset.systems is None:
        notes.append(f"{dataset.name}: no system level, as systems are not given")
        return None
    systems = _labels(dataset, "systems", dataset.systems)
    if systems.max() + 1 < FEWEST:
        notes.append(f"{dataset.name}: no system level, which needs {FEWEST} systems, not {systems.max() + 1}")
        return None
    return systems


def _labels(dataset: HumanScores, name: str, labels: Sequence[object] | None) -> NDArray[np.int64]:
    n = len(dataset.hypotheses)
    if labels is not None and len(labels) != n:
        raise InvalidInput(f"{dataset.name}: {name}: {len(labels)} labels for {n} texts")
    return np.arange(n) if labels is None else resample.numbered(labels)


def _correlations(
    coefficient: str, values: Floats, human: Floats, weights: Floats, systems: NDArray[np.int64] | None
) -> Floats:
    """[draws, A, dimensions], by items or, where systems are given, by their means."""
    if not values.shape[1]:
        return np.zeros((len(weights), 0, human.shape[1]))
    if systems is not None:
        means = [resample.system_means(each, systems, weights) for each in (values, human)]
        return resample.correlate_draws(means[0], means[1], coefficient)
    by = resample.spearman_resampled if coefficient == "spearman" else resample.kendall_resampled
    return by(values, human, weights)


def _joined(parts: Sequence[Columns]) -> Columns:
    """The columns of several data sets side by side."""
    keys = tuple(key for part in parts for key in part.keys)
    values = np.concatenate([part.values for part in parts], axis=1)
    draws = np.concatenate([part.draws for part in parts], axis=2)
    return Columns(parts[0].level, parts[0].metrics, keys, values, draws)


def _cells(columns: Columns) -> list[Cell]:
    found = []
    for place, (dataset, dimension, n) in enumerate(columns.keys):
        for row, metric in enumerate(columns.metrics):
            value = float(columns.values[row, place])
            low, high = _percentiles(columns.draws[:, row, place])
            known = None if np.isnan(value) else value
            found.append(Cell(metric, dataset, dimension, columns.level, known, low, high, n))
    return found


def _percentiles(draws: Floats) -> tuple[float | None, float | None]:
    """95 % percentile interval of the finite draws; (None, None) when half of them or more are not."""
    finite = draws[np.isfinite(draws)]
    if 2 * len(finite) <= len(draws):
        return None, None
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def _once(name: str, found: Sequence[str]) -> None:
    if twice := sorted({each for each in found if found.count(each) > 1}):
        raise InvalidInput(f"{name}: {twice[0]!r} stands twice; give each a name of its own")
