"""`weighup arena rate|simulate|next|load|votes`: leaderboards, how many votes it takes, what to compare next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli import arena_votes
from weighup.cli.rows import Format, Out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weighup.arena.belief import Beliefs
    from weighup.arena.types import Leaderboard, Matches

METHODS = ("bt", "elo", "multi-elo", "ksort", "trueskill", "plackett-luce")
app = typer.Typer(
    help="Rate systems from votes, simulate how many votes it takes, choose what to compare next.\n\n"
    "Example: weighup arena rate battles.csv --method bt --style-control length",
    no_args_is_help=True,
    rich_markup_mode=None,
)
VoteFile = Annotated[
    Path,
    typer.Argument(
        help="Votes, .csv .jsonl .parquet: model_a, model_b, winner; for ksort and plackett-luce ranking, or rank_1, …"
    ),
]
app.command("load")(arena_votes.load)
app.command("votes")(arena_votes.votes)
MatchFile = Annotated[Path, typer.Argument(help="Votes, .csv .jsonl .parquet: model_a, model_b, winner.")]
Method = Annotated[str, typer.Option("--method", help=f"{', '.join(METHODS)}.")]
Seed = Annotated[int, typer.Option("--seed", help="Of what is drawn at random.")]
Dimension = Annotated[str | None, typer.Option("--dimension", help="Only the votes of this dimension.")]
_FOR: Mapping[str, tuple[str, ...]] = {
    "--style-control": ("bt",),
    "--ties": ("bt",),
    "--interval": ("bt",),
    "--ridge": ("bt", "plackett-luce"),
    "--k": ("elo", "multi-elo"),
    "--dimension": ("bt", "elo", "trueskill"),
}
"""Which methods heed an option; with another it is refused."""


@app.command()
def rate(
    matches: VoteFile,
    method: Method = "bt",
    style_control: Annotated[
        list[str] | None,
        typer.Option("--style-control", help="A covariate to hold constant (NAME, or NAME_a and NAME_b); bt only."),
    ] = None,
    ties: Annotated[str, typer.Option("--ties", help="bt: half or davidson.")] = "half",
    interval: Annotated[str, typer.Option("--interval", help="bt: sandwich, bootstrap or none.")] = "sandwich",
    ridge: Annotated[float, typer.Option("--ridge", min=0, help="bt, plackett-luce: penalty on the strengths.")] = 0.0,
    k: Annotated[float, typer.Option("--k", help="elo, multi-elo: points at stake in a match.")] = 32.0,
    dimension: Dimension = None,
    disconnected: Annotated[
        bool, typer.Option("--rank-each", help="Rank groups that were never compared each by itself.")
    ] = False,
    seed: Seed = 0,
    form: Format = "table",
    out: Out = None,
) -> None:
    """A leaderboard with intervals. Groups of systems that were never compared are an error that names them.

    Example: weighup arena rate battles.csv --method bt --style-control length --out board.svg
    """
    from weighup.cli.rows import emit
    from weighup.metrics.forest import forest

    if method not in METHODS:
        _refuse(f"--method {method}: is not one of {', '.join(METHODS)}")
    given = {"--style-control": style_control, "--ties": ties != "half", "--interval": interval != "sandwich"}
    given |= {"--ridge": ridge != 0, "--k": k != 32, "--dimension": dimension is not None}
    for name, told in given.items():
        if told and method not in _FOR[name]:
            _refuse(f"{name} goes with --method {' or '.join(_FOR[name])}, not {method}")
    apart = "rank_each" if disconnected else "error"
    if method == "multi-elo":
        boards: Mapping[str, Leaderboard] = _multi(matches, k, seed, apart)
        rows = [{"dimension": name, **row} for name, board in boards.items() for row in board.table()]
        drawn = [(f"{r['dimension']}: {r['system']}", r["value"], r["low"], r["high"]) for r in rows]
        emit(rows, title="multi-elo", form=form, out=out, picture=forest("Ratings by dimension", drawn, axis="rating"))
        return
    board = _board(matches, method, tuple(style_control or ()), ties, interval, ridge, k, dimension, seed, apart)
    rows = board.table()
    drawn = [(r["system"], r["value"], r["low"], r["high"]) for r in rows]
    axis = "dot: μ − 3σ, the score; bar: where the skill lies" if method == "ksort" else "rating"
    picture = forest("Ratings", drawn, axis=axis)
    emit(rows, title=f"{method}: {board.n:,} votes", form=form, out=out, picture=picture)
    for name, one in board.coefficients.items():
        bounds = "" if one.low is None else f" ({one.low:+.3f} to {one.high:+.3f})"
        typer.echo(f"{name}: {one.value:+.3f} log-odds a unit{bounds}", err=True)


@app.command()
def simulate(
    systems: Annotated[int, typer.Option("--systems", min=3, help="How many, of skill uniform in [0, 1].")] = 50,
    noise: Annotated[float, typer.Option("--noise", min=0, max=1, help="Chance that neighbours in a vote swap.")] = 0.1,
    tau: Annotated[float, typer.Option("--tau", min=0, max=1, help="Kendall's τ with the truth to reach.")] = 0.9,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Votes at most.")] = 5_000,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many simulations.")] = 3,
    form: Format = "table",
    out: Out = None,
) -> None:
    """How many votes until the order is right? Elo on random pairs beside K-Sort on sets of four, the same voters.

    Example: weighup arena simulate --systems 50 --noise 0.1 --tau 0.9
    """
    from weighup.arena.ksort import votes_needed
    from weighup.cli.rows import emit
    from weighup.console import progress
    from weighup.metrics.forest import forest

    rows: list[dict[str, Any]] = []
    with progress("simulating", seeds) as advance:
        for seed in range(seeds):
            for name, votes in votes_needed(systems, noise=noise, tau=tau, limit=limit, seed=seed).items():
                rows.append({"method": name, "seed": seed, "votes": votes if votes is not None else f"> {limit}"})
            advance(1)
    title = f"votes until τ ≥ {tau:g}, {systems} systems"
    drawn = [(f"{r['method']}, seed {r['seed']}", r["votes"], None, None) for r in rows if isinstance(r["votes"], int)]
    emit(rows, title=title, form=form, out=out, picture=forest(title, drawn, axis="votes") if drawn else None)


@app.command("next")
def next_(
    matches: MatchFile,
    policy: Annotated[str, typer.Option("--policy", help="uncertain, close, least_played or ucb.")] = "ucb",
    k: Annotated[int, typer.Option("--k", min=2, help="Systems to compare at once.")] = 2,
    count: Annotated[int, typer.Option("--count", min=1, help="How many comparisons to name.")] = 5,
    dimension: Dimension = None,
    seed: Seed = 0,
    form: Format = "table",
    out: Out = None,
) -> None:
    """What to compare next, given the votes so far: where a vote tells most.

    Each comparison is chosen as if those named before it had been made and had ended as expected.

    Example: weighup arena next battles.csv --policy ucb --k 4
    """
    import numpy as np

    from weighup.arena.belief import Beliefs
    from weighup.arena.next_match import next_match
    from weighup.arena.read import read_matches
    from weighup.cli.rows import emit

    votes = read_matches(matches, dimension=dimension)
    if (votes.weight != 1).any():
        _refuse(f"{matches}: has weights, which beliefs about systems do not take; leave the column out")
    beliefs = Beliefs(votes.systems)
    for ranking in rankings_of(votes):
        beliefs.update(ranking)
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(1, count + 1):
        chosen = next_match(beliefs, policy, k=k, seed=rng)  # type: ignore[arg-type]
        rows.append({"n": number, **{f"system_{place}": name for place, name in enumerate(chosen, 1)}})
        beliefs.update(expected(beliefs, chosen))
    emit(rows, title=f"to compare next, by {policy}", form=form, out=out)


def rankings_of(votes: Matches) -> list[Sequence[str | tuple[str, ...]]]:
    """Pairwise votes as rankings of two, ties as groups."""
    names = votes.systems
    pairs = zip(votes.a.tolist(), votes.b.tolist(), votes.outcome.tolist(), strict=True)
    return [
        [(names[a], names[b])] if won == 0.5 else [names[a], names[b]] if won > 0.5 else [names[b], names[a]]
        for a, b, won in pairs
    ]


def expected(beliefs: Beliefs, systems: Sequence[str]) -> list[tuple[str, ...]]:
    """How a vote over these systems ends if it ends as believed, best first; equal means tie."""
    mean = dict(zip(beliefs.systems, beliefs.values().tolist(), strict=True))
    levels = sorted({mean[name] for name in systems}, reverse=True)
    return [tuple(name for name in systems if mean[name] == level) for level in levels]


def _board(
    path: Path,
    method: str,
    controls: tuple[str, ...],
    ties: str,
    interval: str,
    ridge: float,
    k: float,
    dimension: str | None,
    seed: int,
    apart: Any,
) -> Leaderboard:
    from weighup.arena.read import read_matches

    if method == "plackett-luce" or method == "ksort":
        from weighup.arena.rankings import read_rankings

        rankings = read_rankings(path)
        if method == "plackett-luce":
            from weighup.arena.plackett_luce import plackett_luce

            return plackett_luce(rankings, ridge=ridge, disconnected=apart)
        from weighup.arena.belief import gaussian_belief

        return gaussian_belief(rankings, conservative=True, disconnected=apart)
    votes = read_matches(path, covariates=controls, dimension=dimension)
    if method == "elo":
        from weighup.arena.elo import elo

        return elo(votes, k=k, seed=seed, disconnected=apart)
    if method == "trueskill":
        from weighup.arena.belief import gaussian_belief

        return gaussian_belief(votes, disconnected=apart)
    from weighup.arena.bradley_terry import bradley_terry

    return bradley_terry(
        votes, ties=ties, controls=controls, ridge=ridge, interval=interval, seed=seed, disconnected=apart  # type: ignore[arg-type]
    )  # fmt: skip


def _multi(path: Path, k: float, seed: int, apart: Any) -> Mapping[str, Leaderboard]:
    from weighup.arena.multi_elo import multi_elo, read_dimensions

    return multi_elo(read_dimensions(path), k=k, seed=seed, disconnected=apart)


def _refuse(why: str) -> None:
    from weighup.errors import InvalidInput

    raise InvalidInput(why)
