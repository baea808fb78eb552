"""From a template to a response: what every page is given, and the headers that keep it harmless."""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from weighup import __version__
from weighup.dates import iso
from weighup.serve.api.parts import parts_of
from weighup.serve.page import session
from weighup.serve.page.assets import path_of
from weighup.texts import shorten
from weighup.verify.report import html, phrases

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # A form sent from a page without referrer has no origin either, and could not be told from another site's.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Vary": "Cookie, HX-Request",
}
# No inline style, no code from text, no history copies of pages, nothing from elsewhere.
HTMX_CONFIG = (
    '{"includeIndicatorStyles":false,"allowEval":false,"allowScriptTags":false,"selfRequestsOnly":true,'
    '"historyCacheSize":0,"refreshOnHistoryMiss":true,"timeout":65000}'
)
ROOMS = (
    ("/", "Check", "check"),
    ("/verdicts", "Verdicts", "read"),
    ("/stories", "Stories", "read"),
    ("/feeds", "Feeds", "read"),
    ("/review", "Review", "review"),
    ("/arena", "Arena", "review"),
    ("/search", "Search", "read"),
    ("/model", "Model", "read"),
)
LABELS = ("real", "fake", "unknown", "not_checkable")
SAID = {"real": "real", "fake": "fake", "unknown": "unknown", "not_checkable": "not a checkable claim"}
"""Labels as people give them."""


def page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page for whoever asks; gives a browser without a cookie one."""
    sessions: session.Sessions = parts_of(request).sessions
    name = session.name_of(request)
    fresh = name is None
    name = name or session.new_name()
    caller = getattr(request.state, "caller", None)
    body = (
        environment()
        .get_template(template)
        .render(
            request_path=request.url.path,
            caller=caller,
            signed_in=bool(caller and caller.key_id),
            token=sessions.token(name),
            now=datetime.now(UTC),
            **context,
        )
    )
    response = HTMLResponse(body.encode("utf-8", "replace"), status, headers=HEADERS)
    # To what another site brings about, a browser sends no cookie: one that is set then would end its session.
    if fresh and request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        session.put(request, response, name)
    return response


@functools.cache
def environment() -> Environment:
    """The report's templates, filters and words, and ours."""
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

    report = html.environment()
    made = Environment(
        loader=ChoiceLoader([FileSystemLoader(Path(__file__).parent / "templates"), report.loader or ChoiceLoader([])]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=report.finalize,
    )
    made.filters.update(report.filters)
    made.filters.update(moment=moment, ago=ago, wait=wait, share=share, count=count, cut=cut, written=written)
    made.globals.update(report.globals)
    made.globals.update(
        asset=path_of,
        rooms=ROOMS,
        labels=LABELS,
        said_as=SAID,
        htmx_config=HTMX_CONFIG,
        version=__version__,
        link_to=link_to,
        iso=iso,
    )
    return made


def link_to(path: str, **given: Any) -> str:
    """A path with a query of what is given and not empty."""
    query = urlencode([(name, str(value)) for name, value in given.items() if value not in (None, "", False)])
    return f"{path}?{query}" if query else path


def moment(value: datetime | None) -> str:
    """`2026-05-10 12:04 UTC`."""
    return "never" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(value: datetime | None, now: datetime) -> str:
    """How long ago, or ahead, in one unit: `3 min ago`, `in 2 h`."""
    if value is None:
        return "never"
    span = now - value
    if abs(span) < timedelta(seconds=45):
        return "just now" if span >= timedelta(0) else "in a moment"
    told = wait(abs(span).total_seconds())
    return f"{told} ago" if span > timedelta(0) else f"in {told}"


def wait(seconds: float) -> str:
    """A length of time in its largest whole unit."""
    for size, unit in ((86_400, "day"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            number = math.floor(seconds / size)
            return f"{number} {unit}{'s' if unit == 'day' and number != 1 else ''}"
    return f"{seconds:.0f} s"


def share(value: float) -> str:
    """A probability as a place in a drawing: `38.20%`."""
    return f"{100 * value:.2f}%"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 passage`, `2 passages`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cut(text: str, limit: int) -> str:
    """At most `limit` characters of a text, made plain."""
    return shorten(phrases.plain(text), limit)


def written(text: str) -> Markup:
    """A text with its line ends, for the field that it was written into."""
    return escape("\n".join(phrases.plain(line) for line in text.splitlines()))
