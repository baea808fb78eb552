"""Bradley–Terry ratings by maximum likelihood, with ties, controls and intervals.

Bradley and Terry 1952 ("Rank analysis of incomplete block designs"); ties as half wins, or Davidson 1970; existence of
the maximum: Ford 1957. Scaled as public arenas do: 400·log10 of the strength, mean 1000. Style control (Chiang et al.
2024, arXiv 2403.04132, and its authors' later leaderboards): differences in, say, length enter as covariates, and the
rating is what is left without them. Ours: equal matches are counted, not listed, so that the time depends on the number
of pairs and not of matches; sandwich intervals, which stay right when ties are counted as halves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np

from weighup.arena.graph import Disconnected, compared, grouped, linked, told, win_matrix
from weighup.arena.pair_likelihood import Design, Fit, maximise, nearby, robust
from weighup.arena.types import Coefficient, Floats, Leaderboard, Match, Matches
from weighup.errors import InvalidInput

SCALE = 400 / np.log(10)
"""Rating points of one natural log-odds."""
MEAN = 1000.0
TRIES = 10  # draws for one bootstrap round before it is left out

Ties = Literal["half", "davidson"]
Interval = Literal["sandwich", "bootstrap", "none"]


def bradley_terry(
    matches: Matches | Iterable[Match],
    *,
    ties: Ties = "half",
    controls: Sequence[str] = (),
    ridge: float = 0.0,
    interval: Interval = "sandwich",
    level: float = 0.95,
    rounds: int = 100,
    seed: int = 0,
    disconnected: Disconnected = "error",
) -> Leaderboard:
    """Ratings 1000 + 400·log10(strength), of mean 1000 over the systems of each component.

    ties: "half" counts one as half a win for each; "davidson" models their chance, and the board's coefficients then
    hold "tie", log ν. controls: names of covariates of the matches to hold constant; their effects are in the board's
    coefficients. ridge: λ ≥ 0 of a penalty λ/2·Σθ² on the strengths (natural logarithm).

    interval at `level`: "sandwich" is value ± z·sd with the robust covariance; "bootstrap" the quantiles over `rounds`
    resamples of the matches by `seed`, given that the maximum exists (a resample without one is redrawn up to ten
    times, then left out); sd is that of the rating around its component's mean.

    Raises InvalidInput for systems never compared (see `graph.compared`; with "rank_each" each component has mean
    1000), for systems that won or lost everything while ridge is 0, unknown controls, controls that hang together or
    tell every winner, and when over half of the bootstrap's rounds are left out.
    """
    taken = Matches.of(matches)
    _checked(taken, ties, controls, ridge, interval, level, rounds)
    m, wins = len(taken.systems), win_matrix(taken)
    groups = compared(taken.systems, wins, disconnected)
    label = linked(wins, "weak")
    davidson = ties == "davidson"
    if not ridge:
        _finite(taken, wins)
    columns = taken.covariates[:, [taken.covariate_names.index(name) for name in controls]]
    design = Design.of(taken, label, columns)
    # Without a tie, Davidson's ν is 0: the plain model.
    davidson = davidson and bool(design.count[1].any())
    if davidson and not (design.count[0].any() or design.count[2].any()):
        raise InvalidInput('matches: all are ties, which Davidson\'s model cannot fit; use ties="half"')
    fit = maximise(design, design.count, davidson=davidson, ridge=ridge)
    low, high, sd = _intervals(design, fit, davidson, ridge, interval, level, rounds, seed)
    at = fit.parameters
    names = [*controls, *(["tie"] if davidson else [])]
    alone = np.bincount(label, minlength=int(label.max()) + 1)[label] == 1

    def scaled(column: Floats | None, shift: float = 0.0) -> Floats | None:
        return None if column is None else np.where(alone, np.nan, shift + SCALE * column[:m])

    return Leaderboard.of(
        taken.systems,
        MEAN + SCALE * at[:m],
        low=scaled(low, MEAN),
        high=scaled(high, MEAN),
        sd=scaled(sd),
        played=taken.played(),
        n=len(taken),
        components=groups,
        method="bradley_terry" if ties == "half" else "bradley_terry_davidson",
        coefficients={name: _coefficient(m + i, at, low, high, sd) for i, name in enumerate(names)},
    )


def _intervals(
    design: Design, fit: Fit, davidson: bool, ridge: float, interval: Interval, level: float, rounds: int, seed: int
) -> tuple[Floats | None, Floats | None, Floats | None]:
    """Low, high and standard error of each parameter [p]."""
    if interval == "none":
        return None, None, None
    at = fit.parameters
    if interval == "sandwich":
        sd = np.sqrt(np.maximum(np.diag(robust(design, fit, davidson=davidson)), 0.0))
        half = NormalDist().inv_cdf((1 + level) / 2) * sd
        return at - half, at + half, sd
    rng = np.random.default_rng(seed)
    inverse: Floats = np.asarray(np.linalg.inv(fit.information), dtype=np.float64)
    parts = int(linked(design.wins(design.count), "strong").max())

    def maximum() -> Floats | None:
        """Of the first of TRIES resamples that has one."""
        for _ in range(TRIES):
            count = design.resampled(rng)
            if davidson and not count[1].any():
                continue
            if not ridge and linked(design.wins(count), "strong").max() > parts:
                continue
            found = nearby(design, count, at, inverse, davidson=davidson, ridge=ridge)
            try:
                return maximise(design, count, davidson=davidson, ridge=ridge).parameters if found is None else found
            except InvalidInput:
                continue
        return None

    drawn = [one for _ in range(rounds) if (one := maximum()) is not None]
    if 2 * len(drawn) < rounds:
        raise InvalidInput(
            f"matches: {rounds - len(drawn)} of {rounds} resamples have no finite maximum; too few matches for a "
            'bootstrap: give ridge= or interval="sandwich"'
        )
    found = np.array(drawn)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high, found.std(axis=0, ddof=1) if len(found) > 1 else np.full(len(at), np.nan)


def _finite(matches: Matches, wins: Floats) -> None:
    """Raises InvalidInput where no finite maximum exists (Ford 1957)."""
    weak, strong = linked(wins, "weak"), linked(wins, "strong")
    if strong.max() == weak.max():
        return
    played, won, lost = wins + wins.T, wins.sum(axis=1), wins.sum(axis=0)
    some = played.sum(axis=1) > 0
    said = []
    for share, what in ((lost, "won"), (won, "lost")):
        if never := [name for name, here in zip(matches.systems, some & (share == 0), strict=True) if here]:
            said.append(f"{', '.join(never[:6])} {what} every match")
    if not said:
        said.append(
            f"no system of one of these groups ever beat one of another: {told(grouped(matches.systems, strong))}"
        )
    raise InvalidInput(
        f"matches: {'; '.join(said)}, so the strengths have no finite maximum of likelihood; add matches, leave such "
        "systems out, or give ridge= (for example 1)"
    )


def _coefficient(place: int, at: Floats, low: Floats | None, high: Floats | None, sd: Floats | None) -> Coefficient:
    others = (None if column is None else float(column[place]) for column in (low, high, sd))
    return Coefficient(float(at[place]), *others)


def _checked(
    matches: Matches, ties: str, controls: Sequence[str], ridge: float, interval: str, level: float, rounds: int
) -> None:
    if ties not in ("half", "davidson"):
        raise InvalidInput(f"ties: half or davidson, not {ties!r}")
    if interval not in ("sandwich", "bootstrap", "none"):
        raise InvalidInput(f"interval: sandwich, bootstrap or none, not {interval!r}")
    if isinstance(controls, str) or len(set(controls)) < len(controls):
        raise InvalidInput("controls: a list of different names is needed")
    if unknown := [name for name in controls if name not in matches.covariate_names]:
        known = ", ".join(matches.covariate_names) or "none"
        raise InvalidInput(f"controls: {unknown[0]!r} is no covariate of the matches (they have {known})")
    if not (ridge >= 0 and np.isfinite(ridge)):
        raise InvalidInput(f"ridge: a number of at least 0 is needed, not {ridge}")
    if not 0 < level < 1:
        raise InvalidInput(f"level: between 0 and 1 (neither of them) is needed, not {level}")
    if rounds < 1:
        raise InvalidInput(f"rounds: one or more is needed, not {rounds}")
