"""Files and folders into documents, as a stream: one row, page or block of text in memory at a time.

What cannot be read is reported, by file and line, and the rest goes on. A date is taken from the row, page or feed
that states one, else from the caller; never from the file's own time stamp, which says when it was copied.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from weighup.errors import InvalidInput
from weighup.retrieve import rowfiles, textfiles
from weighup.retrieve.rowfiles import Broken
from weighup.retrieve.types import Document

Reader = Callable[[BinaryIO, str], Iterator["Document | Broken"]]

READERS: dict[str, Reader] = {
    ".jsonl": rowfiles.read_jsonl,
    ".ndjson": rowfiles.read_jsonl,
    ".csv": rowfiles.read_csv,
    ".tsv": rowfiles.read_tsv,
    ".parquet": rowfiles.read_parquet,
    ".txt": textfiles.read_text,
    ".md": textfiles.read_text,
    ".html": textfiles.read_html,
    ".htm": textfiles.read_html,
    ".pdf": textfiles.read_pdf,
    ".rss": textfiles.read_feed,
    ".atom": textfiles.read_feed,
    ".xml": textfiles.read_feed,
}


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The readable files among `paths`, folders walked in order of name. Raises InvalidInput for a path that is not
    there, a file of unknown kind, or if nothing is left."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            for folder, names, entries in os.walk(path):
                names.sort()
                found += [Path(folder, entry) for entry in sorted(entries) if kind_of(Path(entry)) in READERS]
        elif not path.exists():
            raise InvalidInput(f"{path}: there is no such file or folder")
        elif kind_of(path) not in READERS:
            raise InvalidInput(f"{path}: is of no kind that can be read; known are {', '.join(READERS)}, also as .gz")
        else:
            found.append(path)
    if not found:
        raise InvalidInput(f"no files to read; known kinds are {', '.join(READERS)}, also as .gz")
    return found


def kind_of(path: Path) -> str:
    """The suffix that tells how to read a file, without `.gz`."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def read_documents(
    files: Iterable[Path],
    *,
    on_broken: Callable[[Broken], None],
    source: str | None = None,
    published: datetime | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[Document]:
    """All documents of `files`, in order. `source` and `published` stand in where a document does not say its own.

    `on_broken` is told of every row or file that could not be read; `on_bytes` of the bytes read so far, as more.
    """
    for path in files:
        try:
            with path.open("rb") as raw:
                counted = _Counted(raw, on_bytes)
                packed = path.name.lower().endswith(".gz")
                file: BinaryIO = gzip.GzipFile(fileobj=counted) if packed else io.BufferedReader(counted)  # type: ignore[assignment]
                for item in READERS[kind_of(path)](file, str(path)):
                    if isinstance(item, Broken):
                        on_broken(item)
                    else:
                        yield _completed(item, path, source, published)
        except (OSError, EOFError, zlib.error) as error:  # gzip says EOFError for a file cut short
            reason = getattr(error, "strerror", None) or error
            on_broken(Broken(str(path), None, f"cannot be read: {reason}"))


def _completed(document: Document, path: Path, source: str | None, published: datetime | None) -> Document:
    return replace(
        document,
        source=document.source or source or path.name,
        published=document.published or published,
    )


class _Counted(io.RawIOBase):
    """A file that tells how much of it has been read, compressed bytes for a compressed one."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None] | None) -> None:
        self._file = file
        self._tell = tell

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: object) -> int:
        count = self._file.readinto(buffer)  # type: ignore[attr-defined]
        if self._tell is not None and count:
            self._tell(count)
        return int(count)
