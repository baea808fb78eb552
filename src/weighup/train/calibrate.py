"""Fits the calibration of EASE's heads (`weighup/verify/calibrated.py`) on claims that they did not learn from.

A map for each expert: none, temperature (Guo et al. 2017, arXiv 1706.04599) or isotonic (Zadrozny and Elkan 2002),
whichever has the least log-loss over five folds of whole claim groups. A claim counts once, however many rows it has,
and a set for no more claims than the middle one, so that a large easy set does not stand for all: this is the mix that
risks are promised for. The kept sample is what thresholds are tested on, so its confidences must owe nothing to their
own labels: they come from maps of the other folds. It has one row of each claim, since rows of one claim under other
evidence would pass for more items than they are. A claim labelled unknown teaches no map, and calling it counts as
wrong.

Claims of one group are still less than independent, which the tests do not know. So what comes of it is measured on
halves that took no part: maps and threshold from one half of the groups, the risk among the called of the other, over
several draws, once with one threshold for all experts and once with one for each; the way that called more is taken.
Nothing but numpy is needed.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.errors import InvalidInput, JobFailed
from weighup.files import sha256
from weighup.metrics import ece, isotonic, reliability_curve, temperature
from weighup.train.held import Floats, Ints, Mask
from weighup.train.held import Held as Held
from weighup.train.plots import Line, lines
from weighup.verify import weights
from weighup.verify.calibrated import MOST, Bounded, Calibration, Map, Temperature, kept_confidence
from weighup.verify.types import KINDS, Kind

RISKS = (0.05, 0.1, 0.2, 0.33)
"""Asked risks that are measured."""
RISK = 0.25
"""Kept to when none is asked for."""
STEPS_COST = 0.01
"""Log-loss that isotonic must gain over the others: on its steps, claims that differ come out alike."""
FOLDS = 5
HALVES = 10
"""Draws of two halves behind the measured risks."""
WAYS = ("one", "each")
"""One threshold for all experts, one for each."""
_NEAREST = 1e-6
Maps = dict[Kind, Map]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of it. `fake` [n, 3]: calibrated by maps of the other folds; `apart`: whether each expert gets a
    threshold of its own; `report`: numbers for the card."""

    maps: Maps
    fake: Floats
    confidence: NDArray[np.float16]
    wrong: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    apart: bool
    report: dict[str, Any]

    def calibration(self, risk: float, version: str) -> Calibration:
        """As it is used, without writing it; `risk` is kept to when none is asked for."""
        return Calibration(self.maps, self.confidence, self.wrong, self.kind, risk, version, self.apart)


def fit_calibration(
    held: Held,
    *,
    seed: int = 0,
    risks: Sequence[float] = RISKS,
    halves: int = HALVES,
    advance: Advance | None = None,
) -> Fitted:
    """Maps, kept sample, and for the card what each of `risks` comes to on held-out halves.

    `halves`: how often they are drawn; with none, experts share a threshold. `seed` draws folds, rows and halves.
    `advance` is told of `halves` + 1 steps. Raises InvalidInput for a risk outside (0, 1).
    """
    maps, out_of_fold, tried = _maps(held, seed)
    sample = one_a_claim(held, seed)
    once = np.isin(np.arange(len(held.labels)), sample)
    sure, wrong = _confidence(held.selected(out_of_fold)), held.wrong(out_of_fold)
    if advance is not None:
        advance(1, note="maps")
    measured = _risks(held, seed, risks, halves, advance)
    apart = _apart(measured)
    confidence, kind = kept_confidence(sure[sample]), held.chosen[sample].astype(np.uint8)
    fitted = Fitted(maps, out_of_fold, confidence, wrong[sample].astype(np.uint8), kind, apart, {})
    floors = {f"{risk:g}": fitted.calibration(risk, "").thresholds() for risk in risks}
    report = {
        "rows": {name: int((held.labels == label).sum()) for label, name in enumerate(("real", "fake", "unknown"))},
        "groups": len(np.unique(held.groups)),
        "claims": round(float(held.share.sum())),
        "maps": {
            kind: tried[kind] | {"ece": _ece_pair(held, held.rows(i) & once, held.fake[:, i], out_of_fold[:, i])}
            for i, kind in enumerate(KINDS)
        },
        "ece_of_the_selected": _ece_pair(
            held, (held.labels < 2) & once, held.selected(held.fake), held.selected(out_of_fold)
        ),
        "sample": len(sample),
        "threshold": {
            risk: {kind: None if math.isinf(at) else round(float(at), 4) for kind, at in each.items()}
            for risk, each in floors.items()
        },
        "risk_on_held_out_halves": measured,
    }
    return replace(fitted, report=report)


def write_calibration(
    fitted: Fitted, out: Path, heads: Path, *, risk: float = RISK, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write `calibration.npz` and its card to `out`, whole or not at all, and read them back. Returns the card.

    `heads`: the ease.npz that was calibrated; `risk` in (0, 1): kept to when none is asked for; `config` goes on the
    card. Raises InvalidInput for another risk, JobFailed if `out` cannot be written or `heads` cannot be read.
    """
    if not 0 < risk < 1:
        raise InvalidInput(f"risk: a share between 0 and 1 is needed, not {risk}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as folder:
            beside = Path(folder)
            with (beside / "calibration.npz").open("wb") as file:
                np.savez_compressed(file, **fitted.calibration(risk, "").arrays())  # type: ignore[arg-type]
            sha = sha256(beside / "calibration.npz")
            card: dict[str, Any] = {
                "name": "weighup calibration of the EASE heads",
                "format": weights.FORMAT,
                "version": f"1-{sha[:8]}",
                "licence": "Apache-2.0",
                "sha256": {"calibration.npz": sha, "ease.npz": sha256(heads)},
                "made": date.today().isoformat(),
                "risk": risk,
                "apart": fitted.apart,
                "config": dict(config or {}),
                **fitted.report,
            }
            text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
            (beside / "calibration.json").write_text(text, encoding="utf-8")
            Calibration.read(beside)
            for name in ("calibration.npz", "calibration.json"):
                os.replace(beside / name, out / name)
    except OSError as error:
        raise JobFailed(
            f"{error.filename or out}: {error.strerror or error}; nothing was written, run again"
        ) from error
    return card


def reliability_plot(held: Held, fitted: Fitted, *, bins: int = 10) -> str:
    """An SVG with a panel for each expert and one for the selected: share of fake against P(fake), before and after
    calibration, over real and fake rows; marks are as large as their bins are full.

    The curve "after" is out of fold: no row is drawn by a map that learned from it.
    """
    known = held.labels < 2
    before = {kind: (held.rows(i), held.fake[:, i], fitted.fake[:, i]) for i, kind in enumerate(KINDS)}
    panels = {
        name: {label: _line(held.labels[rows], p[rows], bins) for label, p in (("before", raw), ("calibrated", after))}
        for name, (rows, raw, after) in {
            **{f"{kind} expert": each for kind, each in before.items()},
            "whichever was selected": (known, held.selected(held.fake), held.selected(fitted.fake)),
        }.items()
    }
    return lines(
        "Does the probability mean what it says?",
        panels,
        x="P(fake)",
        y="share of fake",
        y_range=(0, 1),
        diagonal=True,
        strong="calibrated",
    )


def _line(labels: Ints, p: Floats, bins: int) -> Line:
    curve = reliability_curve(labels, np.clip(p, 0, 1), bins=bins)
    points = list(zip(curve.predicted.tolist(), curve.positive.tolist(), strict=True))
    return Line(points, sizes=(curve.counts / curve.counts.max()).tolist())


# --- maps -----------------------------------------------------------------------------------------------------------


def _maps(held: Held, seed: int) -> tuple[Maps, Floats, dict[str, dict[str, Any]]]:
    """The maps, P(fake) [n, 3] by maps of the other folds, and what was tried for each expert."""
    fold, share = _folds(held.groups, seed), held.share
    maps: Maps = {}
    fake = np.zeros_like(held.fake)
    tried: dict[str, dict[str, Any]] = {}
    for place, kind in enumerate(KINDS):
        rows, p = held.rows(place), held.fake[:, place]
        found = {name: np.zeros(len(p)) for name in _FIT}
        for number in range(FOLDS):
            mine, others = fold == number, rows & (fold != number)
            for name, fit in _FIT.items():
                found[name][mine] = fit(p[others], held.labels[others], share[others])(p[mine])
        losses = {name: _log_loss(held.labels[rows], values[rows], share[rows]) for name, values in found.items()}
        costs = {name: loss + (STEPS_COST if name == "isotonic" else 0.0) for name, loss in losses.items()}
        best = min(_FIT, key=costs.__getitem__)
        maps[kind] = _FIT[best](p[rows], held.labels[rows], share[rows])
        fake[:, place] = found[best]
        decided = "rows it decided" if not rows[(held.chosen != place)].any() else "all rows"
        tried[kind] = {
            "map": best,
            "fitted_on": f"{int(rows.sum())} real and fake, {decided}",
            "log_loss": {name: round(loss, 4) for name, loss in losses.items()},
        }
    return maps, fake, tried


def _temperature(p: Floats, labels: Ints, weight: Floats) -> Map:
    near = np.clip(p, _NEAREST, 1 - _NEAREST)
    return Temperature(temperature(np.log(near / (1 - near)), labels, weight))


def _isotonic(p: Floats, labels: Ints, weight: Floats) -> Map:
    return Bounded(isotonic(p, labels, weight))


def _none(p: Floats, labels: Ints, weight: Floats) -> Map:
    return Temperature(1.0)


_FIT = {"none": _none, "temperature": _temperature, "isotonic": _isotonic}


def _folds(groups: NDArray[Any], seed: int) -> Ints:
    """Fold of each row, whole groups together."""
    names, place = np.unique(groups, return_inverse=True)
    return np.asarray((np.random.default_rng(seed).permutation(len(names)) % FOLDS)[place], np.int64)


def _log_loss(labels: Ints, p: Floats, weight: Floats) -> float:
    near = np.clip(p, _NEAREST, 1 - _NEAREST)
    return float(np.average(-np.log(np.where(labels == 1, near, 1 - near)), weights=weight))


def _ece_pair(held: Held, rows: Mask, before: Floats, after: Floats) -> dict[str, float]:
    """Expected calibration error over real and fake rows; "after" by maps of the other folds."""
    return {
        name: round(ece(held.labels[rows], p[rows]), 4)
        for name, p in (("before", before), ("after", np.clip(after, 0, 1)))
    }


# --- risk -----------------------------------------------------------------------------------------------------------


def one_a_claim(held: Held, seed: int) -> Ints:
    """One row of each claim, of each source as many as it may count for, `MOST` at most, drawn by chance."""
    order = np.random.default_rng(seed + 1).permutation(len(held.labels))
    drawn = order if held.claims is None else order[np.unique(held.claims[order], return_index=True)[1]]
    if held.sources is not None:
        drawn = np.random.default_rng(seed + 3).permutation(drawn)
        _, source, sizes = np.unique(held.sources[drawn], return_inverse=True, return_counts=True)
        most = held.most(sizes)
        drawn = np.concatenate([drawn[source == name][:most] for name in range(len(sizes))])
    if len(drawn) > MOST:
        drawn = np.random.default_rng(seed + 2).choice(drawn, MOST, replace=False)
    return np.asarray(drawn, np.int64)


def _confidence(fake: Floats) -> Floats:
    return np.asarray(np.maximum(fake, 1 - fake))


def _risks(held: Held, seed: int, risks: Sequence[float], halves: int, advance: Advance | None) -> dict[str, Any]:
    """Asked risk -> by "one" threshold for all and by one for "each" expert: `risk` is the mean over the draws of the
    share of wrong among the called (0 where nothing is called: what is promised), `pooled` that of all draws together,
    `most` the highest of a draw, `called` the share of claims called."""
    counts: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    names, place = np.unique(held.groups, return_inverse=True)
    for draw in range(halves):
        ours = np.random.default_rng((seed, draw)).permutation(len(names))[place] < len(names) // 2
        try:
            fit, test = held.taken(ours), held.taken(~ours)
        except InvalidInput:  # a half of too few rows
            return {}
        maps, out_of_fold, _ = _maps(fit, seed)
        sample = one_a_claim(fit, seed)
        sure = kept_confidence(_confidence(fit.selected(out_of_fold))[sample])
        wrong, kind = fit.wrong(out_of_fold)[sample].astype(np.uint8), fit.chosen[sample].astype(np.uint8)
        made = {way: Calibration(maps, sure, wrong, kind, RISK, "", way == "each") for way in WAYS}
        fake = np.stack([maps[name](test.fake[:, i]) for i, name in enumerate(KINDS)], 1)
        confidence, failed, share = _confidence(test.selected(fake)), test.wrong(fake), test.share
        for risk in risks:
            for way in WAYS:
                floor = made[way].thresholds(risk)
                called = confidence >= np.asarray([floor[name] for name in KINDS])[test.chosen]
                parts = (share[called & failed].sum(), share[called].sum(), share.sum())
                counts.setdefault((way, risk), []).append((float(parts[0]), float(parts[1]), float(parts[2])))
        if advance is not None:
            advance(1, note="risk on held-out halves")
    found: dict[str, Any] = {}
    for (way, risk), drawn in counts.items():
        shares = [missed / called if called else 0.0 for missed, called, _ in drawn]
        missed, called, n = (sum(column) for column in zip(*drawn, strict=True))
        found.setdefault(f"{risk:g}", {})[way] = {
            "risk": round(sum(shares) / len(shares), 4),
            "pooled": round(missed / called, 4) if called else None,
            "most": round(max(shares), 4),
            "called": round(called / n, 4),
        }
    return found


def _apart(measured: Mapping[str, Any]) -> bool:
    """Whether a threshold for each expert called more than one for all, at risks that both kept."""
    kept = [ways for risk, ways in measured.items() if all(ways[way]["risk"] <= float(risk) for way in WAYS)]
    return bool(sum(ways["each"]["called"] - ways["one"]["called"] for ways in kept) > 0)
