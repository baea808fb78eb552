"""What calibration is fitted on: what the heads said of claims that they did not learn from, and what was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.train.labelled import LEAST
from weighup.verify.decision import Judged
from weighup.verify.types import KINDS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
ENOUGH = 200
"""Real and fake rows that an expert must have decided for its map to be fitted on those alone."""
LEAST_GROUPS = 20


@dataclass(frozen=True, slots=True)
class Held:
    """n rows that the heads did not learn from (held out, or predicted out of fold).

    `fake` [n, 3]: P(fake) by each expert, before calibration, in the order of KINDS; `labels` [n]: 0 real, 1 fake, 2
    unknown; `chosen` [n]: place in KINDS of the selected expert; `groups` [n]: names of claim groups; `claims` [n]:
    names of claims, where one has several rows (None: each row is a claim); `sources` [n]: names of the sets they are
    from (None: one). Maps and risks are of claims mixed as these are, but that no set counts for more claims than the
    middle one of them has.
    Raises InvalidInput for arrays that do not fit together, or too few rows or groups.
    """

    fake: Floats
    labels: Ints
    chosen: Ints
    groups: NDArray[Any]
    claims: NDArray[Any] | None = None
    sources: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.fake.shape != (n, len(KINDS)) or {len(self.chosen), len(self.groups)} != {n}:
            raise InvalidInput(
                f"calibration: a row for each of {n} labels is needed; P(fake) has shape {self.fake.shape}, chosen "
                f"{len(self.chosen)} rows and groups {len(self.groups)}"
            )
        if not np.isfinite(self.fake).all() or (n and (self.fake.min() < 0 or self.fake.max() > 1)):
            raise InvalidInput("calibration: P(fake) must lie in [0, 1]")
        for name, values, top in (("labels", self.labels, 2), ("chosen", self.chosen, len(KINDS) - 1)):
            if not np.isin(values, range(top + 1)).all():
                raise InvalidInput(f"calibration: {name} must be whole numbers from 0 to {top}")
        for label, name in enumerate(("real", "fake")):
            if (found := int((self.labels == label).sum())) < LEAST:
                raise InvalidInput(f"calibration: needs at least {LEAST} {name} rows, there are {found}")
        if (found := len(np.unique(self.groups))) < LEAST_GROUPS:
            raise InvalidInput(f"calibration: needs at least {LEAST_GROUPS} claim groups, there are {found}")
        if self.claims is not None and len(self.claims) != n:
            raise InvalidInput(f"calibration: a claim is needed for each of {n} rows, there are {len(self.claims)}")
        if self.sources is not None and len(self.sources) != n:
            raise InvalidInput(f"calibration: a source is needed for each of {n} rows, there are {len(self.sources)}")

    @classmethod
    def of(
        cls,
        judged: Sequence[Judged],
        labels: Sequence[int],
        groups: Sequence[Any],
        *,
        claims: Sequence[Any] | None = None,
    ) -> Held:
        """From what the pipeline said of each row, whatever calibration it ran under."""
        return cls(
            np.asarray([[one.raw[kind] for kind in KINDS] for one in judged], np.float64).reshape(-1, len(KINDS)),
            np.asarray(labels, np.int64),
            np.asarray([KINDS.index(one.chosen) for one in judged], np.int64),
            np.asarray(groups),
            None if claims is None else np.asarray(claims),
        )

    def taken(self, where: Mask) -> Held:
        """Some of the rows."""
        claims = None if self.claims is None else self.claims[where]
        sources = None if self.sources is None else self.sources[where]
        own = (self.fake[where], self.labels[where], self.chosen[where], self.groups[where])
        return Held(*own, claims, sources)

    @property
    def share(self) -> Floats:
        """How many claims a row stands for, [n]: 1 / rows of the claim, and less in a set of many claims."""
        share = np.ones(len(self.labels))
        if self.claims is not None:
            _, place, count = np.unique(self.claims, return_inverse=True, return_counts=True)
            share = 1 / count[place]
        if self.sources is None:
            return share
        _, source = np.unique(self.sources, return_inverse=True)
        size = np.bincount(source, share)
        return np.asarray(share * np.minimum(1, self.most(size) / size)[source])

    @staticmethod
    def most(sizes: NDArray[Any]) -> int:
        """How many claims a set may count for: as many as the middle one of these sizes has."""
        return int(np.sort(sizes)[len(sizes) // 2].round())

    def wrong(self, fake: Floats) -> Mask:
        """Whether calling each row by the selected expert of `fake` [n, 3] would be wrong."""
        return np.asarray(((self.selected(fake) >= 0.5) != (self.labels == 1)) | (self.labels == 2))

    def selected(self, fake: Floats) -> Floats:
        """P(fake) by the selected expert, [n]."""
        return np.asarray(fake[np.arange(len(fake)), self.chosen])

    def rows(self, kind: int) -> Mask:
        """Real and fake rows that an expert's map is fitted on: those it decided, if there are enough, else all."""
        known = self.labels < 2
        own = known & (self.chosen == kind)
        enough = own.sum() >= ENOUGH and all((self.labels[own] == label).sum() >= LEAST for label in (0, 1))
        return own if enough else known
