"""Bradley–Terry against choix, scipy and statsmodels; invariances; intervals that cover; what has no maximum."""

from __future__ import annotations

import math
from typing import Any

import choix
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from weighup.arena import Leaderboard, Match, Matches, Style, bradley_terry, simulate_votes
from weighup.arena.bradley_terry import SCALE
from weighup.errors import InvalidInput

SYSTEMS = tuple("vwxyz")


def values(board: Leaderboard, systems: tuple[str, ...] = SYSTEMS) -> np.ndarray:
    """Ratings as natural log-strengths of mean 0, in the systems' order."""
    return (np.array([board[name].value for name in systems]) - 1000) / SCALE


@st.composite
def played(draw: st.DrawFn, ties: bool = True) -> Matches:
    """A ring in which each beat the next, so that the maximum exists, and whatever else."""
    m = len(SYSTEMS)
    rows = [(i, (i + 1) % m, 1.0) for i in range(m)]
    outcomes = [0.0, 0.5, 1.0] if ties else [0.0, 1.0]
    more = st.tuples(st.integers(0, m - 1), st.integers(1, m - 1), st.sampled_from(outcomes))
    rows += [(a, (a + step) % m, y) for a, step, y in draw(st.lists(more, max_size=40))]
    a, b, y = zip(*rows, strict=True)
    return Matches.coded(SYSTEMS, a, b, y)


@settings(max_examples=25)
@given(played(ties=False))
def test_it_is_choix_optimum(matches: Matches) -> None:
    won = np.where(matches.outcome == 1, matches.a, matches.b)
    lost = np.where(matches.outcome == 1, matches.b, matches.a)
    expected = choix.ilsr_pairwise(5, list(zip(won, lost, strict=True)), alpha=0, max_iter=5000, tol=1e-9)
    np.testing.assert_allclose(values(bradley_terry(matches)), expected - expected.mean(), atol=1e-6)


def davidson_loss(at: np.ndarray, matches: Matches) -> float:
    """Davidson 1970, equation 2.2, written out with strengths."""
    strength, nu = np.exp(at[:-1]), math.exp(at[-1])
    first, second = strength[matches.a], strength[matches.b]
    even = nu * np.sqrt(first * second)
    y = matches.outcome
    share = np.where(y == 1, first, np.where(y == 0, second, even)) / (first + second + even)
    return -float(np.sum(matches.weight * np.log(share))) + float(at[:-1].mean() ** 2)


@settings(max_examples=10)
@given(played())
def test_davidsons_is_scipys_optimum(matches: Matches) -> None:
    if not (matches.outcome == 0.5).any():
        return
    board = bradley_terry(matches, ties="davidson", interval="none")
    found = minimize(davidson_loss, np.zeros(6), args=(matches,), method="BFGS", options={"gtol": 1e-7})
    ours = np.append(values(board), board.coefficients["tie"].value)
    assert davidson_loss(ours, matches) <= found.fun + 1e-9
    np.testing.assert_allclose(ours, found.x, atol=2e-3)


@given(played(), st.permutations(range(5)), st.integers(2, 4))
@settings(max_examples=25)
def test_names_sides_and_copies_do_not_matter(matches: Matches, other: list[int], copies: int) -> None:
    board = bradley_terry(matches)
    new = np.array(other)
    renamed = Matches.coded([SYSTEMS[i] for i in np.argsort(new)], new[matches.a], new[matches.b], matches.outcome)
    np.testing.assert_allclose(values(bradley_terry(renamed)), values(board), atol=1e-7)
    swapped = Matches.coded(SYSTEMS, matches.b, matches.a, 1 - matches.outcome)
    np.testing.assert_allclose(values(bradley_terry(swapped)), values(board), atol=1e-7)
    copied = bradley_terry(matches.take(np.tile(np.arange(len(matches)), copies)))
    np.testing.assert_allclose(values(copied), values(board), atol=1e-7)
    weighted = Matches.coded(SYSTEMS, matches.a, matches.b, matches.outcome, weight=np.full(len(matches), copies))
    np.testing.assert_allclose(values(bradley_terry(weighted)), values(board), atol=1e-7)
    for name in SYSTEMS:
        assert copied[name].sd == pytest.approx(board[name].sd / math.sqrt(copies), rel=1e-6)  # type: ignore[operator]
    assert np.mean([one.value for one in board.ratings]) == pytest.approx(1000)


@pytest.fixture(scope="module")
def styled() -> Matches:
    skills = dict(zip(SYSTEMS, (-1.0, -0.5, 0.0, 0.5, 1.0), strict=True))
    style = Style(0.5, {name: 2 - number for number, name in enumerate(SYSTEMS)}, name="length")
    return simulate_votes(skills, n=4000, seed=1, style=style)


def test_controls_and_robust_errors_are_statsmodels(styled: Matches) -> None:
    rows = np.arange(len(styled))
    x = np.zeros((len(styled), 6))
    x[rows, styled.a] += 1
    x[rows, styled.b] -= 1
    x[:, 5] = styled.covariates[:, 0]
    expected = sm.GLM(styled.outcome, x[:, 1:], family=sm.families.Binomial()).fit(cov_type="HC0")
    board = bradley_terry(styled, controls=["length"])
    ours = values(board)
    np.testing.assert_allclose(ours[1:] - ours[0], expected.params[:4], atol=1e-6)
    assert board.coefficients["length"].value == pytest.approx(expected.params[4], abs=1e-6)
    assert board.coefficients["length"].sd == pytest.approx(expected.bse[4], rel=1e-5)
    spread = np.eye(5) - 0.2
    full = np.zeros((5, 5))
    full[1:, 1:] = expected.cov_params()[:4, :4]
    sd = np.sqrt(np.diag(spread @ full @ spread)) * SCALE
    np.testing.assert_allclose([board[name].sd for name in SYSTEMS], sd, rtol=1e-5)


def test_control_finds_the_skill_that_style_hides(styled: Matches) -> None:
    assert bradley_terry(styled, controls=["length"]).order() == ("z", "y", "x", "w", "v")
    assert bradley_terry(styled).order() != ("z", "y", "x", "w", "v")
    effect = bradley_terry(styled, controls=["length"]).coefficients["length"]
    assert effect.low is not None
    assert effect.high is not None
    assert effect.low < 0.5 < effect.high


def test_a_tie_is_two_halves_and_davidson_without_ties_is_plain() -> None:
    ring = [Match("x", "y", "a"), Match("y", "z", "a"), Match("z", "x", "a")]
    tie = bradley_terry([*ring, Match("x", "z", "tie")])
    halves = bradley_terry([*ring, Match("x", "z", "a", weight=0.5), Match("x", "z", "b", weight=0.5)])
    for name in "xyz":
        assert tie[name].value == pytest.approx(halves[name].value)
    plain = bradley_terry(ring * 3, ties="davidson")
    assert plain.coefficients == {}
    assert plain["x"].value == pytest.approx(1000)


@pytest.mark.parametrize("ties", ["half", "davidson"])
def test_sandwich_intervals_cover(ties: Any) -> None:
    skills = dict(zip(SYSTEMS, (-1.0, -0.4, 0.0, 0.2, 1.2), strict=True))
    truth = np.array(list(skills.values())) * SCALE + 1000
    inside = []
    for seed in range(200):
        matches = simulate_votes(skills, n=400, seed=seed, ties=0.0 if ties == "half" else 0.6)
        board = bradley_terry(matches, ties=ties)
        inside += [board[name].low <= t <= board[name].high for name, t in zip(skills, truth, strict=True)]  # type: ignore[operator]
    assert 0.93 <= np.mean(inside) <= 0.97


def test_bootstrap_and_sandwich_agree() -> None:
    skills = dict(zip(SYSTEMS, (-0.5, -0.2, 0.0, 0.2, 0.5), strict=True))
    matches = simulate_votes(skills, n=1500, seed=3, ties=0.5)
    weights = np.random.default_rng(0).choice([0.5, 1.5], len(matches))
    weighted = Matches.coded(matches.systems, matches.a, matches.b, matches.outcome, weight=weights)
    for one in (matches, weighted):
        sandwich, drawn = (bradley_terry(one, interval=how, rounds=300) for how in ("sandwich", "bootstrap"))
        for name in SYSTEMS:
            assert drawn[name].sd == pytest.approx(sandwich[name].sd, rel=0.15)
            assert drawn[name].value == sandwich[name].value
    again = bradley_terry(weighted, interval="bootstrap", rounds=300)
    assert again == drawn
    assert bradley_terry(matches, interval="none")["x"].low is None


def test_bootstrap_with_controls(styled: Matches) -> None:
    few = styled.take(np.arange(600))
    sandwich = bradley_terry(few, controls=["length"]).coefficients["length"].sd
    drawn = bradley_terry(few, controls=["length"], interval="bootstrap", rounds=60).coefficients["length"].sd
    assert drawn == pytest.approx(sandwich, rel=0.35)


def test_ridge_draws_to_the_mean() -> None:
    matches = [Match("x", "y", "a")] * 5
    close, far = (bradley_terry(matches, ridge=ridge)["x"].value for ridge in (10.0, 0.1))
    assert 1000 < close < far < 1800


def test_no_finite_maximum_is_told() -> None:
    ring = [Match("x", "y", "a"), Match("y", "z", "a"), Match("z", "x", "a")]
    with pytest.raises(InvalidInput, match=r"w won every match.*ridge="):
        bradley_terry([*ring, Match("w", "x", "a")])
    with pytest.raises(InvalidInput, match="v lost every match"):
        bradley_terry([*ring, Match("x", "v", "a")])
    pairs = [Match("p", "q", "tie"), Match("r", "s", "tie"), Match("p", "r", "a")]
    with pytest.raises(InvalidInput, match=r"ever beat one of another: \{p, q\}, \{r, s\}"):
        bradley_terry(pairs)
    assert bradley_terry([*ring, Match("w", "x", "a")], ridge=1).order()[0] == "w"
    with pytest.raises(InvalidInput, match="all are ties"):
        bradley_terry([Match("x", "y", "tie")], ties="davidson")
    with pytest.raises(InvalidInput, match="resamples have no finite maximum"):
        bradley_terry([Match(str(i), str((i + 1) % 9), "a") for i in range(9)], interval="bootstrap")


def test_useless_controls_are_told(styled: Matches) -> None:
    def with_columns(*columns: np.ndarray) -> Matches:
        named = [f"c{i}" for i in range(len(columns))]
        return Matches.coded(
            SYSTEMS,
            styled.a,
            styled.b,
            styled.outcome,
            covariates=np.stack(columns, axis=1),
            covariate_names=named,
        )

    length = styled.covariates[:, 0]
    with pytest.raises(InvalidInput, match="controls: a column is all 0"):
        bradley_terry(with_columns(np.zeros(len(styled))), controls=["c0"])
    with pytest.raises(InvalidInput, match="a sum of other columns"):
        bradley_terry(with_columns(length, 2 * length), controls=["c0", "c1"])
    with pytest.raises(InvalidInput, match="never between"):
        bradley_terry(with_columns((styled.a - styled.b).astype(float)), controls=["c0"])
    with pytest.raises(InvalidInput, match="tells every winner"):
        bradley_terry(with_columns(2.0 * styled.outcome - 1), controls=["c0"])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"controls": ["size"]}, "'size' is no covariate of the matches \\(they have length"),
        ({"controls": "length"}, "controls: a list"),
        ({"ties": "drop"}, "ties"),
        ({"interval": "wide"}, "interval"),
        ({"ridge": -1}, "ridge"),
        ({"ridge": math.nan}, "ridge"),
        ({"level": 1.0}, "level"),
        ({"interval": "bootstrap", "rounds": 0}, "rounds"),
    ],
)
def test_wrong_settings_are_refused(styled: Matches, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        bradley_terry(styled, **how)


def test_one_that_never_played_has_no_interval() -> None:
    matches = Matches.of([Match("x", "y", "a"), Match("y", "x", "a")], systems=["x", "y", "z"])
    board = bradley_terry(matches, disconnected="rank_each")
    assert board["z"] == type(board["z"])("z", 1000.0, None, None, None, 0, "bradley_terry")
