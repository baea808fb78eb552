"""mkdocs hook: puts the kept claim results into the page that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weighup.claims import as_markdown, stored

PLACE = "<!-- claim results -->"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace the placeholder by a table of `docs/results/claims/*.json`."""
    if PLACE not in markdown:
        return markdown
    folder = Path(page.file.src_dir) / "results" / "claims"
    return markdown.replace(PLACE, as_markdown(stored(folder)))
