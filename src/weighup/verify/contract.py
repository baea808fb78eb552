"""The published JSON form of a verdict (`weighup schema`). Fields are added, never renamed or removed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Label = Literal["real", "fake", "unknown", "not_checkable"]
ExpertName = Literal["evidence", "reasoning", "sentiment"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AssessmentView(_Part):
    """What the perspective's own evaluator says: whether it may be relied on for this claim, how surely, and why."""

    reliable: bool
    probability: Probability
    why: str


class PerspectiveView(_Part):
    """One kind of knowledge. `verdict` is its own opinion before any expert; `weight` its share in the decision."""

    available: bool
    text: str = Field(description="What this kind of knowledge says. What a language model wrote is an opinion.")
    verdict: Label
    probability_real: Probability
    probability_fake: Probability
    probability_unknown: Probability
    assessment: AssessmentView
    weight: Probability = Field(description="Normalised reliability over the available perspectives.")
    chosen: bool
    queries: list[str] = []
    written_by: str | None = Field(None, description="Model that wrote `text`; null for templates and extracts.")


class EvidenceView(_Part):
    """One passage the verdict rests on, with how it bears on the claim."""

    text: str
    stance: Literal["supports", "refutes", "neutral"]
    supports: Probability
    refutes: Probability
    neutral: Probability
    url: str | None = None
    title: str | None = None
    date: str | None = Field(None, description="ISO 8601 publication date; null when undated.")
    source: str | None = None
    credibility: Probability | None = None
    origin: str = Field(description="`row` (came with the claim), `store`, or the name of an online source.")
    query: str | None = None
    score: float = 0.0


class UsageView(_Part):
    """What the verdict cost."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    cached: int = 0


class Verdict(_Part):
    """Everything needed to act on, and to audit, one decision."""

    id: str | int | None = Field(None, description="The input row's id, echoed.")
    input_digest: str | None = Field(None, description="In a batch: what the input row read as; resuming relies on it.")
    run_digest: str | None = Field(
        None, description="In a batch: names the flags and settings the row was checked under; resuming relies on it."
    )
    claim: str
    date: str | None = Field(None, description="The claim's date: no evidence from it or after was used.")
    verdict: Label
    probability_fake: Probability
    interval: tuple[Probability, Probability] = Field(description="90 % interval of probability_fake.")
    expert: ExpertName | None
    why: str
    risk: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None,
        description="Share of wrong calls, of all claims called, that was kept to; null: heads without calibration.",
    )
    perspectives: dict[ExpertName, PerspectiveView]
    evidence: list[EvidenceView]
    other_claims: list[str] = Field([], description="Further check-worthy claims of a long text, not judged.")
    usage: UsageView
    warnings: list[str] = []
    model_versions: dict[str, str]


class FailedRow(_Part):
    """A batch row that could not be checked. `line` counts from 1."""

    id: str | int | None = None
    input_digest: str | None = None
    run_digest: str | None = None
    line: int
    error: str
