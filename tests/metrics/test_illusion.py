"""Comparing metrics: SciPy's correlations, resamples by hand, the stability line, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from weighup.errors import InvalidInput
from weighup.metrics.illusion import HumanScores, compare_metrics, correlate, ranks_in_columns
from weighup.metrics.illusion_claim import largest_share, least_spread
from weighup.metrics.illusion_intervals import kendall_resampled, resampling_weights, spearman_resampled
from weighup.metrics.text import TextMetric

RNG = np.random.default_rng(0)
N = 40
LENGTHS = RNG.integers(1, 12, N)
SET = HumanScores(
    name="made",
    hypotheses=["word " * n for n in LENGTHS],
    human={"brief": -LENGTHS + RNG.normal(0, 2, N), "long": np.round(LENGTHS + RNG.normal(0, 3, N))},
    references=["word word word"] * N,
    sources=["word other"] * N,
    systems=[place % 4 for place in range(N)],
    groups=[place // 4 for place in range(N)],
    recorded={"oracle": {"brief": -LENGTHS}, "noise": RNG.normal(size=N)},
)


def made(values: Any, name: str = "own") -> TextMetric:
    return TextMetric(name, lambda hypotheses, references, sources: np.asarray(values), frozenset())


def cell(table: Any, metric: str, dimension: str, level: str = "segment") -> Any:
    (found,) = [c for c in table.cells if (c.metric, c.dimension, c.level) == (metric, dimension, level)]
    return found


@pytest.mark.parametrize(("coefficient", "reference"), [("spearman", spearmanr), ("kendall", kendalltau)])
def test_values_are_scipys_at_both_levels(coefficient: Any, reference: Any) -> None:
    table = compare_metrics(["length", "length_ratio"], [SET], coefficient=coefficient, draws=50)
    for dimension, human in SET.human.items():
        found = cell(table, "length", dimension)
        assert found.value == pytest.approx(reference(LENGTHS, human)[0])
        assert found.low <= found.value <= found.high
        assert found.n == N
        means = [[np.mean(np.asarray(x)[s::4]) for s in range(4)] for x in (LENGTHS, human)]
        assert cell(table, "length", dimension, "system").value == pytest.approx(reference(*means)[0])
        assert cell(table, "length", dimension, "system").n == 4


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_a_resample_is_what_drawing_the_items_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, (9, 2)).astype(float), rng.integers(0, 4, (9, 3)).astype(float)
    weights = resampling_weights(np.arange(9) // 2, 5, rng)
    for resampled, reference in ((spearman_resampled, spearmanr), (kendall_resampled, kendalltau)):
        found = resampled(a, b, weights)
        for draw, counts in enumerate(weights.astype(int)):
            rows = np.repeat(np.arange(9), counts)
            for i in range(2):
                for j in range(3):
                    x, y = a[rows, i], b[rows, j]
                    if np.ptp(x) and np.ptp(y):
                        assert found[draw, i, j] == pytest.approx(reference(x, y)[0], abs=1e-6)
                    else:
                        assert np.isnan(found[draw, i, j])


def test_groups_are_drawn_whole() -> None:
    weights = resampling_weights(np.array([0, 0, 1, 2, 2, 2]), 20, np.random.default_rng(0))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_an_error_rate_is_turned_round() -> None:
    human = {"quality": [3.0, 2.0, 1.0]}
    references = ["a b c d"] * 3
    data = HumanScores("three", ["a b c d", "a b c x", "a x y z"], human, references)
    assert cell(compare_metrics(["ter"], [data], levels=("segment",), draws=5), "ter", "quality").value == 1


def test_recorded_values_join_by_dimension() -> None:
    table = compare_metrics(["length"], [SET], levels=("segment",), draws=20)
    assert cell(table, "oracle", "brief").value == pytest.approx(spearmanr(-LENGTHS, SET.human["brief"])[0])
    assert cell(table, "oracle", "long").value is None
    assert cell(table, "noise", "long").value is not None


def test_the_stability_line_by_hand() -> None:
    values = np.array([[0.5, 0.1, 0.3], [0.5, 0.4, np.nan], [0.2, 0.2, 0.1]])
    assert ranks_in_columns(values)[[0, 2]].tolist() == [[1, 3, 1], [3, 2, 2]]
    assert np.isnan(ranks_in_columns(values)[1, 2])
    assert largest_share(values, of_own=False) == pytest.approx(2 / 3)
    assert largest_share(values, of_own=True) == 1
    assert least_spread(values) == pytest.approx(0.1)
    table = compare_metrics(["length"], [SET], levels=("segment",), draws=50)
    line = next(s for s in table.stability if s.metric == "length")
    assert (line.columns, line.best_rank, line.worst_rank, line.rank_range) == (2, 1, 3, 2)
    assert line.best_share == 0.5
    assert line.spread == pytest.approx(line.highest - line.lowest)
    assert line.spread_low < line.spread_high


def test_the_same_seed_gives_the_same_table() -> None:
    one, two = (compare_metrics(["length"], [SET], draws=20, seed=3) for _ in range(2))
    assert one == two
    assert one != compare_metrics(["length"], [SET], draws=20, seed=4)


def test_all_shapes_of_the_table_say_the_same() -> None:
    table = compare_metrics(["length", "source_overlap"], [SET], draws=20)
    head, rows = table.table()
    assert head[:5] == ["level", "data set", "dimension", "n", "length"]
    assert [row[2] for row in rows] == ["brief", "long", "brief", "long"]
    assert all(len(row) == len(head) for row in rows)
    assert "–" in rows[0]
    parsed = list(csv.DictReader(io.StringIO(table.as_csv())))
    assert len(parsed) == len(table.cells)
    assert float(parsed[0]["value"]) == table.cells[0].value
    assert json.loads(table.as_json())["cells"][0]["value"] == table.cells[0].value
    text = table.as_markdown()
    assert "| length | segment |" in text
    assert "source_overlap is 1 for every text" in text


def test_what_is_lacking_is_refused_or_left_out_and_said() -> None:
    bare = replace(SET, references=None, systems=None)
    with pytest.raises(InvalidInput, match="made: rouge1 needs a reference"):
        compare_metrics(["rouge1"], [bare], draws=5)
    table = compare_metrics(["rouge1", "length"], [bare], missing="leave out", draws=5)
    assert cell(table, "rouge1", "long").value is None
    assert {c.level for c in table.cells} == {"segment"}
    assert len(table.notes) == 2
    two = replace(SET, systems=[place % 2 for place in range(N)])
    assert "needs 3 systems" in compare_metrics(["length"], [two], draws=5).notes[0]


def test_scales_need_not_match() -> None:
    shrunk = replace(SET, human={k: np.asarray(v) / 50 + 0.5 for k, v in SET.human.items()})
    one, two = (correlate(["length"], [d], draws=5)[0][0].values for d in (SET, shrunk))
    np.testing.assert_allclose(one, two)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"human": {"flat": [2.0] * N}}, "flat is 2 for every text"),
        ({"human": {"holes": [np.nan] * N}}, "holes"),
        ({"human": {"short": [1.0, 2.0]}}, "2 values for 40"),
        ({"human": {}}, "one dimension"),
        ({"hypotheses": ["a", "b"]}, "rank correlation needs 3"),
        ({"systems": ["a"]}, "1 labels for 40"),
        ({"groups": ["a"]}, "1 labels for 40"),
        ({"recorded": {"other": {"unknown": LENGTHS}}}, "no human dimension"),
        ({"recorded": {"length": LENGTHS}}, "stands twice"),
        ({"references": None, "sources": None}, "needs a reference"),
    ],
)
def test_data_that_cannot_be_compared_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        compare_metrics(["length", "length_ratio"], [replace(SET, **changed)], draws=5)


def test_a_metric_that_returns_nan_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="made: own: item 3 is not a finite number"):
        compare_metrics([made(np.where(np.arange(N) == 3, np.nan, 1.0))], [SET], draws=5)
    with pytest.raises(InvalidInput, match="own: 2 values for 40"):
        compare_metrics([made([1.0, 2.0])], [SET], draws=5)


@pytest.mark.parametrize(
    "options",
    [{"coefficient": "pearson"}, {"missing": "guess"}, {"draws": 0}, {"levels": ()}, {"levels": ("word",)}],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        compare_metrics(["length"], [SET], **options)


def test_no_metric_no_set_and_names_twice_are_refused() -> None:
    for metrics, sets in (([], [replace(SET, recorded={})]), (["length"], []), (["length"] * 2, [SET])):
        with pytest.raises(InvalidInput):
            compare_metrics(metrics, sets)
    with pytest.raises(InvalidInput, match="made"):
        compare_metrics(["length"], [SET, SET])
