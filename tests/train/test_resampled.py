"""Metrics on all resamples at once equal the metrics on each."""

from __future__ import annotations

import numpy as np
import pytest

from weighup.metrics import auroc, bootstrap, brier, coverage_at_risk, ece, macro_f1
from weighup.train import resampled
from weighup.train.scoring import METRICS, RESAMPLED, Resampling, Scorer

RNG = np.random.default_rng(3)
N = 60
FAKE = RNG.integers(0, 2, N)
P = np.round(np.clip(0.5 + 0.2 * (FAKE - 0.5) + RNG.normal(0, 0.25, N), 0, 1), 2)  # rounded: there are ties
GROUPS = RNG.integers(0, 25, N)


def _one(name: str, fake: np.ndarray, p: np.ndarray) -> float:
    return {
        "macro_f1": lambda: macro_f1(fake, p >= 0.5),
        "auroc": lambda: auroc(fake, p),
        "brier": lambda: brier(fake, p),
        "ece": lambda: ece(fake, p),
        "coverage": lambda: coverage_at_risk(np.maximum(p, 1 - p), (p >= 0.5) != fake, 0.1),
    }[name]()


@pytest.mark.parametrize("name", sorted(METRICS))
def test_each_resample_has_the_metric_of_the_claims_drawn(name: str) -> None:
    drawn = resampled.draw(GROUPS, 50, seed=1)
    found = RESAMPLED[name](FAKE, P, drawn)
    expected = []
    for counts in drawn.astype(int):
        index = np.repeat(np.arange(N), counts)
        expected.append(_one(name, FAKE[index], P[index]))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_groups_are_drawn_whole_and_as_many_as_there_are() -> None:
    drawn = resampled.draw(GROUPS, 200, seed=1)
    for group in np.unique(GROUPS):
        mine = drawn[:, group == GROUPS]
        assert (mine == mine[:, :1]).all()
    sizes = {group: (group == GROUPS).sum() for group in np.unique(GROUPS)}
    assert all(sum(row[group == GROUPS][0] for group in sizes) == len(sizes) for row in drawn[:20])


def test_one_class_has_no_ranking() -> None:
    drawn = np.asarray([[1.0, 1, 0, 0], [1, 0, 1, 0]])
    found = resampled.auroc(np.asarray([0, 0, 1, 1]), np.asarray([0.1, 0.2, 0.3, 0.4]), drawn)
    assert np.isnan(found[0])
    assert found[1] == 1


@pytest.mark.parametrize("name", sorted(METRICS))
def test_intervals_are_those_of_the_cluster_bootstrap(name: str) -> None:
    estimate = Scorer(FAKE, Resampling(GROUPS, 400)).estimate(name, np.stack([P, P, 1 - P], axis=1))
    low, high = bootstrap(METRICS[name], FAKE, np.stack([P, P, 1 - P], axis=1), n=400, seed=0, groups=GROUPS)
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
