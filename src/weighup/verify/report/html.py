"""One self-contained page: no script, no request, nothing from outside that is not escaped text.

The content security policy allows the page's own style by its hash and nothing else; addresses become links only
when they are http(s). A batch is rendered in pieces: an overview first, then the first sections in full.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighup.texts import language, shorten
from weighup.verify.contract import FailedRow, Label, Verdict
from weighup.verify.report import chart, phrases

if TYPE_CHECKING:
    from jinja2 import Environment

FULL_SECTIONS = 500
"""Verdicts of a batch shown in full; a page of more is slow to open."""
OVERVIEW_ROWS = 5_000
"""Lines of the overview; the JSON lines hold all."""
_HERE = Path(__file__).parent
GLYPHS: dict[Label, str] = {"real": "✓", "fake": "✕", "unknown": "?", "not_checkable": "–"}


@dataclass(frozen=True, slots=True)
class Line:
    """A verdict, or a failed row, in the overview; `number` counts from 1."""

    number: int
    id: str | int | None
    claim: str
    label: Label | None
    probability: str
    interval: str
    expert: str


def render_html(verdicts: Sequence[Verdict | FailedRow], *, title: str = "") -> str:
    """The page for one or several verdicts."""
    return "".join(stream_html(lambda: verdicts, title=title))


def stream_html(verdicts: Callable[[], Iterable[Verdict | FailedRow]], *, title: str = "") -> Iterator[str]:
    """The page in pieces. `verdicts` is called for each pass over them (totals, overview, sections)."""
    counts = dict.fromkeys([*phrases.HEADLINES, "failed"], 0)
    total = 0
    for answer in verdicts():
        key: str = "failed" if isinstance(answer, FailedRow) else answer.verdict
        counts[key] += 1
        total += 1
    css = _style()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    stream = (
        environment()
        .get_template("page.html.j2")
        .stream(
            title=title,
            total=total,
            counts=counts,
            overview=(_line(n, answer) for n, answer in enumerate(islice(verdicts(), OVERVIEW_ROWS), start=1)),
            left_out=max(0, total - OVERVIEW_ROWS),
            # As many as the overview lists, and only those: its links lead somewhere.
            sections=(
                (n, v) for n, v in enumerate(islice(verdicts(), FULL_SECTIONS), start=1) if isinstance(v, Verdict)
            ),
            full=FULL_SECTIONS,
            css=css,
            policy=policy,
        )
    )
    stream.enable_buffering(64)
    yield from stream


def _line(number: int, answer: Verdict | FailedRow) -> Line:
    if isinstance(answer, FailedRow):
        return Line(number, answer.id, answer.error, None, "–", "", "")
    checked = answer.verdict != "not_checkable"
    return Line(
        number,
        answer.id,
        shorten(answer.claim, 160),
        answer.verdict,
        phrases.percent(answer.probability_fake) if checked else "–",
        phrases.span(answer.interval) if checked else "",
        phrases.KIND_NAMES[answer.expert] if answer.expert else "",
    )


def _credibility(value: float) -> str:
    return "high" if value >= 0.7 else "middling" if value >= 0.4 else "low"


def _language_tag(text: str) -> str:
    return {"en": "en", "zh": "zh"}.get(language(text[:2000]), "und")


def _finish(value: Any) -> Any:
    """Every text that is put in place is made plain first; escaping follows."""
    return phrases.plain(value) if type(value) is str else value


def _style() -> str:
    return (_HERE / "page.css").read_text(encoding="utf-8").strip()


@functools.cache
def environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finish,
    )
    environment.filters.update(
        percent=phrases.percent,
        span=phrases.span,
        day=phrases.day,
        cost=phrases.cost,
        reliability=phrases.reliability,
        where_from=phrases.where_from,
        link=phrases.safe_link,
        credibility=_credibility,
        tongue=_language_tag,
    )
    environment.globals.update(
        headlines=phrases.HEADLINES,
        opinions=phrases.OPINIONS,
        names=phrases.KIND_NAMES,
        meanings=phrases.KIND_MEANINGS,
        stances=phrases.STANCES,
        method=phrases.METHOD,
        limits=phrases.LIMITS,
        glyphs=GLYPHS,
        scale=chart.scale,
        shares=chart.shares,
        timeline=chart.timeline,
        undated=chart.undated,
        queries=phrases.queries,
    )
    return environment
