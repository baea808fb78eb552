"""LaaJMeter: which meta-evaluation metric tells a good judge from a bad one, and from which value on?

Paper: LaajMeter: A Framework for LaaJ Evaluation (Ackerman et al. 2025, arXiv 2508.10161).
Faithful: virtual models are distributions of true quality over test inputs, an improved model is one with a known
shift; virtual judges see true quality through noise, bias, compression of the scale and a share of random scores. Each
metric is measured on many virtual trials, so that one sees whether it separates judges of known worth and which value
an adequate judge reaches.
Ours: quality N(mean, sd) kept within the scale; an improvement may differ by input (`spread`); the t-test is one-sided
and significant below 0.025; a threshold is what an acceptable judge reaches in a share `power` of its trials, and that
power, and how often other judges pass too, are measured on trials of their own.

Shapes: qualities and scores are float arrays [inputs], on the scale 1 to 7 unless told otherwise; a curve holds
[judges, repeats]. In one repeat all judges see the same outputs. All chance comes from `seed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, inside, numbers, same_length
from weighup.metrics.classification import auroc
from weighup.metrics.estimate import Estimate, estimated, share
from weighup.metrics.ranking import pearson, spearman, tau_b
from weighup.metrics.significance import paired_t
from weighup.registry import Method

METHOD = Method(
    name="laajmeter",
    room="arena",
    paper="LaajMeter: A Framework for LaaJ Evaluation (Ackerman et al. 2025)",
    arxiv="2508.10161",
    command="weighup judge meta",
    claim_check="weighup.arena.laajmeter_claim:check",
)
SCALE = (1.0, 7.0)
LEAST = 10
"""On fewer inputs no metric is measured."""
ALPHA = 0.025
"""The one-sided p below which a t-test says that B is better than A."""


@dataclass(frozen=True, slots=True)
class VirtualModel:
    """A model whose outputs have quality N(mean, sd) over inputs; an improvement of it adds N(shift, spread)."""

    name: str = "A"
    mean: float = 4.0
    sd: float = 1.5
    shift: float = 0.0
    spread: float = 0.0
    scale: tuple[float, float] = SCALE

    def __post_init__(self) -> None:
        _checked(f"model {self.name}", self.scale, at_least_0={"sd": self.sd, "spread": self.spread})
        _finite(f"model {self.name}", mean=self.mean, shift=self.shift)

    def improved(self, shift: float, *, spread: float = 0.0, name: str = "B") -> VirtualModel:
        """The same model made better by `shift` on average, by more or less (sd `spread`) on single inputs."""
        return replace(self, name=name, shift=self.shift + shift, spread=math.hypot(self.spread, spread))

    def qualities(self, n: int, *, seed: int) -> Floats:
        """True quality on n inputs [n]. The same seed is the same inputs, for an improvement too."""
        base = np.random.default_rng([seed, 0]).normal(self.mean, self.sd, n)
        gain = np.random.default_rng([seed, 1]).normal(self.shift, self.spread, n)
        return np.clip(base + gain, *self.scale)


@dataclass(frozen=True, slots=True)
class VirtualJudge:
    """A judge whose score is the quality drawn to the middle of the scale by `compression` in [0, 1), plus `bias`, plus
    N(0, noise), kept within the scale; of a share `mixture` of outputs it is uniform on the scale instead."""

    name: str
    noise: float = 1.0
    bias: float = 0.0
    compression: float = 0.0
    mixture: float = 0.0
    scale: tuple[float, float] = SCALE

    def __post_init__(self) -> None:
        who = f"judge {self.name}"
        _checked(who, self.scale, at_least_0={"noise": self.noise})
        _finite(who, bias=self.bias)
        if not 0 <= self.mixture <= 1:
            raise InvalidInput(f"{who}: mixture, the share of random scores, lies in [0, 1], not {self.mixture}")
        if not 0 <= self.compression < 1:
            raise InvalidInput(f"{who}: compression lies in [0, 1), not {self.compression}")

    def scores(self, quality: Floats, rng: np.random.Generator) -> Floats:
        """Scores of outputs of these true qualities [n]."""
        low, high = self.scale
        middle = (low + high) / 2
        seen = middle + (1 - self.compression) * (quality - middle) + self.bias
        said = np.clip(seen + rng.normal(0.0, self.noise, len(quality)), low, high)
        random = rng.random(len(quality)) < self.mixture
        return np.where(random, rng.uniform(low, high, len(quality)), said)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one judge said of the outputs of A and of B on the same inputs, and what these are worth: four arrays
    [inputs]. Raises InvalidInput for fewer than ten inputs or a judge whose scores are all the same."""

    quality_a: Floats
    quality_b: Floats
    score_a: Floats
    score_b: Floats
    judge: str = "judge"

    def __post_init__(self) -> None:
        names = ("quality_a", "quality_b", "score_a", "score_b")
        found = {name: numbers(name, getattr(self, name)) for name in names}
        same_length(**found)
        _enough(len(found["score_a"]))
        for name, values in found.items():
            object.__setattr__(self, name, values)
        if min(np.ptp(self.score_a), np.ptp(self.score_b)) == 0:
            raise InvalidInput(
                f"judge {self.judge}: gave all outputs of a model the same score; no metric tells anything of it"
            )

    @property
    def quality(self) -> Floats:
        """What all outputs are worth, A's then B's [2 · inputs]."""
        return np.concatenate([self.quality_a, self.quality_b])

    @property
    def score(self) -> Floats:
        """What the judge said of all outputs, in the order of `quality`."""
        return np.concatenate([self.score_a, self.score_b])


@dataclass(frozen=True, slots=True)
class Metric:
    """A meta-evaluation metric: what of a trial it measures, and whether more of it means a better judge."""

    name: str
    measure: Callable[[Trial], float]
    higher_is_better: bool = True
    about: str = ""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A metric of one judge over its trials: mean and standard deviation, and what 95 % of trials lie between."""

    judge: str
    mean: Estimate
    sd: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric's `values` [judges, repeats] on trials of n inputs."""

    metric: Metric
    judges: tuple[str, ...]
    values: Floats
    n: int
    seed: int = 0

    def of(self, judge: str) -> Floats:
        """One judge's values [repeats]. Raises InvalidInput for an unknown judge."""
        if judge not in self.judges:
            raise InvalidInput(f"curve: there is no judge {judge!r}; there are {', '.join(self.judges)}")
        found: Floats = self.values[self.judges.index(judge)]
        return found

    def points(self) -> tuple[CurvePoint, ...]:
        """One for each judge, in order; the interval of a mean is over repeats."""
        found = []
        for judge, values in zip(self.judges, self.values, strict=True):
            low, high = np.quantile(values, [0.025, 0.975])
            mean = estimated(lambda some: float(np.mean(some)), values, seed=self.seed)
            found.append(CurvePoint(judge, mean, float(values.std(ddof=1)), float(low), float(high)))
        return tuple(found)

    def passing(self, judge: str, at: float) -> Estimate:
        """Share of a judge's trials in which the metric is at least as good as `at`, with Wilson's interval.

        Of the t-test at `ALPHA` that is its power: how often it says that B is better.
        """
        values = self.of(judge)
        return share(values >= at if self.metric.higher_is_better else values <= at)

    def separation(self, better: str, worse: str) -> Estimate:
        """AUROC of the metric for telling trials of the better judge from those of the worse, with its interval over
        repeats: 1 separates them always, 0.5 never."""
        good, bad = (self._sign * self.of(one) for one in (better, worse))
        return estimated(separated, good, bad, seed=self.seed)

    @property
    def _sign(self) -> float:
        return 1.0 if self.metric.higher_is_better else -1.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """The `value` of a metric that an acceptable judge reaches in a share `power` of trials. `measured`: that share on
    trials of their own, of the acceptable judge that passes least; `passes`: how often each judge passes there."""

    metric: str
    value: float
    power: float
    measured: Estimate
    passes: Mapping[str, Estimate]
    n: int

    def __str__(self) -> str:
        who = "; ".join(f"{name} passes {one}" for name, one in self.passes.items())
        return f"{self.metric}: {self.value:.3f} on {self.n} inputs, power {self.measured} for {self.power:g}: {who}"


def separated(good: Floats, bad: Floats) -> float:
    """AUROC of values of a good judge's trials against those of a bad one's."""
    truth = np.repeat([1, 0], [len(good), len(bad)])
    return auroc(truth, np.concatenate([good, bad]))


def sensitivity(
    metric: str | Metric,
    judges: Sequence[VirtualJudge],
    n: int = 100,
    repeats: int = 1000,
    *,
    model: VirtualModel | None = None,
    better: VirtualModel | None = None,
    seed: int = 0,
) -> Curve:
    """A metric of virtual judges, on `repeats` trials of n inputs each.

    metric: one of `METRICS`, or your own. model, better: A and B (None: quality N(4, 1.5), and B better by 0.8 with
    spread 1.2). Raises InvalidInput for an unknown metric, n below 10, no repeats or fewer than two, no judges or one
    there twice, and for a judge whose scores are all the same.
    """
    chosen = find(metric)
    _enough(n)
    if repeats < 2:
        raise InvalidInput(f"repeats: two trials or more are needed, not {repeats}")
    names = [one.name for one in judges]
    if not names or len(set(names)) < len(names):
        raise InvalidInput("judges: one or more are needed, each with a name of its own")
    base = model or VirtualModel()
    values = np.empty((len(judges), repeats))
    for turn in range(repeats):
        for row, trial in enumerate(_trials(judges, n, base, better or base.improved(0.8, spread=1.2), seed, turn)):
            values[row, turn] = chosen.measure(trial)
    return Curve(chosen, tuple(names), values, n, seed)


def threshold(
    metric: str | Metric,
    acceptable: VirtualJudge | Sequence[VirtualJudge],
    power: float = 0.9,
    *,
    others: Sequence[VirtualJudge] = (),
    n: int = 100,
    repeats: int = 1000,
    model: VirtualModel | None = None,
    better: VirtualModel | None = None,
    seed: int = 0,
) -> Threshold:
    """From which value of the metric on a judge may count as adequate: every acceptable judge is to pass with `power`.

    `others`: judges that should not pass, to see how often they do. Raises InvalidInput for a power outside (0, 1) and
    as `sensitivity`.
    """
    inside("power", power)
    good = [acceptable] if isinstance(acceptable, VirtualJudge) else list(acceptable)
    made = sensitivity(metric, good, n, repeats, model=model, better=better, seed=2 * seed)
    if made.metric.higher_is_better:
        value = float(np.quantile(made.values, 1 - power, axis=1).min())
    else:
        value = float(np.quantile(made.values, power, axis=1).max())
    fresh = sensitivity(metric, [*good, *others], n, repeats, model=model, better=better, seed=2 * seed + 1)
    passes = {name: fresh.passing(name, value) for name in fresh.judges}
    measured = min((passes[one.name] for one in good), key=lambda one: one.value)
    return Threshold(made.metric.name, value, power, measured, passes, n)


def find(metric: str | Metric) -> Metric:
    """A metric by its name. Raises InvalidInput, naming those there are, for an unknown one."""
    if isinstance(metric, Metric):
        return metric
    if metric not in METRICS:
        raise InvalidInput(f"metric: there is no {metric!r}; there are {', '.join(METRICS)}")
    return METRICS[metric]


def better_p(trial: Trial) -> float:
    """One-sided p of the paired t-test that the judge scores B above A."""
    test = paired_t(trial.score_b, trial.score_a)
    return test.p / 2 if test.statistic > 0 else 1 - test.p / 2


def ordered(trial: Trial) -> float:
    """Share of inputs whose two outputs the judge puts in their true order, equal scores counting half. Inputs on which
    both are of equal worth are left out. Raises InvalidInput where that leaves none."""
    truth = np.sign(trial.quality_b - trial.quality_a)
    said = np.sign(trial.score_b - trial.score_a)
    differ = truth != 0
    if not differ.any():
        raise InvalidInput("ordering: on every input both outputs are of equal worth")
    return float(np.mean((1 + truth * said)[differ] / 2))


def gain_error(trial: Trial) -> float:
    """How far the judge's mean gain of B over A is from the true one, in points of the scale."""
    judged, true = trial.score_b - trial.score_a, trial.quality_b - trial.quality_a
    return abs(float(judged.mean() - true.mean()))


METRICS: Mapping[str, Metric] = {
    one.name: one
    for one in (
        Metric("tau", lambda t: tau_b(t.quality, t.score), about="Kendall's tau-b of score and quality, all outputs"),
        Metric("spearman", lambda t: spearman(t.quality, t.score), about="Spearman's rho of the same"),
        Metric("pearson", lambda t: pearson(t.quality, t.score), about="Pearson's r of the same"),
        Metric("ordering", ordered, about="share of inputs on which A and B are put in their true order"),
        Metric("t_test", better_p, False, "one-sided p of the paired t-test that B is better than A"),
        Metric("gain_error", gain_error, False, "error of the mean gain of B over A, in points"),
    )
}


def _trials(
    judges: Sequence[VirtualJudge], n: int, model: VirtualModel, better: VirtualModel, seed: int, turn: int
) -> list[Trial]:
    inputs = int(np.random.default_rng([seed, turn]).integers(2**63))
    a, b = model.qualities(n, seed=inputs), better.qualities(n, seed=inputs)
    found = []
    for place, judge in enumerate(judges):
        rng = np.random.default_rng([seed, turn, place])
        found.append(Trial(a, b, judge.scores(a, rng), judge.scores(b, rng), judge.name))
    return found


def _enough(n: int) -> None:
    if n < LEAST:
        raise InvalidInput(f"n: {LEAST} inputs or more are needed, not {n}")


def _checked(who: str, scale: tuple[float, float], at_least_0: Mapping[str, float]) -> None:
    if not scale[0] < scale[1]:
        raise InvalidInput(f"{who}: the scale {scale} does not rise")
    for name, value in at_least_0.items():
        if not 0 <= value < math.inf:
            raise InvalidInput(f"{who}: {name} is a standard deviation, at least 0, not {value}")


def _finite(who: str, **values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise InvalidInput(f"{who}: {name} must be a finite number, not {value}")
