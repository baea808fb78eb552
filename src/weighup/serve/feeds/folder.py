"""Items from a folder in which files are dropped, and from the lines of a stream such as standard input.

A file counts as changed if its time stamp or size did and its content did too. Of a changed file only what it did not
hold before comes out, so that rows can be appended to a JSONL file. Links and anything but ordinary files are passed
over: a folder that others write to must not lead elsewhere.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from weighup.errors import InvalidInput, PageRefused
from weighup.files import sha256
from weighup.retrieve.ingest import READERS, kind_of, read_documents
from weighup.retrieve.rowfiles import Broken, from_row
from weighup.retrieve.types import Document
from weighup.serve.feeds.items import MAX_TEXT, MAX_TITLE, Item, digest, distinct
from weighup.serve.feeds.read import read_feed
from weighup.texts import clean, language, shorten

MAX_FILES = 10_000
"""Files of one folder that are watched, the first by name."""

MAX_FILE = 50_000_000
"""Bytes; a larger file is reported and left."""

MAX_SEEN = 50_000
"""Names of items remembered of one file."""

MAX_LINE = 100_000
"""Bytes of one line; what is longer is reported and passed over."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as last read: time stamp in ns, bytes, SHA-256, and the names of the items it held, digested."""

    mtime: int
    size: int
    sha: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderState:
    """What a database keeps of a watched folder. `files` maps paths within it, with `/`, to their states."""

    path: str
    files: dict[str, FileState] = field(default_factory=dict)


def scan(state: FolderState, *, on_broken: Callable[[Broken], None]) -> tuple[FolderState, list[Item]]:
    """What is new in a folder: the next state and the items, in order of file name.

    `on_broken` is told of every file or row that could not be read; such a file is tried again when it changes. Raises
    InvalidInput if the folder is not there.
    """
    root = Path(state.path)
    if not root.is_dir():
        raise InvalidInput(f"{root}: there is no such folder to watch")
    files: dict[str, FileState] = {}
    items: list[Item] = []
    for name, path, mtime, size in _files(root, on_broken):
        before = state.files.get(name)
        if before is not None and (before.mtime, before.size) == (mtime, size):
            files[name] = before
            continue
        try:
            sha = sha256(path)
        except OSError as error:
            on_broken(Broken(str(path), None, f"cannot be read: {error.strerror or error}"))
            continue
        if before is not None and before.sha == sha:
            files[name] = FileState(mtime, size, sha, before.seen)
            continue
        known = set(before.seen) if before is not None else set()
        found = list(distinct(_items(path, name, on_broken)))
        fresh = [one for one in found if one.key not in known]
        items += fresh
        seen = (*(before.seen if before is not None else ()), *(one.key for one in fresh))
        files[name] = FileState(mtime, size, sha, seen[-MAX_SEEN:])
    return FolderState(state.path, files), items


def read_lines(stream: BinaryIO, *, name: str = "stdin", on_broken: Callable[[Broken], None]) -> Iterator[Item]:
    """An item for each line as it comes: plain text, or a JSON object with `text` and the fields of a row file."""
    number = 0
    while raw := stream.readline(MAX_LINE):
        number += 1
        if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            on_broken(Broken(name, number, f"a line of over {MAX_LINE:,} bytes; split it"))
            continue
        text = clean(raw.decode("utf-8", "replace"))
        if not text:
            continue
        row: object = {"text": text}
        if text.startswith("{"):
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                on_broken(Broken(name, number, "starts like JSON and is not; mend it"))
                continue
        found = from_row(row, name, number)
        if isinstance(found, Broken):
            on_broken(found)
        else:
            yield _item(found, name)


def _files(root: Path, on_broken: Callable[[Broken], None]) -> Iterator[tuple[str, Path, int, int]]:
    """Name within the folder, path, time stamp and size of each ordinary file of a readable kind, by name."""
    count = 0
    for folder, names, entries in os.walk(root, followlinks=False):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for entry in sorted(entries):
            path = Path(folder, entry)
            if entry.startswith(".") or not (kind_of(path) in READERS or kind_of(path) == ".json"):
                continue
            try:
                about = path.lstat()
            except OSError:
                continue  # gone since it was listed
            if not stat.S_ISREG(about.st_mode):
                continue
            count += 1
            if count > MAX_FILES:
                on_broken(Broken(str(root), None, f"holds over {MAX_FILES:,} files; the rest is not watched"))
                return
            if about.st_size > MAX_FILE:
                on_broken(Broken(str(path), None, f"is over {MAX_FILE // 1_000_000} MB; split it"))
                continue
            yield path.relative_to(root).as_posix(), path, about.st_mtime_ns, about.st_size


def _items(path: Path, name: str, on_broken: Callable[[Broken], None]) -> Iterator[Item]:
    if kind_of(path) == ".json" and not path.name.lower().endswith(".gz"):
        yield from _json(path, name, on_broken)
        return
    for document in read_documents([path], on_broken=on_broken):
        yield _item(document, name)


def _json(path: Path, name: str, on_broken: Callable[[Broken], None]) -> Iterator[Item]:
    """A JSON Feed, one row, or a list of rows."""
    try:
        content = path.read_bytes()
        if b"jsonfeed.org/version/" in content[:2000]:
            yield from read_feed(content, path.as_uri()).items
            return
        found = json.loads(content.decode("utf-8-sig"))
    except (PageRefused, OSError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, PageRefused) else "is not readable JSON in UTF-8"
        on_broken(Broken(str(path), None, reason))
        return
    for number, row in enumerate(found if isinstance(found, list) else [found], start=1):
        document = from_row(row, str(path), number)
        if isinstance(document, Broken):
            on_broken(document)
        else:
            yield _item(document, name)


def _item(document: Document, name: str) -> Item:
    """A document as an item, named by where it stands and what it says, so that changed words are another item."""
    text = shorten(clean(document.text), MAX_TEXT)
    known = language(text[:1000])
    return Item(
        guid=f"file:{name}#{digest(f'{document.id}|{document.url}|{document.text}')}",
        url=document.url,
        title=shorten(" ".join(clean(document.title or "").split()), MAX_TITLE),
        text=text,
        published=document.published,
        lang=document.lang or (known if known in ("en", "zh") else None),
        source=document.source or name,
    )
