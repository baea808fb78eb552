"""The verdict on a terminal: what, how sure, who decided and why, on what evidence, at what cost.

Everything shown comes from outside and may be hostile: control characters are dropped and nothing is read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighup.texts import shorten
from weighup.verify.contract import Label, Verdict
from weighup.verify.report import phrases
from weighup.verify.report.phrases import percent, plain, span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

STYLES: dict[Label, str] = {
    "real": "bold green",
    "fake": "bold red",
    "unknown": "bold yellow",
    "not_checkable": "bold cyan",
}
_STANCE_STYLES = {"supports": "green", "refutes": "red", "neutral": "dim"}
_MARKS = {"supports": "+", "refutes": "−", "neutral": "·"}
_BAR = 30
_PLAIN_WIDTH = 110


def print_verdict(verdict: Verdict, *, explain: bool = False) -> None:
    """Print to standard output, in colour on a terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH)
    _print(verdict, console, explain)


def render_text(verdict: Verdict, *, explain: bool = False) -> str:
    """The same without colour, as a string ending with a line end."""
    from io import StringIO

    from rich.console import Console

    held = StringIO()
    _print(
        verdict,
        Console(file=held, highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH, no_color=True),
        explain,
    )
    return held.getvalue()


def _print(verdict: Verdict, console: Console, explain: bool) -> None:
    from rich.text import Text

    console.print(Text(plain(verdict.claim), style="italic"))
    if verdict.date:
        console.print(Text(f"claimed {phrases.day(verdict.date)}", style="dim"))
    console.print()
    console.print(_headline(verdict))
    if verdict.verdict != "not_checkable":
        console.print(_bar(verdict))
    console.print(Text(plain(verdict.why)))
    for warning in verdict.warnings:
        console.print(Text(f"! {plain(warning)}", style="yellow"))
    if verdict.verdict != "not_checkable":
        console.print()
        console.print(_perspectives(verdict, explain))
        for kind, view in verdict.perspectives.items():
            text = plain(view.text)
            writer = f" (written by {plain(view.written_by)}, an opinion)" if view.written_by else ""
            line = Text(f"{phrases.KIND_NAMES[kind]}{writer}: ", style="bold")
            line.append(text if explain else shorten(text, 300), style="not bold")
            console.print(line)
    if verdict.evidence:
        console.print()
        console.print(_evidence(verdict, explain))
    if verdict.other_claims:
        console.print(Text("\nFurther claims in the text, not judged:", style="bold"))
        for other in verdict.other_claims:
            console.print(Text(f"  - {plain(other)}"))
    if explain:
        _print_background(verdict, console)
    console.print()
    console.print(Text(phrases.cost(verdict.usage), style="dim"))


def _headline(verdict: Verdict) -> Text:
    from rich.text import Text

    line = Text(phrases.HEADLINES[verdict.verdict].upper(), style=STYLES[verdict.verdict])
    if verdict.verdict != "not_checkable":
        line.append(f"   {percent(verdict.probability_fake)} fake", style="not bold default")
        line.append(f" (90 % interval {span(verdict.interval)})", style="not bold default")
    if verdict.expert is not None:
        line.append(f" · decided by {verdict.expert}", style="not bold default")
    return line


def _bar(verdict: Verdict) -> Text:
    """`real ├──▒▒▒█▒▒──┤ fake`: the interval shaded, the probability a block."""
    from rich.text import Text

    low, high = (round(bound * (_BAR - 1)) for bound in verdict.interval)
    at = round(verdict.probability_fake * (_BAR - 1))
    line = Text("real ├", style="dim")
    for cell in range(_BAR):
        if cell == at:
            line.append("█", style=f"not dim {STYLES[verdict.verdict]}")
        else:
            line.append("▒" if low <= cell <= high else "─", style="not dim" if low <= cell <= high else "dim")
    return line.append("┤ fake", style="dim")


def _perspectives(verdict: Verdict, explain: bool) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    columns = ["", "perspective", "says", "reliable?", "weight"] + (["real", "fake", "unknown"] if explain else [])
    for name in [*columns, "why"]:
        table.add_column(
            name, justify="right" if name in ("weight", "real", "fake", "unknown") else "left", overflow="fold"
        )
    for kind, view in verdict.perspectives.items():
        style = "" if view.available else "dim"
        cells = [
            "▶" if view.chosen else "",
            phrases.KIND_NAMES[kind],
            phrases.OPINIONS[view.verdict] if view.available else "–",
            phrases.reliability(view),
            percent(view.weight) if view.available else "–",
        ]
        if explain:
            cells += [percent(p) for p in (view.probability_real, view.probability_fake, view.probability_unknown)]
        table.add_row(*(Text(cell, style=style) for cell in cells), Text(plain(view.assessment.why), style=style))
    return table


def _evidence(verdict: Verdict, explain: bool) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stance", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("source", overflow="fold", max_width=24)
    table.add_column("cred.", justify="right", no_wrap=True)
    table.add_column("passage", overflow="fold", ratio=1)
    for item in verdict.evidence:
        stance = f"{_MARKS[item.stance]} {item.stance}"
        passage = Text(plain(item.text) if explain else shorten(plain(item.text), 200))
        link = phrases.safe_link(item.url)
        if link:
            passage.append(f"\n{plain(link)}", style="dim")
        if explain:
            stances = f"supports {percent(item.supports)}, refutes {percent(item.refutes)}"
            passage.append(f"\n{stances}, neutral {percent(item.neutral)}; from {plain(item.origin)}", style="dim")
        table.add_row(
            Text(stance, style=_STANCE_STYLES[item.stance]),
            Text(phrases.day(item.date)),
            Text(phrases.where_from(item)),
            Text("–" if item.credibility is None else f"{item.credibility:.2f}"),
            passage,
        )
    return table


def _print_background(verdict: Verdict, console: Console) -> None:
    from rich.text import Text

    def section(title: str, lines: list[str]) -> None:
        if lines:
            console.print(Text(f"\n{title}", style="bold"))
            for line in lines:
                console.print(Text(f"  {line}"))

    section("Asked", list(phrases.queries(verdict)))
    missing = [f"{kind}: {plain(view.text)}" for kind, view in verdict.perspectives.items() if not view.available]
    section("Unavailable", missing)
    section("Versions", [f"{plain(name)}: {plain(version)}" for name, version in verdict.model_versions.items()])
    console.print()
    console.print(Text(phrases.METHOD, style="dim"))
    console.print(Text(phrases.LIMITS, style="dim"))
