"""Verdicts as Markdown, for a wiki, an issue or a chat. Text from outside is escaped; only http(s) becomes a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from weighup.texts import shorten
from weighup.verify.contract import EvidenceView, FailedRow, Verdict
from weighup.verify.report import phrases
from weighup.verify.report.phrases import percent, plain, span

FULL_SECTIONS = 500
"""Verdicts of a batch shown in full; of those after it, one line each."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#!|<>~$&@^]|:(?=//)|^[-+=:])")
_NUMBERED = re.compile(r"^(\d+)([.)])")


def render_markdown(verdicts: Sequence[Verdict | FailedRow], *, explain: bool = False) -> str:
    """One document for one or several verdicts."""
    return "".join(stream_markdown(verdicts, explain=explain))


def stream_markdown(verdicts: Iterable[Verdict | FailedRow], *, explain: bool = False) -> Iterator[str]:
    """The document in pieces, in memory bounded by one verdict."""
    yield "# weighup report\n\n"
    for number, verdict in enumerate(verdicts, start=1):
        if isinstance(verdict, FailedRow):
            yield f"- **Row {verdict.line} could not be checked**: {escape(verdict.error)}\n\n"
        elif number > FULL_SECTIONS:
            headline = phrases.HEADLINES[verdict.verdict]
            yield f"- **{headline}**, {percent(verdict.probability_fake)} fake: {escape(shorten(verdict.claim, 200))}\n"
        else:
            yield from _section(verdict, explain)
    yield f"\n---\n\n{phrases.METHOD}\n\n{phrases.LIMITS}\n"


def escape(text: str) -> str:
    """One line in which nothing is read as Markdown or HTML."""
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", plain(text)))


def _section(verdict: Verdict, explain: bool) -> Iterator[str]:
    yield f"## {phrases.HEADLINES[verdict.verdict]}\n\n> {escape(verdict.claim)}\n\n"
    facts = [f"id {escape(str(verdict.id))}"] if verdict.id is not None else []
    if verdict.date:
        facts.append(f"claimed {escape(phrases.day(verdict.date))}")
    if verdict.verdict != "not_checkable":
        facts.append(f"**{percent(verdict.probability_fake)} fake** (90 % interval {span(verdict.interval)})")
    if verdict.expert:
        facts.append(f"decided by {verdict.expert}")
    yield f"{' · '.join(facts)}\n\n{escape(verdict.why)}\n\n"
    yield from (f"- ⚠ {escape(warning)}\n" for warning in verdict.warnings)
    if verdict.verdict != "not_checkable":
        yield from _perspectives(verdict)
    if verdict.evidence:
        yield "\n### Evidence\n\n"
        yield from (f"{n}. {_passage(e, explain)}\n" for n, e in enumerate(verdict.evidence, start=1))
    if verdict.other_claims:
        yield "\n### Further claims, not judged\n\n"
        yield from (f"- {escape(other)}\n" for other in verdict.other_claims)
    if explain:
        asked = ", ".join(f"“{escape(query)}”" for query in phrases.queries(verdict))
        versions = ", ".join(f"{escape(name)} {escape(v)}" for name, v in verdict.model_versions.items())
        yield f"\n- Asked: {asked or 'nothing'}\n- Versions: {versions or 'none'}\n"
    yield f"\n{phrases.cost(verdict.usage)}\n\n"


def _perspectives(verdict: Verdict) -> Iterator[str]:
    yield "\n| perspective | says | reliable? | weight | why |\n|---|---|---|---:|---|\n"
    for kind, view in verdict.perspectives.items():
        name = f"**{phrases.KIND_NAMES[kind]}** (decided)" if view.chosen else phrases.KIND_NAMES[kind]
        says = phrases.OPINIONS[view.verdict] if view.available else "–"
        weight = percent(view.weight) if view.available else "–"
        yield f"| {name} | {says} | {phrases.reliability(view)} | {weight} | {escape(view.assessment.why)} |\n"
    yield "\n"
    for kind, view in verdict.perspectives.items():
        writer = f" (written by {escape(view.written_by)}, an opinion)" if view.written_by else ""
        yield f"- {phrases.KIND_NAMES[kind]}{writer}: {escape(view.text)}\n"


def _passage(item: EvidenceView, explain: bool) -> str:
    link = phrases.safe_link(item.url)
    title = escape(item.title or phrases.where_from(item))
    # Inside <…> a link ends only at > or a line end, which safe_link has ruled out.
    named = f"[{title}](<{link}>)" if link else title
    credibility = "" if item.credibility is None else f", credibility {item.credibility:.2f}"
    date = escape(phrases.day(item.date))
    text = escape(item.text if explain else shorten(plain(item.text), 400))
    chances = f" ({percent(item.supports)} / {percent(item.refutes)} / {percent(item.neutral)})" if explain else ""
    return (
        f"**{phrases.STANCES[item.stance]}**{chances}: {named} ({date}, {escape(phrases.where_from(item))}"
        f"{credibility})\n   > {text}"
    )
