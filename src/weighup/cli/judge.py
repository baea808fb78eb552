"""`weighup judge run|calibrate|meta|contextual`: have answers judged, and find out how good the judge is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli.rows import Format, Out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weighup.judge.types import Item, Judgement, Rubric, Winner
    from weighup.metrics.estimate import Estimate

app = typer.Typer(
    help="Judge model answers, calibrate judges, and measure how good a judge is.\n\n"
    "Example: weighup judge run items.jsonl --judge pipeline.yaml --log run.sqlite",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ItemsFile = Annotated[Path, typer.Argument(help="Items: .jsonl, .csv or .parquet, a pair or more of responses a row.")]
JudgeFile = Annotated[Path, typer.Option("--judge", help="The judge, as a YAML pipeline.")]
GoldFile = Annotated[
    Path | None,
    typer.Option("--gold", help="id and winner (1, 2 or tie), .jsonl or .csv; default: the items' meta.gold."),
]


@app.command()
def run(
    items: ItemsFile,
    judge: JudgeFile,
    log: Annotated[Path, typer.Option("--log", help="Where the run is kept; a run that was stopped goes on there.")],
    rubric: Annotated[Path | None, typer.Option("--rubric", help="Criteria, as YAML.")] = None,
    judgements: Annotated[Path | None, typer.Option("--judgements", help="Write all judgements there, JSONL.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Items handed to the judge at a time.")] = 128,
    form: Format = "table",
    out: Out = None,
) -> None:
    """Judge every item once and keep what was said; prints how often each side won.

    Ends with 1 if some items still wait: for people, or for a server that was away. Run it again to go on.

    Example: weighup judge run items.jsonl --judge pipeline.yaml --log run.sqlite --judgements said.jsonl
    """
    from weighup.console import progress
    from weighup.errors import JobFailed
    from weighup.judge.pipeline import read_pipeline
    from weighup.judge.runs import BATCH, Log
    from weighup.judge.runs import run as run_all

    told = read_items_file(items)
    pipeline = read_pipeline(judge)
    made = pipeline.make()
    with progress("judging", len(told)) as advance:
        result = run_all(
            made,
            told,
            log,
            rubric=read_rubric(rubric),
            made_with={"pipeline": pipeline.hash},
            batch=batch or BATCH,
            advance=advance,
        )
    kept = Log(log)
    if judgements is not None:
        typer.echo(f"wrote {kept.write(judgements):,} judgements to {judgements}", err=True)
    found = list(kept.judgements())
    rows = _outcomes(found)
    from weighup.cli.rows import emit
    from weighup.metrics.forest import forest

    drawn = [(r["outcome"], r["share"], r["low"], r["high"]) for r in rows]
    picture = forest(f"{made.name}: outcomes", drawn, axis="share") if rows else None
    emit(rows, title=f"{made.name}: {result.items:,} items", form=form, out=out, picture=picture)
    if not result.complete:
        raise JobFailed(f"{result.status.get('waiting', 0):,} items still wait; run the same command again to go on")


@app.command()
def calibrate(
    items: ItemsFile,
    judge: JudgeFile,
    gold: GoldFile = None,
    at: Annotated[float, typer.Option("--at", min=0, max=1, help="Accuracy that lets a judge in.")] = 0.6,
    weighing: Annotated[
        str, typer.Option("--weights", help="uniform, log, exp or poly, of the exam's accuracy.")
    ] = "log",
    write: Annotated[Path | None, typer.Option("--write", help="Write the weighted panel there, as YAML.")] = None,
    form: Format = "table",
    out: Out = None,
) -> None:
    """Let the judges of a panel sit an exam in both orders; weigh those that pass by how well they did.

    Example: weighup judge calibrate exam.jsonl --judge panel.yaml --gold gold.csv --write weighted.yaml
    """
    from weighup.cli.rows import emit
    from weighup.console import progress
    from weighup.errors import InvalidInput
    from weighup.judge.exam import admit, exam_scores, weights
    from weighup.judge.pipeline import read_pipeline, write_pipeline
    from weighup.judge.pipeline_kinds import Jury
    from weighup.metrics.forest import forest

    if weighing not in ("uniform", "log", "exp", "poly"):
        raise InvalidInput(f"--weights {weighing}: is not one of uniform, log, exp, poly")
    told = read_items_file(items)
    labels = gold_of(told, gold)
    pipeline = read_pipeline(judge)
    if not isinstance(pipeline.spec, Jury):
        raise InvalidInput(f"--judge {judge}: an exam is for the judges of a panel; its kind is {pipeline.spec.kind}")
    exam = [item for item in told if item.id in labels]
    judges = pipeline.make().judges  # type: ignore[attr-defined]
    with progress("the exam", len(judges)) as advance:
        scores: dict[str, Estimate] = {}
        for one in judges:
            scores |= exam_scores([one], exam, labels)
            advance(1, note=one.name)
    passed = admit({name: one.value for name, one in scores.items()}, at)
    shares = weights({name: scores[name].value for name in passed}, weighing)  # type: ignore[arg-type]
    rows = [
        {
            "judge": name,
            "accuracy": one.value,
            "low": one.low,
            "high": one.high,
            "n": one.n,
            "admitted": "yes" if name in passed else "no",
            "weight": shares.get(name, 0.0),
        }
        for name, one in scores.items()
    ]
    picture = forest("exam", [(name, one.value, one.low, one.high) for name, one in scores.items()], at=at)
    emit(rows, title=f"exam of {len(exam):,} items", form=form, out=out, picture=picture)
    if write is not None:
        kept = {name: shares.get(name, 0.0) for name in scores}
        write_pipeline(pipeline.spec.model_copy(update={"weights": kept}), write)
        typer.echo(f"wrote {write}", err=True)


@app.command()
def meta(
    judgements: Annotated[list[Path], typer.Argument(help="Judgements, .jsonl, or the log of a run, .sqlite.")],
    items: Annotated[Path, typer.Option("--items", help="The items that were judged.")],
    gold: GoldFile = None,
    by: Annotated[str | None, typer.Option("--by", help="Subsets: category, or a field of meta.")] = "category",
    measure: Annotated[str, typer.Option("--measure", help="The measure that a picture shows.")] = "accuracy",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    form: Format = "table",
    out: Out = None,
) -> None:
    """How good is this judge? Accuracy, κ, order, length, style and self-preference bias, consistency; with intervals.

    Example: weighup judge meta said.jsonl --items items.jsonl --gold gold.csv --format markdown
    """
    from weighup.cli.rows import emit
    from weighup.judge.meta import meta_evaluate
    from weighup.metrics.forest import forest

    told = read_items_file(items)
    said = [one for path in judgements for one in read_judgements(path)]
    found = meta_evaluate(told, said, gold_of(told, gold), by=by, seed=seed)
    rows = [
        {
            "judge": one.judge,
            "subset": one.subset,
            "measure": one.measure,
            "value": one.estimate.value,
            "low": one.estimate.low,
            "high": one.estimate.high,
            "n": one.estimate.n,
        }
        for one in found
    ]
    drawn = [
        (f"{one.judge}, {one.subset}", one.estimate.value, one.estimate.low, one.estimate.high)
        for one in found
        if one.measure == measure
    ]
    picture = forest(f"{measure} by judge", drawn, axis=measure) if drawn else None
    emit(rows, title="judges", form=form, out=out, picture=picture)


@app.command()
def contextual(
    items: ItemsFile,
    judge: JudgeFile,
    gold: GoldFile = None,
    in_order: Annotated[
        bool,
        typer.Option("--in-order/--as-is", help="Ask for one criterion after the other, or use the judge as it is."),
    ] = True,
    form: Format = "table",
    out: Out = None,
) -> None:
    """How often is a judge right in both orders on answers made from a context? Chance is 25 %.

    In order: refusal, faithfulness, completeness, concision; the first on which two answers differ decides.

    Example: weighup judge contextual pairs.jsonl --judge pipeline.yaml --gold gold.csv
    """
    from weighup.cli.rows import emit
    from weighup.judge.contextual import ContextualJudge, consistent_accuracy
    from weighup.judge.pipeline import read_pipeline
    from weighup.metrics.forest import forest

    told = read_items_file(items)
    made = read_pipeline(judge).make()
    found = consistent_accuracy(ContextualJudge(made) if in_order else made, told, gold_of(told, gold))
    estimates = {
        "right in both orders": found.consistent,
        "right as given": found.given,
        "right swapped": found.swapped,
        "wrong in both orders": found.inverse,
        "judged otherwise when swapped": found.conflict,
        "of these, first place": found.first,
        **{f"right in both, {name}": one for name, one in found.by.items()},
    }
    rows = [
        {"measure": name, "value": one.value, "low": one.low, "high": one.high, "n": one.n}
        for name, one in estimates.items()
    ]
    drawn = [(name, one.value, one.low, one.high) for name, one in estimates.items()]
    picture = forest(f"{made.name} on pairs with a context", drawn, axis="share", at=0.25)
    emit(rows, title=made.name, form=form, out=out, picture=picture)
    if found.unusable:
        typer.echo(f"{found.unusable:,} of {2 * len(told):,} verdicts could not be used and count as wrong", err=True)


def read_items_file(path: Path) -> list[Item]:
    """All items of a file. Raises InvalidInput naming row and field."""
    from weighup.errors import InvalidInput
    from weighup.judge.item_files import read_items

    found = list(read_items(path))
    if not found:
        raise InvalidInput(f"{path}: holds no items")
    return found


def read_rubric(path: Path | None) -> Rubric | None:
    """A rubric from YAML: a list of criteria, or `criteria:` with them. Raises InvalidInput."""
    if path is None:
        return None
    from pydantic import ValidationError

    from weighup.errors import InvalidInput
    from weighup.judge.types import Rubric
    from weighup.metrics.extras import need

    yaml = need("yaml")
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        told = {"criteria": told} if isinstance(told, list) else told
        return Rubric.model_validate(told)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"--rubric {path}: cannot be read: {' '.join(str(error).split())[:200]}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InvalidInput(f"--rubric {path}: {place}: {first['msg']}") from error


def read_judgements(path: Path) -> list[Judgement]:
    """From JSONL, or from the log of a run. Raises InvalidInput naming file and line."""
    from weighup.judge.recorded import read_judgements as read
    from weighup.judge.runs import Log

    return list(Log(path).judgements()) if path.suffix in (".sqlite", ".db") else read(path)


def gold_of(items: Sequence[Item], path: Path | None) -> Mapping[str, Winner]:
    """Gold winners by item id, from a file or the items' meta. Raises InvalidInput for a label other than 1, 2, tie."""
    from weighup.errors import InvalidInput
    from weighup.rowfile import read_rows

    if path is None:
        told = {item.id: item.meta.get("gold") for item in items if item.meta.get("gold") is not None}
    else:
        told = {}
        for number, row in read_rows(path):
            if "id" not in row or "winner" not in row:
                raise InvalidInput(f"{path}: row {number}: has no id and winner; its fields are {', '.join(row)}")
            told[str(row["id"])] = row["winner"]
    found: dict[str, Any] = {id: str(label) for id, label in told.items()}
    wrong = next(((id, label) for id, label in found.items() if label not in ("1", "2", "tie")), None)
    if wrong is not None:
        raise InvalidInput(f"gold of item {wrong[0]}: is {wrong[1]!r}; it must be 1, 2 or tie")
    if not found:
        raise InvalidInput("gold: there are no labels; give --gold, or meta.gold with the items")
    return found


def _outcomes(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    from weighup.metrics.estimate import share

    named: list[str] = [one.winner if one.usable and one.winner else one.status for one in judgements]
    order: list[str] = [name for name in ("1", "tie", "2") if name in named]
    order += sorted(set(named) - set(order))
    rows = []
    for name in order:
        one = share([said == name for said in named])
        rows.append({"outcome": name, "share": one.value, "low": one.low, "high": one.high, "n": one.n})
    return rows
