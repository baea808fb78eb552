"""`weighup evaluate`: who decides best when evidence is scarce, measured on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from weighup.settings import Settings
    from weighup.train.evaluate import Plan
    from weighup.train.measured import MeasuredSet
    from weighup.train.results import Evaluation

PROTOCOLS = ("plain", "scarcity", "time", "transfer")
SPLITS = ("test", "valid", "train", "all")


def evaluate(
    data: Annotated[
        list[Path], typer.Option("--data", "-d", help="Labelled rows: .jsonl, .csv or .parquet; repeatable.")
    ],
    labels: Annotated[
        str | None, typer.Option("--labels", help="What other labels mean: real=true+mostly-true,fake=false.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            help="plain (evidence as given), scarcity (thinned, swapped), time, or transfer (fit on the other sets).",
        ),
    ] = "plain",
    split: Annotated[
        str | None,
        typer.Option("--split", help="Measure test, valid, train or all. Default: test, or the only one there is."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most so many rows of each file.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="How chance falls, where evidence is thinned.")] = "0,1,2",
    q: Annotated[
        str | None,
        typer.Option("--q", help="Shares of evidence kept. Default: 1,0.75,0.5,0.25,0; with transfer 1,0.25."),
    ] = None,
    r: Annotated[
        str | None,
        typer.Option("--r", help="Shares of what is kept that is swapped. Default: 0,0.3; with transfer 0."),
    ] = None,
    ablate: Annotated[
        str,
        typer.Option(
            "--ablate",
            help="EASE less a part, as further systems: no-evaluators,no-sentiment-fallback,random-selection,"
            "most-confident, or all.",
        ),
    ] = "",
    resamples: Annotated[int, typer.Option("--resamples", min=1, help="Draws behind each 95 % interval.")] = 200,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Folder with weights of your own; else the shipped ones.")
    ] = None,
    risk: Annotated[
        float | None, typer.Option("--risk", help="Share of wrong calls to keep to, 0.1, and to measure against.")
    ] = None,
    written: Annotated[bool, typer.Option("--written", help="Ask the language model too; takes much longer.")] = False,
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Leave out valid and train rows that are tied to test rows.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write all numbers to this file, as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Measure EASE against simpler ways of deciding, on labelled rows, with 95 % intervals.

    The name of a set is its folder's where the file is train, valid, dev or test. Valid rows, if given, fit the learned
    gate; they are not measured. Nothing is searched: each claim has the evidence that came with it. With transfer, each
    set is measured by what was fitted on the train and valid rows of the others.

    Example: weighup evaluate --data check_covid/test.jsonl.gz --data check_covid/valid.jsonl.gz --protocol scarcity
    """
    from weighup.console import progress

    with progress("weighup: evaluating", show=not quiet):
        plan, sets = _asked(
            data, labels, protocol, split, limit, seeds, q, r, ablate, resamples, risk, written, drop_leaks, out
        )
    from weighup.train.evaluate import evaluate as measure
    from weighup.train.evaluate import measuring, work
    from weighup.train.transfer import refitting, weighing

    apart = plan.protocol == "transfer"
    settings = _settings(weights, None if apart else risk, quiet)
    steps = work(sets, plan) + (weighing(sets) if apart else 0)
    try:
        with (
            progress("weighup: judging", steps, show=False if quiet else None) as advance,
            measuring(settings, written=written) as verifier,
        ):
            refit = refitting(verifier, sets, risk=plan.risk, advance=advance) if apart else None
            found = measure(verifier, sets, plan, refit=refit, advance=advance)
        _deliver(found, out, as_json)
    except KeyboardInterrupt:
        typer.echo("weighup: stopped; nothing was written", err=True)
        raise typer.Exit(130) from None


def _asked(
    data: list[Path],
    labels: str | None,
    protocol: str,
    split: str | None,
    limit: int | None,
    seeds: str,
    q: str | None,
    r: str | None,
    ablate: str,
    resamples: int,
    risk: float | None,
    written: bool,
    drop_leaks: bool,
    out: Path | None,
) -> tuple[Plan, list[MeasuredSet]]:
    """What is to be done, with everything that can be refused refused before any model is opened."""
    from weighup.errors import InvalidInput

    if protocol not in PROTOCOLS:
        raise InvalidInput(f"--protocol {protocol!r} is not known; protocols are {', '.join(PROTOCOLS)}")
    if split is not None and split not in SPLITS:
        raise InvalidInput(f"--split {split!r} is not known; splits are {', '.join(SPLITS)}")
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise InvalidInput(f"--out {out}: is a folder, or its folder is not there; name a file")
    from typing import cast

    from weighup.cli.train import need
    from weighup.train import protocol as scarcity
    from weighup.train import transfer
    from weighup.train.ablations import ABLATIONS
    from weighup.train.evaluate import Plan, require_measurable
    from weighup.train.labelled import parse_labels
    from weighup.train.measured import read_sets
    from weighup.train.results import Protocol

    usual = transfer if protocol == "transfer" else scarcity
    named = tuple(dict.fromkeys(filter(None, (part.strip() for part in ablate.split(",")))))
    if protocol == "transfer":
        need("sklearn", "scipy")
    plan = Plan(
        protocol=cast(Protocol, protocol),
        seeds=tuple(int(number) for number in _numbers("--seeds", seeds, whole=True)),
        qs=usual.QS if q is None else _numbers("--q", q),
        rs=usual.RS if r is None else _numbers("--r", r),
        resamples=resamples,
        limit=limit,
        written=written,
        risk=risk,
        ablate=tuple(ABLATIONS) if named == ("all",) else named,
    )
    mapping = None if labels is None else parse_labels(labels)
    sets = read_sets(data, labels=mapping, split=split, limit=limit, drop_leaks=drop_leaks)
    require_measurable(sets, plan)
    return plan, sets


def _numbers(name: str, text: str, *, whole: bool = False) -> tuple[float, ...]:
    from weighup.errors import InvalidInput

    example = "0,1,2" if whole else "1,0.5,0"
    found: list[float] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(int(part) if whole else float(part))
        except ValueError:
            raise InvalidInput(f"{name}: {part[:40]!r} is not a number; write it as {example}") from None
    if not found:
        raise InvalidInput(f"{name}: is empty; write it as {example}")
    return tuple(dict.fromkeys(found))


def _settings(weights: Path | None, risk: float | None, quiet: bool) -> Settings:
    from weighup.cli.checking import set_up_log
    from weighup.settings import load_settings

    given = {name: value for name, value in (("weights", weights), ("risk", risk)) if value is not None}
    settings = load_settings({"verify": given} if given else {})
    set_up_log(settings.log, quiet)
    return settings


def _deliver(found: Evaluation, out: Path | None, as_json: bool) -> None:
    from weighup.cli.checking import deliver
    from weighup.console import table
    from weighup.train.rendering import tables

    text = found.model_dump_json(indent=2) + "\n"
    if out is not None:
        deliver(text, out)
    if as_json:
        deliver(text, None)
        return
    for one in tables(found):
        table(one.columns, one.rows, title=one.title)
    told = [f"fitted anew for each set: {found.refitted}"] if found.refitted is not None else []
    for line in (*told, found.gate.told, *found.notes):
        typer.echo(line)
