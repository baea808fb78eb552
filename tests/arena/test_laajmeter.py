"""LaaJMeter: virtual models and judges, what metrics make of them, thresholds, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.arena import laajmeter_claim
from weighup.arena.laajmeter import (
    METRICS,
    Metric,
    Trial,
    VirtualJudge,
    VirtualModel,
    better_p,
    gain_error,
    ordered,
    sensitivity,
    threshold,
)
from weighup.errors import InvalidInput
from weighup.metrics.significance import paired_t

GOOD, POOR = VirtualJudge("good", 0.5), VirtualJudge("poor", 4.0)


def trial(n: int = 40, noise: float = 1.0, seed: int = 0) -> Trial:
    model, rng = VirtualModel(), np.random.default_rng(seed)
    a, b = model.qualities(n, seed=seed), model.improved(0.8).qualities(n, seed=seed)
    judge = VirtualJudge("j", noise)
    return Trial(a, b, judge.scores(a, rng), judge.scores(b, rng))


def test_an_improvement_is_paired_with_its_model() -> None:
    base = VirtualModel(mean=3.5, sd=0.5)
    a, b = base.qualities(50, seed=3), base.improved(0.8).qualities(50, seed=3)
    assert b - a == pytest.approx(np.full(50, 0.8))
    assert base.qualities(50, seed=4) != pytest.approx(a)
    spread = base.improved(0.8, spread=0.3).qualities(5000, seed=3) - base.qualities(5000, seed=3)
    assert (spread.mean(), spread.std()) == pytest.approx((0.8, 0.3), abs=0.03)


@given(st.floats(-3, 12), st.floats(0, 3), st.floats(-2, 2))
def test_qualities_stay_on_the_scale(mean: float, sd: float, shift: float) -> None:
    found = VirtualModel(mean=mean, sd=sd).improved(shift, spread=1.0).qualities(30, seed=0)
    assert found.min() >= 1
    assert found.max() <= 7


def test_a_judge_without_faults_says_what_is_true() -> None:
    quality = VirtualModel().qualities(30, seed=0)
    assert VirtualJudge("exact", 0.0).scores(quality, np.random.default_rng(0)) == pytest.approx(quality)


def test_bias_compression_and_mixture_by_hand() -> None:
    quality, rng = np.array([1.0, 4.0, 7.0]), np.random.default_rng(0)
    assert VirtualJudge("b", 0.0, bias=0.5).scores(quality, rng) == pytest.approx([1.5, 4.5, 7.0])
    assert VirtualJudge("c", 0.0, compression=0.5).scores(quality, rng) == pytest.approx([2.5, 4.0, 5.5])
    random = VirtualJudge("m", 0.0, mixture=1.0).scores(np.full(4000, 7.0), rng)
    assert (random.mean(), random.min() >= 1, random.max() <= 7) == (pytest.approx(4.0, abs=0.1), True, True)
    half = VirtualJudge("m", 0.0, mixture=0.25).scores(np.full(4000, 7.0), rng)
    assert (half < 7).mean() == pytest.approx(0.25, abs=0.03)


def test_p_is_that_b_is_better() -> None:
    one = trial()
    both = paired_t(one.score_b, one.score_a)
    assert better_p(one) == pytest.approx(both.p / 2)
    turned = Trial(one.quality_b, one.quality_a, one.score_b, one.score_a)
    assert better_p(turned) == pytest.approx(1 - both.p / 2)


def test_ordering_and_gain_error_by_hand() -> None:
    a, b = np.arange(10.0), np.arange(10.0) + np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
    said = b.copy()
    said[0], said[1] = a[0] - 1, a[1]  # one in the wrong order, one tied, the last is worth the same
    one = Trial(a, b, a, said)
    assert ordered(one) == pytest.approx((7 + 0.5) / 9)
    assert gain_error(one) == pytest.approx(3 / 10)
    with pytest.raises(InvalidInput, match="equal worth"):
        ordered(Trial(a, a, a, said))


def test_every_metric_finds_the_better_judge_of_two() -> None:
    for name, metric in METRICS.items():
        curve = sensitivity(metric, [GOOD, POOR], n=50, repeats=40, seed=1)
        assert curve.separation("good", "poor").value > 0.8, name


def test_tau_falls_with_noise_and_the_points_tell_it() -> None:
    judges = [VirtualJudge(f"noise {sd}", sd) for sd in (0.3, 1.0, 2.0, 4.0)]
    points = sensitivity("tau", judges, n=100, repeats=30).points()
    means = [one.mean.value for one in points]
    assert means == sorted(means, reverse=True)
    assert points[1].low < points[1].mean.low < points[1].mean.value < points[1].mean.high < points[1].high
    assert points[1].mean.n == 30


def test_the_same_seed_gives_the_same_curve() -> None:
    first, again, other = (sensitivity("tau", [GOOD], n=20, repeats=5, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)


def test_a_threshold_has_its_power_and_keeps_the_poor_out() -> None:
    found = threshold("tau", GOOD, 0.9, others=[POOR], n=50, repeats=200)
    assert found.measured.value == pytest.approx(0.9, abs=0.07)
    assert found.passes["poor"].value == 0
    assert "power 0." in str(found)
    assert "poor passes 0.000" in str(found)
    p = threshold("t_test", [GOOD], 0.9, others=[POOR], n=50, repeats=200)
    assert p.passes["poor"].value > 0
    assert p.measured.value == pytest.approx(0.9, abs=0.07)


def test_the_worst_of_several_acceptable_judges_sets_the_threshold() -> None:
    fair = VirtualJudge("fair", 1.0)
    alone, both = (threshold("tau", some, 0.9, n=50, repeats=100).value for some in ([GOOD], [GOOD, fair]))
    assert both < alone


def test_a_metric_of_ones_own() -> None:
    own = Metric("bias", lambda one: float(abs(one.score.mean() - one.quality.mean())), higher_is_better=False)
    lenient = VirtualJudge("lenient", 0.5, bias=1.0)
    assert sensitivity(own, [GOOD, lenient], n=50, repeats=30).separation("good", "lenient").value == 1.0


def test_too_few_inputs_are_refused() -> None:
    with pytest.raises(InvalidInput, match="10 inputs or more are needed, not 9"):
        sensitivity("tau", [GOOD], n=9)
    some = np.arange(9.0)
    with pytest.raises(InvalidInput, match="10 inputs"):
        Trial(some, some, some, some)


def test_a_judge_of_one_score_is_refused() -> None:
    some = np.arange(10.0)
    with pytest.raises(InvalidInput, match=r"judge mute: gave all outputs .* the same score"):
        Trial(some, some, np.full(10, 3.0), some, "mute")
    with pytest.raises(InvalidInput, match="judge kind"):
        sensitivity("tau", [VirtualJudge("kind", 0.0, bias=100)], n=20, repeats=2)


@pytest.mark.parametrize("wrong", [{"noise": -0.1}, {"noise": np.nan}, {"noise": np.inf}])
def test_a_negative_noise_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="judge j: noise is a standard deviation"):
        VirtualJudge("j", **wrong)


def test_a_models_negative_sd_is_refused() -> None:
    with pytest.raises(InvalidInput, match="model A: sd"):
        VirtualModel(sd=-1)
    with pytest.raises(InvalidInput, match="model B: spread"):
        replace(VirtualModel(name="B"), spread=-1)
    with pytest.raises(InvalidInput, match="shift must be a finite number"):
        VirtualModel().improved(float("nan"))


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_random_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match=r"mixture.* lies in \[0, 1\]"):
        VirtualJudge("j", mixture=share)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInput, match="compression"):
        VirtualJudge("j", compression=1.0)
    with pytest.raises(InvalidInput, match="scale"):
        VirtualJudge("j", scale=(7, 1))
    with pytest.raises(InvalidInput, match="there is no 'kappa'"):
        sensitivity("kappa", [GOOD])
    with pytest.raises(InvalidInput, match="name of its own"):
        sensitivity("tau", [GOOD, GOOD])
    with pytest.raises(InvalidInput, match="two trials"):
        sensitivity("tau", [GOOD], repeats=1)
    with pytest.raises(InvalidInput, match="power"):
        threshold("tau", GOOD, 1.0)
    with pytest.raises(InvalidInput, match="no judge 'x'"):
        sensitivity("tau", [GOOD], n=20, repeats=2).of("x")


def test_the_claim_check_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laajmeter_claim, "REPEATS", 4)
    monkeypatch.setattr(laajmeter_claim, "bootstrap", lambda *_, **__: (0.0, 1.0))
    found = laajmeter_claim.check(Path(), (0, 1))
    assert [one.n for one in found] == [4] * 7


@pytest.mark.claim
def test_tau_separates_judges_and_the_t_test_does_less_so() -> None:
    assert [one.holds for one in laajmeter_claim.check(Path(), (0, 1, 2))] == ["true"] * 7
