"""How far a publisher is trusted before anything is read: a shipped list of domains, and yours over it.

A score in [0, 1] is about the *publisher's record*, never about one article. The shipped list
(`_data/credibility.csv`) holds well-known outlets and institutions by kind, with a short public ground for each; scores
follow the kind (documented in docs/web.md), so they are coarse on purpose. A domain that is not listed has no score:
unknown is not the same as middling.

Matching is by whole labels: `theguardian.com` covers `www.theguardian.com`, never `eviltheguardian.com`. A row
`.gov.uk` covers every host under that suffix; a row `newyorker.com/humor` covers that part of a site. The most exact
row wins, and any row of the user's own list wins over every shipped one.
"""

from __future__ import annotations

import csv
import functools
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from weighup.errors import SettingsError
from weighup.retrieve.guard import as_ip

if TYPE_CHECKING:
    from weighup.settings import RetrieveSettings

logger = logging.getLogger(__name__)

LISTED_SCORE = 0.1
"""Score for a bare domain in a user's plain list: such lists name sites that are *not* to be relied on."""

LARGEST = 50_000_000
"""Bytes of a user's list."""

_COLUMNS = ("domain", "score", "category", "provenance")
_MIRRORS = ("www.", "m.", "mobile.", "amp.")


@dataclass(frozen=True, slots=True)
class Credibility:
    """What is known of a publisher. `domain` is the row that matched, `score` in [0, 1]; `provenance` says on what
    ground, and begins with `user` where the user's own list decided."""

    domain: str
    score: float
    category: str
    provenance: str


def credibility(url_or_domain: str, *, own: Path | None = None) -> Credibility | None:
    """The publisher's row for an address or a host, None if there is none.

    `own` is the user's list (`retrieve.credibility`). Raises SettingsError if it cannot be read.
    """
    host, path = _split(url_or_domain)
    if not host:
        return None
    if own is not None:
        found = _lookup(_user_list(own.absolute(), _changed(own)), host, path)
        if found is not None:
            return found
    return _lookup(shipped(), host, path)


def credibility_for(settings: RetrieveSettings, url_or_domain: str) -> Credibility | None:
    """As `credibility`, with the list that the settings name."""
    return credibility(url_or_domain, own=settings.credibility)


@functools.cache
def shipped() -> dict[str, Credibility]:
    """The shipped rows by domain, suffix (`.gov`) or domain with path."""
    text = files("weighup").joinpath("_data", "credibility.csv").read_text(encoding="utf-8")
    return {row.domain: row for row in read_list(text, "credibility.csv")}


def read_list(text: str, name: str) -> Iterator[Credibility]:
    """Rows of a list: CSV with a header that has `domain`, or one domain a line. `#` begins a comment.

    Domains may be written as addresses, in any case, with `www.` or a slash at the end; later rows win over earlier.
    Raises SettingsError naming file and line for a CSV row that cannot be read. Lists of bare domains are collected by
    hand and hold slips; there such a line is passed over with a warning, unless nothing can be read.
    """
    lines = text.lstrip("\ufeff").splitlines()
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    if "domain" in [cell.strip().lower() for cell in first.split(",")]:
        yield from _csv_rows(lines, name)
    else:
        yield from _bare_rows(lines, name)


def _bare_rows(lines: Iterable[str], name: str) -> Iterator[Credibility]:
    problem: SettingsError | None = None
    read = 0
    for number, line in enumerate(lines, start=1):
        entry = re.split(r"\s#|^\s*#", line, maxsplit=1)[0].strip()
        if not entry:
            continue
        try:
            domain = _domain(entry, name, number)
        except SettingsError as error:
            problem = error
            logger.warning("%s; the line was passed over", error)
            continue
        read += 1
        yield Credibility(domain, LISTED_SCORE, "listed", f"named in {name}")
    if problem is not None and not read:
        raise problem


def _csv_rows(lines: Iterable[str], name: str) -> Iterator[Credibility]:
    reader = csv.reader("" if line.lstrip().startswith("#") else line for line in lines)
    header: list[str] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = [cell.strip().lower() for cell in cells]
            unknown = set(header) - set(_COLUMNS)
            if unknown:
                raise SettingsError(f"{name}: unknown columns {sorted(unknown)}; known are {', '.join(_COLUMNS)}")
            continue
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        try:
            score = float(row["score"]) if row.get("score") else LISTED_SCORE
        except ValueError:
            score = -1.0
        if not 0.0 <= score <= 1.0:
            raise SettingsError(f"{name}, line {reader.line_num}: score {row['score'][:20]!r} is not from 0 to 1")
        domain = _domain(row.get("domain", ""), name, reader.line_num)
        yield Credibility(domain, score, row.get("category") or "listed", row.get("provenance") or f"named in {name}")


def _domain(entry: str, name: str, number: int) -> str:
    """A row's key: a host, `.suffix`, or host with path, in one spelling. Raises SettingsError naming the line."""
    suffix = entry.startswith(".")
    host, path = _split(entry.removeprefix("."))
    if not host or (suffix and path):
        raise SettingsError(f"{name}, line {number}: {entry[:60]!r} is not a domain")
    return f".{host}" if suffix else f"{host}{path}"


def _split(text: str) -> tuple[str, str]:
    """Host without mirrors' prefixes, and path without its final slash ("" for none); ("", "") if it is neither."""
    text = text.strip().lower()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host = parts.hostname or ""
    except ValueError:
        return "", ""
    host = host.rstrip(".")
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return "", ""
    if as_ip(host) is None and not re.fullmatch(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", host):
        return "", ""
    for prefix in _MIRRORS:
        if host.startswith(prefix) and host.count(".") > 1:
            host = host.removeprefix(prefix)
            break
    return host, parts.path.rstrip("/")


def _lookup(rows: dict[str, Credibility], host: str, path: str) -> Credibility | None:
    """The most exact row: longest host first, in it the longest path; then the longest suffix."""
    labels = [host] if as_ip(host) is not None else host.split(".")
    hosts = [".".join(labels[start:]) for start in range(len(labels))]
    steps = path.split("/")[1:4]
    paths = ["".join(f"/{step}" for step in steps[:count]) for count in range(len(steps), -1, -1)]
    for one in hosts:
        for part in paths:
            if one + part in rows:
                return rows[one + part]
    return next((rows[f".{one}"] for one in hosts if f".{one}" in rows), None)


def _changed(path: Path) -> int:
    """When the file was last written, in nanoseconds; a changed list is read anew."""
    try:
        stat = path.stat()
    except OSError as error:
        raise SettingsError(f"setting retrieve.credibility: {path} cannot be read: {error.strerror}") from None
    if stat.st_size > LARGEST:
        raise SettingsError(f"setting retrieve.credibility: {path} is over {LARGEST // 1_000_000} MB")
    return stat.st_mtime_ns


@functools.lru_cache(maxsize=4)
def _user_list(path: Path, changed: int) -> dict[str, Credibility]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"setting retrieve.credibility: {path} cannot be read: {error}") from None
    rows = {row.domain: replace(row, provenance=f"user: {row.provenance}") for row in read_list(text, path.name)}
    logger.info("%s: %d domains", path, len(rows))
    return rows
