"""One claim from a flag, a file, a page or standard input: read, judged, and reported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from weighup.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from weighup.cli.check import Ask
    from weighup.settings import Settings
    from weighup.verify.contract import Verdict
    from weighup.verify.types import Claim

READ_LIMIT = 8_000_000
"""Bytes of a file or of standard input that are looked at; a claim's text is cut far below."""


def check_one(ask: Ask) -> None:
    """Read, check and report. Progress is drawn before anything heavy is imported."""
    from weighup.console import progress

    with progress("weighup: checking", show=not ask.quiet) as advance:
        settings = read_settings(ask)
        claim = _claim(ask, settings)
        advance(0, note="loading models")
        from weighup.verify.verifier import Verifier

        with Verifier(settings, offline=ask.offline, search=ask.search) as verifier:
            advance(0, note="gathering and judging")
            verdict = verifier.check([claim])[0]
    if ask.format == "text" and ask.out is None:
        from weighup.verify.report.text import print_verdict

        print_verdict(verdict, explain=ask.explain)
        return
    deliver(render(verdict, ask), ask.out)


def read_settings(ask: Ask) -> Settings:
    """All layers of settings, flags on top. Raises SettingsError or InvalidInput naming the flag."""

    from weighup.settings import load_settings, use_config

    use_config(ask.config)
    flags: dict[str, dict[str, Any]] = {"verify": {}, "models": {}, "retrieve": {}}
    if ask.brief:
        flags["verify"]["brief"] = True
    if ask.budget is not None:
        flags["verify"].update(parse_budget(ask.budget))
    if ask.weights is not None:
        flags["verify"]["weights"] = ask.weights
    if ask.risk is not None:
        flags["verify"]["risk"] = ask.risk
    if ask.model is not None:
        flags["models"]["language"] = ask.model
    if ask.sources is not None:
        names = tuple(name.strip().lower() for name in ask.sources.split(",") if name.strip())
        if not names:
            raise InvalidInput("--sources is empty; name some, for example wikipedia,gdelt, or use --offline")
        flags["retrieve"]["sources"] = names
    settings = load_settings({section: values for section, values in flags.items() if values})
    set_up_log(settings.log, ask.quiet)
    return settings


def parse_budget(text: str) -> dict[str, float | int]:
    """`tokens=2000,seconds=10,usd=0.01` (a claim) or `run_tokens=…` (all) as settings. Raises InvalidInput."""
    found: dict[str, float | int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name.removeprefix("run_") not in ("tokens", "seconds", "usd"):
            raise InvalidInput(f"--budget {part!r}: write it as tokens=2000,seconds=10,usd=0.01 (any of them)")
        setting = name if name.startswith("run_") else f"budget_{name}"
        if setting in found:
            raise InvalidInput(f"--budget names {name} twice")
        try:
            amount: float | int = int(value) if name.endswith("tokens") else float(value)
        except ValueError:
            raise InvalidInput(f"--budget {part!r}: {value!r} is not a number") from None
        if not 0 <= amount < float("inf") or (amount == 0 and not name.endswith("usd")):
            raise InvalidInput(f"--budget {part!r}: must be more than nothing and less than infinity")
        found[setting] = amount
    if not found:
        raise InvalidInput("--budget is empty; write it as tokens=2000,seconds=10,usd=0.01 (any of them)")
    return found


def set_up_log(level: str, quiet: bool) -> None:
    """Log lines go to standard error, from the level the settings name; --quiet keeps errors only."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="weighup: %(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("weighup").setLevel("ERROR" if quiet else level.upper())


def render(verdict: Verdict, ask: Ask) -> str:
    """The verdict in the format asked for, ending with a line end."""
    if ask.format == "json":
        return verdict.model_dump_json(indent=2) + "\n"
    if ask.format == "jsonl":
        return verdict.model_dump_json() + "\n"
    if ask.format == "markdown":
        from weighup.verify.report.markdown import render_markdown

        return render_markdown([verdict], explain=ask.explain)
    if ask.format == "html":
        from weighup.verify.report.html import render_html

        return render_html([verdict])
    from weighup.verify.report.text import render_text

    return render_text(verdict, explain=ask.explain)


def deliver(report: str, out: Path | None) -> None:
    """Write a report to its file, whole or not at all, or to standard output."""
    if out is None:
        sys.stdout.buffer.write(report.encode("utf-8"))
        sys.stdout.buffer.flush()
        return
    write_whole(out, (report,))
    typer.echo(f"weighup: wrote {out}", err=True)


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write text so that nobody ever sees half of it: beside the file first, then in its place."""
    import os

    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.is_dir():
            raise InvalidInput(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe: nothing to put in the place of
            with path.open("w", encoding="utf-8") as stream:
                stream.writelines(pieces)
            return
        with beside.open("w", encoding="utf-8") as stream:
            stream.writelines(pieces)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InvalidInput(f"{path}: cannot be written: {error.strerror or error}") from error


def _claim(ask: Ask, settings: Settings) -> Claim:
    from weighup.verify.rows import make_claim

    warnings: tuple[str, ...] = ()
    date, source, url = ask.date, ask.source, ask.url
    if ask.url is not None:
        text, date, source, warnings = _page(ask.url, ask.date, settings)
    elif ask.file is not None:
        text = read_text(ask.file)
    elif ask.text is None or ask.text == "-":
        if sys.stdin is None:
            raise InvalidInput("standard input is closed; pipe the text in, or give --file")
        text = decode(sys.stdin.buffer.read(READ_LIMIT + 1), "standard input")
    else:
        text = ask.text
    claim = make_claim(text, date=date, source=source, lang=ask.lang, url=url, evidence=ask.evidence)
    from dataclasses import replace

    return replace(claim, warnings=(*warnings, *claim.warnings))


def read_text(path: Path) -> str:
    """A file's text. Raises InvalidInput for what is missing, binary or not UTF-8."""
    try:
        with path.open("rb") as stream:
            return decode(stream.read(READ_LIMIT + 1), str(path))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error


def decode(content: bytes, name: str) -> str:
    """Bytes as text: UTF-8, or UTF-16 that says so. Raises InvalidInput with what to do about anything else."""
    import codecs

    if content.startswith(b"%PDF-"):
        raise InvalidInput(f"{name}: is a PDF, not text; `weighup store add` reads PDFs, or give its text")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\x00" in content[:4096]:
        raise InvalidInput(f"{name}: is binary, not text")
    else:
        encoding = "utf-8-sig"
    try:
        # The last character may have been cut in two by READ_LIMIT: then it is simply not read.
        return codecs.getincrementaldecoder(encoding)().decode(content, final=len(content) <= READ_LIMIT)
    except UnicodeDecodeError as error:
        byte = content[error.start] if error.start < len(content) else 0
        raise InvalidInput(
            f"{name}: is not UTF-8 (byte 0x{byte:02x} at {error.start + 1}); convert it, for example "
            "iconv -f WINDOWS-1252 -t UTF-8"
        ) from error


def _page(url: str, date: str | None, settings: Settings) -> tuple[str, str | None, str, tuple[str, ...]]:
    """A page's text, the claim's date (the flag, else the page's own), its domain, and warnings."""
    from urllib.parse import urlsplit

    from weighup.dates import iso, now

    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no IPv6 address
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"--url {url[:100]!r} is not an http(s) address")
    text, published, said = fetch_page(url, settings)
    warnings = list(said)
    if published is not None and published > now():
        warnings.append(f"the page dates itself {iso(published)}, which is in the future; that date was not used")
        published = None
    elif date is None and published is None:
        warnings.append("the page names no date; evidence up to now was used (give --date to bound it)")
    return text, date or iso(published), parts.hostname.removeprefix("www."), tuple(warnings)


def fetch_page(url: str, settings: Settings) -> tuple[str, datetime | None, tuple[str, ...]]:
    """A page's main text, when it first made its claim, and what was done to the page, under the address guard."""
    from weighup.retrieve.pages import read_page
    from weighup.retrieve.web import WebClient

    with WebClient(settings.retrieve) as client:
        page = read_page(url, client)
    if not page.text.strip():
        raise InvalidInput(f"{url}: no readable text was found on the page")
    text = f"{page.title}\n\n{page.text}" if page.title and page.title not in page.text[:500] else page.text
    return text, page.first_published or page.published, page.warnings
