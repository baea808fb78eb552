"""Claim check of SciArena's ratings (2507.01001): does holding length constant give back the order of skill?

Simulated: 12 models of evenly spaced skill, log-odds of a vote = skill + 0.5·z(length), lengths differing by model; ten
arenas of 8,000 votes a seed. Real: AlpacaEval 2's preferences on 644 instructions; for each model a logistic regression
of its preference on tanh of the standardised length gap to the baseline and on the instruction's difficulty (the
standardised log-odds of the other models' mean preference), predicted at a gap of 0, against the raw win rate and the
published length-controlled column. Intervals: bootstraps over the arenas of all seeds, and over models, which are what
is ranked (with instructions drawn again, noise is added to every rank and the interval lies below the value itself).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.arena.bradley_terry import bradley_terry
from weighup.arena.sciarena import rate
from weighup.arena.simulate import Style, simulate_votes
from weighup.arena.types import Floats, Leaderboard, Matches
from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.metrics.ranking import spearman, tau_b
from weighup.rowfile import json_rows

MODELS, VOTES, ARENAS, EFFECT = 12, 8000, 10, 0.5
MADE = f"{MODELS} simulated models, {VOTES:,} votes, length worth {EFFECT:g} a standard deviation"
RIDGE, DRAWS, STEPS = 1.0, 1000, 50
DROP, LEAST = 0.10, 0.85
FILE, PUBLISHED = "alpaca_matrix/v2_weighted_gpt4_turbo.jsonl.gz", "alpacaeval_AlpacaEval_2.csv"
REAL = "alpaca_matrix/v2, 644 instructions"


def check(
    data: Path, seeds: Sequence[int], *, arenas: int = ARENAS, votes: int = VOTES, draws: int = DRAWS
) -> list[ClaimResult]:
    """Simulated arenas without and with control of length, and AlpacaEval 2."""
    return [*_simulated(seeds, arenas, votes), *_real(read(data), seeds, draws)]


@dataclass(frozen=True, slots=True)
class _Arena:
    plain: float
    controlled: float
    off: float
    half: float


def arena(seed: int, votes: int = VOTES) -> _Arena:
    """τ with skill without and with control, how far the effect found is from the true one, and its half interval."""
    rng = np.random.default_rng(seed)
    names = [f"m{n}" for n in range(MODELS)]
    skill = dict(zip(names, np.linspace(-1, 1, MODELS).tolist(), strict=True))
    # Between models and within them half of the variance each, so that one unit is one standard deviation of length.
    length = dict(zip(names, (np.sqrt(0.5) * rng.standard_normal(MODELS)).tolist(), strict=True))
    style = Style(EFFECT, length, sd=float(np.sqrt(0.5)), name="length")
    matches = simulate_votes(skill, n=votes, seed=seed, style=style)
    assert isinstance(matches, Matches)
    plain = bradley_terry(matches, interval="none")
    controlled = rate(matches, controls=["length"], seed=seed)
    found = controlled.coefficients["length"]
    assert found.low is not None
    assert found.high is not None

    def tau(board: Leaderboard) -> float:
        return tau_b([board[name].value for name in names], list(skill.values()))

    return _Arena(tau(plain), tau(controlled), abs(found.value - EFFECT), (found.high - found.low) / 2)


def _simulated(seeds: Sequence[int], arenas: int, votes: int) -> list[ClaimResult]:
    every = [[arena(1000 * seed + one, votes) for one in range(arenas)] for seed in seeds]
    inside = np.mean([one.off <= one.half for some in every for one in some])

    def means(field: str) -> list[float]:
        return [float(np.mean([getattr(one, field) for one in some])) for some in every]

    def result(claim: str, metric: str, field: str, baseline: str, theirs: float, lower: bool) -> ClaimResult:
        gains = np.array(
            [getattr(one, field) - (one.half if field == "off" else theirs) for some in every for one in some]
        )
        low, high = bootstrap(lambda g: float(g.mean()), -gains if lower else gains, seed=seeds[0])
        return compare(
            claim,
            metric=metric,
            values=means(field),
            baseline=baseline,
            baseline_values=means("half") if field == "off" else [theirs] * len(seeds),
            interval=(low, high),
            lower_is_better=lower,
            seeds=seeds,
            n=arenas,
            data=MADE,
        )

    some_inside = f"{inside:.0%} of {len(seeds) * arenas} intervals hold it"
    return [
        result(
            "plain Bradley-Terry takes length for skill", "tau with skill, plain", "plain", "the margin, 0.8", 0.8, True
        ),
        result(
            "with length held constant the order of skill is found",
            "tau with skill",
            "controlled",
            "the margin, 0.9",
            0.9,
            False,
        ),
        result(
            f"the effect of length is found within its interval ({some_inside})",
            "distance of the effect found from the true one",
            "off",
            "half of its 95 % interval",
            0.0,
            True,
        ),
    ]


@dataclass(frozen=True, slots=True)
class Preferences:
    """preference in [0, 1], gap of lengths to the baseline in characters, NaN where missing: [models, instructions];
    length, characters, mean by model; published: length-controlled win rates, NaN where there is none, [models]."""

    models: tuple[str, ...]
    preference: Floats
    gap: Floats
    length: Floats
    published: Floats


def read(data: Path) -> Preferences:
    """AlpacaEval 2's preferences and published win rates. Raises InvalidInput for files that cannot be read."""
    folder = data / "judging"
    try:
        rows = json_rows(folder / FILE)
        with (folder / PUBLISHED).open(encoding="utf-8", newline="") as file:
            board = {row[""]: row["length_controlled_winrate"] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"{folder}: {FILE} or {PUBLISHED} cannot be read: {error}") from error
    models = tuple(sorted({name for row in rows for name in row["preference"]}))

    def table(field: str) -> Floats:
        found = [[row[field].get(name) for row in rows] for name in models]
        return np.array(found, dtype=np.float64)

    preference, length = table("preference") - 1, table("length")
    baseline = np.array([row["baseline_length"] for row in rows], dtype=np.float64)
    published = np.array([float(board.get(name) or "nan") for name in models])
    return Preferences(models, preference, length - baseline, np.nanmean(length, axis=1), published)


def length_controlled(told: Preferences, ridge: float = 0.0) -> Floats:
    """Win rates [models] predicted at a length gap of 0; ridge: λ of a penalty λ/2·β² on both slopes."""
    there = np.isfinite(told.preference) & np.isfinite(told.gap)
    y, w = np.where(there, told.preference, 0.0), there.astype(np.float64)
    # The baseline's own gaps are all 0.
    spread = np.maximum(np.nanstd(told.gap, axis=1, keepdims=True), 1.0)
    gap = np.tanh(np.where(there, told.gap / spread, 0.0))
    x = np.stack([np.ones_like(gap), gap, _difficulty(y, there)], axis=2)  # [models, instructions, 3]
    penalty = np.array([0.0, ridge, ridge])
    at = np.zeros((len(y), 3))
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip((x @ at[:, :, None])[..., 0], -30, 30)))
        gradient = ((w * (y - chance))[:, None] @ x)[:, 0] - penalty * at
        information = x.transpose(0, 2, 1) @ (x * (w * chance * (1 - chance))[..., None])
        # A model that nearly always loses has almost no information; the last term keeps its steps finite.
        move = np.linalg.solve(information + np.diag(penalty + 1e-6), gradient[..., None])[..., 0]
        at += np.clip(move, -3, 3)
        if np.abs(move).max() < 1e-5:
            break
    x[:, :, 1] = 0.0
    level = 1 / (1 + np.exp(-np.clip((x @ at[:, :, None])[..., 0], -30, 30)))
    return np.asarray((w * level).sum(axis=1) / w.sum(axis=1), dtype=np.float64)


def _difficulty(y: Floats, there: NDArray[np.bool_]) -> Floats:
    """[models, instructions]: how well the other models did, standardised."""
    others = (y.sum(axis=0) - y) / (there.sum(axis=0) - there)
    odds = np.log((others + 0.01) / (1.01 - others))
    return np.asarray((odds - odds.mean(axis=1, keepdims=True)) / odds.std(axis=1, keepdims=True), dtype=np.float64)


def _real(told: Preferences, seeds: Sequence[int], draws: int) -> list[ClaimResult]:
    raw = np.nanmean(told.preference, axis=1)
    found = _against_raw(told, raw, length_controlled(told), "", seeds, draws)
    shrunk = f"beside the claim, with a ridge of {RIDGE:g} on the slopes: "
    return [*found, *_against_raw(told, raw, length_controlled(told, RIDGE), shrunk, seeds, draws)]


def _against_raw(
    told: Preferences, raw: Floats, controlled: Floats, kind: str, seeds: Sequence[int], draws: int
) -> list[ClaimResult]:
    shown = np.isfinite(told.published)
    length = (controlled, told.length), (raw, told.length)
    order = (controlled[shown], told.published[shown]), (raw[shown], told.published[shown])

    def result(claim: str, metric: str, ours: float, baseline: str, theirs: float, interval: tuple[float, float],
               lower: bool = False) -> ClaimResult:  # fmt: skip
        return compare(
            kind + claim,
            metric=metric,
            values=[ours] * len(seeds),
            baseline=baseline,
            baseline_values=[theirs] * len(seeds),
            lower_is_better=lower,
            interval=interval,
            seeds=seeds,
            n=len(raw) if lower else int(shown.sum()),
            data=REAL,
        )

    seed = seeds[0]
    low, high = paired_bootstrap(spearman, length[1], length[0], n=draws, seed=seed)
    least, most = bootstrap(tau_b, *order[0], n=draws, seed=seed)
    tau, tau_raw = (tau_b(*one) for one in order)
    return [
        result(
            "win rates depend less on length once its effect is taken out",
            "Spearman of win rate with length",
            spearman(*length[0]),
            "of raw win rates, less 0.10",
            spearman(*length[1]) - DROP,
            (low - DROP, high - DROP),
            lower=True,
        ),
        result(
            "the order agrees with the published one",
            "tau with the published length-controlled order",
            tau,
            "the margin, 0.85",
            LEAST,
            (least - LEAST, most - LEAST),
        ),
        result(
            "the order agrees with the published one better than the raw order does",
            "tau with the published length-controlled order",
            tau,
            "tau of raw win rates",
            tau_raw,
            paired_bootstrap(tau_b, *order, n=draws, seed=seed),
        ),
    ]
