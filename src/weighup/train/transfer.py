"""Cross-topic transfer: what is fitted on all sets but one, measured on the one left out.

Fitted on are the train and valid rows of the other sets, less groups with a text that is measured. The stance model and
the content model stay as they are given: their cards say which sets they have seen. Rows that these have learned from
make heads that trust them too much: give the valid files only where that is so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from weighup.console import Advance
from weighup.errors import InvalidInput
from weighup.models.metering import Meter
from weighup.train.calibrate import RISK, fit_calibration
from weighup.train.ease.fit import fit_evaluators, fit_experts
from weighup.train.ease.heads import SHAPES, Shape
from weighup.train.ease.run import QS as FIT_QS
from weighup.train.ease.run import RS as FIT_RS
from weighup.train.ease.run import ease_of, held_of
from weighup.train.ease.table import Table, source_of, table_of
from weighup.train.labelled import LEAST, text_key
from weighup.train.measured import MeasuredSet
from weighup.train.protocol import Variant, variants
from weighup.verify.calibrated import Calibration
from weighup.verify.decision import Judged, judge
from weighup.verify.ease import Ease
from weighup.verify.types import KINDS, Claim, Kind
from weighup.verify.verifier import Verifier

QS, RS = (1.0, 0.25), (0.0,)
"""Shares of evidence kept and swapped, unless others are asked for."""
ANEW = "fitted anew"
"""What stands for a version of what was fitted without a set."""


class Judging(Protocol):
    """What is measured: a `Verifier`, or one of which parts were fitted anew."""

    @property
    def run_meter(self) -> Meter: ...
    def judge(self, claims: Sequence[Claim]) -> list[Judged | None]: ...
    def versions(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class Refit:
    """`told`: what is fitted anew, for people. `fit` makes what judges from sets whose `train` and `valid` rows it may
    learn from; the `rows` of these sets are empty."""

    told: str
    fit: Callable[[Sequence[MeasuredSet]], Judging]


def require_transferable(sets: Sequence[MeasuredSet]) -> None:
    """Raise InvalidInput unless, whichever set is left out, another has rows to fit on."""
    if len(sets) < 2:
        raise InvalidInput("--protocol transfer: two sets or more are needed, one to leave out and others to fit on")
    for made in sets:
        if not any(other.train or other.valid for other in sets if other is not made):
            raise InvalidInput(
                f"--protocol transfer: without {made.name} there are no train or valid rows to fit on; name the train "
                "and valid files of the other sets too"
            )


def others(sets: Sequence[MeasuredSet], left_out: MeasuredSet) -> tuple[list[MeasuredSet], int]:
    """The sets to fit on when one is left out, with nothing to measure, and how many rows were left out of them
    because their text, or that of another row of their group, is one of those measured."""
    measured = {text_key(row.claim.text) for row in left_out.rows}
    before, found = 0, []
    for made in sets:
        if made is not left_out and (made.train or made.valid):
            before += len(made.train) + len(made.valid)
            found.append(_less(made, measured))
    return found, before - fitting_rows(found)


def fitting_rows(sets: Sequence[MeasuredSet]) -> int:
    """How many rows may be learned from."""
    return sum(len(made.train) + len(made.valid) for made in sets)


def _less(made: MeasuredSet, measured: set[str]) -> MeasuredSet:
    tied = {row.group for row in (*made.train, *made.valid) if text_key(row.claim.text) in measured}
    train, valid = ([row for row in rows if row.group not in tied] for rows in (made.train, made.valid))
    return replace(made, rows=[], train=train, valid=valid)


def refitting(
    verifier: Verifier,
    sets: Sequence[MeasuredSet],
    *,
    risk: float | None = None,
    shapes: tuple[Shape, ...] | None = None,
    advance: Advance | None = None,
) -> Refit:
    """Fit the heads of EASE and their calibration anew on what `verifier` gathers, as `weighup train calibration` does.

    All rows of `sets` that may be fitted on are weighed once, when first needed: `weighing(sets)` steps of `advance`.
    `risk`: what is called keeps to it; None: to that of the shipped weights. `shapes` are tried for each head; None: as
    in training. Fitting raises InvalidInput where none of the rows has evidence that can be weighed.
    """
    tried = SHAPES if shapes is None else shapes
    kept: list[Table] = []

    def fit(rest: Sequence[MeasuredSet]) -> Judging:
        if not kept:
            rows = [row for made in sets for row in (*made.train, *made.valid)]
            kept.append(table_of(verifier.weigh, rows, _thinned(), advance=advance))
        # The table names a group by its set, and rows of a group are left out together.
        groups = {f"{source_of(row)}\0{row.group}" for made in rest for row in (*made.train, *made.valid)}
        table = kept[0].taken(np.isin(kept[0].group, sorted(groups)))
        if not table.has.any():
            names = ", ".join(made.name for made in rest)
            raise InvalidInput(
                f"--protocol transfer: no row of {names} has evidence to fit on; add sets that have some"
            )
        evaluated = fit_evaluators(table, tried)
        if evaluated.taken_over:  # by heads that may have seen the set left out
            names = ", ".join(made.name for made in rest)
            raise InvalidInput(
                f"--protocol transfer: the rows of {names} are too few to fit {' and '.join(evaluated.taken_over)} on; "
                f"{LEAST} real and {LEAST} fake claims are needed; add sets, or raise --limit"
            )
        experts = fit_experts(table, evaluated, tried)
        found = fit_calibration(held_of(table, experts))
        asked = RISK if risk is None else risk
        calibration = Calibration(found.maps, found.confidence, found.wrong, found.kind, asked, ANEW)
        threshold: dict[Kind, float] = dict.fromkeys(KINDS, calibration.threshold())
        ease = ease_of(evaluated, experts, ANEW)
        return Refitted(verifier, replace(ease, threshold=threshold, calibration=calibration, risk=asked))

    return Refit("opinions, evaluators, experts and their calibration", fit)


def weighing(sets: Sequence[MeasuredSet]) -> int:
    """How many steps of `advance` weighing all rows to fit on takes."""
    settled = len({variant.settled for variant in _thinned()})
    rows = [row for made in sets for row in (*made.train, *made.valid)]
    return sum(settled if row.claim.evidence else 1 for row in rows)


@dataclass(frozen=True, slots=True)
class Refitted:
    """What `given` gathers, decided on by heads that were fitted anew."""

    given: Verifier
    ease: Ease

    @property
    def run_meter(self) -> Meter:
        """That of what is given."""
        return self.given.run_meter

    def versions(self) -> dict[str, str]:
        """Those of what is given, with the heads' own."""
        return self.given.versions() | {"ease": self.ease.version, "calibration": self.ease.version}

    def judge(self, claims: Sequence[Claim]) -> list[Judged | None]:
        """As `Verifier.judge`."""
        weighed = self.given.weigh(claims)
        done = iter(judge([one for one in weighed if one is not None], self.ease))
        return [None if one is None else next(done) for one in weighed]


def _thinned() -> list[Variant]:
    return variants(FIT_QS, FIT_RS, [0])
