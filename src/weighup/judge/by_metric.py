"""A reference metric as a judge: the response that it scores higher wins (RevisEval, Zhang et al. 2024, arXiv
2410.05193, does so with revised references)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.types import Item, Judgement, Rubric, answered, by_scores
from weighup.models.types import Encoder

Metric = Callable[..., NDArray[np.float64]]


class MetricJudge:
    """Scores every response by a metric: one in `weighup.metrics.text` by its name, such a one with its model in place
    (`bind`), or a function `(hypotheses, references, sources) -> scores [n]`. All responses of a call are scored at
    once; the source of a response is its item's `context`, else its prompt.

    `lower_is_better` turns the verdicts (scores stay the metric's), None: as the metric says, else False. Two scores
    within `within` of each other tie. `needs_reference`, None: as the metric says, else True. A response without a
    score has None, and its item is `invalid`.
    """

    def __init__(
        self,
        metric: str | Metric,
        *,
        name: str | None = None,
        encoder: Encoder | None = None,
        lower_is_better: bool | None = None,
        within: float = 1e-9,
        needs_reference: bool | None = None,
    ) -> None:
        """Raises InvalidInput for an unknown metric, or one whose `encoder` is missing."""
        self.metric: Metric = _named(metric, encoder) if isinstance(metric, str) else metric
        told = metric if isinstance(metric, str) else getattr(metric, "name", getattr(metric, "__name__", "metric"))
        self.name = name or f"metric/{told}"
        needs = getattr(self.metric, "needs", frozenset({"reference"}))
        self._needs = "reference" in needs if needs_reference is None else needs_reference
        lower = not getattr(self.metric, "higher_is_better", True)
        self.lower_is_better = lower if lower_is_better is None else lower_is_better
        self.within = within
        self._told = f"{told} {encoder.name} {encoder.version}" if encoder is not None else str(told)

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        told: dict[str, JsonValue] = {"judge": "metric", "name": self.name, "metric": self._told}
        return told | {"lower_is_better": self.lower_is_better, "within": self.within}

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Scores, the winner of two, the ranking of more. The rubric is not looked at.

        Raises InvalidInput naming an item without the reference that the metric compares with.
        """
        for item in items:
            if self._needs and not (item.reference or "").strip():
                raise InvalidInput(f"item {item.id}: has no reference for {self.name} to compare with")
        texts = [(one.text, item) for item in items for one in item.shown()]
        if not texts:
            return []
        sources = [item.context or item.prompt for _, item in texts]
        found = self.metric([text for text, _ in texts], [item.reference or "" for _, item in texts], sources)
        scores = np.asarray(found, float)
        if scores.shape != (len(texts),):
            raise InvalidInput(f"{self.name}: gave {scores.shape} scores of {len(texts)} responses")
        rest = iter(scores.tolist())
        return [self._judged(item, [next(rest) for _ in item.responses]) for item in items]

    def _judged(self, item: Item, scores: list[float]) -> Judgement:
        said: dict[str, Any] = {"kind": "score", "scores": tuple(s if math.isfinite(s) else None for s in scores)}
        if not all(map(math.isfinite, scores)):
            return answered(item, self.name, **said, status="invalid")
        worth = [-score for score in scores] if self.lower_is_better else scores
        if len(worth) == 2:
            said["winner"] = by_scores(worth, within=self.within)
        elif len(worth) > 2:
            said["ranking"] = tuple(sorted(range(1, len(worth) + 1), key=lambda n: -worth[n - 1]))
        return answered(item, self.name, **said)


def _named(name: str, encoder: Encoder | None) -> Metric:
    from weighup.metrics.text import find_metric

    return find_metric(name).bind(encoder=encoder)
