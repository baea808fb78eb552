"""`weighup arena`: leaderboards in every form, how many votes it takes, what to compare next, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from weighup.cli.main import app
from weighup.errors import InvalidInput

VOTES = """\
model_a,model_b,winner,length_a,length_b
a,b,model_a,10,20
b,a,model_a,30,10
a,c,model_a,10,5
c,a,tie,5,9
b,c,model_a,3,8
c,b,model_a,4,4
a,b,model_a,4,4
"""
RANKINGS = [["a", "b", "c", "d"], ["b", "a", "d", "c"], ["a", ["c", "b"], "d"], ["d", "a", "b", "c"]]


def weighup(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def rated(*arguments: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(weighup("arena", "rate", *arguments, "--format", "json").stdout)
    return found


def file(folder: Path, text: str, name: str = "votes.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    return file(tmp_path, VOTES)


@pytest.fixture
def rankings(tmp_path: Path) -> Path:
    return file(tmp_path, "".join(json.dumps({"ranking": one}) + "\n" for one in RANKINGS), "rankings.jsonl")


def test_bradley_terry_is_the_default_with_intervals_around_a_mean_of_1000(votes: Path) -> None:
    found = rated(votes)
    assert [row["system"] for row in found] == ["a", "b", "c"]
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert sum(row["value"] for row in found) == pytest.approx(3000)
    assert all(row["low"] < row["value"] < row["high"] for row in found)
    assert [row["n"] for row in found] == [5, 5, 4]
    assert found == rated(votes, "--method", "bt")
    assert all(row["low"] is None for row in rated(votes, "--interval", "none"))


@pytest.mark.parametrize("method", ["elo", "trueskill"])
def test_the_online_raters_put_the_same_system_first(votes: Path, method: str) -> None:
    found = rated(votes, "--method", method, "--seed", 3)
    assert found[0]["system"] == "a"
    assert all(row["low"] < row["value"] < row["high"] for row in found)
    assert found == rated(votes, "--method", method, "--seed", 3)


def test_points_at_stake_spread_elo_and_a_ridge_draws_strengths_together(votes: Path) -> None:
    def spread(*arguments: object) -> float:
        values = [row["value"] for row in rated(votes, *arguments)]
        return float(max(values) - min(values))

    assert spread("--method", "elo", "--k", 64) > spread("--method", "elo") > spread("--method", "elo", "--k", 4)
    assert spread("--ridge", 5) < spread()


@pytest.mark.parametrize("method", ["ksort", "plackett-luce"])
def test_rankings_are_rated_best_first(rankings: Path, method: str) -> None:
    found = rated(rankings, "--method", method, *(("--ridge", 1) if method == "plackett-luce" else ()))
    assert found[0]["system"] == "a"
    assert {row["n"] for row in found} == {4}


def test_what_a_control_is_worth_is_told_beside_the_board(tmp_path: Path) -> None:
    # Equals, but for a voter that takes the longer answer three times in four.
    rows = [("x", "y", n % 4 != 0, 9, 3) for n in range(40)] + [("x", "y", n % 4 == 0, 3, 9) for n in range(40)]
    lines = [f"{a},{b},{'model_a' if won else 'model_b'},{one},{two}" for a, b, won, one, two in rows]
    path = file(tmp_path, "model_a,model_b,winner,length_a,length_b\n" + "\n".join(lines) + "\n")
    done = weighup("arena", "rate", path, "--style-control", "length", "--format", "json")
    assert [row["value"] for row in json.loads(done.stdout)] == pytest.approx([1000, 1000])
    # log(3) over a difference of 6
    assert "length: +0.183 log-odds a unit (+0." in done.stderr


def test_the_chance_of_a_tie_is_told_beside_davidsons_board(votes: Path) -> None:
    assert "tie: " in weighup("arena", "rate", votes, "--ties", "davidson").stderr


def test_every_form(votes: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(weighup("arena", "rate", votes, "--format", "csv").stdout)))
    assert [row["system"] for row in rows] == ["a", "b", "c"]
    lines = weighup("arena", "rate", votes, "--format", "markdown").stdout.splitlines()
    assert lines[0] == "| rank | system | value | low | high | sd | n |"
    assert lines[2].startswith("| 1 | a | ")
    assert "bt: 7 votes" in weighup("arena", "rate", votes).stdout
    for suffix, begin in ((".json", "["), (".csv", "rank,system"), (".md", "| rank |"), (".svg", "<svg")):
        out = tmp_path / f"board{suffix}"
        done = weighup("arena", "rate", votes, "--out", out)
        assert done.stdout == ""
        assert out.read_text(encoding="utf-8").startswith(begin)
    with pytest.raises(InvalidInput, match="must end with"):
        weighup("arena", "rate", votes, "--out", tmp_path / "board.png")
    with pytest.raises(InvalidInput, match="--format yaml"):
        weighup("arena", "rate", votes, "--format", "yaml")


def test_a_picture_of_scores_below_their_bars_says_so(rankings: Path, tmp_path: Path) -> None:
    out = tmp_path / "board.svg"
    weighup("arena", "rate", rankings, "--method", "ksort", "--out", out)
    assert "μ − 3σ" in out.read_text(encoding="utf-8")


def test_a_board_for_each_dimension(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "model_a,model_b,winner_accuracy,winner_language\n" + "a,b,model_a,model_b\n" * 3 + "b,a,model_b,tie\n",
    )
    best = {row["dimension"]: row["system"] for row in rated(path, "--method", "multi-elo") if row["rank"] == 1}
    assert best == {"accuracy": "a", "language": "b"}
    out = tmp_path / "multi.svg"
    weighup("arena", "rate", path, "--method", "multi-elo", "--out", out)
    assert "accuracy: a" in out.read_text(encoding="utf-8")


def test_one_dimension_of_several(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "model_a,model_b,winner,dimension\n"
        + "a,b,a,facts\na,b,b,facts\na,b,a,facts\n"
        + "a,b,b,style\na,b,b,style\na,b,a,style\n",
    )
    with pytest.raises(InvalidInput, match="several dimensions"):
        weighup("arena", "rate", path)
    assert rated(path, "--dimension", "facts")[0]["system"] == "a"
    assert rated(path, "--dimension", "style")[0]["system"] == "b"
    assert "system_1" in weighup("arena", "next", path, "--dimension", "style").stdout


def test_groups_that_never_met_are_named_or_ranked_each_by_itself(tmp_path: Path) -> None:
    path = file(tmp_path, "model_a,model_b,winner\n" + "a,b,a\na,b,b\na,b,a\n" + "x,y,b\nx,y,a\nx,y,b\n")
    with pytest.raises(InvalidInput, match=r"2 groups .* never compared .*\{a, b\}, \{x, y\}"):
        weighup("arena", "rate", path)
    found = {row["system"]: row for row in rated(path, "--rank-each")}
    assert found["a"]["component"] == found["b"]["component"] != found["x"]["component"]
    assert found["a"]["value"] + found["b"]["value"] == pytest.approx(2000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model_a,model_b,winner\na,a,tie\n", r"row 1, model_b: the same system as model_a"),
        ("model_a,model_b,winner\na,b,model_a\na,b,first\n", r"row 2, winner: 'first' is none of model_a"),
        ("left,right,winner\na,b,model_a\n", r"has no column model_a, model_b \(it has: left, right, winner\)"),
        ("id,model_a,model_b,winner\n1,a,b,model_a\n1,b,a,model_a\n", r"row 2, id: '1' is the id of an earlier row"),
        ("model_a,model_b,winner\na,b,model_a\na,b,model_a\n", "won every match"),
        ("model_a,model_b,winner\n", "holds no matches"),
    ],
)
def test_votes_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        weighup("arena", "rate", file(tmp_path, text))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--method", "glicko"), "--method glicko: is not one of bt, elo"),
        (("--method", "elo", "--style-control", "length"), "--style-control goes with --method bt, not elo"),
        (("--method", "trueskill", "--ties", "davidson"), "--ties goes with --method bt"),
        (("--method", "elo", "--interval", "bootstrap"), "--interval goes with --method bt"),
        (("--method", "elo", "--ridge", 1), "--ridge goes with --method bt or plackett-luce"),
        (("--k", 8), "--k goes with --method elo or multi-elo, not bt"),
        (("--method", "multi-elo", "--dimension", "x"), "--dimension goes with"),
        (("--ties", "no"), "half or davidson"),
        (("--interval", "wald"), "sandwich, bootstrap or none"),
        (("--style-control", "words"), "has no column words_a, words_b"),
        (("--method", "elo", "--k", 0), "above 0"),
        (("--method", "ksort"), "has no column ranking"),
        (("--method", "multi-elo"), "dimension"),
    ],
)
def test_options_that_do_not_fit(votes: Path, options: tuple[object, ...], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        weighup("arena", "rate", votes, *options)


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        weighup("arena", "rate", tmp_path / "none.csv")
    with pytest.raises(InvalidInput, match="unknown kind"):
        weighup("arena", "rate", file(tmp_path, VOTES, "votes.txt"))


def test_simulated_votes_until_the_order_is_right(tmp_path: Path) -> None:
    few = ("--systems", 8, "--noise", 0, "--tau", 0.8, "--seeds", 2)
    found = json.loads(weighup("arena", "simulate", *few, "--format", "json").stdout)
    assert [(row["method"], row["seed"]) for row in found] == [
        (name, seed) for seed in (0, 1) for name in ("Elo, random pairs", "K-Sort, sets of 4")
    ]
    by_seed = [[row["votes"] for row in found if row["seed"] == seed] for seed in (0, 1)]
    assert all(ksort < elo for elo, ksort in by_seed)
    out = tmp_path / "votes.svg"
    weighup("arena", "simulate", *few, "--out", out)
    assert out.read_text(encoding="utf-8").startswith("<svg")
    done = weighup("arena", "simulate", "--systems", 8, "--seeds", 1, "--limit", 2, "--format", "csv")
    assert done.stdout.count("> 2") == 2
    with pytest.raises(InvalidInput, match="nothing to draw"):
        weighup("arena", "simulate", "--systems", 8, "--seeds", 1, "--limit", 2, "--out", out)


@pytest.mark.parametrize("options", [("--systems", 2), ("--noise", 2), ("--tau", 1.5), ("--seeds", 0)])
def test_a_simulation_outside_its_bounds_is_not_begun(options: tuple[object, ...]) -> None:
    assert weighup("arena", "simulate", *options).exit_code == 2


@pytest.mark.parametrize("policy", ["uncertain", "close", "least_played", "ucb"])
def test_what_to_compare_next_goes_on_from_what_it_named(votes: Path, policy: str) -> None:
    done = weighup("arena", "next", votes, "--policy", policy, "--count", 6, "--seed", 1, "--format", "json")
    found = json.loads(done.stdout)
    assert [row["n"] for row in found] == [1, 2, 3, 4, 5, 6]
    pairs = [frozenset((row["system_1"], row["system_2"])) for row in found]
    assert all(len(pair) == 2 for pair in pairs)
    assert len(set(pairs)) > 1
    assert frozenset.union(*pairs) == {"a", "b", "c"}


def test_the_least_played_system_comes_first_and_k_may_meet_at_once(votes: Path) -> None:
    row = json.loads(weighup("arena", "next", votes, "--count", 1, "--format", "json").stdout)[0]
    assert row["system_1"] == "c"
    row = json.loads(weighup("arena", "next", votes, "--k", 3, "--count", 1, "--format", "json").stdout)[0]
    assert {row["system_1"], row["system_2"], row["system_3"]} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("options", "says"), [(("--policy", "best"), "policy: uncertain, close"), (("--k", 4), "from 2 to the number")]
)
def test_next_refuses_what_it_cannot_choose_by(votes: Path, options: tuple[object, ...], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        weighup("arena", "next", votes, *options)


def test_next_takes_no_weights(tmp_path: Path) -> None:
    path = file(tmp_path, "model_a,model_b,winner,weight\na,b,a,2\nb,a,a,1\n")
    with pytest.raises(InvalidInput, match="has weights"):
        weighup("arena", "next", path)
