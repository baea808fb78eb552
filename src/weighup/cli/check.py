"""`weighup check`: its flags, and which of them exclude each other. The work is in `checking` and `batching`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

FORMATS = ("text", "json", "jsonl", "markdown", "html")
BATCH_FORMATS = ("jsonl", "markdown", "html")
ENGINES = ("local", "ray")


@dataclass(frozen=True, slots=True)
class Ask:
    """What the user asked for, flags as given and known not to contradict each other."""

    text: str | None
    file: Path | None
    url: str | None
    input: Path | None
    output: Path | None
    format: str
    out: Path | None
    date: str | None
    source: str | None
    lang: str | None
    evidence: tuple[str, ...]
    search: bool
    offline: bool
    brief: bool
    budget: str | None
    model: str | None
    sources: str | None
    weights: Path | None
    config: Path | None
    overwrite: bool
    batch_size: int | None
    explain: bool
    quiet: bool
    risk: float | None = None
    engine: str = "local"
    workers: int | None = None
    address: str | None = None


def check(
    text: Annotated[str | None, typer.Argument(help="The claim or article; - reads standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from this file (UTF-8).")] = None,
    url: Annotated[str | None, typer.Option("--url", "-u", help="Fetch this page and check what it says.")] = None,
    input: Annotated[
        Path | None, typer.Option("--input", "-i", help="Rows to check: .jsonl, .csv or .parquet (also .jsonl.gz).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --input: JSON lines, resumed if it exists.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="text, json, jsonl, markdown or html; with --input also a report.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report to this file.")] = None,
    date: Annotated[
        str | None, typer.Option("--date", help="When it was claimed (2024-05-31): nothing newer counts.")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Who claimed it, for example example.com.")] = None,
    lang: Annotated[str | None, typer.Option("--lang", help="Language of the text: en or zh; else detected.")] = None,
    evidence: Annotated[
        list[str] | None, typer.Option("--evidence", "-e", help="A passage of evidence of your own; repeatable.")
    ] = None,
    no_search: Annotated[
        bool, typer.Option("--no-search", help="Use only the evidence that came with the claim.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network: local store only.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Write no text: extracts and probabilities only.")] = False,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Hard limits for a claim, tokens=2000,seconds=10,usd=0.01; for all, run_usd=5."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Language model: embedded, none, openai:NAME, anthropic:NAME, FILE.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option("--sources", help="Online sources to ask, for example wikipedia,gdelt.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Folder of your own trained weights; parts it lacks are the shipped ones."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings from this weighup.toml.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="With --output: start again from nothing.")] = False,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, max=4096, help="With --input: rows checked together.")
    ] = None,
    risk: Annotated[
        float | None, typer.Option("--risk", help="Call at most this share wrongly, 0.1: else say it is too early.")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="With --input: local (this process), or ray (worker processes).")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=4096, help="With --engine ray: how many; one for each core.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="With --engine ray: a cluster's host:port instead of this machine.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say everything: probabilities, queries, what was missing, versions.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Judge whether a claim is real or fake, or whether it is too early to say.

    \b
    Examples:
      weighup check "Drinking bleach cures COVID-19." --offline
      weighup check "The mayor resigned on Monday." --date 2024-05-31 --format html --out report.html
      weighup check --url https://example.com/story --explain
      cat story.txt | weighup check --format json
      weighup check --input rows.jsonl --output verdicts.jsonl --brief --no-search
      weighup check --input big.parquet --output out/ --engine ray --workers 8
      weighup check "The dam broke on Thursday." --offline --risk 0.1

    Ends with 0 when checked, 1 when a job or some of its rows failed, 2 for input or flags that cannot be used.
    """
    ask = Ask(
        text=text,
        file=file,
        url=url,
        input=input,
        output=output,
        format=format or ("text" if input is None else "jsonl"),
        out=out,
        date=date,
        source=source,
        lang=lang,
        evidence=tuple(evidence or ()),
        search=not no_search,
        offline=offline,
        brief=brief,
        budget=budget,
        model=model,
        sources=sources,
        weights=weights,
        config=config,
        overwrite=overwrite,
        batch_size=batch_size,
        explain=explain,
        quiet=quiet,
        risk=risk,
        engine=engine,
        workers=workers,
        address=address,
    )
    problem = contradiction(ask, stdin_is_terminal=sys.stdin is None or sys.stdin.isatty())
    if problem:
        from weighup.errors import InvalidInput

        raise InvalidInput(problem)
    if ask.input is not None:
        from weighup.cli.batching import check_rows

        check_rows(ask)
    else:
        from weighup.cli.checking import check_one

        check_one(ask)


def contradiction(ask: Ask, *, stdin_is_terminal: bool) -> str | None:
    """The first thing wrong with a combination of flags, in words that say what to do; None if all is well."""
    given = [
        name
        for name, value in (("TEXT", ask.text), ("--file", ask.file), ("--url", ask.url), ("--input", ask.input))
        if value is not None
    ]
    if len(given) > 1:
        return f"{' and '.join(given)} were both given; give one thing to check"
    if not given and stdin_is_terminal:
        return 'nothing to check: give a TEXT in quotes, --file, --url, --input, or pipe text in (weighup check "…")'
    if ask.format not in FORMATS:
        return f"--format {ask.format!r} is not known; formats are {', '.join(FORMATS)}"
    if ask.text is not None and ask.text.startswith(("http://", "https://")) and len(ask.text.split()) == 1:
        return f"TEXT is an address; to check what the page says use --url {ask.text}"
    for wrong, message in (_batch_rules(ask) if ask.input is not None else _single_rules(ask)) + _rules(ask):
        if wrong:
            return message
    return None


def _rules(ask: Ask) -> list[tuple[bool, str]]:
    return [
        (ask.offline and ask.url is not None, "--url needs the network, which --offline forbids; leave one out"),
        (ask.offline and ask.sources is not None, "--sources are asked online, which --offline forbids; leave one out"),
        (
            not ask.search and ask.sources is not None,
            "--sources are searched, which --no-search forbids; leave one out",
        ),
        (
            ask.risk is not None and not 0 < ask.risk < 1,
            f"--risk {ask.risk}: a share between 0 and 1 is needed; write 0.1 for one wrong call in ten at most",
        ),
        (ask.engine not in ENGINES, f"--engine {ask.engine!r} is not known; engines are {', '.join(ENGINES)}"),
        (ask.engine != "ray" and ask.workers is not None, "--workers only goes with --engine ray"),
        (ask.engine != "ray" and ask.address is not None, "--address only goes with --engine ray"),
    ]


def _single_rules(ask: Ask) -> list[tuple[bool, str]]:
    only_batch = "only goes with --input ROWS"
    return [
        (ask.output is not None, f"--output {only_batch}; use --out FILE for one report"),
        (ask.overwrite, f"--overwrite {only_batch}"),
        (ask.batch_size is not None, f"--batch-size {only_batch}"),
        (ask.engine != "local", f"--engine {ask.engine} {only_batch}"),
        (ask.url is not None and ask.source is not None, "--url names the source itself; leave --source out"),
    ]


def _batch_rules(ask: Ask) -> list[tuple[bool, str]]:
    own = "does not go with --input: each row carries its own"
    return [
        (ask.output is None, "--input needs --output FILE.jsonl, where the verdicts go"),
        (ask.date is not None, f"--date {own} `date`"),
        (ask.source is not None, f"--source {own} `source`"),
        (ask.lang is not None, f"--lang {own} `lang`"),
        (bool(ask.evidence), f"--evidence {own} `evidence`"),
        (ask.explain and ask.format == "jsonl", "--explain goes with a report; JSON lines hold everything already"),
        (
            ask.format not in BATCH_FORMATS,
            f"--format {ask.format} is for one claim; with --input use {', '.join(BATCH_FORMATS)}",
        ),
        (ask.out is not None and ask.format == "jsonl", "--out names a report; add --format html or markdown"),
    ]
