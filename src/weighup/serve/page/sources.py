"""Who the evidence comes from: the passages of a verdict, counted by source."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from weighup.verify.contract import EvidenceView, Verdict
from weighup.verify.report.phrases import where_from


@dataclass(frozen=True, slots=True)
class Source:
    """A source with its passages, by their numbers, and how many of them take which side."""

    name: str
    passages: tuple[int, ...]
    supports: int
    refutes: int
    neutral: int
    credibility: float | None
    first: str | None
    last: str | None


def sources_of(verdict: Verdict) -> list[Source]:
    """The sources, those with most passages first."""
    groups: dict[str, list[tuple[int, EvidenceView]]] = {}
    for number, one in enumerate(verdict.evidence, start=1):
        groups.setdefault(_name(one), []).append((number, one))
    found = [_source(name, passages) for name, passages in groups.items()]
    return sorted(found, key=lambda source: (-len(source.passages), source.passages))


def _source(name: str, passages: list[tuple[int, EvidenceView]]) -> Source:
    views = [view for _, view in passages]
    stances = [view.stance for view in views]
    known = [view.credibility for view in views if view.credibility is not None]
    dates = sorted(view.date for view in views if view.date)
    return Source(
        name=name,
        passages=tuple(number for number, _ in passages),
        supports=stances.count("supports"),
        refutes=stances.count("refutes"),
        neutral=stances.count("neutral"),
        credibility=max(known) if known else None,
        first=dates[0] if dates else None,
        last=dates[-1] if dates else None,
    )


def _name(one: EvidenceView) -> str:
    if not one.source and one.url:
        try:
            host = urlsplit(one.url).hostname
        except ValueError:
            host = None
        if host:
            return host.removeprefix("www.")
    return where_from(one)
