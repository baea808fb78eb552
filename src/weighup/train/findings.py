"""What an evaluation comes to, in sentences: each is made from the numbers and names the table they stand in.

Nothing here is written by hand that the numbers could contradict: whoever measures anew has the sentences anew.
"""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weighup.train.ablations import ABLATIONS
from weighup.train.results import SYSTEMS, Cell, Difference, Estimate, Evaluation, Held, HeldAt

RIVALS = ("content", "evidence", "mean", "gate")
"""With which EASE is compared in sentences; all others are in the tables."""


def findings(found: Evaluation) -> Iterator[str]:
    """Markdown sentences, the most important first."""
    names = [info.name for info in found.sets]
    if len(names) > 1:
        yield _means(found, "macro_f1", "mean macro-F1 over the sets")
    for demand in dict.fromkeys(held.demand for held in found.holds):
        yield _demand(demand, [held for held in found.holds if held.demand == demand])
    if len(names) > 1:
        yield (
            f"Expected calibration error with the claims of all sets in one, in ten bins: {error_in_one(found):.3f} "
            "(figure *does EASE’s probability mean what it says*). What of an error is chance: "
            "[calibration](../methods/ease.md#calibration-and-risk)."
        )
    first = {name: cells_of(found, name)[0] for name in names}
    for way in (*RIVALS, *ABLATIONS):
        gains = {name: cell.gains[way] for name, cell in first.items() if way in cell.gains}
        if gains:
            yield _compared(way, gains)
    did = [cell.ease for cell in first.values()]
    called, wrong = mean([one.called for one in did]), mean([one.risk_among_called for one in did])
    if called is not None and wrong is not None:
        yield (
            f"EASE calls {100 * called:.0f} % of the claims, {100 * wrong:.0f} % of them wrongly (a call on a claim "
            "labelled unknown is wrong), on the mean over the sets (*what EASE did*, all)."
        )


def readme(found: Evaluation, check: Mapping[str, Any]) -> str:
    """The block of numbers in the README, from an evaluation by `scarcity` and what `benchmarks/check.py` wrote."""
    shown = (("evidence as given", 1.0), ("a quarter of it", 0.25))
    columns = ["who decides"]
    columns += [f"{what}, {where}" for what in ("macro-F1", "coverage at 10 % risk") for where, _ in shown]
    lines = [columns, ["---"] * len(columns)]
    for way in ("ease", "content", "evidence"):
        values = [over_sets(found, way, metric, q, 0.0) for metric in ("macro_f1", "coverage") for _, q in shown]
        lines.append([SYSTEMS[way], *("–" if value is None else f"{value:.3f}" for value in values)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    best = [held for held in found.holds if held.demand.startswith("EASE at least the best single expert")]
    gains = [cells_of(found, info.name)[0].gains["evidence"] for info in found.sets]
    above, below, level = _signs(dict(enumerate(gains)))
    most = "" if found.limit is None else f", {found.limit} claims of each at most"
    warm, rows = check["latency"]["warm process, brief, p50 s"], check["batch"]["1000 rows: rows/s"]
    told = (
        f"Means over {len(found.sets)} labelled sets{most} ([all numbers](docs/results/verify.md)). Over all shares of "
        f"evidence, EASE is at least the best single expert on {sum(held.holds for held in best)} of {len(best)} sets; "
        f"against always asking the evidence expert it is ahead on {len(above)}, behind on {len(below)} and level on "
        f"{len(level)} (95 % intervals). A brief check takes {1000 * warm:.0f} ms in a running process, in a batch "
        f"{1000 / rows:.0f} ms a claim ([speed](docs/results/check.md))."
    )
    return f"{table}\n\n{textwrap.fill(told, 120, break_long_words=False, break_on_hyphens=False)}"


def cells_of(found: Evaluation, name: str) -> list[Cell]:
    """Those of one set; the first is of all conditions together."""
    return [cell for cell in found.cells if cell.set == name]


def at_q(found: Evaluation, name: str, q: float) -> list[Cell]:
    """The cell of all r together, else those of each r."""
    mine = [cell for cell in cells_of(found, name) if cell.q == q]
    return [cell for cell in mine if cell.r is None] or mine


def estimates(cells: Sequence[Cell], way: str, metric: str) -> Estimate | None:
    """A system's score in one cell, or the mean of several, which has no interval; None where it was not measured."""
    found: list[Estimate] = [getattr(cell.systems[way], metric) for cell in cells if way in cell.systems]
    if len(found) < 2:
        return found[0] if found else None
    return Estimate(value=mean([one.value for one in found]))


def over_sets(found: Evaluation, way: str, metric: str, q: float | None, r: float | None) -> float | None:
    """The mean over the sets of a system's score under one condition; None unless all have it."""
    same = [cell for cell in found.cells if (cell.q, cell.r, cell.period) == (q, r, None)]
    each = [estimates([cell], way, metric) for cell in same]
    return mean([None if one is None else one.value for one in each]) if len(each) == len(found.sets) else None


def mean(values: Sequence[float | None]) -> float | None:
    """None if there are none, or one of them is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def condition(cell: Cell) -> str:
    """Which share of evidence, or which period."""
    if cell.period is not None:
        return cell.period
    if cell.q is None:
        return "all"
    return f"q={cell.q:g}, all r" if cell.r is None else f"q={cell.q:g} r={cell.r:g}"


def spread(estimate: Estimate) -> str | None:
    """A score with its interval."""
    if estimate.value is None:
        return None
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def gain_told(gain: Difference | None) -> str | None:
    """A gain with its sign and interval."""
    if gain is None:
        return None
    if gain.low is None or gain.high is None:
        return f"{gain.value:+.3f}"
    return f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


def held_told(held: HeldAt) -> str:
    """The two numbers of a demand at one q."""
    where = "" if held.q is None else f"q={held.q:g} "
    gain = "" if held.gain is None else f" [{gain_told(held.gain)}]"
    return f"{where}{held.ease:.3f} v {held.other:.3f} {held.who}{gain}"


def error_in_one(found: Evaluation) -> float:
    """EASE's expected calibration error with the claims of all sets in one, from the ten bins of each: a set's bins
    that stray one way make up for another's that stray the other."""
    strays, claims = defaultdict[int, float](float), 0
    for info in found.sets:
        cell = cells_of(found, info.name)[0]
        own = cell.reliability
        claims += cell.n
        for predicted, observed, count in zip(own.predicted, own.observed, own.counts, strict=True):
            strays[max(0, math.ceil(10 * predicted) - 1)] += cell.n * count / sum(own.counts) * (predicted - observed)
    return sum(map(abs, strays.values())) / claims


def _means(found: Evaluation, metric: str, label: str) -> str:
    told = []
    conditions = [(None, None), *((q, r) for q in (1.0, 0.25) for r in found.r[:1])]
    for q, r in conditions:
        each = {way: over_sets(found, way, metric, q, r) for way in ("ease", "evidence", "content", "oracle")}
        known = [f"{SYSTEMS[way]} {value:.3f}" for way, value in each.items() if value is not None]
        if known:
            where = "all together" if q is None else f"at q = {q:g}, r = {r:g}"
            told.append(f"{where} {', '.join(known)}")
    return f"{label[:1].upper()}{label[1:]}: {'; '.join(told)} (*means over sets*)."


def _demand(demand: str, each: Sequence[Held]) -> str:
    met = [held.set for held in each if held.holds]
    missed = [f"{held.set} ({held_told(_worst(held))})" for held in each if not held.holds]
    told = f"{demand[:1].upper()}{demand[1:]}: met on {len(met)} of {len(each)} sets"
    told += f" ({_listed(met)})" if met and missed else ""
    told += f"; not on {_listed(missed)}" if missed else ""
    return f"{told} (*what must hold*)."


def _worst(held: Held) -> HeldAt:
    """Where it fails by most: the demands ask for more, but for the calibration error, which is to be small."""
    sign = -1 if "at most" in held.demand else 1
    return min(held.at, key=lambda one: sign * (one.ease - one.other))


def _compared(way: str, gains: Mapping[Any, Difference]) -> str:
    above, below, level = _signs(gains)
    told = [
        f"{word} on {_listed([str(name) for name in names])}"
        for word, names in (("ahead", above), ("behind", below), ("level", level))
        if names
    ]
    value = mean([gain.value for gain in gains.values()]) or 0.0
    return (
        f"EASE against *{SYSTEMS[way]}*: {value:+.3f} macro-F1 on the mean over the sets; by the paired 95 % intervals "
        f"{', '.join(told)} (tables by set, row *{SYSTEMS[way]}*, last column)."
    )


def _signs(gains: Mapping[Any, Difference]) -> tuple[list[Any], list[Any], list[Any]]:
    """Whose interval is above zero, below, and neither."""
    above = [name for name, gain in gains.items() if gain.low is not None and gain.low > 0]
    below = [name for name, gain in gains.items() if gain.high is not None and gain.high < 0]
    return above, below, [name for name in gains if name not in above and name not in below]


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
