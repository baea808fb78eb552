"""`weighup train`: weights of one's own from labelled rows. This file has `content`; the rest are beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli import train_ease, train_evaluator, train_stance

if TYPE_CHECKING:
    from weighup.train.labelled import Labelled
    from weighup.train.own import Trained

app = typer.Typer(
    help="Train weights of your own.\n\nExample: weighup train content --data mine.csv --out weights",
    no_args_is_help=True,
)


SHARES = (0.8, 0.1, 0.1)
"""Of train, valid and test, where rows name no split."""

app.command("all")(train_ease.everything)
app.command("perspectives")(train_ease.perspectives)
app.command("stance")(train_stance.stance)
app.command("evaluators")(train_ease.evaluators)
app.command("evaluator-lm")(train_evaluator.language_model_evaluator)
app.command("experts")(train_ease.experts)
app.command("calibration")(train_ease.calibration)


@app.command("content")
def content(
    data: Annotated[
        list[Path], typer.Option("--data", help="Rows with text and label: .csv, .jsonl or .parquet; repeatable.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the weights, for --weights of `weighup check`.")],
    labels: Annotated[
        str | None, typer.Option("--labels", help="What your labels mean: real=true+mostly-true,fake=false.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Draws the split of rows that name none.")] = 0,
    by_time: Annotated[bool, typer.Option("--by-time", help="Split by date: learn from the past only.")] = False,
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Leave out rows that stand in two splits, instead of refusing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Learn what wording and subject suggest from your own labelled claims.

    \b
    Examples:
      weighup train content --data mine.csv --out weights
      weighup train content --data rows.jsonl --labels real=true,fake=false+pants-fire --out weights
      weighup check "The dam broke on Thursday." --weights weights

    Rows may name their `split` (train, valid, test) and `group`; else whole groups are drawn, 80, 10 and 10 in a
    hundred. A run that was stopped goes on where it was.
    """
    from weighup.train.labelled import require_trainable

    rows, mapping = read_rows(data, labels, quiet=quiet)
    require_trainable(rows)
    rows, notes = split_rows(rows, seed, by_time=by_time, drop_leaks=drop_leaks)
    tell(notes)
    config = recorded("content", data, mapping, seed, by_time=by_time, drop_leaks=drop_leaks)
    done = content_trained(rows, out, config, quiet=quiet)
    if as_json:
        import json

        typer.echo(json.dumps(done.card, indent=2, ensure_ascii=False))
        return
    show_content(done.card)
    typer.echo(f"weights: {out}")


def read_rows(
    data: Sequence[Path], labels: str | None, *, limit: int | None = None, quiet: bool
) -> tuple[list[Labelled], dict[str, str]]:
    """The labelled rows, and what `--labels` says of their labels."""
    from weighup.console import progress
    from weighup.train.labelled import parse_labels, read_labelled
    from weighup.train.measured import fewer

    mapping = parse_labels(labels) if labels else {}
    with progress("weighup: reading", show=not quiet):
        return fewer(read_labelled(data, labels=mapping or None), limit), mapping


def recorded(command: str, data: Sequence[Path], mapping: dict[str, str], seed: int, **options: Any) -> dict[str, Any]:
    """What a card says of the run: the command, the data by hash, and the options."""
    from weighup.files import sha256

    return {
        "command": f"weighup train {command}",
        "data": {str(path): sha256(path) for path in data},
        "labels": mapping,
        "seed": seed,
        **options,
    }


def tell(notes: Sequence[str]) -> None:
    """What the user should know, on standard error."""
    for note in notes:
        typer.echo(f"weighup: {note}", err=True)


def content_trained(rows: list[Labelled], out: Path, config: dict[str, Any], *, quiet: bool) -> Trained:
    """Do what `weighup train content` does with rows that all name a split, all but showing what came of it."""
    from weighup.console import progress

    need("sklearn", "scipy")
    from weighup.models.open import encoder
    from weighup.train.own import train_content

    with progress("weighup: training", len({row.claim.text for row in rows}), show=not quiet) as advance:
        trained = train_content(rows, out, encoder(), config=config, advance=advance)
    tell(trained.notes)
    return trained


def show_content(card: dict[str, Any]) -> None:
    """The scores of a content card as a table."""
    from weighup.console import table

    found = [
        (lang, split, scores["rows"], scores.get("macro_f1"), scores.get("auroc"))
        for split, by_language in card["metrics"].items()
        for lang, scores in by_language.items()
    ]
    table(("language", "split", "rows", "macro-F1", "AUROC"), found, title="content, by wording and subject alone")


def split_rows(
    rows: list[Labelled],
    seed: int,
    *,
    by_time: bool,
    drop_leaks: bool,
    shares: tuple[float, float, float] | None = SHARES,
) -> tuple[list[Labelled], list[str]]:
    """Rows that all name a split, and what the user should be told. `shares` of train, valid and test are drawn of rows
    that name none; None leaves these as they are."""
    from dataclasses import replace

    from weighup.train.splits import check_leakage, contradictions, split_groups, without_leaks

    notes: list[str] = []
    if drop_leaks:
        rows, dropped = without_leaks(rows)
        if dropped:
            notes.append(f"{dropped:,} rows that stand in two splits were left out")
    check_leakage(rows)
    if shares is None:
        return rows, notes
    named = {row.split for row in rows}
    if named != {None}:
        shares = (shares[0] + shares[2], shares[1], 0.0)
    if not by_time and "train" in named and "valid" not in named:
        # Files of train and test only: whole groups of train become valid, and nothing more becomes test.
        rows = [replace(row, split=None) if row.split == "train" else row for row in rows]
    rows = split_groups(rows, seed, shares, by_time=by_time)
    contradiction = contradictions(rows)
    if contradiction:
        notes.append(contradiction)
    return rows, notes


def need(*modules: str) -> None:
    """Raise JobFailed, saying what to install, unless all modules are there."""
    import importlib.util

    from weighup.errors import JobFailed

    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise JobFailed(
            "training needs scikit-learn and scipy; install them with pip install 'scikit-learn>=1.5,<2' "
            "(or all that training can need: pip install 'weighup[train]')"
        )
