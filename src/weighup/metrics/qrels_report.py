"""What comparing two sets of relevance judgements gives, and its shapes as text; `weighup.metrics.qrels` fills it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Order:
    """How alike the systems are ordered: τ-b and τ_AP in [−1, 1] over `n` systems, 95 % bootstrap over topics.

    worst_drop: most places that one of these systems loses, of all systems, when the model judges; worst_system: which.
    None for a correlation of fewer than two systems, or of systems that all score the same.
    """

    n: int
    tau: float | None
    tau_interval: Interval | None
    tau_ap: float | None
    tau_ap_interval: Interval | None
    worst_drop: int
    worst_system: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs of systems by whether they differ significantly under each set of judgements.

    agree: under both, in the same direction (AA); opposite: under both, in the other (AD); human_only: a difference
    the model misses (MA); model_only: one that it makes up (MD); neither. false_positive_rate: model_only over all that
    are significant under the model; false_negative_rate: human_only over all under people; None for 0 of 0. Intervals:
    95 % bootstrap over systems.
    """

    agree: int
    opposite: int
    human_only: int
    model_only: int
    neither: int
    false_positive_rate: float | None
    false_positive_interval: Interval | None
    false_negative_rate: float | None
    false_negative_interval: Interval | None


@dataclass(frozen=True, slots=True)
class ReliabilityReport:
    """What `qrels_reliability` found.

    systems: best first by people, with their means over topics in human_means and model_means; overall: of all of them;
    top: {k: of the k best by people}. topics: those measured on; left_out: {topic: why}. missing: {system: topics its
    run lacks, scored 0}. unjudged: the policy, and unjudged_human, unjudged_model: share of the documents in the
    measured depth of the runs that have no grade.
    """

    measure: str
    test: str
    alpha: float
    systems: tuple[str, ...]
    human_means: tuple[float, ...]
    model_means: tuple[float, ...]
    topics: tuple[str, ...]
    left_out: dict[str, str]
    missing: dict[str, tuple[str, ...]]
    unjudged: str
    unjudged_human: float
    unjudged_model: float
    overall: Order
    top: dict[int, Order]
    pairs: Pairs

    def as_json(self) -> str:
        """All fields."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def as_markdown(self) -> str:
        """One table of orders, one of pairs, and a line each on what was left out."""
        lines = ["| systems | n | τ-b | τ_AP | worst drop |", "| --- | --- | --- | --- | --- |"]
        for name, order in [("all", self.overall), *((f"top {k}", order) for k, order in self.top.items())]:
            tau, ap = _shown(order.tau, order.tau_interval), _shown(order.tau_ap, order.tau_ap_interval)
            lines.append(f"| {name} | {order.n} | {tau} | {ap} | {order.worst_drop} ({order.worst_system}) |")
        p = self.pairs
        lines += ["", "| agree | opposite | human only | model only | neither | false positives | false negatives |"]
        lines += ["|" + " --- |" * 7]
        rates = [
            _shown(p.false_positive_rate, p.false_positive_interval),
            _shown(p.false_negative_rate, p.false_negative_interval),
        ]
        counts = [str(n) for n in (p.agree, p.opposite, p.human_only, p.model_only, p.neither)]
        lines += ["| " + " | ".join(counts + rates) + " |", ""]
        lines.append(f"- {self.measure} on {len(self.topics)} topics; test {self.test}, α = {self.alpha:g}")
        lines.append(
            f"- documents without a grade are {self.unjudged}: {self.unjudged_human:.1%} of those ranked by the "
            f"human set, {self.unjudged_model:.1%} by the model's"
        )
        lines += [f"- topic {topic} is left out: {why}" for topic, why in self.left_out.items()]
        lines += [f"- {name} lacks {len(t)} topics, scored 0: {', '.join(t)}" for name, t in self.missing.items()]
        return "\n".join(lines) + "\n"


def _shown(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
