"""The likelihood of paired comparisons, summed over equal ones, and its maximum by Newton's method.

A row is one pair of systems (with one set of covariates) and how often each outcome came out. Strengths θ [m], effects
γ [c] of the covariates x, and ν ≥ 0 for ties: with d = θ_a − θ_b + x·γ,

    P(a wins) : P(tie) : P(b wins) = exp(d/2) : ν : exp(−d/2)                 (Davidson 1970, equation 2.2)

which is Bradley and Terry's (1952) for ν = 0; there a tie counts as half a win for each (the quasi-likelihood whose
score is outcome − P(a wins)). Both have y, the outcome (1, ½, 0), as sufficient statistic of d, so one set of moments
serves both. Parameters lie in one vector: θ, γ and, for Davidson's model, log ν.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weighup.arena.types import Floats, Matches
from weighup.errors import InvalidInput

Y = np.array([0.0, 0.5, 1.0])  # the outcomes of a cell's three columns, for a
T = np.array([0.0, 1.0, 0.0])  # which of them is the tie
_STEPS, _FAR, _CLOSE = 100, 40.0, 1e-9  # Newton steps; log-odds that no finite maximum has; the last step's size


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Rows of comparisons. a, b: int64 [r]; x: [r, c]; count, square: [3, r], sums of the weights of the matches b won,
    drew, a won, and of their squares; label: int64 [m], the component of each system; cell: int64 [n], where each match
    is counted; weight: [n]."""

    m: int
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    x: Floats
    count: Floats
    square: Floats
    label: NDArray[np.int64]
    cell: NDArray[np.int64]
    weight: Floats

    @classmethod
    def of(cls, matches: Matches, label: NDArray[np.int64], controls: Floats) -> Design:
        """One row a pair of systems, or one row a match where there are covariates `controls` [n, c], c > 0."""
        m, n = len(matches.systems), len(matches)
        a, b = matches.a.astype(np.int64), matches.b.astype(np.int64)
        won = (2 * matches.outcome).astype(np.int64)
        if controls.shape[1]:
            row = np.arange(n)
        else:
            won = np.where(a < b, won, 2 - won)
            pair, row = np.unique(np.minimum(a, b) * m + np.maximum(a, b), return_inverse=True)
            a, b, controls = pair // m, pair % m, np.zeros((len(pair), 0))
        cell = won * len(a) + row
        count, square = (_summed(cell, each, 3 * len(a)).reshape(3, -1) for each in (matches.weight, matches.weight**2))
        return cls(m, a, b, controls, count, square, label, cell, matches.weight)

    def resampled(self, rng: np.random.Generator) -> Floats:
        """Counts [3, r] of as many matches drawn with replacement."""
        n, least = len(self.weight), float(self.weight.min())
        if least == self.weight.max():
            each = self.count.ravel() / self.count.sum()
            return np.asarray(rng.multinomial(n, each) * least, dtype=np.float64).reshape(3, -1)
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        return _summed(self.cell, self.weight * times, self.count.size).reshape(3, -1)

    def wins(self, count: Floats) -> Floats:
        """The win matrix [m, m] of counts [3, r]."""
        whole = _summed(self.a * self.m + self.b, count[2] + count[1] / 2, self.m**2)
        whole += _summed(self.b * self.m + self.a, count[0] + count[1] / 2, self.m**2)
        return whole.reshape(self.m, self.m)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The maximum: parameters [p], and the information there [p, p], made regular along each component's level."""

    parameters: Floats
    information: Floats


def maximise(design: Design, count: Floats, *, davidson: bool, ridge: float) -> Fit:
    """The maximum of the log-likelihood of counts [3, r] less ridge/2·|θ|², with θ summing to 0 in each component.

    Raises InvalidInput when there is none: covariates that tell the winner, or that hang together.
    """
    m, total = design.m, float(count.sum())
    at = np.zeros(m + design.x.shape[1] + davidson)
    if davidson:
        at[-1] = np.log(2 * max(count[1].sum(), 1e-3) / max(total - count[1].sum(), 1e-3))
    value = _value(design, count, at, davidson, ridge)
    for step in range(_STEPS):
        gradient, information = _derivatives(design, count, at, davidson, ridge)
        if step == 0 and design.x.shape[1]:
            _independent(information, m)
        move = np.linalg.solve(information, gradient)
        size = float(np.abs(move).max())
        move *= min(1.0, 5.0 / max(size, 1e-300))
        for _ in range(30):
            new = _value(design, count, at + move, davidson, ridge)
            # Rounding of a sum of this many terms must not pass for a fall.
            if new >= value - 1e-12 * total:
                break
            move = move / 2
        at, value = at + move, new
        if size < _CLOSE:
            return Fit(at, _derivatives(design, count, at, davidson, ridge)[1])
        if np.abs(at).max() > _FAR and not ridge:
            break
    raise InvalidInput(
        "matches: the likelihood has no finite maximum; a control (or its sum with the systems' strengths) tells every "
        "winner, or its unit is tiny: drop or rescale it, or give ridge="
    )


def nearby(
    design: Design, count: Floats, start: Floats, inverse: Floats, *, davidson: bool, ridge: float
) -> Floats | None:
    """The maximum [p] of counts [3, r], to 1e-7, when it is near `start`, whose inverse information [p, p] then serves
    for all steps (the chord method); None where that does not draw near. A resample's maximum nearly always is, and
    this way no matrix is made or solved for it; the product is written out, as threads cost more than they save."""
    at: Floats = start.copy()
    last = np.inf
    for _ in range(_STEPS):
        mean, _, tied, _, _ = _moments(design, at, davidson)
        move = (inverse * _gradient(design, count, at, mean, tied, davidson, ridge)).sum(axis=1)
        size = float(np.abs(move).max())
        if not size < max(0.7 * last, 1e-7):
            return None
        at, last = at + move, size
        if size < 1e-7:
            return at
    return None


def robust(design: Design, fit: Fit, *, davidson: bool) -> Floats:
    """The sandwich covariance [p, p] (Huber 1967; White 1982): inverse information, summed squares of the matches'
    scores, inverse information. Right also where the model is not, as with ties counted as half wins."""
    mean, _, tied, _, _ = _moments(design, fit.parameters, davidson)
    y, t = Y[:, None] - mean, T[:, None] - tied
    parts = ((design.square * one).sum(axis=0) for one in (y * y, y * t, t * t))
    bread = np.linalg.inv(fit.information)
    return bread @ _assemble(design, *parts, davidson=davidson) @ bread


def _value(design: Design, count: Floats, at: Floats, davidson: bool, ridge: float) -> float:
    _, _, _, d, log_z = _moments(design, at, davidson)
    found = float(np.sum((count[2] + count[1] / 2) * d - (count[0] + count[1] + count[2]) * log_z))
    if davidson:
        found += float(count[1].sum() * at[-1])
    return found - ridge / 2 * float(at[: design.m] @ at[: design.m])


def _derivatives(design: Design, count: Floats, at: Floats, davidson: bool, ridge: float) -> tuple[Floats, Floats]:
    m, total = design.m, count[0] + count[1] + count[2]
    mean, variance, tied, _, _ = _moments(design, at, davidson)
    gradient = _gradient(design, count, at, mean, tied, davidson, ridge)
    crossed = total * tied * (0.5 - mean)
    information = _assemble(design, total * variance, crossed, total * tied * (1 - tied), davidson=davidson)
    systems = information[:m, :m]
    # Strengths of one component are known only up to a level: any weight along it leaves the maximum where it is.
    level = (design.label[:, None] == design.label) * (np.trace(systems) / m**2)
    information[:m, :m] = systems + level + ridge * np.eye(m)
    return gradient, information


def _gradient(
    design: Design, count: Floats, at: Floats, mean: Floats, tied: Floats, davidson: bool, ridge: float
) -> Floats:
    m, total = design.m, count[0] + count[1] + count[2]
    score = count[2] + count[1] / 2 - total * mean
    gradient = np.zeros(len(at))
    gradient[:m] = _summed(design.a, score, m) - _summed(design.b, score, m) - ridge * at[:m]
    gradient[m : m + design.x.shape[1]] = design.x.T @ score
    if davidson:
        gradient[-1] = np.sum(count[1] - total * tied)
    return gradient


def _moments(design: Design, at: Floats, davidson: bool) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Mean and variance of y, chance of a tie, d, and the logarithm of the normaliser, each [r]."""
    m, c = design.m, design.x.shape[1]
    d = at[design.a] - at[design.b]
    if c:
        d = d + design.x @ at[m : m + c]
    d = np.clip(d, -600, 600)
    up = np.exp(d / 2)
    nu = float(np.exp(min(at[-1], 600.0))) if davidson else 0.0
    z = up + nu + 1 / up
    won, tied = up / z, nu / z
    mean = won + tied / 2
    return mean, won + tied / 4 - mean**2, tied, d, d / 2 + np.log(z)


def _assemble(design: Design, yy: Floats, yt: Floats, tt: Floats, *, davidson: bool) -> Floats:
    """Σ_rows of the outer products of a row's derivatives, weighted with the (co)variances [r] of y and of the tie."""
    m, c = design.m, design.x.shape[1]
    whole = np.zeros((m + c + davidson, m + c + davidson))
    pairs = _summed(design.a * m + design.b, yy, m * m).reshape(m, m)
    pairs = pairs + pairs.T
    whole[:m, :m] = np.diag(pairs.sum(axis=1)) - pairs
    columns = [(m + i, design.x[:, i] * yy) for i in range(c)]
    if davidson:
        columns.append((m + c, yt))
        whole[m : m + c, -1] = whole[-1, m : m + c] = design.x.T @ yt
        whole[-1, -1] = tt.sum()
    for place, column in columns:
        whole[:m, place] = _summed(design.a, column, m) - _summed(design.b, column, m)
        whole[place, :m] = whole[:m, place]
    whole[m : m + c, m : m + c] = (design.x * yy[:, None]).T @ design.x
    return whole


def _independent(information: Floats, m: int) -> None:
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    if np.diag(information)[m:].min() <= 0 or np.linalg.eigvalsh(information / np.outer(scale, scale))[0] < 1e-10:
        raise InvalidInput(
            "controls: a column is all 0, or a sum of other columns, or differs between systems but never between "
            "matches of the same two; its effect cannot be told apart: drop it"
        )


def _summed(place: NDArray[np.int64], weight: Floats, length: int) -> Floats:
    return np.asarray(np.bincount(place, weight, length), dtype=np.float64)
