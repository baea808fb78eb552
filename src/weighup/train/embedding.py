"""Embeddings of many texts, kept in a file as they are made, so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import logging
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.models.types import Encoder

log = logging.getLogger(__name__)

_AT_ONCE = 512
_KEEP_SECONDS = 30.0  # the file is written whole, so not after every few texts


def embedded(
    texts: Sequence[str], encoder: Encoder, kept: Path | None = None, advance: Advance | None = None
) -> NDArray[np.float32]:
    """Embeddings [n, d]; those that the file `kept` has from an earlier run are not made again."""
    label = f"{encoder.name} {encoder.version}\0"
    names = [hashlib.sha256((label + text).encode("utf-8", "replace")).hexdigest()[:32] for text in texts]
    known = _read(kept) if kept is not None and kept.exists() else {}
    missing = {name: text for name, text in zip(names, texts, strict=True) if name not in known}
    if advance is not None:
        advance(len(set(names)) - len(missing), note="embedding")
    order, written = list(missing), time.monotonic()
    try:
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            known |= dict(zip(some, encoder.encode([missing[name] for name in some]), strict=True))
            if advance is not None:
                advance(len(some), note="embedding")
            if kept is not None and time.monotonic() - written > _KEEP_SECONDS:
                _write(kept, known)
                written = time.monotonic()
    finally:
        if kept is not None and order and known:
            _write(kept, known)
    return np.stack([known[name] for name in names]).astype(np.float32)


def _read(kept: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            return dict(zip(arrays["names"].tolist(), arrays["rows"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s: cannot be read (%s); its embeddings are made anew", kept, error)
        return {}


def _write(kept: Path, known: dict[str, NDArray[np.float32]]) -> None:
    part = kept.with_suffix(".part.npz")
    with part.open("wb") as file:
        np.savez(file, names=np.array(list(known)), rows=np.stack(list(known.values())))
    part.replace(kept)
