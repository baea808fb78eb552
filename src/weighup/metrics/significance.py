"""Is the difference more than chance? Tests of two or many systems, and correction for having tested many times.

A difference is a − b. Intervals are 95 %. Every p is two-sided. Every function raises InvalidInput, naming the
argument, for wrong shapes or lengths, fewer than two items, values that are not finite or too large to be squared, and
where nothing varies that the test needs to vary.

Welch (1947); Student (1908); sign-flip test (Fisher 1935; Good 2005); randomised Tukey HSD (Carterette 2012); Holm
(1979); Benjamini and Hochberg (1995); random intercept model (Laird and Ware 1982).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics.agreement import coded_labels
from weighup.metrics.arrays import Floats, numbers, probabilities
from weighup.metrics.extras import need
from weighup.metrics.ranking import two_series

CELLS = 2_000_000  # numbers drawn in one go: bounds the memory
ROUNDING = 8 * float(np.finfo(np.float64).eps)
TAIL = 0.025  # left out on each side of an interval
RATIOS = (-14.0, 14.0)  # log of the variance between groups over that within them: from one in a million to a million


@dataclass(frozen=True, slots=True)
class Test:
    """What a test found: its statistic, two-sided p in [0, 1], the estimate (of the difference a − b, or of a slope)
    and its 95 % interval [low, high], from n items."""

    __test__ = False  # not a test of this package, whatever pytest makes of the name

    statistic: float
    p: float
    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class MixedEffects(Test):
    """A `Test` of the slope, with its standard error `se`, the intercept, the standard deviation between groups and
    within them, and the number of groups."""

    se: float
    intercept: float
    between: float
    within: float
    groups: int


def welch(a: ArrayLike, b: ArrayLike) -> Test:
    """Welch's t-test of two independent samples a [n], b [m] whose variances may differ (Welch 1947); n is n + m.

    Raises InvalidInput where neither of them varies.
    """
    first, second = numbers("a", a), numbers("b", b)
    for name, values in (("a", first), ("b", second)):
        if len(values) < 2:
            raise InvalidInput(f"{name}: two items or more are needed, not {len(values)}")
    _squarable(a=first, b=second)
    if _flat(first) and _flat(second):
        raise InvalidInput("a, b: all values of each are the same; the t-test needs them to vary")
    parts = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1))
    return _student(first.mean() - second.mean(), math.sqrt(sum(parts)), freedom, len(first) + len(second))


def paired_t(a: ArrayLike, b: ArrayLike) -> Test:
    """Student's t-test of a − b, both [n] on the same items (Student 1908).

    Raises InvalidInput where the difference is the same on every item.
    """
    first, second = two_series(a=a, b=b)
    _squarable(a=first, b=second)
    difference = first - second
    if np.ptp(difference) <= ROUNDING * max(np.abs(first).max(), np.abs(second).max()):
        raise InvalidInput("a, b: the difference is the same on every item; the t-test needs it to vary")
    n = len(difference)
    return _student(difference.mean(), difference.std(ddof=1) / math.sqrt(n), n - 1, n)


def permutation(a: ArrayLike, b: ArrayLike, *, n: int = 10_000, seed: int) -> Test:
    """Sign-flip test of a − b, both [items] on the same items: under the null, each difference is as likely to have the
    other sign (Fisher 1935, The Design of Experiments, section 21). The statistic is the mean difference.

    All 2^items signs are looked at where these are n or fewer, else n drawn by `seed`; p is then (1 + draws at least as
    extreme) / (1 + n) (Phipson and Smyth 2010), which is never 0. The interval turns the test around: means of the
    subsets that are flipped (Hartigan 1969, Using subsample values as typical values). It is infinite where there are
    too few items or draws to say no to any difference, with fewer than six items, say. Raises InvalidInput for n < 1.
    """
    first, second = two_series(a=a, b=b)
    _squarable(a=first, b=second)
    _draws(n)
    difference = first - second
    items, total = len(difference), float(np.sum(difference))
    slack = ROUNDING * items * float(max(np.abs(first).max(), np.abs(second).max()))
    every = 2**items <= n
    extreme, means = 0, []
    for flipped in _all_flips(items) if every else _some_flips(items, n, np.random.default_rng(seed)):
        sums = flipped @ difference
        extreme += int(np.sum(np.abs(total - 2 * sums) >= abs(total) - slack))
        size = flipped.sum(axis=1)
        means.append(sums[size > 0] / size[size > 0])
    draws = 2**items if every else n
    p = extreme / draws if every else (1 + extreme) / (1 + draws)
    typical = np.sort(np.concatenate(means))
    skip = math.floor(TAIL * (len(typical) + 1))
    low, high = (float(typical[skip - 1]), float(typical[-skip])) if skip else (-math.inf, math.inf)
    return Test(total / items, p, total / items, low, high, items)


def tukey_randomised(scores: ArrayLike, *, n: int = 10_000, seed: int) -> Floats:
    """p of every pair of systems being different, corrected for all pairs: symmetric [systems, systems], diagonal 1.

    scores [systems, topics]. Under the null that all systems are the same, the scores within a topic could have been
    any system's: they are shuffled n times, each topic by itself, and p is the share of shuffles whose largest
    difference of two systems' means is at least that of the pair (randomised Tukey HSD: Carterette 2012, Multiple
    Testing in Statistical Analysis of Systems-Based Information Retrieval Experiments). Ours: the scores as they are
    count as one more shuffle (Phipson and Smyth 2010), so that no p is 0. Raises InvalidInput for n < 1, fewer than two
    systems or topics.
    """
    x = _table(scores)
    _squarable(scores=x)
    _draws(n)
    systems, topics = x.shape
    mean = x.mean(axis=1)
    seen = np.abs(np.subtract.outer(mean, mean))
    largest = np.empty(n)
    rng = np.random.default_rng(seed)
    step = max(1, CELLS // x.size)
    for start in range(0, n, step):
        block = np.broadcast_to(x.T, (min(step, n - start), topics, systems))
        largest[start : start + step] = np.ptp(rng.permuted(block, axis=2).mean(axis=1), axis=1)
    slack = ROUNDING * topics * float(np.abs(x).max())
    at_least = n - np.searchsorted(np.sort(largest), seen - slack)
    return np.asarray((1 + at_least) / (1 + n), dtype=np.float64)


def fair_coin(heads: int, throws: int) -> float:
    """P(as far from a half or farther) of `heads` in `throws` of a fair coin: the exact binomial test, two-sided.

    In plain Python, for those who do without scipy; equals `scipy.stats.binomtest(heads, throws).pvalue`.
    """
    few = min(heads, throws - heads)
    all_log = math.lgamma(throws + 1) - throws * math.log(2)
    tail = math.fsum(math.exp(all_log - math.lgamma(k + 1) - math.lgamma(throws - k + 1)) for k in range(few + 1))
    return min(1.0, 2 * tail)


def holm(p: ArrayLike) -> Floats:
    """p [m] in [0, 1], corrected so that the chance of any false rejection is held (Holm 1979): the running maximum,
    from the least on, of (m − rank + 1)·p, at most 1; in the order given."""
    found = probabilities("p", p)
    order = np.argsort(found, kind="stable")
    raised = np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1))
    return _put_back(raised, order)


def bh(p: ArrayLike) -> Floats:
    """p [m] in [0, 1], corrected so that the expected share of false rejections among all is held (Benjamini and
    Hochberg 1995): the running minimum, from the largest on, of p·m/rank, at most 1; in the order given."""
    found = probabilities("p", p)
    order = np.argsort(found, kind="stable")
    raised = found[order] * len(found) / np.arange(1, len(found) + 1)
    return _put_back(np.minimum.accumulate(raised[::-1])[::-1], order)


def mixed_effects(y: ArrayLike, group: ArrayLike, x: ArrayLike, *, reml: bool = True) -> MixedEffects:
    """Slope of y on x where the items of a group share a random intercept: y = β₀ + β₁·x + u_group + e, u and e normal
    (Laird and Ware 1982); by restricted maximum likelihood, or maximum likelihood with `reml=False`.

    y, x: numbers [n]; group: labels [n]. For a known ratio of the variances of u and e the rest has a closed form, so
    the likelihood is a curve of that ratio (Bates et al. 2015, arXiv 1406.5823, section 3); its largest value is
    looked for on a grid, refined, and held against no variance between groups. p and interval take the slope as normal
    (Wald), which with fewer than some twenty groups says "different" too often where x varies only between them.
    Raises InvalidInput also for a constant x, fewer than two groups, no group with two items, fewer than four items,
    and a y that x and group explain without rest.
    """
    outcome, effect = two_series(y=y, x=x)
    _squarable(y=outcome)
    _squarable(x=effect)
    place, known = coded_labels("group", group)
    sizes = np.bincount(np.maximum(place, 0)).astype(np.float64)
    n = len(outcome)
    if len(place) != n or (place < 0).any():
        raise InvalidInput(f"group: one label for each of {n} items is needed, none of them missing")
    if len(known) < 2 or len(known) == n or n < 4:
        raise InvalidInput("group: four items or more in two groups or more are needed, one of them with two items")
    if _flat(effect) or _flat(outcome):
        raise InvalidInput(f"{'x' if _flat(effect) else 'y'}: all values are the same; a slope needs them to vary")
    scale_y, scale_x = float(outcome.std()), float(effect.std())
    columns = np.stack([np.ones(n), (effect - effect.mean()) / scale_x, (outcome - outcome.mean()) / scale_y])
    cross = columns @ columns.T
    sums = np.stack([np.bincount(place, column) for column in columns])
    free = n - 2 if reml else n

    def fit(log_ratio: float) -> tuple[float, Floats, Floats, float]:
        """(−2 log-likelihood but for a constant, β, its covariance, variance of e) at this ratio of variances."""
        ratio = math.exp(log_ratio)
        weighed = cross - (sums * (ratio / (1 + ratio * sizes))) @ sums.T
        inverse = np.linalg.inv(weighed[:2, :2])
        beta = inverse @ weighed[:2, 2]
        rest = max(float(weighed[2, 2] - beta @ weighed[:2, 2]), 0.0) / free
        value = free * math.log(max(rest, 1e-300)) + float(np.sum(np.log1p(ratio * sizes)))
        if reml:
            value -= math.log(np.linalg.det(inverse))
        return value, beta, inverse * rest, rest

    grid = np.linspace(*RATIOS, 121)
    best = int(np.argmin([fit(at)[0] for at in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    search = need("scipy.optimize").minimize_scalar
    found = float(search(lambda at: fit(at)[0], bounds=around, method="bounded", options={"xatol": 1e-9}).x)
    log_ratio = min((-math.inf, found), key=lambda at: fit(at)[0])
    _, beta, covariance, rest = fit(log_ratio)
    if best == len(grid) - 1 or rest < 1e-12:
        raise InvalidInput("y: x and group explain it without rest, so no error of the slope can be told")
    slope, se = float(beta[1]) * scale_y / scale_x, math.sqrt(covariance[1, 1]) * scale_y / scale_x
    z = slope / se
    intercept = float(outcome.mean() + beta[0] * scale_y - slope * effect.mean())
    within = math.sqrt(rest) * scale_y
    reach = 1.959963984540054 * se
    return MixedEffects(
        statistic=z,
        p=math.erfc(abs(z) / math.sqrt(2)),
        estimate=slope,
        low=slope - reach,
        high=slope + reach,
        n=n,
        se=se,
        intercept=intercept,
        between=within * math.sqrt(math.exp(log_ratio)),
        within=within,
        groups=len(known),
    )


def _student(estimate: float, se: float, freedom: float, n: int) -> Test:
    """Of an estimate with this standard error. SciPy's own t-tests warn where one sample is constant, which is fine."""
    student = need("scipy.stats").t
    statistic, reach = estimate / se, float(student.isf(TAIL, freedom)) * se
    p = 2 * float(student.sf(abs(statistic), freedom))
    return Test(float(statistic), p, float(estimate), float(estimate - reach), float(estimate + reach), n)


def _squarable(**series: Floats) -> None:
    """Raises InvalidInput where squares would over- or underflow."""
    largest = max(float(np.abs(values).max()) for values in series.values())
    if largest and not 1e-75 < largest < 1e75:
        raise InvalidInput(
            f"{', '.join(series)}: {largest:g} is too small or too large to be squared; give the values in another unit"
        )


def _flat(values: Floats) -> bool:
    """Whether the values are the same but for rounding."""
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def _draws(n: int) -> None:
    if n < 1:
        raise InvalidInput(f"n: one draw or more is needed, not {n}")


def _table(scores: ArrayLike) -> Floats:
    try:
        found = np.asarray(scores)
    except ValueError:  # rows of different lengths
        raise InvalidInput("scores: every system needs a score for every topic") from None
    if found.ndim != 2 or min(found.shape) < 2:
        raise InvalidInput(f"scores: [systems, topics] with two or more of each is needed, not shape {found.shape}")
    return numbers("scores", found.ravel()).reshape(found.shape)


def _some_flips(items: int, n: int, rng: np.random.Generator) -> Iterator[Floats]:
    """n rows of 0 and 1, in blocks."""
    step = max(1, CELLS // items)
    for start in range(0, n, step):
        yield rng.integers(0, 2, (min(step, n - start), items), dtype=np.bool_).astype(np.float64)


def _all_flips(items: int) -> Iterator[Floats]:
    """The 2^items rows of 0 and 1, in blocks."""
    step = max(1, CELLS // items)
    for start in range(0, 2**items, step):
        rows = np.arange(start, min(start + step, 2**items))
        yield (rows[:, None] >> np.arange(items) & 1).astype(np.float64)


def _put_back(raised: Floats, order: NDArray[np.intp]) -> Floats:
    result = np.empty(len(order))
    result[order] = np.minimum(raised, 1.0)
    return result
