"""Verdicts and checks to put into a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from weighup.serve.db.records import Check
from weighup.verify.contract import EvidenceView, PerspectiveView, UsageView, Verdict

NOON = datetime(2026, 5, 10, 12, tzinfo=UTC)


def later(**spans: float) -> datetime:
    return NOON + timedelta(**spans)


def evidence(text: str) -> EvidenceView:
    return EvidenceView(
        text=text,
        stance="refutes",
        supports=0.1,
        refutes=0.8,
        neutral=0.1,
        url=f"https://example.org/{text.replace(' ', '-')}",
        title=text.title(),
        date="2026-05-09",
        source="example.org",
        origin="store",
    )


def verdict(
    claim: str, probability: float = 0.9, *, date: str | None = "2026-05-10", seen: tuple[str, ...] = ()
) -> Verdict:
    label = "fake" if probability > 0.6 else "real" if probability < 0.4 else "unknown"
    assessment = {"reliable": True, "probability": 0.8, "why": "two sources"}
    view = PerspectiveView(
        available=True,
        text="What was found.",
        verdict=label,
        probability_real=1 - probability,
        probability_fake=probability,
        probability_unknown=0.0,
        assessment=assessment,  # type: ignore[arg-type]
        weight=1.0,
        chosen=True,
    )
    return Verdict(
        claim=claim,
        date=date,
        verdict=label,
        probability_fake=probability,
        interval=(max(0.0, probability - 0.1), min(1.0, probability + 0.1)),
        expert="evidence",
        why="two sources refute it",
        perspectives={"evidence": view},
        evidence=[evidence(text) for text in seen],
        usage=UsageView(calls=1, seconds=0.1),
        model_versions={"encoder": "1"},
    )


def check(claim: str, probability: float = 0.9, *, key: str = "a", seen: tuple[str, ...] = (), **more: Any) -> Check:
    date = more.pop("date", "2026-05-10")
    return Check(verdict(claim, probability, date=date, seen=seen), key, **{"at": NOON, **more})
