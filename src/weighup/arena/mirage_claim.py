"""Claim check of MIRAGE-Bench's surrogate judge (2410.13716): does it rate systems that its teacher never saw better
than the best single feature does?

Real: AlpacaEval 1, GPT-4's preferences against one baseline turned into verdicts on every pair of 53 models (the higher
preference wins; a preference of 0 is that set's older mark of a draw); the surrogate sees the verdicts on a random half
of the instructions. Features: three of length (mean and sd of characters, share longer than the baseline) and four
simulated heuristics, true win rate + noise sd 0.1. Simulated: 53 systems of skill N(0, 1), half of 8,000 votes, eleven
features, skill + noise sd 0.3 (four), 0.6 (four) or 1.2 (three). Models are left out in five parts of ten or eleven;
τ is of all ratings so found with the teacher's leaderboard from everything (simulated: with skill). Ten tournaments
of 50 trees a part. Intervals: bootstrap over models, in which the best single feature is chosen anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.arena.bradley_terry import bradley_terry
from weighup.arena.mirage import Kind, SurrogateJudge, r2
from weighup.arena.simulate import simulate_votes
from weighup.arena.types import Floats, Labels, Leaderboard, Matches
from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput
from weighup.metrics.intervals import bootstrap
from weighup.metrics.ranking import tau_b
from weighup.rowfile import json_rows

FILE = "alpaca_matrix/v1_gpt4.jsonl.gz"
PARTS, TOURNAMENTS, TREES = 5, 10, 50
MARGIN, LEAST, PAPERS = 0.05, 0.85, 0.9
NOISE, HEURISTICS = 0.1, 4
SYSTEMS, VOTES = 53, 8000
SPREADS = (0.3,) * 4 + (0.6,) * 4 + (1.2,) * 3
KINDS: Sequence[Kind] = ("forest", "ridge")
REAL, MADE = "alpaca_matrix/v1_gpt4, half of the instructions", f"{SYSTEMS} simulated systems, {VOTES // 2:,} votes"


Statistic = Callable[[Floats, Floats, Floats], float]
"""Of ratings [m], truth [m] and features [m, f]."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One seed: truth [m]; features [m, f]; ratings by kind of regression, of systems that it did not see, [m]; ratings
    by a forest that saw all systems, [m]."""

    truth: Floats
    features: Floats
    unseen: Mapping[str, Floats]
    seen: Floats


def check(data: Path, seeds: Sequence[int], *, systems: int = SYSTEMS, votes: int = VOTES) -> list[ClaimResult]:
    """Surrogates on AlpacaEval 1, and simulated."""
    models, preference, length, baseline = read(data)
    whole = as_matches(models, preference, np.arange(preference.shape[1]))
    truth = _values(bradley_terry(whole, ridge=1.0, interval="none"), models)
    real = [_real(models, preference, length - baseline, length, truth, seed) for seed in seeds]
    made = [_made(systems, votes, seed) for seed in seeds]
    found = [_beats_best(real, kind, REAL, seeds) for kind in KINDS]
    found += [
        _one_heuristic(real, seeds),
        _plain_mean(real, seeds),
        *(_r2(real, kind, REAL, seeds) for kind in KINDS),
        _seen(real, REAL, seeds),
    ]
    for kind in KINDS:
        found += [_at_least(made, kind, seeds), _beats_best(made, kind, MADE, seeds), _r2(made, kind, MADE, seeds)]
    return found


def read(data: Path) -> tuple[tuple[str, ...], Floats, Floats, Floats]:
    """Models, their preferences (1 lost, 1.5 a draw, 2 won, NaN missing) and lengths [models, instructions], and the
    baseline's lengths. Raises InvalidInput for a file that cannot be read."""
    path = data / "judging" / FILE
    try:
        rows = json_rows(path)
        models = tuple(sorted({name for row in rows for name in row["preference"]}))
        preference, length = (
            np.array([[row[field].get(name) for row in rows] for name in models], dtype=np.float64)
            for field in ("preference", "length")
        )
        baseline = np.array([row["baseline_length"] for row in rows], dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error
    return models, np.where(preference == 0, 1.5, preference), length, baseline


def as_matches(models: Sequence[str], preference: Floats, rows: NDArray[np.int64]) -> Matches:
    """Verdicts on every pair of models on the instructions `rows`."""
    first, second = np.triu_indices(len(models), 1)
    gap = preference[first][:, rows] - preference[second][:, rows]
    there = np.isfinite(gap)
    pair, item = np.nonzero(there)
    names = tuple(str(row) for row in rows)
    outcome = (np.sign(gap[there]) + 1) / 2
    return Matches.coded(models, first[pair], second[pair], outcome, item=Labels(names, item.astype(np.int32)))


def _real(models: Sequence[str], preference: Floats, gap: Floats, length: Floats, truth: Floats, seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    half = np.sort(rng.permutation(preference.shape[1])[: preference.shape[1] // 2])
    won = np.nanmean(preference, axis=1) - 1
    cheap = won[:, None] + NOISE * rng.standard_normal((len(models), HEURISTICS))
    lengths = (np.nanmean(length, axis=1), np.nanstd(length, axis=1), np.nanmean(gap > 0, axis=1))
    teacher = as_matches(models, preference, half)
    return _trial(teacher, np.column_stack([*lengths, cheap]), truth, 100, seed)


def _made(systems: int, votes: int, seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    names = [f"s{n:02}" for n in range(systems)]
    skill = rng.standard_normal(systems)
    teacher = simulate_votes(dict(zip(names, skill.tolist(), strict=True)), n=votes // 2, seed=seed)
    assert isinstance(teacher, Matches)
    features = skill[:, None] + np.array(SPREADS) * rng.standard_normal((systems, len(SPREADS)))
    return _trial(teacher, features, skill, votes // 2, seed)


def _trial(teacher: Matches, features: Floats, truth: Floats, queries: int, seed: int) -> Trial:
    names = [f"f{n}" for n in range(features.shape[1])]
    table = {
        system: dict(zip(names, row, strict=True))
        for system, row in zip(teacher.systems, features.tolist(), strict=True)
    }

    def rated(kind: Kind, on: Matches, which: Sequence[str]) -> Floats:
        judge = SurrogateJudge(names, kind, trees=TREES, seed=seed)
        judge.fit(table, on, tournaments=TOURNAMENTS, queries=queries)
        return _values(judge.leaderboard({name: table[name] for name in which}, bootstrap=0), which)

    parts = np.array_split(np.random.default_rng(seed).permutation(len(table)), PARTS)
    unseen: dict[str, Floats] = {kind: np.zeros(len(table)) for kind in KINDS}
    for part in parts:
        held = [teacher.systems[at] for at in part]
        rest = teacher.among([name for name in teacher.systems if name not in held])
        for kind in KINDS:
            unseen[kind][part] = rated(kind, rest, held)
    return Trial(truth, features, unseen, rated("forest", teacher, teacher.systems))


def _values(board: Leaderboard, names: Sequence[str]) -> Floats:
    return np.array([board[name].value for name in names])


def best_single(features: Floats, truth: Floats) -> float:
    """The greatest τ of one of the features [m, f] with the truth [m]."""
    return max(tau_b(column, truth) for column in features.T)


def _tau(told: Floats, truth: Floats, features: Floats) -> float:
    return tau_b(told, truth)


def _gain(told: Floats, truth: Floats, features: Floats) -> float:
    return tau_b(told, truth) - best_single(features, truth) - MARGIN


def _over_models(
    statistic: Statistic, trials: Sequence[Trial], told: Sequence[Floats], seed: int
) -> tuple[float, float]:
    """95 % interval of the mean over seeds of `statistic(told, truth, features)`, the same models drawn in each."""

    def mean(at: Floats) -> float:
        rows = at.astype(np.int64)
        some = zip(trials, told, strict=True)
        return float(np.mean([statistic(one[rows], trial.truth[rows], trial.features[rows]) for trial, one in some]))

    return bootstrap(mean, np.arange(len(told[0])), seed=seed)


def _beats_best(trials: Sequence[Trial], kind: str, data: str, seeds: Sequence[int]) -> ClaimResult:
    told = [trial.unseen[kind] for trial in trials]
    return compare(
        f"{kind}: models that the teacher never saw are ordered better than by the best single feature",
        metric="Kendall's tau",
        values=[tau_b(one, trial.truth) for one, trial in zip(told, trials, strict=True)],
        baseline=f"best single feature + {MARGIN:g}",
        baseline_values=[best_single(trial.features, trial.truth) + MARGIN for trial in trials],
        interval=_over_models(_gain, trials, told, seeds[0]),
        seeds=seeds,
        n=len(told[0]),
        data=data,
    )


def _one_heuristic(trials: Sequence[Trial], seeds: Sequence[int]) -> ClaimResult:
    told = [trial.unseen["forest"] for trial in trials]
    length = np.mean([best_single(trial.features[:, :-HEURISTICS], trial.truth) for trial in trials])
    low, high = _over_models(lambda *three: _tau(*three) - one_heuristic(three[2], three[1]), trials, told, seeds[0])
    return compare(
        "beside the claim: forest, against one of the four heuristics that is not chosen afterwards "
        f"(the best feature of length has tau {length:.3f})",
        metric="Kendall's tau",
        values=[tau_b(one, trial.truth) for one, trial in zip(told, trials, strict=True)],
        baseline=f"one heuristic, mean of four, + {MARGIN:g}",
        baseline_values=[one_heuristic(trial.features, trial.truth) + MARGIN for trial in trials],
        interval=(low - MARGIN, high - MARGIN),
        seeds=seeds,
        n=len(told[0]),
        data=REAL,
    )


def one_heuristic(features: Floats, truth: Floats) -> float:
    """Mean τ of the heuristics, the last features [m, f], with the truth [m]."""
    return float(np.mean([tau_b(column, truth) for column in features[:, -HEURISTICS:].T]))


def _plain_mean(trials: Sequence[Trial], seeds: Sequence[int]) -> ClaimResult:
    told = [trial.features[:, -HEURISTICS:].mean(axis=1) for trial in trials]
    return compare(
        "beside the claim: the plain mean of the four heuristics, which learns nothing, does so too",
        metric="Kendall's tau",
        values=[tau_b(one, trial.truth) for one, trial in zip(told, trials, strict=True)],
        baseline=f"best single feature + {MARGIN:g}",
        baseline_values=[best_single(trial.features, trial.truth) + MARGIN for trial in trials],
        interval=_over_models(_gain, trials, told, seeds[0]),
        seeds=seeds,
        n=len(told[0]),
        data=REAL,
    )


def _r2(trials: Sequence[Trial], kind: str, data: str, seeds: Sequence[int]) -> ClaimResult:
    # Ratings and truth are on different scales where it is a skill, so both are standardised first there.
    pairs = [(_standard(trial.unseen[kind]), _standard(trial.truth)) for trial in trials]
    return compare(
        f"{kind}: ratings of models that the teacher never saw tell more than their mean",
        metric="R2 of standardised ratings",
        values=[r2(truth, told) for told, truth in pairs],
        baseline="the mean",
        baseline_values=[0.0] * len(seeds),
        interval=_over_models(
            lambda told, truth, _: r2(truth, told),
            [Trial(truth, trial.features, {}, truth) for (_, truth), trial in zip(pairs, trials, strict=True)],
            [told for told, _ in pairs],
            seeds[0],
        ),
        seeds=seeds,
        n=len(pairs[0][0]),
        data=data,
    )


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / values.std(), dtype=np.float64)


def _at_least(trials: Sequence[Trial], kind: str, seeds: Sequence[int]) -> ClaimResult:
    told = [trial.unseen[kind] for trial in trials]
    low, high = _over_models(_tau, trials, told, seeds[0])
    return compare(
        f"{kind}: eleven features of mixed quality give the order of systems that the teacher never saw",
        metric="Kendall's tau with skill",
        values=[tau_b(one, trial.truth) for one, trial in zip(told, trials, strict=True)],
        baseline=f"the margin, {LEAST:g}",
        baseline_values=[LEAST] * len(seeds),
        interval=(low - LEAST, high - LEAST),
        seeds=seeds,
        n=len(told[0]),
        data=MADE,
    )


def _seen(trials: Sequence[Trial], data: str, seeds: Sequence[int]) -> ClaimResult:
    told = [trial.seen for trial in trials]
    low, high = _over_models(_tau, trials, told, seeds[0])
    return compare(
        "forest: fitted on all models from half of the comparisons, it has the teacher's order (no model is held out)",
        metric="Kendall's tau with the teacher's leaderboard",
        values=[tau_b(one, trial.truth) for one, trial in zip(told, trials, strict=True)],
        baseline=f"the margin, {PAPERS:g}",
        baseline_values=[PAPERS] * len(seeds),
        interval=(low - PAPERS, high - PAPERS),
        seeds=seeds,
        n=len(told[0]),
        data=data,
    )
