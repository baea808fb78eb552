"""`weighup metrics score|compare|cards|qrels|rag|recsys|session`: numbers for texts, search, recommendations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli.rows import Format, Out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weighup.metrics.text import TextMetric

app = typer.Typer(
    help="Score texts, compare metrics with people, measure search, recommendations, sessions and RAG.\n\n"
    "Example: weighup metrics score outputs.jsonl --metric rougeL --metric chrf",
    no_args_is_help=True,
    rich_markup_mode=None,
)
TextFile = Annotated[Path, typer.Argument(help="Rows with hypothesis, reference (a text or a list), source.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="By name, several times; see metrics cards.")]
Rubric = Annotated[str, typer.Option("--rubric", help="For llm_score: what a good text is, in words.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the bootstrap.")]
_USUAL = ("rouge1", "rougeL", "bleu", "chrf", "length")


@app.command()
def score(
    rows: TextFile, metric: Metrics = None, rubric: Rubric = "", seed: Seed = 0, form: Format = "table", out: Out = None
) -> None:
    """The mean of each metric with its interval; with `--out scores.csv` one row a text.

    Example: weighup metrics score outputs.jsonl --metric rougeL --metric chrf
    """
    from weighup.cli.metric_rows import read_texts
    from weighup.cli.rows import emit
    from weighup.metrics.estimate import estimated

    texts = read_texts(rows)
    values = {name: metric(*texts.given) for name, metric in _metrics(metric, rubric).items()}
    if out is not None and out.suffix in (".csv", ".json"):
        columns = list(values)
        table = [
            {"row": n, **{name: float(values[name][n - 1]) for name in columns}}
            for n in range(1, len(texts.hypotheses) + 1)
        ]
        emit(table, title="scores", out=out)
        return
    found = []
    for name, each in values.items():
        one = estimated(lambda x: float(x.mean()), each, seed=seed)
        found.append({"metric": name, "mean": one.value, "low": one.low, "high": one.high, "n": one.n})
    emit(found, title="metrics", form=form, out=out)


@app.command()
def compare(
    rows: TextFile,
    metric: Metrics = None,
    rubric: Rubric = "",
    level: Annotated[list[str] | None, typer.Option("--level", help="segment or system; several times: both.")] = None,
    coefficient: Annotated[str, typer.Option("--coefficient", help="spearman or kendall.")] = "spearman",
    draws: Annotated[int, typer.Option("--draws", min=10, help="Bootstrap resamples.")] = 1000,
    seed: Seed = 0,
    form: Format = "table",
    out: Out = None,
) -> None:
    """Which metric agrees with people, on which question? Rows hold human.NAME; optionally system, group, dataset.

    Example: weighup metrics compare rated.jsonl --metric rouge1 --metric length --format markdown
    """
    from weighup.cli.metric_rows import read_human_scores
    from weighup.cli.rows import emit
    from weighup.errors import InvalidInput
    from weighup.metrics.illusion import compare_metrics

    chosen = list(_metrics(metric, rubric).values())
    if coefficient not in ("spearman", "kendall"):
        raise InvalidInput(f"--coefficient {coefficient}: is spearman or kendall")
    levels = tuple(level or ("segment",))
    if not set(levels) <= {"segment", "system"}:
        raise InvalidInput(f"--level {', '.join(levels)}: is segment or system")
    told = read_human_scores(rows)
    found = compare_metrics(
        chosen, told, levels=levels, coefficient=coefficient, draws=draws, seed=seed, missing="leave out"  # type: ignore[arg-type]
    )  # fmt: skip
    if not found.cells:
        raise InvalidInput(f"{rows}: nothing can be correlated: {'; '.join(found.notes)}")
    cells = [
        {name: getattr(cell, name) for name in ("level", "dataset", "dimension", "metric", "value", "low", "high", "n")}
        for cell in found.cells
    ]
    emit(cells, title=f"{coefficient} with people", form=form, out=out, picture=_drawn(cells))
    for note in found.notes:
        typer.echo(note, err=True)
    if form == "table" and out is None:
        lines = [
            {
                "metric": one.metric,
                "level": one.level,
                "best in": f"{one.best_share:.0%} of {one.columns}",
                "ranks": f"{one.best_rank}–{one.worst_rank}",
                "correlations": f"{one.lowest:.2f} to {one.highest:.2f}",
            }
            for one in found.stability
        ]
        emit(lines, title="how stable each metric is")


@app.command()
def cards(metric: Metrics = None) -> None:
    """What each metric sees, its range, where it is known to fail.

    Example: weighup metrics cards --metric bert_score
    """
    from weighup.metrics.cards import metric_card, metric_cards

    shown = [metric_card(name) for name in metric] if metric else list(metric_cards())
    typer.echo("\n".join(card.as_markdown() for card in shown))


@app.command()
def qrels(
    runs: Annotated[list[Path], typer.Argument(help="TREC runs, one file a system.")],
    human: Annotated[Path, typer.Option("--human", help="TREC qrels by people.")],
    model: Annotated[Path, typer.Option("--model", help="TREC qrels by a model.")],
    measure: Annotated[str, typer.Option("--measure", help="As ir_measures writes it.")] = "nDCG@10",
    top: Annotated[list[int] | None, typer.Option("--top", help="How many best systems to look at.")] = None,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """May a model's relevance judgements stand in for people's? Order of systems, and which differences are real.

    Example: weighup metrics qrels runs/*.run --human human.qrels --model model.qrels --top 5
    """
    from weighup.errors import InvalidInput
    from weighup.metrics.qrels import qrels_reliability
    from weighup.metrics.trec import read_qrels, read_run

    names = [path.stem for path in runs]
    if len(set(names)) < len(names):
        raise InvalidInput("runs: two files have the same name; a system's name is its file's")
    report = qrels_reliability(
        {path.stem: read_run(path) for path in runs},
        read_qrels(human),
        read_qrels(model),
        measure,
        tuple(top or ()),
        seed=seed,
    )
    typer.echo(report.as_json() if as_json else report.as_markdown(), nl=False)


@app.command()
def recsys(
    interactions: Annotated[Path, typer.Argument(help="Held-out user, item[, rating, time]; .csv .jsonl .parquet.")],
    recommendations: Annotated[Path, typer.Argument(help="user, item, rank or score.")],
    train: Annotated[Path | None, typer.Option("--train", help="What the recommender learned from.")] = None,
    items: Annotated[Path | None, typer.Option("--items", help="Items with features, prices.")] = None,
    k: Annotated[list[int] | None, typer.Option("--k", help="Lengths of list, several times.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="A measure or a family of them, several times.")
    ] = None,
    interval: Annotated[bool, typer.Option("--interval", help="Bootstrap intervals over users.")] = False,
    seed: Seed = 0,
    form: Format = "table",
    out: Out = None,
) -> None:
    """How good are the recommendations? Accuracy, ranking, coverage, novelty, diversity, bias, business.

    Example: weighup metrics recsys held_out.csv recommended.csv --train train.csv --k 5 --k 10
    """
    from weighup.cli.rows import emit
    from weighup.metrics.recommenders import (
        evaluate_recommendations,
        read_interactions,
        read_items,
        read_recommendations,
    )

    report = evaluate_recommendations(
        read_interactions(interactions),
        read_recommendations(recommendations),
        None if items is None else read_items(items),
        tuple(k or (5, 10)),
        metric or "all",
        train=None if train is None else read_interactions(train),
        interval=interval,
        seed=seed,
    )
    found = [
        {"metric": one.name, "value": one.value, "low": one.low, "high": one.high, "n": one.n, "of": one.of}
        for one in report.values
    ]
    emit(found, title=f"{report.users:,} users, {report.items:,} items", form=form, out=out)
    for name, why in report.skipped.items():
        typer.echo(f"{name}: not measured: {why}", err=True)


@app.command()
def session(
    sessions: Annotated[Path, typer.Argument(help="Search sessions, one JSON object a line.")],
    decay: Annotated[float, typer.Option("--decay", help="Characters after which nothing gains.")] = 132_000,
    labels: Annotated[str, typer.Option("--labels", help="clicks or qrels.")] = "clicks",
    seed: Seed = 0,
    form: Format = "table",
    out: Out = None,
) -> None:
    """NUM of each search session: what was gained by reading, beside what could have been.

    Example: weighup metrics session sessions.jsonl --labels clicks
    """
    from weighup.cli.rows import emit
    from weighup.metrics.estimate import estimated
    from weighup.metrics.num import num_report, read_sessions

    told = read_sessions(sessions)
    found = []
    for place, one in enumerate(told, 1):
        report = num_report(one, decay, labels)  # type: ignore[arg-type]
        found.append(
            {
                "session": getattr(one, "id", None) or place,
                "num": report.value,
                "read": report.read,
                "found by clicks": report.found,
                "note": report.undefined or "",
            }
        )
    emit(found, title="NUM", form=form, out=out)
    if len(found) > 1:
        mean = estimated(lambda x: float(x.mean()), [one["num"] for one in found], seed=seed)
        typer.echo(f"mean {mean}", err=True)


@app.command()
def rag(
    samples: Annotated[Path, typer.Argument(help="question, answer, contexts, …; one JSON object a line.")],
    entailment: Annotated[bool, typer.Option("--entailment/--lexical", help="Use the built-in stance model.")] = True,
    seed: Seed = 0,
    form: Format = "table",
    out: Out = None,
) -> None:
    """How good is retrieval-augmented generation? Retriever and generator each, with intervals.

    Example: weighup metrics rag samples.jsonl --format markdown
    """
    from weighup.cli.rows import emit
    from weighup.judge.claim_texts import cited_spans, split_claims
    from weighup.metrics.forest import forest
    from weighup.metrics.rag import rag_report, read_samples

    told = read_samples(samples)
    entails, embed = _readers() if entailment else (None, None)
    report = rag_report(told, entailment=entails, embed=embed, split=split_claims, cite=cited_spans, seed=seed)
    found = report.rows()
    drawn = [(str(one["measure"]), float(one["value"]), one["low"], one["high"]) for one in found if one["n"]]
    emit(found, title="RAG", form=form, out=out, picture=forest("RAG", drawn, axis="score") if drawn else None)
    for name, why in report.left_out.items():
        typer.echo(f"{name}: not measured: {why}", err=True)


def _readers() -> tuple[Any, Any]:
    """The built-in stance model as what tells entailment (premise first), and the built-in encoder."""
    from weighup.models.open import encoder
    from weighup.verify.stance import StanceModel

    stance, encodes = StanceModel.load(), encoder()

    def entails(pairs: Sequence[tuple[str, str]]) -> Any:
        return stance.score([(claim, source) for source, claim in pairs])

    return entails, encodes.encode


def _metrics(names: Sequence[str] | None, rubric: str) -> dict[str, TextMetric]:
    """Metrics by name, with the built-in encoder where one is needed. Raises InvalidInput for an unknown one."""
    from weighup.errors import InvalidInput
    from weighup.metrics.text import find_metric

    found = {}
    for name in names or _USUAL:
        metric = find_metric(name)
        if "encoder" in metric.needs:
            from weighup.models.open import encoder

            metric = metric.bind(encoder=encoder())
        if "model" in metric.needs:
            from weighup.models.open import language_model
            from weighup.settings import load_settings

            model = language_model(load_settings())
            if model is None:
                raise InvalidInput(f"--metric {name}: needs a language model; the settings name none")
            metric = metric.bind(model=model, rubric=rubric)
        found[name] = metric
    return found


def _drawn(cells: Sequence[Mapping[str, Any]]) -> str | None:
    from weighup.metrics.forest import forest

    rows = [
        (f"{one['metric']}: {one['dataset']}, {one['dimension']}", one["value"], one["low"], one["high"])
        for one in cells
        if one["value"] is not None
    ]
    return forest("Correlation with people", rows, axis="correlation", at=0.0) if rows else None
