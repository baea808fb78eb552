"""The starter evidence pack: some 20,000 Wikipedia sentences, so that the offline default has something to find.

Shipped as rows and vectors (see _data/README.md for origin and licence); made into a store in the user's cache folder
when first asked for, under a name that tells the pack and the store's version, and only opened from then on.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from weighup.errors import StoreError
from weighup.models.types import Encoder
from weighup.retrieve.rowfiles import Broken, from_row
from weighup.retrieve.schema import SCHEMA_VERSION
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document
from weighup.settings import cache_folder

VERSION = 1  # raise when the pack's content changes
VECTORS_BY = "minilm 8199be6f699a"  # name and version of the embedded encoder, which made the vectors
_ROWS = "starter_pack.jsonl.xz"
_VECTORS = "starter_pack.npy"


def open_starter_pack(*, encoder: Encoder | None = None) -> EvidenceStore:
    """The pack as a store. Searched by words and vectors with the embedded encoder, by words with another or none.

    Raises StoreError if the cache folder cannot be written.
    """
    path = cache_folder() / "packs" / f"starter-{VERSION}-{SCHEMA_VERSION}.sqlite"
    if not path.exists():
        _build(path)
    return EvidenceStore.open(path, encoder=encoder)


def pack_documents() -> Iterator[Document]:
    """The pack's documents, one a Wikipedia page."""
    packed = (files("weighup") / "_data" / _ROWS).read_bytes()
    for number, line in enumerate(lzma.decompress(packed).decode("utf-8").split("\n")[:-1], start=1):
        document = from_row(json.loads(line), _ROWS, number)
        if isinstance(document, Broken):
            raise StoreError(f"{document}; the installation is damaged, install weighup again")
        yield document


def _build(path: Path) -> None:
    """Make the store beside its place and move it there: who opens it finds a whole one, whoever is first."""
    import numpy as np

    vectors = np.load(io.BytesIO((files("weighup") / "_data" / _VECTORS).read_bytes()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
            part = Path(folder) / path.name
            with EvidenceStore.open(part) as store:
                store.add(pack_documents(), vectors=vectors, made_by=VECTORS_BY)
                store.settle()
            os.replace(part, path)
    except OSError as error:
        raise StoreError(
            f"{path}: the starter pack cannot be put there ({error.strerror or error}); set WEIGHUP_CACHE_DIR to a "
            "folder that can be written, or retrieve.starter_pack = false"
        ) from error
