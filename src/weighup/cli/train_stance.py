"""`weighup train stance`: a stance model of one's own from labelled rows that have evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from weighup.train.labelled import Labelled
    from weighup.train.own import Trained


def stance(
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Rows with text, label and evidence: .jsonl, .csv or .parquet; repeatable."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the weights, for --weights of `weighup check`.")],
    labels: Annotated[
        str | None, typer.Option("--labels", help="What your labels mean: real=true+mostly-true,fake=false.")
    ] = None,
    start: Annotated[
        str, typer.Option("--start", help="shipped: go on from the shipped weights; encoder: from all-MiniLM-L6-v2.")
    ] = "shipped",
    minutes: Annotated[float, typer.Option("--minutes", help="The schedule ends here if the steps do not.")] = 20.0,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Of 32 pairs each; default three times through the pairs.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Draws the batches, and the split of rows that name none.")] = 0,
    threads: Annotated[int | None, typer.Option("--threads", help="Cores to use; default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Teach the stance model on your own claims and passages.

    \b
    Examples:
      weighup train stance --data mine.jsonl --out weights
      weighup train stance --data rows.jsonl --labels real=true,fake=false --minutes 5 --out weights
      weighup check "The dam broke on Thursday." --weights weights

    A row is {"text", "label", "evidence": [{"text", "stance"}, …]}; a stance is supports, refutes or neutral, and
    evidence that names none takes the claim's label: real supports, fake refutes, unknown neutral. Rows may name
    their `split` (train, valid, test) and `group`; else whole groups are drawn. A run that was stopped goes on where
    it was. Needs pip install 'weighup[train]'.
    """
    from weighup.cli.train import read_rows, recorded

    rows, mapping = read_rows(data, labels, quiet=quiet)
    config = recorded("stance", data, mapping, seed, start=start, minutes=minutes, steps=steps)
    done = stance_trained(
        rows, out, config, start=start, minutes=minutes, steps=steps, seed=seed, threads=threads, quiet=quiet
    )
    if as_json:
        import json

        typer.echo(json.dumps(done.card, indent=2, ensure_ascii=False))
        return
    show_stance(done.card)
    typer.echo(f"weights: {out}")


def stance_trained(
    rows: list[Labelled],
    out: Path,
    config: dict[str, Any],
    *,
    start: str = "shipped",
    minutes: float,
    steps: int | None = None,
    seed: int,
    threads: int | None = None,
    quiet: bool,
) -> Trained:
    """Do what `weighup train stance` does, all but showing what came of it."""
    from weighup.cli.train import tell
    from weighup.console import progress
    from weighup.train.stance.own import train_stance

    with progress("weighup: training", show=not quiet) as advance:
        trained = train_stance(
            rows,
            out,
            start=start,
            minutes=minutes,
            steps=steps,
            seed=seed,
            threads=threads,
            config=config,
            advance=advance,
        )
    tell(trained.notes)
    return trained


def show_stance(card: dict[str, Any]) -> None:
    """The scores of a stance card as a table, beside those of the shipped model."""
    from weighup.console import table

    shipped = card["shipped_model"]
    found = [
        (split, source, scores["pairs"], scores["macro_f1"], shipped[split]["per_set"][source]["macro_f1"])
        for split, part in (("valid", "dev"), ("test", "test"))
        if part in card
        for source, scores in card[part]["per_set"].items()
    ]
    table(("split", "file", "pairs", "macro-F1", "shipped"), found, title="stance")
