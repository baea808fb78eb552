"""From weighed perspectives to the verdict that is shown: evaluate, select, ask the expert, write it all down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from weighup.dates import iso
from weighup.errors import ModelUnavailable
from weighup.models.metering import Usage
from weighup.texts import words
from weighup.verify.calibrated import told
from weighup.verify.checkworthy import Checkability
from weighup.verify.contract import AssessmentView, EvidenceView, Label, PerspectiveView, UsageView, Verdict
from weighup.verify.ease import Decision, Ease, assess, select_all
from weighup.verify.evaluators import Assessed, Cases, Evaluator, HeadsEvaluator
from weighup.verify.gathering import Found
from weighup.verify.justify import justify
from weighup.verify.knowledge import logit, reasoning_row, sentiment_row
from weighup.verify.telling import texts_of
from weighup.verify.types import KINDS, Assessment, Claim, Kind, Perspective, Stanced
from weighup.verify.writing import Written

Array = NDArray[np.float32]
_LABELS: tuple[Label, ...] = ("real", "fake", "unknown")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claim ready to be weighed: the text judged, the text whose wording is weighed (see `Extracted`), its language
    and bound, and what the reader should be told."""

    claim: Claim
    text: str
    wording: str
    others: tuple[str, ...]
    checkability: Checkability
    lang: str
    before: datetime
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Weighed:
    """Everything gathered about one claim. `prior` and `leaning`: P(fake) by content and by tone alone; `vector`: the
    claim's embedding."""

    prepared: Prepared
    found: Found
    stanced: Sequence[Stanced]
    evidence_row: Array
    prior: float
    leaning: float
    tones: Array
    vector: Array
    written: Written | None
    writer: str | None
    usage: Usage


def content_row(prior: float, tones: Array) -> Array:
    """The content as the experts see it: the prior, how decided it is, and the tone."""
    own = float(logit(prior))
    return np.concatenate([np.asarray([own, abs(own)], np.float32), tones])


def rows_of(weighed: Weighed) -> dict[Kind, Array]:
    """The knowledge row of each kind."""
    zh = weighed.prepared.lang == "zh"
    opinion = weighed.written.opinion if weighed.written is not None else None
    return {
        "evidence": weighed.evidence_row,
        "reasoning": reasoning_row(weighed.prior, opinion, zh),
        "sentiment": sentiment_row(weighed.leaning, zh, len(words(weighed.prepared.wording))),
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """What every expert says of one claim and which of them decided. `content`: P(fake) by the content model alone.

    `opinions`: P(real, fake, unknown) by each perspective; `fake`: P(fake) by each expert, asked whatever its evaluator
    says of it, and `raw` the same before calibration; `label`: what is said of the claim; `justifications`: what the
    evaluator itself wrote, if it writes.
    """

    available: dict[Kind, bool]
    opinions: dict[Kind, tuple[float, float, float]]
    reliability: dict[Kind, float]
    content: float
    fake: dict[Kind, float]
    raw: dict[Kind, float]
    chosen: Kind
    decided: Decision
    justifications: dict[Kind, str | None]

    @property
    def label(self) -> Label:
        """Real, fake or unknown."""
        if self.decided.unknown:
            return "unknown"
        return "fake" if self.decided.probability_fake >= 0.5 else "real"


def judge(
    weighed: Sequence[Weighed], ease: Ease, evaluator: Evaluator | None = None, *, written: bool = False
) -> list[Judged]:
    """Evaluate the three perspectives of each claim, select, and ask every expert, in order.

    `evaluator` None: the heads of `ease`, which also step in where another fails; `written`: have it write why, if it
    can.
    """
    if not weighed:
        return []
    every = [rows_of(w) for w in weighed]
    content = np.stack([content_row(w.prior, w.tones) for w in weighed])
    available = [_available(w) for w in weighed]
    rows = {kind: np.stack([own[kind] for own in every]) for kind in KINDS}
    on = {kind: np.asarray([own[kind] for own in available]) for kind in KINDS}
    opinions = {
        kind: np.where(on[kind][:, None], ease.opinion(kind, rows[kind]), np.asarray([0, 0, 1], np.float32))
        for kind in KINDS
    }
    assessed = _assessed(weighed, rows, opinions, on, ease, evaluator, written)
    decisions = {kind: ease.decide(kind, rows[kind], content, assessed[kind].probability) for kind in KINDS}
    selected = select_all({kind: assessed[kind].probability for kind in KINDS}, on, ease.reliable_at)
    done = []
    for i, w in enumerate(weighed):
        chosen = KINDS[selected[i]]
        unsupported = w.prepared.lang == "other"
        done.append(
            Judged(
                available=available[i],
                opinions={kind: _triple(opinions[kind][i]) for kind in KINDS},
                reliability={kind: float(assessed[kind].probability[i]) for kind in KINDS},
                content=w.prior,
                fake={kind: decisions[kind][i].probability_fake for kind in KINDS},
                raw={kind: decisions[kind][i].raw for kind in KINDS},
                chosen=chosen,
                decided=Decision("sentiment", 0.5, (0.0, 1.0), True) if unsupported else decisions[chosen][i],
                justifications={kind: assessed[kind].justifications[i] for kind in KINDS},
            )
        )
    return done


def _assessed(
    weighed: Sequence[Weighed],
    rows: dict[Kind, Array],
    opinions: dict[Kind, Array],
    on: dict[Kind, NDArray[np.bool_]],
    ease: Ease,
    evaluator: Evaluator | None,
    written: bool,
) -> dict[Kind, Assessed]:
    heads = HeadsEvaluator(ease)
    spoken = [texts_of(w) for w in weighed] if evaluator is not None else []
    tellings = {kind: [one[kind] for one in spoken] for kind in KINDS}
    cases = Cases([w.prepared.text for w in weighed], tellings, rows, opinions, on)
    if evaluator is not None:
        try:
            return {kind: evaluator.assess(kind, cases, justify=written) for kind in KINDS}
        except ModelUnavailable as error:
            for w in weighed:
                w.prepared.warnings.append(f"the heads assessed reliability, as {evaluator.name} failed: {error}")
    return {kind: heads.assess(kind, cases) for kind in KINDS}


def conclude(weighed: Weighed, judged: Judged, ease: Ease, seconds: float, versions: dict[str, str]) -> Verdict:
    """The verdict that is shown: what was judged, in words, with all that it rests on."""
    prepared = weighed.prepared
    perspectives = _perspectives(weighed, judged)
    reliability, available, decided = judged.reliability, judged.available, judged.decided
    assessments = {
        kind: assess(
            available[kind],
            reliability[kind],
            ease.reliable_at[kind],
            np.asarray([judged.opinions[kind]], np.float32),
            judged.justifications[kind] or _note(kind, weighed, judged, perspectives[kind]),
        )
        for kind in KINDS
    }
    kind, label = judged.chosen, judged.label
    total = sum(reliability.values()) or 1.0
    return Verdict(
        id=prepared.claim.id,
        claim=prepared.text,
        date=iso(prepared.claim.date),
        verdict=label,
        probability_fake=round(decided.probability_fake, 4),
        interval=(round(decided.interval[0], 4), round(decided.interval[1], 4)),
        expert=kind,
        why=_why(label, decided, assessments, available, ease.risk),
        risk=ease.risk,
        perspectives={
            k: _view(perspectives[k], assessments[k], reliability[k] / total, k == kind, weighed) for k in KINDS
        },
        evidence=[_evidence_view(s) for s in weighed.stanced],
        other_claims=list(prepared.others),
        usage=_usage(weighed.usage, seconds),
        warnings=_warnings(weighed, ease),
        model_versions=versions | _prompts(weighed),
    )


def refuse(prepared: Prepared, seconds: float, versions: dict[str, str]) -> Verdict:
    """The verdict on what is not a checkable claim: nothing was gathered and no expert asked."""
    none = PerspectiveView(
        available=False,
        text="Not gathered: this is not a checkable claim.",
        verdict="not_checkable",
        probability_real=0.0,
        probability_fake=0.0,
        probability_unknown=1.0,
        assessment=AssessmentView(reliable=False, probability=0.0, why="not asked"),
        weight=0.0,
        chosen=False,
    )
    return Verdict(
        id=prepared.claim.id,
        claim=prepared.text,
        date=iso(prepared.claim.date),
        verdict="not_checkable",
        probability_fake=0.5,
        interval=(0.0, 1.0),
        expert=None,
        why=f"Not a checkable claim: {prepared.checkability.why}.",
        perspectives=dict.fromkeys(KINDS, none),
        evidence=[],
        other_claims=list(prepared.others),
        usage=_usage(Usage(), seconds),
        warnings=list(dict.fromkeys(prepared.warnings)),
        model_versions=versions,
    )


def _available(weighed: Weighed) -> dict[Kind, bool]:
    """Whether each perspective could be had."""
    written, lang = weighed.written, weighed.prepared.lang
    failed = written is not None and written.failed is not None
    return {
        "evidence": lang == "en" and bool(weighed.stanced),
        "reasoning": lang != "other" and not failed,
        "sentiment": True,
    }


def _triple(row: Array) -> tuple[float, float, float]:
    real, fake, unknown = row
    return float(real), float(fake), float(unknown)


def _perspectives(weighed: Weighed, judged: Judged) -> dict[Kind, Perspective]:
    texts = texts_of(weighed)
    return {
        kind: Perspective(
            kind,
            judged.available[kind],
            texts[kind],
            judged.opinions[kind],
            tuple(weighed.found.queries) if kind == "evidence" else (),
        )
        for kind in KINDS
    }


def _note(kind: Kind, weighed: Weighed, judged: Judged, perspective: Perspective) -> str:
    if not perspective.available:
        return perspective.text if kind != "evidence" else "there is no evidence that could be weighed"
    return justify(kind, weighed, judged.opinions, judged.available)


def _why(
    label: Label,
    decided: Decision,
    assessments: dict[Kind, Assessment],
    available: dict[Kind, bool],
    risk: float | None,
) -> str:
    passed = []
    for kind in KINDS[: KINDS.index(decided.expert)]:
        if not available[kind]:
            passed.append(f"{kind} was not available")
        else:
            passed.append(f"{kind} was judged not reliable enough ({assessments[kind].probability:.0%})")
    chosen = assessments[decided.expert]
    text = f"The {decided.expert} expert decided"
    text += f", because {' and '.join(passed)}" if passed else f": {decided.expert} was judged reliable"
    text += (
        f" ({chosen.probability:.0%} sure)." if not passed else f"; its own reliability is {chosen.probability:.0%}."
    )
    low, high = decided.interval
    text += (
        f" It puts the probability that the claim is fake at {decided.probability_fake:.2f} ({low:.2f} to {high:.2f})."
    )
    at = "" if risk is None else f" at a risk of {told(risk)}"
    if label == "unknown":
        text += f" That is too little to call it real or fake{at}: it is too early to say."
    elif risk is not None:
        text += f" That is enough to call it {label}{at}."
    return text


def _view(p: Perspective, a: Assessment, weight: float, chosen: bool, weighed: Weighed) -> PerspectiveView:
    written = weighed.written
    by_model = written is not None and (
        (p.kind == "evidence" and written.summary is not None)
        or (p.kind == "reasoning" and written.explanation is not None)
    )
    return PerspectiveView(
        available=p.available,
        text=p.text,
        verdict=_LABELS[int(np.argmax(p.verdict))],
        probability_real=round(p.verdict[0], 4),
        probability_fake=round(p.verdict[1], 4),
        probability_unknown=round(p.verdict[2], 4),
        assessment=AssessmentView(reliable=a.reliable, probability=round(a.probability, 4), why=a.why),
        weight=round(weight, 4),
        chosen=chosen,
        queries=list(p.queries),
        written_by=weighed.writer if by_model else None,
    )


def _evidence_view(s: Stanced) -> EvidenceView:
    e = s.evidence
    return EvidenceView(
        text=e.text,
        stance=s.stance,
        supports=round(s.supports, 4),
        refutes=round(s.refutes, 4),
        neutral=round(s.neutral, 4),
        url=e.url,
        title=e.title,
        date=iso(e.published),
        source=e.source or None,
        credibility=e.credibility,
        origin=e.origin,
        query=e.query,
        score=round(min(max(e.score, 0.0), 1.0), 4),
    )


def _usage(usage: Usage, seconds: float) -> UsageView:
    return UsageView(
        calls=usage.calls,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        seconds=round(seconds, 4),
        usd=round(usage.usd, 6),
        cached=usage.cached,
    )


def _prompts(weighed: Weighed) -> dict[str, str]:
    asked = weighed.written.prompts if weighed.written is not None else {}
    return {f"prompt_{name}": version for name, version in asked.items()}


def _warnings(weighed: Weighed, ease: Ease) -> list[str]:
    found = list(weighed.prepared.warnings)
    if ease.risk is not None and all(math.isinf(at) for at in ease.threshold.values()):
        found.append(f"no confidence is known to keep a risk of {told(ease.risk)}, so nothing is called real or fake")
    found += [f"{name} was not available: {reason}" for name, reason in weighed.found.unavailable.items()]
    if weighed.written is not None:
        if weighed.written.failed is not None:
            found.append(f"reasoning was not available, the other perspectives decided: {weighed.written.failed}")
        found += weighed.written.warnings
    return list(dict.fromkeys(found))
