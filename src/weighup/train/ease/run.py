"""From labelled rows to `ease.npz`, `calibration.npz` and their cards: the table, the evaluators, the experts and the
calibration, each kept as it is done.

What the heads learn from are rows that the content and the stance model in use have not learned from: rows of split
valid where `out` has such parts of its own, else those of train and valid. Test rows are only measured.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.errors import InvalidInput, JobFailed
from weighup.files import sha256
from weighup.train.calibrate import RISK, Fitted, Held, fit_calibration, write_calibration
from weighup.train.ease import steps
from weighup.train.ease.fit import Evaluators, Experts, fit_evaluators, fit_experts
from weighup.train.ease.heads import SHAPES, Shape
from weighup.train.ease.table import Table, Weigh, source_of, table_of
from weighup.train.labelled import LABELS, Labelled, require_trainable
from weighup.train.perspectives import Perspectives
from weighup.train.protocol import Variant, variants
from weighup.verify import weights
from weighup.verify.ease import Ease
from weighup.verify.types import KINDS

QS, RS = (1.0, 0.75, 0.5, 0.25, 0.0), (0.0, 0.3)
STEPS = ("evaluators", "experts", "calibration")
WORK = 9
"""Steps of `advance` that fitting takes, beside those of weighing."""


@dataclass(frozen=True)
class Materials:
    """What a training starts from. `weigh` and `versions` (its `weighing_versions`) are of a `Verifier` over
    `weights_of`; `said` is the perspective corpus; `config` goes on the cards."""

    rows: Sequence[Labelled]
    weigh: Weigh
    versions: Mapping[str, str]
    weights_of: Path | None
    config: Mapping[str, Any]
    said: Perspectives | None = None
    seed: int = 0
    shapes: tuple[Shape, ...] = SHAPES

    @property
    def variants(self) -> list[Variant]:
        """How evidence is thinned and swapped."""
        return variants(QS, RS, [self.seed])

    @property
    def key(self) -> str:
        """What the table hangs on."""
        rows = [(row.file, row.line, row.claim.text, row.label, row.group) for row in self.rows]
        models = dict(self.versions)
        recipe = dict(self.said.recipe) | {"claims": len(self.said.said)} if self.said else None
        return steps.key_of(rows=rows, models=models, said=recipe, variants=[str(v) for v in self.variants])


def fitting_rows(rows: Sequence[Labelled], folder: Path | None) -> list[Labelled]:
    """The rows that heads on top of the parts in `folder` may learn from. Raises InvalidInput if they are too few."""
    own = any(weights.find(part, folder) != weights.SHIPPED for part in ("content", "stance")) if folder else False
    splits = ("valid",) if own and any(row.split == "valid" for row in rows) else ("train", "valid", None)
    found = [row for row in rows if row.split in splits]
    require_trainable(found)
    return found


def work(rows: Sequence[Labelled]) -> int:
    """How many steps of `advance` all of it takes, about."""
    bare = sum(not row.claim.evidence for row in rows)
    settled = len({v.settled for v in variants(QS, RS, [0])})
    return bare + (len(rows) - bare) * settled + WORK + 11


def train_evaluators(given: Materials, out: Path, advance: Advance) -> tuple[Table, Evaluators]:
    """The table and what evaluators say of it, kept in `out`."""
    with _writing(out):
        table = _table(given, out, advance)
        key = steps.key_of(table=given.key, shapes=[str(shape) for shape in given.shapes])
        path = out / steps.FOLDER / "evaluators.npz"
        if (found := steps.kept(path, key)) is not None:
            return table, steps.evaluators_from(*found)
        made = fit_evaluators(table, given.shapes, advance=advance)
        steps.keep(path, key, steps.evaluators_arrays(made), made.report)
    return table, made


def train_experts(given: Materials, out: Path, advance: Advance) -> tuple[Table, Evaluators, Experts]:
    """Evaluators and experts; writes `ease.npz` and its card to `out`, whole or not at all."""
    table, evaluated = train_evaluators(given, out, advance)
    with _writing(out):
        key = steps.key_of(table=given.key, shapes=[str(shape) for shape in given.shapes], step="experts")
        path = out / steps.FOLDER / "experts.npz"
        found = steps.kept(path, key)
        made = steps.experts_from(*found) if found else fit_experts(table, evaluated, given.shapes, advance=advance)
        steps.keep(path, key, steps.experts_arrays(made), made.report)
        write_ease(given, table, evaluated, made, out)
    return table, evaluated, made


def train_calibration(given: Materials, out: Path, advance: Advance, risk: float = RISK) -> tuple[Held, Fitted]:
    """All steps; writes `calibration.npz` and its card beside `ease.npz`. Returns what was calibrated, for a plot."""
    table, _, made = train_experts(given, out, advance)
    held = held_of(table, made)
    fitted = fit_calibration(held, seed=given.seed, advance=advance)
    config = {**given.config, "step": "calibration"}
    write_calibration(fitted, out, out / "ease.npz", risk=risk, config=config)
    return held, fitted


def held_of(table: Table, experts: Experts) -> Held:
    """What the experts say out of fold, as calibration takes it."""
    fake = np.stack([experts.fake[kind] for kind in KINDS], 1).astype(np.float64)
    return Held(fake, table.label, experts.chosen, table.group, table.claim, table.source)


def ease_of(evaluated: Evaluators, experts: Experts, version: str = "fitted") -> Ease:
    """The parts put together, with no calibration and no abstention."""
    card = {"reliable_at": experts.reliable_at, "threshold": dict.fromkeys(KINDS, 0.5), "version": version}
    return Ease.from_parts(evaluated.opinions, evaluated.evaluators, experts.experts, card)


def write_ease(given: Materials, table: Table, evaluated: Evaluators, made: Experts, out: Path) -> dict[str, Any]:
    """Write the heads and their card, read them back, and put both in place, the card last."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for part, heads in (
        ("opinion", evaluated.opinions),
        ("evaluator", evaluated.evaluators),
        ("expert", made.experts),
    ):
        for kind in KINDS:
            arrays |= heads[kind].arrays(f"{part}/{kind}")
    content = weights.find("content", given.weights_of) / "content.npz"
    with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as folder:
        beside = Path(folder)
        with (beside / "ease.npz").open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        sha = sha256(beside / "ease.npz")
        names = sorted({source_of(row) for row in given.rows})
        card: dict[str, Any] = {
            "name": "weighup EASE heads",
            "format": weights.FORMAT,
            "version": f"2-{sha[:8]}",
            "licence": "Apache-2.0",
            "sha256": {"ease.npz": sha, "content.npz": sha256(content)},
            "made": date.today().isoformat(),
            "models": dict(given.versions),
            "config": dict(given.config),
            "reliable_at": made.reliable_at,
            "threshold": dict.fromkeys(KINDS, 0.5),
            "fit_rows": {
                name: {
                    label: sum(source_of(row) == name and row.label == i for row in given.rows)
                    for i, label in enumerate(LABELS)
                }
                for name in names
            },
            "perspectives": dict(given.said.recipe) if given.said else None,
            "tried_out_of_fold": {**evaluated.report, "expert": made.report},
        }
        (beside / "ease.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        Ease.read(beside)
        for name in ("ease.npz", "ease.json"):
            os.replace(beside / name, out / name)
    return card


def _table(given: Materials, out: Path, advance: Advance) -> Table:
    path = out / steps.FOLDER / "table.npz"
    if (found := steps.kept(path, given.key)) is not None:
        return steps.table_from(found[0])
    table = table_of(given.weigh, given.rows, given.variants, given.said, advance=advance)
    if not len(table):
        raise InvalidInput("none of the rows is a checkable claim")
    steps.keep(path, given.key, steps.table_arrays(table))
    return table


class _writing:
    """Turns a disk that cannot be written into the error that says so."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> None:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobFailed(f"{self._out}: cannot be made: {error.strerror or error}") from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise JobFailed(f"{self._out}: cannot be written: {error.strerror or error}; run again to go on") from error
