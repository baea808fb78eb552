"""An evaluation for people: tables as rows of cells, and a Markdown page with plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weighup.train.plots import line_plot
from weighup.train.results import SYSTEMS, Cell, Difference, Estimate, Evaluation, HeldAt
from weighup.verify.types import KINDS


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def tables(found: Evaluation) -> Iterator[Table]:
    """What was measured; for each set, the systems, by condition, and what EASE did; what must hold."""
    yield Table(
        "sets",
        (
            "set",
            "split",
            "rows",
            "real",
            "fake",
            "unknown",
            "not checkable",
            "without evidence",
            "groups",
            "leaks dropped",
        ),
        [
            (
                s.name,
                s.split,
                s.rows,
                s.real,
                s.fake,
                s.unknown,
                s.not_checkable,
                s.without_evidence,
                s.groups,
                s.leaks_dropped,
            )
            for s in found.sets
        ],
    )
    for info in found.sets:
        cells = [cell for cell in found.cells if cell.set == info.name]
        together = cells[0]
        scope = "all q and r together" if found.protocol == "scarcity" else "evidence as given"
        yield Table(
            f"{info.name}: {together.n} claims, {scope}",
            ("system", "macro-F1", "AUROC", "Brier", "ECE", "coverage at 10 % risk", "EASE less it"),
            [
                (
                    SYSTEMS[way],
                    _ranged(scores.macro_f1),
                    _value(scores.auroc),
                    _value(scores.brier),
                    _value(scores.ece),
                    _ranged(scores.coverage),
                    _gain(together.gains.get(way)),
                )
                for way, scores in together.systems.items()
            ],
        )
        ways = [way for way in SYSTEMS if way in together.systems]
        if len(cells) > 1:
            yield Table(
                f"{info.name}: macro-F1",
                ("condition", "claims", *(SYSTEMS[way] for way in ways)),
                [(_condition(c), c.n, *(_value(c.systems[way].macro_f1) for way in ways)) for c in cells[1:]],
            )
        yield Table(
            f"{info.name}: what EASE did",
            (
                "condition",
                "called",
                "risk among called",
                "selection right",
                "evidence right",
                *(f"by {k}" for k in KINDS),
            ),
            [
                (
                    _condition(c),
                    c.ease.called,
                    c.ease.risk_among_called,
                    c.ease.selection_accuracy,
                    c.ease.evidence_accuracy,
                    *(c.ease.chosen[kind] for kind in KINDS),
                )
                for c in (cells[1:] or cells)
            ],
        )
    if found.holds:
        yield Table(
            "what must hold",
            ("set", "demand", "holds", "EASE v other (gain, 95 %)"),
            [(h.set, h.demand, "true" if h.holds else "false", "; ".join(map(_at, h.at))) for h in found.holds],
        )


def as_markdown(found: Evaluation) -> str:
    """For the documentation: which demands hold, the plots, then every table."""
    parts = [
        f"Protocol `{found.protocol}`, seeds {', '.join(map(str, found.seeds))}, {found.resamples} resamples of "
        f"claim groups an interval, made {found.made}. {_sentence(found.gate.told)}"
    ]
    parts += [_sentence(note) for note in found.notes]
    if found.holds:
        parts.append(f"**what must hold**\n\n{_markdown(_held(found))}")
    parts += [f"<figure>\n{svg}\n</figure>" for info in found.sets for svg in plots(found, info.name)]
    for table in tables(found):
        title = f"{table.title}, with the numbers" if table.title == "what must hold" else table.title
        parts.append(f"**{_cell(title)}**\n\n{_markdown(table)}")
    return "\n\n".join(parts) + "\n"


def plots(found: Evaluation, name: str) -> Iterator[str]:
    """Of one set: macro-F1, coverage and who decided against q, averaged over r, and EASE's reliability."""
    cells = [cell for cell in found.cells if cell.set == name]
    by_q: dict[float, list[Cell]] = {}
    for cell in cells:
        if cell.q is not None:
            by_q.setdefault(cell.q, []).append(cell)
    if by_q:
        ways = [way for way in SYSTEMS if way in cells[0].systems]
        for metric, label in (("macro_f1", "macro-F1"), ("coverage", "coverage at 10 % risk")):
            series = {
                SYSTEMS[way]: [
                    (q, _mean([getattr(c.systems[way], metric).value or 0.0 for c in mine])) for q, mine in by_q.items()
                ]
                for way in ways
            }
            yield line_plot(f"{name}: {label}", series, x="share of evidence kept, q", y=label, strong=SYSTEMS["ease"])
        chosen = {
            f"{kind} expert": [(q, _mean([c.ease.chosen[kind] for c in mine])) for q, mine in by_q.items()]
            for kind in KINDS
        }
        label = "share of claims decided"
        yield line_plot(f"{name}: {label}", chosen, x="share of evidence kept, q", y=label, y_range=(0, 1))
    curve = cells[0].reliability
    yield line_plot(
        f"{name}: does EASE's probability mean what it says?",
        {SYSTEMS["ease"]: list(zip(curve.predicted, curve.observed, strict=True))},
        x="P(fake) by EASE",
        y="share of fake",
        y_range=(0, 1),
        diagonal=True,
        strong=SYSTEMS["ease"],
    )


def _held(found: Evaluation) -> Table:
    """A row a set, a column a demand."""
    names = [info.name for info in found.sets]
    told = {(held.demand, held.set): "true" if held.holds else "false" for held in found.holds}
    demands = dict.fromkeys(held.demand for held in found.holds)
    return Table("", ("set", *demands), [(name, *(told.get((demand, name)) for demand in demands)) for name in names])


def _condition(cell: Cell) -> str:
    if cell.period is not None:
        return cell.period
    return f"q={cell.q:g} r={cell.r:g}" if cell.q is not None and cell.r is not None else "all"


def _value(estimate: Estimate) -> float | None:
    return estimate.value


def _ranged(estimate: Estimate) -> str | None:
    if estimate.value is None:
        return None
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _gain(gain: Difference | None) -> str | None:
    if gain is None:
        return None
    if gain.low is None or gain.high is None:
        return f"{gain.value:+.3f}"
    return f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


def _at(held: HeldAt) -> str:
    where = "" if held.q is None else f"q={held.q:g} "
    gain = "" if held.gain is None else f" [{_gain(held.gain)}]"
    return f"{where}{held.ease:.3f} v {held.other:.3f} {held.who}{gain}"


def _sentence(told: str) -> str:
    return f"{told[:1].upper()}{told[1:]}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
