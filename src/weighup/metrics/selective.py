"""Answering only when sure: the price of coverage, and a threshold on confidence with a guarantee.

confidence [n] finite, higher meaning surer; wrong [n], 1 where the answer is wrong. An item is answered when its
confidence is at least the threshold, so items of equal confidence are answered together. Risk is the share of wrong
among the answered (selective risk: El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017, arXiv 1705.08500). Every
function raises InvalidInput for no items, arrays of different lengths or more than one dimension, values that are not
finite, and a `wrong` other than 0 and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints, binary, inside, numbers, same_length

SCOUTS = 0.2  # share of items that only choose where the tests begin (ours)


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """One entry a distinct confidence, surest first: answering from `threshold` [m] on covers `coverage` [m] of the
    items, in (0, 1] and rising, at risk `risk` [m] in [0, 1]."""

    threshold: Floats
    coverage: Floats
    risk: Floats


def risk_coverage(confidence: ArrayLike, wrong: ArrayLike) -> RiskCoverage:
    """The curve of risk against coverage, for every threshold that changes it."""
    threshold, answered, missed = _counts(*_checked(confidence, wrong))
    return RiskCoverage(threshold, answered / answered[-1], missed / answered)


def aurc(confidence: ArrayLike, wrong: ArrayLike) -> float:
    """Area under the risk–coverage curve in [0, 1], lower is better (Geifman et al. 2019, arXiv 1805.08206): the mean,
    over items, of the risk among those at least as sure."""
    curve = risk_coverage(confidence, wrong)
    return float(np.sum(curve.risk * np.diff(curve.coverage, prepend=0.0)))


def coverage_at_risk(confidence: ArrayLike, wrong: ArrayLike, risk: float) -> float:
    """Largest coverage in [0, 1] whose risk, on these items, is at most `risk` in [0, 1]; 0 when there is none.

    It is chosen with the labels in view and says nothing of new items: `risk_controlled_threshold` does. Raises
    InvalidInput for a risk outside [0, 1].
    """
    if not 0 <= risk <= 1:
        raise InvalidInput(f"risk: a share in [0, 1] is needed, not {risk}")
    curve = risk_coverage(confidence, wrong)
    allowed = curve.coverage[curve.risk <= risk]
    return float(allowed[-1]) if len(allowed) else 0.0


def risk_controlled_threshold(
    confidence: ArrayLike, wrong: ArrayLike, risk: float, delta: float | None = None, *, seed: int = 0
) -> float:
    """The least threshold found to keep the risk on new items at `risk`; inf (never answer) when none is.

    Let R be the true risk of the threshold returned, over new items from the distribution the given ones were drawn
    from independently, and 0 when it is inf. Whatever that distribution, and whether or not risk falls with confidence:

    - `delta` in (0, 1): P(R ≤ risk) ≥ 1 − delta over the items given.
    - `delta` None: E[R] ≤ risk over the items given.

    Neither bounds the risk of one threshold in hand for sure, nor P(wrong | answered) pooled over many calibrations,
    which weights each by its coverage. No rule but never answering could bound that for every distribution: where
    confidence tells nothing and errors are just over `risk`, it would have to answer nothing, and from n items such a
    distribution cannot be told for sure from a better one.

    Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052) by split fixed-sequence testing. A fifth of the items,
    drawn by `seed`, choose the threshold where the tests begin: the most standard errors below `risk`. The others test
    from there downwards, at every threshold, "the true risk is over `risk`" by the exact binomial tail, P(Bin(answered,
    risk) ≤ wrong) ≤ delta, which is to say: the Clopper–Pearson upper bound is at most `risk`. The first acceptance
    ends the sequence. Testing every real threshold in a fixed order is sound since the first of those over `risk` is
    fixed by the distribution, and only there can the first error be made.

    Not conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814): it needs losses that only fall as the
    threshold rises, and (wrong − risk)·answered, whose mean has the sign of R − risk, rises wherever a right answer is
    dropped. Its monotone envelope is (1 − risk)·wrong·answered, which no threshold that answers keeps at 0. So the
    expectation is had from the above with smaller numbers (ours): R ≤ a but for a chance d gives E[R] ≤ a + d·(1 − a),
    which is `risk` for a = (risk − d)/(1 − d); d is a halving of `risk` chosen by the number of items alone. It counts
    a failed control as all wrong, and so is stricter than `delta` = 0.1: some thousand items are needed to answer much.

    Raises InvalidInput for a risk or delta outside (0, 1).
    """
    c, w = _checked(confidence, wrong)
    inside("risk", risk)
    if delta is not None:
        inside("delta", delta)
    shuffled = np.random.default_rng(seed).permutation(len(c))
    scouts, testers = np.split(shuffled, [math.ceil(SCOUTS * len(c))])
    if not len(testers):
        return math.inf
    if delta is None:
        risk, delta = _split_expectation(risk, len(testers))
    threshold, answered, missed = _counts(c[scouts], w[scouts])
    start = float(threshold[np.argmax((risk * answered - missed) / np.sqrt(answered))])
    threshold, answered, _ = _counts(c[testers], w[testers])
    passed = _tail(c[testers], w[testers], risk)[answered - 1] <= delta
    return _last_before_failure(threshold, passed, start)


def _last_before_failure(threshold: Floats, passed: NDArray[np.bool_], start: float) -> float:
    """threshold [m] falling, passed [m]: whether the test there rejects. Least one reached from `start`, or inf.

    The test at `start` is that at the least confidence not under it, since the same items are answered.
    """
    first = int(np.sum(threshold >= start)) - 1
    if first < 0 or not passed[first]:
        return math.inf
    run = int(np.argmin(np.append(passed[first:], False)))
    return start if run == 1 else float(threshold[first + run - 1])


def _split_expectation(risk: float, n: int) -> tuple[float, float]:
    """The (a, d) with a + d·(1 − a) = risk that allows most errors when n items are answered."""
    parts = [risk * 2.0**-k for k in range(1, 11)]
    pairs = [((risk - d) / (1 - d), d) for d in parts]
    return max(pairs, key=lambda pair: _errors_allowed(n, *pair))


def _errors_allowed(n: int, risk: float, delta: float) -> int:
    """Most errors in n with P(Bin(n, risk) ≤ errors) ≤ delta; −1 when not even none."""
    k = np.arange(n + 1)
    return int(np.sum(np.cumsum(np.exp(_log_pmf(k, np.full(n + 1, n), risk))) <= delta)) - 1


def _tail(confidence: Floats, wrong: Floats, risk: float) -> Floats:
    """P(Bin(i, risk) ≤ wrong among the i surest) for i = 1 … n, to about 1e-10.

    Each item moves the tail by one term: with X ~ Bin(i, r), P(Bin(i + 1, r) ≤ w) = P(X ≤ w) − r·P(X = w) and
    P(Bin(i + 1, r) ≤ w + 1) = P(X ≤ w) + (1 − r)·P(X = w + 1).
    """
    errs = wrong[np.argsort(-confidence, kind="stable")].astype(np.int64)
    before = np.arange(len(errs))
    missed = np.cumsum(errs)
    term = np.exp(_log_pmf(missed, before, risk))
    return 1 + np.cumsum(np.where(errs == 1, (1 - risk) * term, -risk * term))


def _log_pmf(k: Ints, n: Ints, p: float) -> Floats:
    """log P(Bin(n, p) = k), −inf where k > n."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, int(n.max(initial=0)) + 2)))])
    left = np.maximum(n - k, 0)
    value = logs[n] - logs[k] - logs[left] + k * math.log(p) + left * math.log1p(-p)
    return np.where(k <= n, value, -np.inf)


def _counts(confidence: Floats, wrong: Floats) -> tuple[Floats, Ints, Ints]:
    """Distinct confidences [m], surest first, with how many are at least as sure, and how many of these are wrong."""
    threshold, place, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    missed = np.cumsum(np.bincount(place, wrong))
    return -threshold, np.cumsum(count), missed.astype(np.int64)


def _checked(confidence: ArrayLike, wrong: ArrayLike) -> tuple[Floats, Floats]:
    c, w = numbers("confidence", confidence), binary("wrong", wrong)
    same_length(confidence=c, wrong=w)
    return c, w
