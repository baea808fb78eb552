"""What calibration adds to EASE: probabilities that mean what they say, and a confidence that keeps a risk.

For each expert a map of its P(fake): temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2) or isotonic
regression (Zadrozny and Elkan 2002), whichever had the less log-loss on held-out claims. The least confidence at which
real or fake is said comes from held-out claims and the risk asked for, by Learn then Test (Angelopoulos et al. 2021,
arXiv 2110.01052): `weighup.metrics.risk_controlled_threshold`, in expectation.

Ours: the threshold is on the calibrated confidence of whichever expert was selected. It is one for all of them, or one
for each (`apart`), which promises more but has fewer claims to test on. Both keep the risk; the card says which was
taken, because it called more on held-out claims, and what each did there. How it is fitted:
`weighup/train/calibrate.py`.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics import Isotonic, risk_controlled_threshold
from weighup.verify import weights
from weighup.verify.types import KINDS, Kind

Floats = NDArray[np.float64]
SUREST = 0.99
"""Nothing isotonic is surer than this: a run of right answers, however long, does not show more."""
MOST = 20_000
"""Held-out claims kept at most."""
_NEAREST = 1e-6  # to 0 and 1, for the log-odds

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Temperature:
    """Divides log-odds by `value` > 0."""

    value: float

    def __call__(self, p: ArrayLike) -> Floats:
        """p in [0, 1], any shape -> calibrated."""
        near = np.clip(np.asarray(p, np.float64), _NEAREST, 1 - _NEAREST)
        return np.asarray(0.5 + 0.5 * np.tanh(np.log(near / (1 - near)) / (2 * self.value)))

    def arrays(self, name: str) -> dict[str, Floats]:
        """What `_map` reads back, keys starting with `name/`."""
        return {f"{name}/temperature": np.asarray(self.value)}


@dataclass(frozen=True, slots=True)
class Bounded:
    """An isotonic map, linear between its knots, kept within [1 − SUREST, SUREST]."""

    isotonic: Isotonic

    def __call__(self, p: ArrayLike) -> Floats:
        """p in [0, 1], any shape -> calibrated."""
        return np.clip(np.interp(np.asarray(p, np.float64), self.isotonic.x, self.isotonic.y), 1 - SUREST, SUREST)

    def arrays(self, name: str) -> dict[str, Floats]:
        """What `_map` reads back, keys starting with `name/`."""
        return self.isotonic.arrays(name)


Map = Temperature | Bounded


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Maps of P(fake) by expert, and held-out claims: `confidence` [n] in [0.5, 1], float16, of the selected expert
    after its map, `wrong` [n] 1 where calling the claim would be wrong, `kind` [n] places in KINDS. `risk` is the one
    kept to when none is asked for, `apart` whether each expert has a threshold of its own."""

    maps: Mapping[Kind, Map]
    confidence: NDArray[np.float16]
    wrong: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    risk: float
    version: str
    apart: bool = False
    _thresholds: dict[tuple[float, Kind | None], float] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, folder: Path | None = None) -> Calibration | None:
        """The calibration in `folder`, else the shipped one; None if the heads that are used have none.

        Raises WeightsError. Logs a warning where it was fitted on other heads than those that `folder` gives.
        """
        home, heads = weights.find("calibration", folder), weights.find("ease", folder)
        if not weights.has("calibration", folder):
            if home != weights.SHIPPED:
                logger.info("%s: its EASE heads have no calibration; their own thresholds are used", home)
            return None
        _compare_heads(home, heads)
        return _read(home)

    @classmethod
    def read(cls, home: Path) -> Calibration:
        """The calibration in `home`, whatever heads it is used with; not kept. Raises WeightsError."""
        return _read.__wrapped__(home)

    def __call__(self, kind: Kind, p: ArrayLike) -> Floats:
        """P(fake) by the expert of `kind`, any shape -> calibrated. Rising with p."""
        return self.maps[kind](p)

    def thresholds(self, risk: float | None = None) -> dict[Kind, float]:
        """The `threshold` that each expert is held to: its own if `apart`, else that of all."""
        return {kind: self.threshold(risk, kind if self.apart else None) for kind in KINDS}

    def threshold(self, risk: float | None = None, kind: Kind | None = None) -> float:
        """The least calibrated confidence at which real or fake is said: of new claims drawn as the held-out ones
        were, the expected share of wrong among those called is at most `risk`; inf: no confidence is known to keep it.

        `kind`: of the claims that this expert decides, from those alone. Raises InvalidInput for a risk outside (0, 1).
        """
        asked = self.risk if risk is None else risk
        if (asked, kind) not in self._thresholds:
            mine = np.ones(len(self.kind), bool) if kind is None else self.kind == KINDS.index(kind)
            found = (
                risk_controlled_threshold(self.confidence[mine], self.wrong[mine], asked) if mine.any() else math.inf
            )
            self._thresholds[asked, kind] = found
        return self._thresholds[asked, kind]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is written into calibration.npz."""
        found: dict[str, NDArray[Any]] = {"confidence": self.confidence, "wrong": self.wrong, "kind": self.kind}
        for kind in KINDS:
            found |= self.maps[kind].arrays(f"map/{kind}")
        return found


def kept_confidence(confidence: ArrayLike) -> NDArray[np.float16]:
    """Confidences rounded down to float16, so that a threshold drawn from these calls exactly the same claims."""
    exact = np.asarray(confidence, np.float64)
    near = exact.astype(np.float16)
    return np.where(near > exact, np.nextafter(near, np.float16(0)), near).astype(np.float16)


def require(folder: Path | None, risk: float | None) -> None:
    """Raises InvalidInput if a risk is asked for and the heads in use have no calibration to keep it by."""
    if risk is not None and not weights.has("calibration", folder):
        raise InvalidInput(
            f"verify.risk is {risk:g}, but the EASE heads in {weights.find('ease', folder)} have no calibration, so "
            "that no confidence is known to keep it; fit one with `weighup train calibration`, or leave --risk out"
        )


@functools.cache
def _read(home: Path) -> Calibration:
    path = home / "calibration.json"
    card = weights.card("calibration", home)
    risk = card.get("risk")
    if isinstance(risk, bool) or not isinstance(risk, int | float) or not 0 < risk < 1:
        raise weights.unusable(path, f"risk is {str(risk)[:40]}, expected a number between 0 and 1")
    apart = card.get("apart", False)
    if not isinstance(apart, bool):
        raise weights.unusable(path, f"apart is {str(apart)[:40]}, expected true or false")
    if weights.recorded("calibration", home, "ease.npz") is None:
        raise weights.unusable(path, "names no sha256 of ease.npz, expected that of the heads it was fitted on")
    arrays = weights.Arrays.read(home / "calibration.npz")
    n = len(arrays.take("confidence", None))
    if n > MOST:
        raise weights.unusable(arrays.path, f"confidence has {n} rows, expected {MOST} at most")
    confidence = _within(arrays, "confidence", n, 0.5, 1)
    wrong, kind = (_within(arrays, name, n, 0, top, whole=True) for name, top in (("wrong", 1), ("kind", 2)))
    return Calibration(
        maps={kind: _map(arrays, f"map/{kind}") for kind in KINDS},
        confidence=kept_confidence(confidence),
        wrong=wrong.astype(np.uint8),
        kind=kind.astype(np.uint8),
        risk=float(risk),
        apart=apart,
        version=card["version"],
    )


def _within(arrays: weights.Arrays, name: str, n: int, low: float, high: float, *, whole: bool = False) -> Floats:
    """An array [n] of numbers from low to high."""
    found = arrays.take(name, n).astype(np.float64)
    if found.min() < low or found.max() > high or (whole and (found != np.floor(found)).any()):
        numbers = "whole numbers" if whole else "numbers"
        raise weights.unusable(
            arrays.path, f"{name} holds {found.min():g} to {found.max():g}, expected {numbers} from {low:g} to {high:g}"
        )
    return found


def _map(arrays: weights.Arrays, name: str) -> Map:
    """The map of that name, a temperature or knots."""
    if f"{name}/x" not in arrays.found:
        return Temperature(float(arrays.above_zero(f"{name}/temperature")))
    n = len(arrays.take(f"{name}/x", None))
    x, y = (_within(arrays, f"{name}/{axis}", n, 0, 1) for axis in "xy")
    if (np.diff(x) <= 0).any() or (np.diff(y) < 0).any():
        raise weights.unusable(arrays.path, f"{name} falls, expected x that rises and y that never falls")
    return Bounded(Isotonic(x, y))


@functools.cache
def _compare_heads(home: Path, heads: Path) -> None:
    """Once for each two folders: say if the calibration at `home` was fitted on other heads than those in use."""
    fitted_on = weights.recorded("calibration", home, "ease.npz")
    if fitted_on is not None and fitted_on != weights.recorded("ease", heads, "ease.npz"):
        logger.warning(
            "the calibration in %s was fitted on other EASE weights than those in %s; "
            "probabilities and risk may be off: calibrate these with `weighup train calibration`",
            home,
            heads,
        )


def told(risk: float) -> str:
    """A risk for people, `10%`."""
    return f"{100 * risk:.3g}%"
