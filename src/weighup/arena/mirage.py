"""MIRAGE-Bench's surrogate judge: cheap features of a system's answers foretell what an expensive judge makes of it.

Paper: MIRAGE-Bench: Automatic Multilingual Benchmark Arena for Retrieval-Augmented Generation Systems (Thakur et al.
2024, arXiv 2410.13716), section 4.
Faithful: in each of 200 tournaments 100 queries are drawn with replacement, the teacher's verdicts on all pairs of
systems on them give Bradley–Terry logits, and a random forest is fitted from the systems' mean features on the same
queries to those logits; systems that the teacher never saw are rated from their features.
Ours: a ridge of 1 on the logits, where the authors fall back to another fit; a system's rating is the mean over the
tournaments' forests and its interval their quantiles, where the authors fit one more on everything; linear, ridge
(features standardised, strength chosen by leave-one-out), support vector and boosted-tree regression beside the forest.

Shapes: features float64 [systems, features] (means over answers) or [systems, queries, features]; logits [systems], of
mean 0 over the training systems, natural logarithm. `mirage_features` computes the paper's features of answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.arena.bradley_terry import MEAN, SCALE, bradley_terry
from weighup.arena.graph import compared, linked, win_matrix
from weighup.arena.types import Floats, Leaderboard, Match, Matches, some
from weighup.errors import InvalidInput
from weighup.metrics.estimate import Estimate, estimated
from weighup.metrics.extras import need
from weighup.metrics.ranking import tau_b
from weighup.registry import Method

METHOD = Method(
    name="mirage",
    room="arena",
    paper="MIRAGE-Bench: Automatic Multilingual Benchmark Arena for RAG Systems (Thakur et al. 2024)",
    arxiv="2410.13716",
    command="weighup arena rate verdicts.csv --method bt",
    claim_check="weighup.arena.mirage_claim:check",
)
TOURNAMENTS, QUERIES = 200, 100
LEAST = 5
"""Training systems; with fewer nothing can be learned."""
TRIES = 10  # draws of queries for one tournament that compares all training systems
Kind = Literal["forest", "ridge", "linear", "svr", "boosted"]
Regression = Callable[[int], Any]
"""Seed -> an unfitted regressor of scikit-learn."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """names [f], systems [m], values [m, f] or, with `queries` [q], [m, q, f]; made by `of`, which checks them."""

    systems: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    queries: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        values: Mapping[str, ArrayLike | Mapping[str, float]],
        names: Sequence[str] = (),
        queries: Sequence[str] = (),
    ) -> Features:
        """From the features of each system: [f] or [queries, f] in the order of `names`, or one number a name.

        Raises InvalidInput naming system and feature for a value that is no finite number, features that differ between
        systems, a name that stands twice, and arrays of other shapes.
        """
        if not values:
            raise InvalidInput("features: of one system or more are needed")
        told = tuple(names)
        rows = []
        for system, given in values.items():
            if isinstance(given, Mapping):
                told = told or tuple(given)
                if set(given) != set(told):
                    raise InvalidInput(f"features of {system}: {', '.join(given)}; needed are {', '.join(told)}")
                given = [given[name] for name in told]
            rows.append(_numbers(system, given))
        if not told or len(set(told)) < len(told):
            raise InvalidInput("features: different names are needed, one a feature")
        shape = (len(queries), len(told)) if queries else (len(told),)
        for system, row in zip(values, rows, strict=True):
            if row.shape != shape:
                raise InvalidInput(f"features of {system}: an array of shape {shape} is needed, not {row.shape}")
            if not np.isfinite(row).all():
                at = np.argwhere(~np.isfinite(row))[0]
                where = f", query {queries[at[0]]!r}" if queries else ""
                raise InvalidInput(f"features of {system}{where}: {told[at[-1]]!r} is not a finite number")
        return cls(tuple(values), told, np.stack(rows), tuple(queries))

    def chosen(self, systems: Sequence[str], names: Sequence[str]) -> Features:
        """Of these systems and names, in this order. Raises InvalidInput for one that is not there."""
        for what, wanted, known in (("system", systems, self.systems), ("feature", names, self.names)):
            if missing := [name for name in wanted if name not in known]:
                raise InvalidInput(f"features: there is no {what} {missing[0]!r}; there are {some(known)}")
        rows = [self.systems.index(name) for name in systems]
        columns = [self.names.index(name) for name in names]
        return Features(tuple(systems), tuple(names), self.values[rows][..., columns], self.queries)

    def means(self, drawn: Mapping[str, int] | None = None) -> Floats:
        """[m, f]; over queries as often as they were `drawn` (None: each once; none of them known: likewise)."""
        if not self.queries:
            return self.values
        weight = np.array([1 if drawn is None else drawn.get(name, 0) for name in self.queries], dtype=np.float64)
        weight = weight if weight.any() else np.ones(len(weight))
        return np.asarray(np.einsum("mqf,q->mf", self.values, weight / weight.sum()), dtype=np.float64)


class SurrogateJudge:
    """Learns from a teacher's verdicts on some systems what features are worth, and rates other systems by it."""

    def __init__(
        self,
        features: Sequence[str] | None = None,
        model: Kind | Regression = "forest",
        *,
        trees: int = 100,
        seed: int = 0,
    ) -> None:
        """features: names of those to use (None: all). model: a kind of regression, or a function from a seed to one of
        scikit-learn's. Raises InvalidInput for another kind, no names, or trees below 1."""
        if isinstance(model, str) and model not in ("forest", "ridge", "linear", "svr", "boosted"):
            raise InvalidInput(f"model: forest, ridge, linear, svr or boosted, not {model!r}")
        if features is not None and (isinstance(features, str) or not features):
            raise InvalidInput("features: a list of one or more names is needed")
        if trees < 1:
            raise InvalidInput(f"trees: one or more is needed, not {trees}")
        self.features = None if features is None else tuple(features)
        self.systems: tuple[str, ...] = ()
        """Those it was fitted on."""
        self._model, self._trees, self._seed = model, trees, seed
        self._fitted: list[tuple[Any, dict[str, int]]] = []

    def fit(
        self,
        features: Features | Mapping[str, ArrayLike | Mapping[str, float]],
        teacher: Matches | Iterable[Match],
        *,
        tournaments: int = TOURNAMENTS,
        queries: int = QUERIES,
        ridge: float = 1.0,
    ) -> SurrogateJudge:
        """Fit one regression a tournament on the teacher's systems, all of which must have features; returns itself.

        queries: drawn with replacement in each tournament; a query is what the matches' `item` names (where they have
        none, a match is its own query). ridge: as `bradley_terry`. Raises InvalidInput for fewer than five training
        systems, a feature that is the same for all of them, systems never compared (naming the groups), a system
        without features, tournaments that compare too few systems, and all that `Features.of` raises for.
        """
        if tournaments < 1 or queries < 1:
            raise InvalidInput(f"tournaments, queries: one or more are needed, not {tournaments}, {queries}")
        taken = Matches.of(teacher)
        given = features if isinstance(features, Features) else Features.of(features)
        given = given.chosen(taken.systems, self.features or given.names)
        if len(taken.systems) < LEAST:
            raise InvalidInput(f"teacher: {len(taken.systems)} training systems; {LEAST} or more are needed")
        mean = given.means()
        if (same := mean.max(axis=0) == mean.min(axis=0)).any():
            name = given.names[int(np.argmax(same))]
            raise InvalidInput(f"features: {name!r} is the same for all training systems; leave it out")
        compared(taken.systems, win_matrix(taken), "error")
        rng = np.random.default_rng(self._seed)
        rows = _by_query(taken)
        fitted = []
        for number in range(tournaments):
            drawn, logits = _tournament(taken, rows, queries, ridge, rng)
            regression = self._unfitted(self._seed * tournaments + number)
            fitted.append((regression.fit(given.means(drawn), logits), drawn))
        self.features, self.systems, self._fitted = given.names, taken.systems, fitted
        return self

    def predict(self, features: Features | Mapping[str, ArrayLike | Mapping[str, float]]) -> Floats:
        """Logits [tournaments, systems], of mean 0 over the training systems. Raises InvalidInput before `fit`, and for
        features that are missing or not finite."""
        if not self._fitted or self.features is None:
            raise InvalidInput("surrogate judge: it is not fitted yet; call fit(features, teacher) first")
        given = features if isinstance(features, Features) else Features.of(features)
        given = given.chosen(given.systems, self.features)
        return np.array([regression.predict(given.means(drawn)) for regression, drawn in self._fitted], np.float64)

    def leaderboard(
        self,
        features: Features | Mapping[str, ArrayLike | Mapping[str, float]],
        bootstrap: int = TOURNAMENTS,
        *,
        level: float = 0.95,
    ) -> Leaderboard:
        """Ratings 1000 + 400·log10(strength), 1000 being the training systems' mean: the mean over tournaments, with
        quantiles and sd over the first `bootstrap` of them (0: no interval). n of a rating: 0, it never played.

        Raises InvalidInput as `predict`, and for more bootstraps than there were tournaments.
        """
        if not 0 < level < 1:
            raise InvalidInput(f"level: between 0 and 1 (neither of them) is needed, not {level}")
        logits = MEAN + SCALE * self.predict(features)
        if not 0 <= bootstrap <= len(logits):
            raise InvalidInput(f"bootstrap: from 0 to the {len(logits)} tournaments fitted is needed, not {bootstrap}")
        low = high = sd = None
        if bootstrap:
            low, high = np.quantile(logits[:bootstrap], [(1 - level) / 2, (1 + level) / 2], axis=0)
            sd = logits[:bootstrap].std(axis=0, ddof=1) if bootstrap > 1 else None
        names = features.systems if isinstance(features, Features) else tuple(features)
        return Leaderboard.of(
            names,
            logits.mean(axis=0),
            low=low,
            high=high,
            sd=sd,
            played=np.zeros(len(names)),
            n=0,
            components=(tuple(sorted(names)),),
            method="mirage",
        )

    def importance(self) -> dict[str, float]:
        """How much each feature counts, summing to 1: the forest's or boosted trees' importance, or a linear model's
        absolute weights (per standard deviation); means over tournaments. Raises InvalidInput for models without."""
        if not self._fitted or self.features is None:
            raise InvalidInput("surrogate judge: it is not fitted yet; call fit(features, teacher) first")
        found = np.mean([_importance(regression) for regression, _ in self._fitted], axis=0)
        return dict(zip(self.features, (found / max(found.sum(), 1e-300)).tolist(), strict=True))

    def _unfitted(self, seed: int) -> Any:
        if callable(self._model):
            return self._model(seed)
        if self._model == "forest":
            return need("sklearn.ensemble").RandomForestRegressor(self._trees, random_state=seed)
        if self._model == "boosted":
            return need("sklearn.ensemble").GradientBoostingRegressor(n_estimators=self._trees, random_state=seed)
        linear = need("sklearn.linear_model")
        regression = {
            "ridge": lambda: linear.RidgeCV(np.logspace(-2, 3, 11)),
            "linear": linear.LinearRegression,
            "svr": need("sklearn.svm").SVR,
        }[self._model]()
        return need("sklearn.pipeline").make_pipeline(need("sklearn.preprocessing").StandardScaler(), regression)


@dataclass(frozen=True, slots=True)
class Against:
    """How near a surrogate's ratings come to the teacher's: Kendall's τ, and R² of the ratings as they are, over
    systems."""

    tau: Estimate
    r2: Estimate


def against(teacher: Leaderboard, surrogate: Leaderboard, *, seed: int = 0, draws: int = 1000) -> Against:
    """Both over the surrogate's systems. Raises InvalidInput for one that the teacher did not rate, or one alone."""
    truth = [teacher[one.system].value for one in surrogate.ratings]
    told = [one.value for one in surrogate.ratings]
    return Against(*(estimated(measure, truth, told, seed=seed, draws=draws) for measure in (tau_b, r2)))


def r2(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of the variance of `truth` [n] that `predicted` [n] tells, at most 1 and below 0 where their mean would do
    better. Raises InvalidInput where the truth does not vary."""
    y, told = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.shape != told.shape or y.ndim != 1 or len(y) < 2 or y.min() == y.max():
        raise InvalidInput("r2: two arrays of one length, two items or more, and a truth that varies are needed")
    return float(need("sklearn.metrics").r2_score(y, told))


def _numbers(system: str, given: ArrayLike) -> Floats:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"features of {system}: numbers are needed: {error}") from error


def _by_query(matches: Matches) -> dict[str, NDArray[np.int64]]:
    """The matches of each query; each alone where no items are named."""
    if matches.item is None or (matches.item.code < 0).any():
        return {f"match {row + 1}": np.array([row]) for row in range(len(matches))}
    order = np.argsort(matches.item.code, kind="stable")
    codes, starts = np.unique(matches.item.code[order], return_index=True)
    pieces = np.split(order, starts[1:])
    return {matches.item.names[code]: rows for code, rows in zip(codes.tolist(), pieces, strict=True)}


def _tournament(
    matches: Matches, rows: Mapping[str, NDArray[np.int64]], queries: int, ridge: float, rng: np.random.Generator
) -> tuple[dict[str, int], Floats]:
    """Queries and how often each was drawn, and the logits [m] of the matches on them."""
    names = list(rows)
    for _ in range(TRIES):
        picked = [names[at] for at in rng.integers(0, len(names), queries)]
        here = matches.take(np.concatenate([rows[name] for name in picked]))
        if linked(win_matrix(here), "weak").max() == 0:
            board = bradley_terry(here, ridge=ridge, interval="none")
            return dict(Counter(picked)), np.array([(board[name].value - MEAN) / SCALE for name in matches.systems])
    raise InvalidInput(
        f"teacher: the matches on {queries} queries drawn do not compare all {len(matches.systems)} training systems; "
        "draw more with queries="
    )


def _importance(regression: Any) -> Floats:
    last = regression[-1] if hasattr(regression, "steps") else regression
    for name in ("feature_importances_", "coef_"):
        if hasattr(last, name):
            return np.abs(np.asarray(getattr(last, name), dtype=np.float64)).ravel()
    raise InvalidInput("importance: this kind of regression has none; use forest, ridge, linear or boosted")
