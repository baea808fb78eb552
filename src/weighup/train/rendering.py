"""An evaluation for people: tables as rows of cells, figures with one panel a set, and a Markdown page of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weighup.train.ablations import ABLATIONS, Ablations
from weighup.train.findings import at_q, cells_of, condition, estimates, gain_told, held_told, mean, spread
from weighup.train.plots import Line, areas, lines
from weighup.train.results import SYSTEMS, Cell, Estimate, Evaluation, SetInfo
from weighup.verify.types import KINDS

_SETS = {
    "set": "name",
    "split": "split",
    "rows": "rows",
    "real": "real",
    "fake": "fake",
    "unknown": "unknown",
    "not checkable": "not_checkable",
    "without evidence": "without_evidence",
    "groups": "groups",
    "leaks dropped": "leaks_dropped",
}
_METRICS = {
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "brier": "Brier",
    "ece": "ECE",
    "coverage": "coverage at 10 % risk",
}
_Q = "share of evidence kept, q"


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def tables(found: Evaluation) -> Iterator[Table]:
    """What was measured and what it cost; means over the sets; for each set, the systems, by condition, and what EASE
    did; what must hold."""
    yield _sets(found)
    if any(info.cost is not None for info in found.sets):
        yield _costs(found)
    yield from _means(found)
    for info in found.sets:
        yield from _of_set(found, info)
    if found.holds:
        rows = [(h.set, h.demand, _true(h.holds), "; ".join(map(held_told, h.at))) for h in found.holds]
        yield Table("what must hold", ("set", "demand", "holds", "EASE v other (gain, 95 %)"), rows)


def _sets(found: Evaluation) -> Table:
    apart = found.refitted is not None
    columns = [*_SETS, *(["fitted on"] if apart else [])]
    rows = [
        [*(getattr(info, name) for name in _SETS.values()), *([info.fitted_on] if apart else [])] for info in found.sets
    ]
    return Table("sets", columns, rows)


def _costs(found: Evaluation) -> Table:
    columns = (
        "set",
        "claims",
        "model calls a claim",
        "tokens in",
        "tokens out",
        "seconds a claim",
        "US dollars a claim",
    )
    each = [(info.name, info.cost) for info in found.sets if info.cost is not None]
    rows = [(name, c.claims, c.calls, c.tokens_in, c.tokens_out, c.seconds, c.usd) for name, c in each]
    return Table("cost", columns, rows)


def _means(found: Evaluation) -> Iterator[Table]:
    """Over the sets, with equal weight, for conditions that all of them have."""
    by_set = [cells_of(found, info.name) for info in found.sets]
    if len(by_set) < 2 or found.protocol == "time":
        return
    for metric in ("macro_f1", "ece", "coverage"):
        rows = [
            (condition(same[0]), *(mean([_value(c, way, metric) for c in same]) for way in _ways(by_set[0][0])))
            for same in zip(*by_set, strict=True)
        ]
        columns = ("condition", *(SYSTEMS[way] for way in _ways(by_set[0][0])))
        yield Table(f"means over sets: {_METRICS[metric]}", columns, rows)


def _of_set(found: Evaluation, info: SetInfo) -> Iterator[Table]:
    cells = cells_of(found, info.name)
    together = cells[0]
    scope = "all q and r together" if found.q else "evidence as given"
    yield Table(
        f"{info.name}: {together.n} claims, {scope}",
        ("system", *_METRICS.values(), "EASE less it"),
        [
            (
                SYSTEMS[way],
                spread(scores.macro_f1),
                scores.auroc.value,
                scores.brier.value,
                spread(scores.ece),
                spread(scores.coverage),
                gain_told(together.gains.get(way)),
            )
            for way, scores in together.systems.items()
        ],
    )
    ways = [way for way in _ways(together) if way not in ABLATIONS]
    if len(cells) > 1:
        yield Table(
            f"{info.name}: macro-F1",
            ("condition", "claims", *(SYSTEMS[way] for way in ways)),
            [(condition(c), c.n, *(_value(c, way, "macro_f1") for way in ways)) for c in cells[1:]],
        )
    taken = [way for way in _ways(together) if way in ABLATIONS]
    if taken and len(cells) > 1:
        yield Table(
            f"{info.name}: EASE less its ablations, macro-F1",
            ("condition", *(SYSTEMS[way] for way in taken)),
            [(condition(c), *(gain_told(c.gains.get(way)) for way in taken)) for c in cells],
        )
    did = ("called", "risk among called", "selection right", "evidence right")
    yield Table(
        f"{info.name}: what EASE did",
        ("condition", *did, *(f"by {kind}" for kind in KINDS)),
        [
            (
                condition(c),
                c.ease.called,
                c.ease.risk_among_called,
                c.ease.selection_accuracy,
                c.ease.evidence_accuracy,
                *(c.ease.chosen[kind] for kind in KINDS),
            )
            for c in cells
        ],
    )


def ablation_table(found: Ablations) -> Table:
    """Rows of fits without one part, in their order."""
    metrics = list(dict.fromkeys(name for row in found.rows for name in row.metrics))
    columns = ("what", "setting", "set", "q", "claims", *(_METRICS.get(name, name) for name in metrics))
    empty = Estimate(value=None)
    rows = [
        (
            row.what,
            row.setting or None,
            row.set,
            None if row.q is None else f"{row.q:g}",
            row.n,
            *(spread(row.metrics.get(name, empty)) for name in metrics),
        )
        for row in found.rows
    ]
    return Table("fits without one part", columns, rows)


def as_markdown(found: Evaluation) -> str:
    """For the documentation: which demands hold, the figures, then every table."""
    chance = f"seeds {', '.join(map(str, found.seeds))}, {found.resamples} resamples of claim groups an interval"
    parts = [f"Protocol `{found.protocol}`, {chance}, made {found.made}. {_sentence(found.gate.told)}"]
    if found.risk is not None:
        parts.append(f"Asked to call at most {100 * found.risk:g} % wrongly.")
    if found.refitted is not None:
        parts.append(f"Fitted anew for each set: {found.refitted}.")
    parts += [_sentence(note) for note in found.notes]
    if found.holds:
        parts.append(f"**what must hold**\n\n{markdown(_held(found))}")
    parts += [f"<figure>\n{svg}\n</figure>" for svg in figures(found)]
    for table in tables(found):
        title = f"{table.title}, with the numbers" if table.title == "what must hold" else table.title
        parts.append(f"**{_cell(title)}**\n\n{markdown(table)}")
    return "\n\n".join(parts) + "\n"


def figures(found: Evaluation) -> Iterator[str]:
    """With three q or more: macro-F1, coverage and who decided against q; always: EASE's reliability."""
    sets = {info.name: cells_of(found, info.name) for info in found.sets}
    ways = [way for way in SYSTEMS if way not in ABLATIONS and any(way in cells[0].systems for cells in sets.values())]
    if len(found.q) > 2:
        for metric in ("macro_f1", "coverage"):
            label = _METRICS[metric]
            yield lines(
                f"{label[:1].upper()}{label[1:]} as evidence thins out",
                {name: _against_q(found, name, ways, metric) for name in sets},
                x=f"{_Q} (shaded: 95 % intervals)",
                y=label,
                strong=SYSTEMS["ease"],
            )
        shares = {name: {str(kind): _shares(found, name, kind) for kind in KINDS} for name in sets}
        yield areas("Which expert decides as evidence thins out", shares, x=_Q, y="share of claims decided")
    yield lines(
        "Does EASE’s probability mean what it says?",
        {
            f"{name} (ECE {cells[0].systems['ease'].ece.value or 0:.3f})": {SYSTEMS["ease"]: _reliability(cells[0])}
            for name, cells in sets.items()
        },
        x="P(fake) by EASE (larger marks: more claims)",
        y="share of fake",
        y_range=(0, 1),
        diagonal=True,
        strong=SYSTEMS["ease"],
    )


def _against_q(found: Evaluation, name: str, ways: Sequence[str], metric: str) -> dict[str, Line]:
    drawn = {}
    for way in ways:
        each = [(q, estimates(at_q(found, name, q), way, metric)) for q in sorted(found.q)]
        known = [(q, one) for q, one in each if one is not None and one.value is not None]
        band = [(one.low, one.high) for _, one in known if one.low is not None and one.high is not None]
        if known:
            points = [(q, one.value or 0.0) for q, one in known]
            drawn[SYSTEMS[way]] = Line(points, band if len(band) == len(points) else ())
    return drawn


def _shares(found: Evaluation, name: str, kind: str) -> list[tuple[float, float]]:
    return [(q, mean([c.ease.chosen[kind] for c in at_q(found, name, q)]) or 0.0) for q in sorted(found.q)]


def _reliability(cell: Cell) -> Line:
    curve = cell.reliability
    most = max(curve.counts, default=1)
    sizes = [(count / most) ** 0.5 for count in curve.counts]
    return Line(list(zip(curve.predicted, curve.observed, strict=True)), sizes=sizes)


def _ways(cell: Cell) -> list[str]:
    return [way for way in SYSTEMS if way in cell.systems]


def _value(cell: Cell, way: str, metric: str) -> float | None:
    found = estimates([cell], way, metric)
    return None if found is None else found.value


def _held(found: Evaluation) -> Table:
    """A row a set, a column a demand."""
    told = {(held.demand, held.set): _true(held.holds) for held in found.holds}
    demands = dict.fromkeys(held.demand for held in found.holds)
    rows = [(info.name, *(told.get((demand, info.name)) for demand in demands)) for info in found.sets]
    return Table("", ("set", *demands), rows)


def _true(holds: bool) -> str:
    return "true" if holds else "false"


def _sentence(told: str) -> str:
    return f"{told[:1].upper()}{told[1:]}."


def markdown(table: Table) -> str:
    """A Markdown table, without its title."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
