"""The published form of an evaluation: what `weighup evaluate --json` and `--out` write."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SYSTEMS = {
    "content": "content only",
    "evidence": "evidence always",
    "reasoning": "reasoning always",
    "sentiment": "sentiment always",
    "mean": "average of experts",
    "gate": "learned gate",
    "oracle": "oracle selection",
    "ease": "EASE",
    "no-evaluators": "no evaluators",
    "no-sentiment-fallback": "no sentiment fallback",
    "random-selection": "random selection",
    "most-confident": "most confident expert",
}
"""Names of the systems for people. The gate is left out where it could not be fitted; what follows EASE are ablations
of its selection (`ablations.py`), measured when they are asked for."""
Protocol = Literal["plain", "scarcity", "time", "transfer"]


class Published(BaseModel):
    """What all of it has in common: nothing is added, nothing changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(Published):
    """A score, averaged over the seeds, with its 95 % interval over claim groups."""

    value: float | None = Field(description="None where it is undefined, for example with one class only")
    low: float | None = Field(None, description="None where there are too few claim groups for an interval")
    high: float | None = None


class Difference(Published):
    """EASE less another system on the same claims, with the paired 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None


class SystemScores(Published):
    """One system on the claims labelled real or fake. Fake is the positive class; all lie in [0, 1]."""

    macro_f1: Estimate = Field(description="of real and fake at P(fake) ≥ 0.5")
    auroc: Estimate
    brier: Estimate = Field(description="lower is better")
    ece: Estimate = Field(description="expected calibration error, 15 bins; lower is better")
    coverage: Estimate = Field(description="share of claims that can be called at 10 % risk, surest first")


class EaseNumbers(Published):
    """What EASE did with the claims."""

    called: float = Field(description="share of all claims not left unknown")
    risk_among_called: float | None = Field(description="share called wrongly; a claim labelled unknown counts as such")
    selection_accuracy: float | None = Field(description="how often the chosen expert is right where any expert is")
    evidence_accuracy: float | None = Field(description="how often the evidence expert is right on those claims")
    chosen: dict[str, float] = Field(description="share of claims that each expert decided")


class Reliability(Published):
    """EASE's P(fake) against the share of fake, in ten bins of equal width; empty bins are left out."""

    predicted: list[float]
    observed: list[float]
    counts: list[int]


class Cell(Published):
    """All systems on the same claims of a set, under one condition."""

    set: str
    q: float | None = Field(None, description="share of evidence kept; None: all q and r together, or as given")
    r: float | None = Field(None, description="share of kept evidence swapped; None: all r together, or as given")
    period: str | None = Field(None, description="calendar quarter, or first and last day, with the protocol `time`")
    n: int = Field(description="claims labelled real or fake")
    systems: dict[str, SystemScores]
    gains: dict[str, Difference] = Field(description="EASE less each other system, macro-F1")
    ease: EaseNumbers
    reliability: Reliability


class HeldAt(Published):
    """The two numbers of a demand at one q. `gain` is their difference with its interval, where one is drawn."""

    q: float | None = Field(description="None: averaged over q")
    ease: float
    other: float
    who: str = Field(description="the system compared with")
    gain: Difference | None = None


class Held(Published):
    """A demand on EASE, and whether the numbers meet it."""

    set: str
    demand: str
    holds: bool
    at: list[HeldAt]


class Cost(Published):
    """Means over claims, of the first pass over a set: later ones find texts and pairs already read."""

    claims: int = Field(description="claims given, those that are not checkable among them")
    calls: float = Field(description="calls of the language model")
    tokens_in: float
    tokens_out: float
    seconds: float = Field(description="wall time, models opened before; of a batch, shared by its claims")
    usd: float


class SetInfo(Published):
    """What was measured of a set."""

    name: str
    split: str
    rows: int = Field(description="rows taken, after --limit")
    real: int = Field(description="claims measured, by label")
    fake: int
    unknown: int = Field(description="left out of all scores but the share called and the risk among called")
    not_checkable: int = Field(description="opinions and questions, left out for all systems")
    without_evidence: int = Field(description="claims measured that come with no evidence")
    groups: int
    valid: int = Field(description="valid rows, which the gate may be fitted on")
    leaks_dropped: int
    fitted_on: int | None = Field(None, description="rows of the other sets fitted on, with the protocol `transfer`")
    cost: Cost | None = None


class GateInfo(Published):
    """The learned gate: what it was fitted on, or why there is none."""

    fitted: bool
    told: str
    rows: int = 0


class Evaluation(Published):
    """Who decides best, measured. `format` counts up when fields change their meaning."""

    format: Literal[1] = 1
    weighup: str
    made: str
    protocol: Protocol
    seeds: list[int]
    q: list[float]
    r: list[float]
    resamples: int
    limit: int | None
    written: bool = Field(description="whether the language model was asked too")
    risk: float | None = Field(None, description="share of wrong calls asked for; None: what the weights keep to")
    models: dict[str, str] = Field(description="version of every model that took part")
    sets: list[SetInfo]
    gate: GateInfo
    refitted: str | None = Field(None, description="what was fitted anew for each set, with the protocol `transfer`")
    cells: list[Cell]
    holds: list[Held] = Field(description="what must hold, with the protocols `scarcity` and `transfer`")
    notes: list[str]
