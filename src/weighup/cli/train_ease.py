"""`weighup train perspectives`, `evaluators`, `experts`, `calibration` and `all`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from weighup.settings import Settings
    from weighup.train.ease.run import Materials
    from weighup.train.labelled import Labelled

Data = Annotated[
    list[Path],
    typer.Option("--data", help="Labelled rows, with evidence where there is some: .jsonl, .csv or .parquet."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the weights, for --weights of `weighup check`.")]
Labels = Annotated[
    str | None, typer.Option("--labels", help="What your labels mean: real=true+mostly-true,fake=false.")
]
Seed = Annotated[int, typer.Option("--seed", help="Draws splits, folds and which evidence is left out.")]
DropLeaks = Annotated[
    bool, typer.Option("--drop-leaks", help="Leave out rows that stand in two splits, instead of refusing.")
]
Corpus = Annotated[
    Path | None,
    typer.Option("--perspectives", help="What a language model said of the claims: `weighup train perspectives`."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, help="At most so many rows of each file, drawn the same always.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the cards as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


SHARES = (0.6, 0.3, 0.1)
"""Of train, valid and test with `all`: what evaluators and experts learn from, valid, has to be more than a few."""


def perspectives(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The corpus: a .jsonl.gz that is added to.")],
    labels: Labels = None,
    limit: Limit = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The language model, as in models.language; transformers:… is quick.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Ask the language model about labelled claims, once, and keep what it says for training.

    \b
    Examples:
      weighup train perspectives --data train.jsonl --data valid.jsonl --out perspectives.jsonl.gz
      weighup train perspectives --data train.jsonl --out p.jsonl.gz --model openai:gpt-5-mini

    A run that was stopped goes on where it was. Claims are named by a digest: the corpus holds no text of your rows.
    """
    from weighup.console import progress
    from weighup.errors import InvalidInput
    from weighup.models.open import language_model
    from weighup.settings import load_settings
    from weighup.train.labelled import parse_labels, read_labelled
    from weighup.train.measured import fewer
    from weighup.train.perspectives import judged_text, make_perspectives

    mapping = parse_labels(labels) if labels else None
    rows = fewer(read_labelled(data, labels=mapping), limit)
    models: dict[str, Any] = {} if model is None else {"language": model}
    if (model or "").startswith("transformers:"):
        models |= {"concurrency": 64, "timeout": 3600}
    settings = load_settings({"models": models} if models else {})
    asked = language_model(settings)
    if asked is None:
        raise InvalidInput("models.language is none: there is no language model to ask; name one with --model")
    total = len({judged_text(row) for row in rows})
    with progress("weighup: asking", total, show=not quiet) as advance:
        made = make_perspectives(rows, out, asked, folder=settings.verify.prompts, advance=advance)
    typer.echo(f"{out}: {len(made.said):,} claims, by {made.recipe['model']}")


def evaluators(
    data: Data,
    out: Out,
    labels: Labels = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    said: Corpus = None,
    limit: Limit = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Learn when evidence, reasoning and tone can be relied on; the first step of `experts`.

    A perspective counts as reliable for a claim where its own verdict, given by what learned from other claims, matches
    the label.

    Example: weighup train evaluators --data valid.jsonl --out weights
    """
    _run("evaluators", data, out, labels, seed, drop_leaks, said, limit, as_json, quiet)


def experts(
    data: Data,
    out: Out,
    labels: Labels = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    said: Corpus = None,
    limit: Limit = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Learn real from fake with each kind of knowledge, after `evaluators`, which it does first where they are missing.

    Example: weighup train experts --data valid.jsonl --out weights
    """
    _run("experts", data, out, labels, seed, drop_leaks, said, limit, as_json, quiet)


def calibration(
    data: Data,
    out: Out,
    labels: Labels = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    said: Corpus = None,
    limit: Limit = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw reliability before and after, as .svg.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make the experts' probabilities honest, and learn at which confidence a risk is kept; after `experts`.

    Example: weighup train calibration --data valid.jsonl --out weights --plot reliability.svg
    """
    _run("calibration", data, out, labels, seed, drop_leaks, said, limit, as_json, quiet, plot=plot)


def everything(
    data: Data,
    out: Out,
    labels: Labels = None,
    seed: Seed = 0,
    drop_leaks: DropLeaks = False,
    said: Corpus = None,
    stance_minutes: Annotated[
        float, typer.Option("--stance-minutes", min=0, help="How long the stance model may learn; 0: keep the shipped.")
    ] = 0.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train every part on your own rows: content, stance if asked for, evaluators, experts and calibration.

    Rows may name their `split`; else whole groups are drawn, 60, 30 and 10 in a hundred: content and stance learn from
    train, evaluators and experts from valid, and nothing looks at test but the cards. Each finished part is kept: run
    again to go on.

    \b
    Examples:
      weighup train all --data mine.csv --out weights
      weighup check "The dam broke on Thursday." --weights weights
    """
    from weighup.cli.train import content_trained, read_rows, recorded, show_content, split_rows, tell
    from weighup.train.labelled import require_trainable

    rows, mapping = read_rows(data, labels, quiet=quiet)
    require_trainable(rows)
    rows, notes = split_rows(rows, seed, by_time=False, drop_leaks=drop_leaks, shares=SHARES)
    tell(notes)
    # Valid is kept from content and stance, which choose on a part of train. By another seed: by the same one, the same
    # groups would be drawn again.
    lower = [row for row in rows if row.split != "valid"]
    lower, _ = split_rows(lower, seed + 1, by_time=False, drop_leaks=drop_leaks)
    config = recorded("all", data, mapping, seed, drop_leaks=drop_leaks)
    done = content_trained(lower, out, config, quiet=quiet)
    if not as_json:
        show_content(done.card)
    if stance_minutes:
        from weighup.cli.train_stance import show_stance, stance_trained

        taught = stance_trained(
            lower, out, {**config, "minutes": stance_minutes}, minutes=stance_minutes, seed=seed, quiet=quiet
        )
        if not as_json:
            show_stance(taught.card)
    config["perspectives"] = _corpus_hash(said)
    _told(_trained("calibration", rows, out, seed, said, config, quiet, None), out, as_json)


def _run(
    step: str,
    data: Sequence[Path],
    out: Path,
    labels: str | None,
    seed: int,
    drop_leaks: bool,
    said: Path | None,
    limit: int | None,
    as_json: bool,
    quiet: bool,
    *,
    plot: Path | None = None,
) -> None:
    rows, config = rows_and_config(step, data, labels, seed, drop_leaks, said, limit, quiet)
    _told(_trained(step, rows, out, seed, said, config, quiet, plot), out, as_json)


def rows_and_config(
    step: str,
    data: Sequence[Path],
    labels: str | None,
    seed: int,
    drop_leaks: bool,
    said: Path | None,
    limit: int | None,
    quiet: bool,
) -> tuple[list[Labelled], dict[str, Any]]:
    """The rows of a step with the splits that they name, and what its card records."""
    from weighup.cli.train import need, read_rows, recorded, split_rows, tell

    need("sklearn", "scipy")
    rows, mapping = read_rows(data, labels, limit=limit, quiet=quiet)
    rows, notes = split_rows(rows, seed, by_time=False, drop_leaks=drop_leaks, shares=None)
    tell(notes)
    corpus = _corpus_hash(said)
    return rows, recorded(step, data, mapping, seed, drop_leaks=drop_leaks, limit=limit, perspectives=corpus)


def _corpus_hash(said: Path | None) -> dict[str, str] | None:
    from weighup.files import sha256

    return None if said is None else {str(said): sha256(said)}


def _trained(
    step: str,
    rows: Sequence[Labelled],
    out: Path,
    seed: int,
    said: Path | None,
    config: dict[str, Any],
    quiet: bool,
    plot: Path | None,
) -> dict[str, Any]:
    from weighup.console import progress
    from weighup.train.ease import run
    from weighup.train.evaluate import measuring
    from weighup.train.perspectives import read_perspectives

    settings, folder = _settings(out)
    fit = run.fitting_rows(rows, folder)
    corpus = None if said is None else read_perspectives(said)
    do: dict[str, Callable[..., Any]] = {
        "evaluators": run.train_evaluators,
        "experts": run.train_experts,
        "calibration": run.train_calibration,
    }
    with (
        measuring(settings) as verifier,
        progress(f"weighup: training {step}", run.work(fit), show=not quiet) as advance,
    ):
        given: Materials = run.Materials(
            fit, verifier.weigh, verifier.weighing_versions(), folder, config, corpus, seed
        )
        done = do[step](given, out, advance)
    if step == "evaluators":
        return {"evaluators": done[1].report}
    if plot is not None:
        from weighup.cli.checking import deliver
        from weighup.train.calibrate import reliability_plot

        deliver(reliability_plot(*done), plot)
    names = [name for name in ("content", "stance", "ease", "calibration") if (out / f"{name}.json").is_file()]
    return {name: _card(out / f"{name}.json") for name in names}


def _settings(out: Path) -> tuple[Settings, Path | None]:
    """The settings in use with the content and stance parts that `out` has, and the folder these are in."""
    from weighup.settings import load_settings
    from weighup.verify import weights

    held = [part for part in ("content", "stance") if (out / f"{part}.json").is_file()] if out.is_dir() else []
    if not held:
        return load_settings({"verify": {"weights": None, "risk": None}}), None
    weights.check(out)
    return load_settings({"verify": {"weights": out, "risk": None}}), out


def _told(cards: dict[str, Any], out: Path, as_json: bool) -> None:
    from weighup.console import table

    tried = cards.get("evaluators") or cards["ease"]["tried_out_of_fold"]
    for kind in tried["taken_over"]:
        typer.echo(f"weighup: {kind}: too few rows have it to learn from; the shipped heads were taken over", err=True)
    if as_json:
        import json

        typer.echo(json.dumps(cards, indent=2, ensure_ascii=False))
        return
    found = tried["evaluator"]
    rows = [
        (kind, name, scores["rows"], scores["right"], scores["auroc"], scores["brier"], scores["ece"])
        for kind, about in found.items()
        for name, scores in (("all", about["all"]), *about["by_set"].items(), *about["by_q"].items())
    ]
    table(("perspective", "set or q", "rows", "right", "AUROC", "Brier", "ECE"), rows, title="evaluators, out of fold")
    if "calibration" in cards:
        measured = cards["calibration"]["risk_on_held_out_halves"]
        risks = [(asked, about["one"]["risk"], about["one"]["called"]) for asked, about in measured.items()]
        table(("asked risk", "risk on held-out halves", "called"), risks, title="calibration")
    typer.echo(f"weights: {out}")


def _card(path: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
