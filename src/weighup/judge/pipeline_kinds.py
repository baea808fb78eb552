"""Kinds of judges that a pipeline file can name: llm, recorded, human, simulated, metric, panel, balanced, samples,
second_look."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from weighup.judge.balanced import Calibrated, Samples
from weighup.judge.by_metric import MetricJudge
from weighup.judge.human import HumanJudge
from weighup.judge.llm import By, Defence, LLMJudge, Unfit
from weighup.judge.orders import How
from weighup.judge.panel import Panel
from weighup.judge.pipeline import Nested, Parts, Spec, register
from weighup.judge.recorded import RecordedJudge
from weighup.judge.second_look import RELATED, SecondLook
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Judge, Kind


@register("llm")
class LLM(Spec):
    """A language model. `model`: as `models.language` in the settings; without it, the model that they name."""

    kind: Literal["llm"] = "llm"
    model: str | None = None
    prompt: str = "pair"
    form: str | None = None
    by: By = "json"
    name: str | None = None
    scale: tuple[float, float] = (1.0, 10.0)
    ties: bool = True
    temperature: float = Field(0.0, ge=0, le=2)
    seed: int = 0
    context: int | None = Field(None, ge=256)
    unfit: Unfit = "error"
    defence: Defence = "strip"

    def make(self, parts: Parts) -> Judge:
        prompt = parts.path(self.prompt) if self.prompt.endswith(".toml") else self.prompt
        return LLMJudge(
            parts.model(self.model),
            prompt=prompt,
            form=self.form,
            by=self.by,
            name=self.name,
            scale=self.scale,
            ties=self.ties,
            temperature=self.temperature,
            seed=self.seed,
            context=self.context,
            unfit=self.unfit,
            defence=self.defence,
            folder=parts.prompts,
            meter=parts.meter,
        )


@register("recorded")
class Recorded(Spec):
    """A JSONL file of judgements. `judge`: whose, where the file has several."""

    kind: Literal["recorded"] = "recorded"
    path: str
    judge: str | None = None

    def make(self, parts: Parts) -> Judge:
        return RecordedJudge.read(parts.path(self.path), self.judge)


@register("human")
class Human(Spec):
    """A queue for people in an SQLite file."""

    kind: Literal["human"] = "human"
    path: str
    name: str = "human"
    votes: int = Field(1, ge=1)

    def make(self, parts: Parts) -> Judge:
        return HumanJudge(parts.path(self.path), name=self.name, votes=self.votes)


@register("simulated")
class Simulated(Spec):
    """A judge of known faults; the items must have `meta.quality`."""

    kind: Literal["simulated"] = "simulated"
    seed: int
    name: str = "simulated"
    judges: Kind = "pair"
    scale: tuple[float, float] = (1.0, 10.0)
    noise: float = 0.0
    accuracy: float | None = None
    order_bias: float = 0.0
    length_bias: float = 0.0
    self_bias: float = 0.0
    compression: float = 0.0
    ties: float = 0.0
    refuse: float = 0.0

    def make(self, parts: Parts) -> Judge:
        faults = Faults(
            noise=self.noise,
            accuracy=self.accuracy,
            order_bias=self.order_bias,
            length_bias=self.length_bias,
            self_bias=self.self_bias,
            compression=self.compression,
            ties=self.ties,
            refuse=self.refuse,
        )
        return SimulatedJudge(faults, seed=self.seed, name=self.name, kind=self.judges, scale=self.scale)


@register("metric")
class Metric(Spec):
    """A metric of `weighup.metrics.text`; one that needs an encoder gets that of the settings."""

    kind: Literal["metric"] = "metric"
    metric: str
    name: str | None = None
    lower_is_better: bool | None = None
    within: float = Field(1e-9, ge=0)

    def make(self, parts: Parts) -> Judge:
        from weighup.metrics.text import find_metric
        from weighup.models.open import encoder

        needed = encoder() if "encoder" in find_metric(self.metric).needs else None
        return MetricJudge(
            self.metric, name=self.name, encoder=needed, lower_is_better=self.lower_is_better, within=self.within
        )


@register("panel")
class Jury(Spec):
    """Several judges as one. `last`: a judge that reads the others and decides, in place of a rule."""

    kind: Literal["panel"] = "panel"
    judges: tuple[Nested, ...] = Field(min_length=1)
    weights: dict[str, float] | None = None
    how: How = "vote"
    last: Nested | None = None
    name: str = "panel"
    own_votes: bool = True
    systems: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Jury:
        if self.last is not None and "how" in self.model_fields_set:
            raise ValueError("how: a panel is combined by a rule or by its last judge, not by both")
        return self

    def make(self, parts: Parts) -> Judge:
        return Panel(
            [one.make(parts) for one in self.judges],
            self.weights,
            self.how if self.last is None else self.last.make(parts),
            name=self.name,
            own_votes=self.own_votes,
            systems=self.systems,
        )


@register("balanced")
class Balanced(Spec):
    """A judge asked in both orders of each pair."""

    kind: Literal["balanced"] = "balanced"
    judge: Nested
    how: How = "vote"
    samples: int = Field(1, ge=1)
    name: str | None = None

    def make(self, parts: Parts) -> Judge:
        return Calibrated(self.judge.make(parts), how=self.how, samples=self.samples, name=self.name)


@register("samples")
class Drawn(Spec):
    """A judge asked several times for each item."""

    kind: Literal["samples"] = "samples"
    judge: Nested
    samples: int = Field(3, ge=1)
    how: How = "vote"
    name: str | None = None

    def make(self, parts: Parts) -> Judge:
        return Samples(self.judge.make(parts), self.samples, how=self.how, name=self.name)


@register("second_look")
class Looked(Spec):
    """A judge whose verdicts may not be won by sentences that bear on neither the request nor the other response."""

    kind: Literal["second_look"] = "second_look"
    judge: Nested
    below: float = Field(RELATED, gt=-1, lt=1)
    name: str | None = None

    def make(self, parts: Parts) -> Judge:
        from weighup.models.open import encoder

        return SecondLook(self.judge.make(parts), encoder(), below=self.below, name=self.name)
