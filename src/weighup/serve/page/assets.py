"""Style, scripts and icon, served from this package under names that change with what they hold.

The style of the report comes first, so that a verdict looks the same in a report and here. htmx is vendored
(`static/htmx-2.0.11.min.js`, Zero-Clause BSD, sha256 below): no page asks another server for anything.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib.resources import files

HTMX = "htmx-2.0.11.min.js"
HTMX_SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
"""Of `dist/htmx.min.js` in the npm package htmx.org 2.0.11."""
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent. `path` names its content."""

    path: str
    body: bytes
    media_type: str


@functools.cache
def assets() -> dict[str, Asset]:
    """All files, by name: page.css, page.js, htmx.js, icon.svg."""
    own, report = files("weighup.serve.page") / "static", files("weighup.verify.report")
    bodies = {
        "page.css": (report / "page.css").read_bytes() + b"\n" + (own / "page.css").read_bytes(),
        "page.js": (own / "page.js").read_bytes(),
        "htmx.js": (own / HTMX).read_bytes(),
        "icon.svg": (own / "icon.svg").read_bytes(),
    }
    found = {}
    for name, body in bodies.items():
        digest = hashlib.sha256(body).hexdigest()[:16]
        found[name] = Asset(f"/static/{digest}/{name}", body, _TYPES[name.rpartition(".")[2]])
    return found


def path_of(name: str) -> str:
    """Where a page finds a file."""
    return assets()[name].path
