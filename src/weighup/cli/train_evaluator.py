"""`weighup train evaluator-lm`: the evaluators as the paper has them, a tuned language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli.train_ease import AsJson, Corpus, Data, DropLeaks, Labels, Limit, Out, Quiet, Seed, rows_and_config

if TYPE_CHECKING:
    from weighup.train.labelled import Labelled


def language_model_evaluator(
    data: Data,
    out: Out,
    labels: Labels = None,
    examples: Annotated[int, typer.Option("--examples", min=8, help="How many examples it is taught at most.")] = 4000,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="The schedule ends here if the examples do not.")
    ] = None,
    measured: Annotated[
        int, typer.Option("--measured", min=1, help="How many held-out claims of each kind it is measured on.")
    ] = 300,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Rank of the adapter.")] = 8,
    feed_forward: Annotated[
        bool, typer.Option("--feed-forward", help="Adapt the feed-forward matrices too, not only attention.")
    ] = False,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Cores to use; default all.")] = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    said: Corpus = None,
    limit: Limit = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Teach the built-in language model to say when evidence, reasoning and tone can be relied on, and why.

    \b
    Examples:
      weighup train evaluator-lm --data valid.jsonl --out weights
      weighup train evaluator-lm --data valid.jsonl --out weights --examples 2000 --minutes 60

    Does the step `evaluators` first, where OUT does not have it: the verdicts that are judged are those of its heads.
    Part of the claims is held out, to measure both on. A run that was stopped goes on where it was. Needs pip install
    'weighup[train]' and the model, which `weighup models pull smollm2` gets.
    """
    from weighup.train.ease.instruct import require_training

    require_training()
    rows, config = rows_and_config("evaluator-lm", data, labels, seed, drop_leaks, said, limit, quiet)
    config |= {"examples": examples, "minutes": minutes, "measured": measured}
    adapter = {"rank": rank, "alpha": 2.0 * rank, "minutes": minutes, "seed": seed}
    card = _trained(
        rows, out, said, config, adapter, examples, measured, feed_forward=feed_forward, threads=threads, quiet=quiet
    )
    _told(card, out, as_json)


def _trained(
    rows: list[Labelled],
    out: Path,
    said: Path | None,
    config: dict[str, Any],
    adapter: dict[str, Any],
    examples: int,
    measured: int,
    *,
    feed_forward: bool,
    threads: int | None,
    quiet: bool,
) -> dict[str, Any]:
    from weighup.cli.train_ease import _settings
    from weighup.console import progress
    from weighup.train.ease import run
    from weighup.train.ease.adapter import ATTENTION, FEED_FORWARD, Recipe, use_threads
    from weighup.train.ease.instruct import train_language_model
    from weighup.train.evaluate import measuring
    from weighup.train.perspectives import read_perspectives

    seed = adapter["seed"]
    settings, folder = _settings(out)
    fit = run.fitting_rows(rows, folder)
    corpus = None if said is None else read_perspectives(said)
    modules = (*ATTENTION, *FEED_FORWARD) if feed_forward else ATTENTION
    work = run.work(fit) + examples + 3 * measured
    with progress("weighup: training evaluator-lm", work, show=not quiet) as advance:
        with measuring(settings) as verifier:
            given = run.Materials(fit, verifier.weigh, verifier.weighing_versions(), folder, config, corpus, seed)
            table, evaluated = run.train_evaluators(given, out, advance)
        use_threads(threads)
        return train_language_model(
            table,
            evaluated,
            out,
            examples=examples,
            measured=measured,
            recipe=Recipe(modules=modules, **adapter),
            seed=seed,
            config=config,
            advance=advance,
        )


def _told(card: dict[str, Any], out: Path, as_json: bool) -> None:
    from weighup.console import table

    if as_json:
        import json

        typer.echo(json.dumps(card, indent=2, ensure_ascii=False))
        return
    found = [
        (kind, name, scores["rows"], scores["right"], *_scores(scores), *_scores(_part(card, kind, part, name)))
        for kind, about in card["held_out"]["language_model"].items()
        for part in ("all", "by_set", "by_q")
        for name, scores in ([("all", about["all"])] if part == "all" else about[part].items())
    ]
    columns = ("perspective", "set or q", "rows", "right", "AUROC", "Brier", "ECE", "heads AUROC", "Brier", "ECE")
    table(columns, found, title="evaluators on held-out claims: language model, and heads out of fold")
    typer.echo(f"weights: {out}")


def _part(card: dict[str, Any], kind: str, part: str, name: str) -> dict[str, Any]:
    heads: dict[str, Any] = card["held_out"]["heads"][kind]
    scores: dict[str, Any] = heads["all"] if part == "all" else heads[part][name]
    return scores


def _scores(scores: dict[str, Any]) -> tuple[Any, Any, Any]:
    return scores["auroc"], scores["brier"], scores["ece"]
