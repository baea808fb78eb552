"""The rows that evaluators and experts are fitted on: labelled claims as the pipeline weighs them, with their evidence
thinned out and swapped in several ways, so that scarcity is no surprise when checking (evidence dropout)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.train.labelled import Labelled
from weighup.train.perspectives import Perspectives
from weighup.train.protocol import Variant, strangers, thinned
from weighup.verify.decision import Weighed, content_row, rows_of
from weighup.verify.telling import texts_of
from weighup.verify.types import KINDS, Claim, Kind

Array = NDArray[np.float32]
Weigh = Callable[[Sequence[Claim]], list[Weighed | None]]
BATCH = 256
ASKED = 0.5
"""Share of rows that show what the language model said, where the corpus has it: a brief check never does."""


@dataclass(frozen=True)
class Table:
    """n rows. `knowledge`: per kind [n, d]; `content` [n, c]; `vector` [n, e], the claims' embeddings; `label` [n]: 0
    real, 1 fake, 2 unknown; `group`, `source` [n] names; `q`, `r` [n]; `has` [n]: whether there is evidence to weigh;
    `claim` [n]: the place of the row's claim in `texts`; `told`: per kind the place [n] in `tellings` of what the
    perspective says in words."""

    knowledge: dict[Kind, Array]
    content: Array
    vector: Array
    label: NDArray[np.int64]
    group: NDArray[np.str_]
    source: NDArray[np.str_]
    q: Array
    r: Array
    has: NDArray[np.bool_]
    claim: NDArray[np.int64]
    texts: tuple[str, ...]
    told: dict[Kind, NDArray[np.int64]]
    tellings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)

    def taken(self, where: NDArray[Any]) -> Table:
        """Some of the rows."""
        rest = {
            name: getattr(self, name)[where]
            for name in ("content", "vector", "label", "group", "source", "q", "r", "has", "claim")
        }
        knowledge = {kind: rows[where] for kind, rows in self.knowledge.items()}
        told = {kind: places[where] for kind, places in self.told.items()}
        return replace(self, knowledge=knowledge, told=told, **rest)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows labelled real or fake."""
        return self.label < 2


def source_of(row: Labelled) -> str:
    """The name of the set a row is from: its file's folder for train, valid and test files, else the file's name."""
    from weighup.train.measured import set_name

    return set_name(Path(row.file)) if row.file else "rows"


def table_of(
    weigh: Weigh,
    rows: Sequence[Labelled],
    variants: Sequence[Variant],
    said: Perspectives | None = None,
    *,
    asked: float = ASKED,
    advance: Advance | None = None,
) -> Table:
    """One row for each checkable claim and variant; a claim without evidence has one. Draws depend on the row alone."""
    own = strangers(rows) if any(v.r and v.q for v in variants) else [()] * len(rows)
    found: dict[str, list[Any]] = {name: [] for name in ("row", "weighed", "q", "r")}
    for variant in dict.fromkeys(v.settled for v in variants):
        here = [i for i, row in enumerate(rows) if row.claim.evidence or variant == variants[0].settled]
        for start in range(0, len(here), BATCH):
            part = here[start : start + BATCH]
            for i, weighed in zip(part, weigh([thinned(rows[i], own[i], variant) for i in part]), strict=True):
                if weighed is not None:
                    found["row"].append(i)
                    found["weighed"].append(_shown(weighed, rows[i], variant, said, asked))
                    found["q"].append(variant.q)
                    found["r"].append(variant.r)
            if advance is not None:
                advance(len(part), note="weighing")
    return _table(rows, found)


def _shown(weighed: Weighed, row: Labelled, variant: Variant, said: Perspectives | None, asked: float) -> Weighed:
    """With the language model's opinion, for a share of the rows."""
    if said is None or random.Random(f"asked\0{row.line}\0{row.claim.text}\0{variant}").random() >= asked:
        return weighed
    return replace(weighed, written=said.of(weighed.prepared.text))


def _table(rows: Sequence[Labelled], found: Mapping[str, list[Any]]) -> Table:
    weighed: list[Weighed] = found["weighed"]
    every = [rows_of(w) for w in weighed]
    names = {i: f"{source_of(rows[i])}\0{rows[i].group}" for i in set(found["row"])}
    texts = _places(w.prepared.text for w in weighed)
    spoken = [texts_of(w) for w in weighed]
    tellings = _places(text for one in spoken for text in one.values())
    return Table(
        knowledge={kind: np.stack([one[kind] for one in every]) for kind in KINDS},
        content=np.stack([content_row(w.prior, w.tones) for w in weighed]),
        vector=np.stack([w.vector for w in weighed]),
        label=np.asarray([rows[i].label for i in found["row"]], np.int64),
        group=np.asarray([names[i] for i in found["row"]]),
        source=np.asarray([source_of(rows[i]) for i in found["row"]]),
        q=np.asarray(found["q"], np.float32),
        r=np.asarray(found["r"], np.float32),
        has=np.asarray([bool(w.stanced) and w.prepared.lang == "en" for w in weighed]),
        claim=np.asarray([texts[w.prepared.text] for w in weighed]),
        texts=tuple(texts),
        told={kind: np.asarray([tellings[one[kind]] for one in spoken]) for kind in KINDS},
        tellings=tuple(tellings),
    )


def _places(texts: Iterable[str]) -> dict[str, int]:
    return {text: place for place, text in enumerate(dict.fromkeys(texts))}
