"""Texts for a model: the five domains or one's own file, as bytes for our models and by its tokenizer for others."""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from weighup.errors import InvalidInput
from weighup.moe.corpus import Batch, Corpus, Split, corpus_of, five_domains
from weighup.moe.tiny import VOCABULARY, TinyMoELM
from weighup.rowfile import read_rows

Windows = Iterator[tuple[NDArray[np.int64], str]]
"""Token ids [rows, length + 1] and the domain that they are of."""


def corpus(data: Path | None, folder: Path) -> Corpus:
    """One's own texts (rows with `text`, optionally `domain`), or the five domains of the data folder. Raises
    InvalidInput naming a file or row that cannot be used."""
    if data is None:
        return five_domains(folder)
    return corpus_of(texts_by_domain(data), name=data.name)


def texts_by_domain(path: Path) -> dict[str, list[str]]:
    """The texts of a .jsonl, .csv or .parquet file by their `domain` ("all" without one)."""
    found: dict[str, list[str]] = {}
    for number, row in read_rows(path):
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"{path}: row {number}: needs a text")
        found.setdefault(str(row.get("domain") or "all"), []).append(text)
    if not found:
        raise InvalidInput(f"{path}: has no row")
    return found


def windows(
    model: nn.Module, name: Path | None, source: Corpus | Path, *, split: Split = "test", length: int = 128,
    batch: int = 16, most: int = 40,
) -> Windows:  # fmt: skip
    """Windows of `length` + 1 tokens, at most `most` a domain, in batches: of a corpus for models that read bytes, of a
    file of texts by the tokenizer of the checkpoint in the folder `name`. Raises InvalidInput where there is none."""
    if reads_bytes(model):
        own = corpus_of(texts_by_domain(source), name=source.name) if isinstance(source, Path) else source
        for one in own.batches(split, batch, length, windows=most):
            yield ids_of(one), own.domains[int(one.domains[0])]
        return
    if isinstance(source, Corpus):
        raise InvalidInput("data: this model does not read bytes; give a file of texts with --data")
    tokenizer = _tokenizer(name)
    for domain, texts in texts_by_domain(source).items():
        stream: list[int] = []
        for text in texts:
            stream += tokenizer(text)["input_ids"]
            if len(stream) > most * (length + 1):
                break
        rows = len(stream) // (length + 1)
        if not rows:
            raise InvalidInput(f"data: {domain} has {len(stream)} tokens where a window needs {length + 1}")
        ids = np.array(stream[: min(rows, most) * (length + 1)], np.int64).reshape(-1, length + 1)
        for at in range(0, len(ids), batch):
            yield ids[at : at + batch], domain


def reads_bytes(model: nn.Module) -> bool:
    """Whether its tokens are bytes: ours, and what was exported from them."""
    return isinstance(model, TinyMoELM) or getattr(getattr(model, "config", None), "vocab_size", 0) == VOCABULARY


def ids_of(batch: Batch) -> NDArray[np.int64]:
    """Tokens and the last target, [rows, length + 1]."""
    return np.concatenate((batch.tokens, batch.targets[:, -1:]), axis=1)


def domains_of(found: Sequence[tuple[Any, str]]) -> tuple[str, ...]:
    """The domains in the order of their first window."""
    return tuple(dict.fromkeys(domain for _, domain in found))


def _tokenizer(name: Path | None) -> Any:
    if name is None or not any((name / one).is_file() for one in ("tokenizer.json", "tokenizer_config.json")):
        raise InvalidInput(f"{name}: has no tokenizer beside the model; put the files of its tokenizer there")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{name}: its tokenizer cannot be loaded: {str(error)[:200]}") from error
