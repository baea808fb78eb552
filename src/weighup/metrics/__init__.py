"""How good is it, as a number with an interval? Plain functions on arrays; nothing but numpy.

`classification` (is the answer right), `calibration` (do probabilities mean what they say), `selective` (answering
only when sure), `intervals` (how sure is the number).
"""

from weighup.metrics.calibration import (
    Isotonic,
    ReliabilityCurve,
    brier,
    ece,
    ece_by_chance,
    isotonic,
    log_loss,
    reliability_curve,
    temperature,
)
from weighup.metrics.classification import accuracy, auroc, average_precision, balanced_accuracy, macro_f1
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.metrics.selective import (
    RiskCoverage,
    aurc,
    coverage_at_risk,
    risk_controlled_threshold,
    risk_coverage,
)

__all__ = [
    "Isotonic",
    "ReliabilityCurve",
    "RiskCoverage",
    "accuracy",
    "aurc",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "bootstrap",
    "brier",
    "coverage_at_risk",
    "ece",
    "ece_by_chance",
    "isotonic",
    "log_loss",
    "macro_f1",
    "paired_bootstrap",
    "reliability_curve",
    "risk_controlled_threshold",
    "risk_coverage",
    "temperature",
]
