"""What an expert that reads learns from: its texts' states beside targets and weights, and which rows a pass takes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.errors import InvalidInput
from weighup.models.types import Encoder
from weighup.train.ease.fit import Evaluators, balanced, there
from weighup.train.ease.neural_states import States, states_of
from weighup.train.ease.table import Table
from weighup.verify.knowledge import REASONING
from weighup.verify.neural import CONTENT_TOKENS, KNOWLEDGE_TOKENS, knowledge_text
from weighup.verify.types import Kind

Array = NDArray[np.float32]
Rows = NDArray[np.int64]
HELD_VARIANTS = 2
"""Rows of each held-out claim that early stopping looks at."""
_STRETCH = 8  # batches that are sorted by length together


@dataclass(frozen=True)
class Recipe:
    """How an expert is trained. `lam`: λ; `justified`: assessments in the knowledge text; `cross`: cross-attention,
    else the mean of the knowledge; `lr` of the two tuned layers, the new parts take `fresh` times as much; `held`:
    share of claim groups kept for early stopping; `minutes` of one fit over all its runs (None: as long as it takes),
    at which the schedule ends: what comes out then hangs on the machine too."""

    lam: float = 0.5
    justified: bool = True
    cross: bool = True
    lr: float = 1e-4
    fresh: float = 5.0
    epochs: int = 30
    patience: int = 10
    batch: int = 64
    warm_up: int = 20
    held: float = 0.1
    minutes: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Material:
    """What an expert learns from, n rows: `target` [n], 0 real, 1 fake, 0.5 unknown; `verdict` [n], the knowledge's
    own, 0 to 2; `weight` [n], that of the row's claim; `claim` [n] places, `group` [n] names; `read` [n]: rows that the
    trunk can read."""

    kind: Kind
    content: States
    knowledge: States
    target: Array
    verdict: Rows
    weight: Array
    claim: Rows
    group: NDArray[np.str_]
    read: NDArray[np.bool_]

    @property
    def key(self) -> str:
        """A digest of all of it."""
        digest = hashlib.sha256(f"{self.kind}\0{self.content.path.name}\0{self.knowledge.path.name}".encode())
        for array in (self.target, self.verdict, self.weight, self.claim, self.content.of, self.knowledge.of):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def readable(table: Table) -> NDArray[np.bool_]:
    """Rows in a language that the trunk has learned [n]."""
    return np.asarray(table.knowledge["reasoning"][:, REASONING.index("chinese")] == 0)


def material_of(
    table: Table, evaluated: Evaluators, kind: Kind, encoder: Encoder, folder: Path, recipe: Recipe,
    advance: Advance | None = None,
) -> Material:  # fmt: skip
    """Put together what the expert of a kind learns from; `folder` keeps the texts' states."""
    on, read = there(table, kind), readable(table)
    opinion, reliability = evaluated.opinion[kind], evaluated.reliability[kind]
    told = table.told[kind]
    knowledge = [
        knowledge_text(
            table.tellings[told[i]], opinion[i], float(reliability[i]), bool(on[i]), justified=recipe.justified
        )
        if read[i]
        else ""
        for i in range(len(table))
    ]
    texts = [table.texts[place] if ok else "" for place, ok in zip(table.claim, read, strict=True)]
    _, first, place = np.unique(table.claim, return_index=True, return_inverse=True)
    weight = balanced(table.taken(first))[place]
    return Material(
        kind=kind,
        content=states_of(texts, encoder, folder, max_tokens=CONTENT_TOKENS, advance=advance),
        knowledge=states_of(knowledge, encoder, folder, max_tokens=KNOWLEDGE_TOKENS, advance=advance),
        target=np.where(table.known, table.label, 0.5).astype(np.float32),
        verdict=opinion.argmax(1).astype(np.int64),
        weight=weight.astype(np.float32),
        claim=place.astype(np.int64),
        group=table.group,
        read=read,
    )


def held_out(material: Material, rows: Rows, recipe: Recipe) -> tuple[Rows, Rows]:
    """Rows to learn from and rows of held-out groups, of these some of each claim. Raises InvalidInput."""
    names = np.unique(material.group[rows])
    if len(names) < 2:
        raise InvalidInput("an expert needs claims of two groups or more: some are held out to know when to stop")
    chance = np.random.default_rng((recipe.seed, 1))
    kept = chance.permutation(names)[: max(1, round(recipe.held * len(names)))]
    mine = np.isin(material.group[rows], kept)
    drawn = [drawn_rows(material, rows[mine], chance) for _ in range(HELD_VARIANTS)]
    return rows[~mine], np.unique(np.concatenate(drawn))


def drawn_rows(material: Material, rows: Rows, chance: np.random.Generator) -> Rows:
    """One row of each claim among `rows`, as it falls."""
    mixed = chance.permutation(rows)
    return mixed[np.unique(material.claim[mixed], return_index=True)[1]]


def batches(material: Material, rows: Rows, recipe: Recipe, epoch: int) -> list[Rows]:
    """One pass: a variant of each claim, in batches of about equal length, in an order by seed and pass alone."""
    chance = np.random.default_rng((recipe.seed, 2, epoch))
    drawn = chance.permutation(drawn_rows(material, rows, chance))
    found: list[Rows] = []
    for begin in range(0, len(drawn), recipe.batch * _STRETCH):
        part = drawn[begin : begin + recipe.batch * _STRETCH]
        part = part[np.argsort(material.knowledge.length(part), kind="stable")]
        found += [part[i : i + recipe.batch] for i in range(0, len(part), recipe.batch)]
    return [found[i] for i in chance.permutation(len(found))]
