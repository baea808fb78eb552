"""MIRAGE-Bench's surrogate judge: it learns what is there to be learnt, and says no to what cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from weighup.arena import Match, Matches, bradley_terry, simulate_votes
from weighup.arena.bradley_terry import MEAN, SCALE
from weighup.arena.mirage import Features, SurrogateJudge, against, r2
from weighup.arena.mirage_claim import Trial, as_matches, best_single
from weighup.arena.mirage_features import Answer, average_precision, heuristics, language_shares
from weighup.errors import InvalidInput
from weighup.judge.claim_texts import lexical_entails

NAMES = [f"s{n:02}" for n in range(14)]
SKILL = dict(zip(NAMES, np.linspace(-1.5, 1.5, 14).tolist(), strict=True))
NOISE = np.random.default_rng(0).standard_normal(14)
TABLE = {name: {"skill": skill, "noise": float(NOISE[at])} for at, (name, skill) in enumerate(SKILL.items())}
SEEN, UNSEEN = NAMES[::2], NAMES[1::2]


def teacher(systems: Sequence[str] = SEEN, n: int = 600) -> Matches:
    found = simulate_votes({name: SKILL[name] for name in systems}, n=n, seed=0)
    assert isinstance(found, Matches)
    return found


def fitted(model: Any = "ridge", **how: Any) -> SurrogateJudge:
    return SurrogateJudge(model=model, trees=20).fit(TABLE, teacher(), tournaments=4, queries=400, **how)


@pytest.mark.parametrize("model", ["forest", "ridge", "linear", "svr", "boosted"])
def test_systems_that_the_teacher_never_saw_are_ordered(model: str) -> None:
    judge = fitted(model)
    assert judge.systems == tuple(SEEN)
    board = judge.leaderboard({name: TABLE[name] for name in UNSEEN}, bootstrap=4)
    truth = [SKILL[name] for name in board.order()]
    assert np.corrcoef(truth, range(len(truth)))[0, 1] < -0.85
    one = board.ratings[0]
    assert (one.method, one.n) == ("mirage", 0)
    assert one.low <= one.value <= one.high  # type: ignore[operator]


def test_a_linear_judge_gives_back_the_teachers_logits() -> None:
    matches = teacher()
    board = bradley_terry(matches, ridge=1.0, interval="none")
    logits = {name: (board[name].value - MEAN) / SCALE for name in SEEN}
    table = {name: [logits.get(name, 0.0), TABLE[name]["noise"]] for name in SEEN}
    judge = SurrogateJudge(model="linear").fit(
        Features.of(table, ["logit", "noise"]), matches, tournaments=30, queries=len(matches)
    )
    told = judge.leaderboard(Features.of(table, ["logit", "noise"]), bootstrap=30)
    for name in SEEN:
        assert told[name].value == pytest.approx(board[name].value, abs=40)
    near = against(board, told)
    assert near.tau.value > 0.9
    assert near.r2.value > 0.95
    assert near.r2.low <= near.r2.value <= near.r2.high


def test_the_seed_decides() -> None:
    rest = {name: TABLE[name] for name in UNSEEN}
    one, same, other = (
        SurrogateJudge(model="forest", trees=5, seed=seed).fit(TABLE, teacher(), tournaments=2, queries=300)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.predict(rest), same.predict(rest))
    assert (one.predict(rest) != other.predict(rest)).any()


def test_importance_finds_the_feature_that_counts() -> None:
    for model in ("forest", "ridge"):
        found = fitted(model).importance()
        assert found["skill"] > 0.7
        assert sum(found.values()) == pytest.approx(1)
    with pytest.raises(InvalidInput, match="importance: this kind"):
        fitted("svr").importance()


def test_only_the_chosen_features_are_used() -> None:
    judge = SurrogateJudge(["skill"], "linear").fit(TABLE, teacher(), tournaments=2, queries=300)
    told = judge.predict({name: {"skill": SKILL[name]} for name in UNSEEN})
    np.testing.assert_array_equal(told, judge.predict({name: TABLE[name] for name in UNSEEN}))
    assert judge.features == ("skill",)


def test_a_regression_of_ones_own() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    judge = fitted(lambda seed: linear.Ridge(alpha=1e-6))
    np.testing.assert_allclose(judge.predict(TABLE), fitted("linear").predict(TABLE), atol=1e-3)


def test_features_by_query_follow_the_queries_drawn() -> None:
    queries = [f"q{n}" for n in range(30)]
    rng = np.random.default_rng(1)
    table = {name: np.stack([SKILL[name] + 0.3 * rng.standard_normal(30), rng.random(30)], axis=1) for name in NAMES}
    given = Features.of(table, ["a", "b"], queries)
    once = given.means({"q3": 2, "q5": 1, "elsewhere": 4})
    np.testing.assert_allclose(once[0], (2 * table["s00"][3] + table["s00"][5]) / 3)
    np.testing.assert_allclose(given.means(), given.means({"elsewhere": 1}))
    rows = [(q, a, b) for q in queries for i, a in enumerate(SEEN) for b in SEEN[i + 1 :]]
    matches = [
        Match(a, b, "a" if rng.random() < 1 / (1 + np.exp(SKILL[b] - SKILL[a])) else "b", item=q) for q, a, b in rows
    ]
    judge = SurrogateJudge(model="ridge").fit(given, matches, tournaments=5, queries=20)
    assert all(sum(drawn.values()) == 20 for _, drawn in judge._fitted)
    board = judge.leaderboard(given.chosen(UNSEEN, ["a", "b"]), bootstrap=5)
    assert board.order()[0] in NAMES[-3:]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({**TABLE, "s00": {"skill": float("nan"), "noise": 1}}, "features of s00: 'skill' is not a finite number"),
        ({**TABLE, "s04": {"skill": 1}}, "features of s04: skill; needed are skill, noise"),
        ({**TABLE, "s00": {"skill": "high", "noise": 1}}, "features of s00: numbers are needed"),
        ({name: {**one, "noise": 3.0} for name, one in TABLE.items()}, "'noise' is the same for all training systems"),
        ({name: TABLE[name] for name in NAMES[1:]}, "there is no system 's00'"),
        ({}, "features: of one system or more"),
    ],
)
def test_features_that_are_refused(table: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SurrogateJudge(model="ridge").fit(table, teacher(), tournaments=1, queries=300)


def test_shapes_that_are_refused() -> None:
    for names, message in (
        (("a",), r"shape \(1,\) is needed, not \(2,\)"),
        ((), "one a feature"),
        (("a", "a"), "different"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Features.of({"x": [1.0, 2.0]}, names)
    with pytest.raises(InvalidInput, match="features of x, query 'q2': 'a' is not a finite"):
        Features.of({"x": [[1.0], [np.inf]]}, ["a"], ["q1", "q2"])


def test_a_teacher_that_is_refused() -> None:
    with pytest.raises(InvalidInput, match="4 training systems; 5 or more"):
        SurrogateJudge(model="ridge").fit(TABLE, teacher(SEEN[:4]))
    apart = [*simulated(SEEN[:3]), *simulated(SEEN[3:])]
    with pytest.raises(InvalidInput, match=r"2 groups .* never compared.*\{s06, s08, s10, s12\}"):
        SurrogateJudge(model="ridge").fit(TABLE, apart)
    with pytest.raises(InvalidInput, match="2 queries drawn do not compare all 7"):
        SurrogateJudge(model="ridge").fit(TABLE, teacher(), tournaments=1, queries=2)
    with pytest.raises(InvalidInput, match="tournaments, queries"):
        SurrogateJudge(model="ridge").fit(TABLE, teacher(), tournaments=0)


def simulated(systems: Sequence[str]) -> list[Match]:
    return [Match(a, b, "tie") for i, a in enumerate(systems) for b in systems[i + 1 :]]


def test_other_calls_that_are_refused() -> None:
    with pytest.raises(InvalidInput, match="not fitted yet"):
        SurrogateJudge().predict(TABLE)
    with pytest.raises(InvalidInput, match="not fitted yet"):
        SurrogateJudge().importance()
    with pytest.raises(InvalidInput, match="model: forest, ridge"):
        SurrogateJudge(model="oracle")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="features: a list"):
        SurrogateJudge("skill")
    with pytest.raises(InvalidInput, match="trees"):
        SurrogateJudge(trees=0)
    judge = fitted()
    with pytest.raises(InvalidInput, match="from 0 to the 4 tournaments"):
        judge.leaderboard(TABLE, bootstrap=200)
    with pytest.raises(InvalidInput, match="there is no feature 'noise'"):
        judge.predict({"x": {"skill": 1.0}})
    with pytest.raises(InvalidInput, match="level"):
        judge.leaderboard(TABLE, bootstrap=2, level=1)
    with pytest.raises(InvalidInput, match="r2"):
        r2([1, 1], [1, 2])
    with pytest.raises(InvalidInput, match="unknown system"):
        against(judge.leaderboard({"x": TABLE["s00"]}, 0), judge.leaderboard(TABLE, 0))


def test_r2_by_hand() -> None:
    assert r2([1, 2, 3], [1, 2, 3]) == 1
    assert r2([1, 2, 3], [2, 2, 2]) == 0
    assert r2([1, 2, 3], [3, 2, 1]) == -3


ANSWER = Answer(
    "The tower is 330 metres tall [1]. It was built in Paris [3]. That is known [9].",
    "en",
    {"1": "The tower is 330 metres tall.", "2": "Bread is baked.", "3": "Rome is old."},
    frozenset({"1", "2"}),
    "The tower is 330 metres tall.",
)


def test_heuristics_by_hand() -> None:
    names, values = heuristics([ANSWER, replace(ANSWER, text=ANSWER.reference)], entails=lexical_entails)
    found = [dict(zip(names, row, strict=True)) for row in values.tolist()]
    assert names[:4] == ("target_language", "english_language", "citation_MAP@10", "citation_Recall@10")
    assert found[0]["citation_MAP@10"] == 0.5
    assert found[0]["citation_Recall@10"] == 0.5
    assert 0 < found[0]["support_entailment"] < 1
    assert found[1]["answer_bleu"] == pytest.approx(100)
    assert found[1]["answer_rougeL"] == pytest.approx(1)
    assert (found[1]["citation_MAP@10"], found[1]["support_entailment"], found[1]["support_neutral"]) == (0, 0, 0)


def test_average_precision_is_that_of_trec() -> None:
    assert average_precision(["a", "x", "b"], frozenset("ab")) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(["x"], frozenset("a")) == 0
    assert average_precision(["x"], frozenset()) == 0


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Das ist nicht der Turm, der in der Stadt steht.", "de"),
        ("The tower is in the city and it was built for this.", "en"),
        ("La torre es de la ciudad y fue por los que se ven.", "es"),
        ("Tämä on torni ja se ei ole vanha.", "fi"),
        ("La tour est dans la ville et elle est pour les gens.", "fr"),
        ("Menara itu adalah yang tertinggi di kota dan tidak jauh dari sini.", "id"),
        ("Mnara huo ni wa jiji la Paris na ni mrefu kwa watu.", "sw"),
        ("Ilé ìṣọ́ náà wà ní ìlú àti àwọn ènìyàn fún un.", "yo"),
        ("塔は高いです。", "ja"),
        ("这座塔很高。", "zh"),
        ("탑은 높다.", "ko"),
        ("Башня очень высокая.", "ru"),
        ("หอคอยสูง", "th"),
        ("টাওয়ারটি লম্বা।", "bn"),
        ("टावर ऊँचा है।", "hi"),
        ("టవర్ ఎత్తుగా ఉంది.", "te"),
        ("البرج عال.", "ar"),
    ],
)
def test_languages_are_told(text: str, language: str) -> None:
    assert language_shares(text)[language] == pytest.approx(1)


def test_a_text_in_two_languages_has_shares_of_both() -> None:
    shares = language_shares("Башня. The tower is in the city.")
    assert 0.1 < shares["ru"] < 0.3
    assert shares["ru"] + shares["en"] == pytest.approx(1)
    assert language_shares("12 + 3!") == {}


def test_given_scores_are_columns_and_checked() -> None:
    names, values = heuristics([ANSWER], reranker=lambda some: [0.5] * len(some), fluency=lambda some: [4])
    assert names[-2:] == ("reranker_score", "fluency_score")
    assert values[0, -2:].tolist() == [0.5, 4]
    with pytest.raises(InvalidInput, match="answer_overlap_score: one finite number an answer"):
        heuristics([ANSWER], overlap=lambda some: [])
    with pytest.raises(InvalidInput, match="unknown language 'xx'"):
        heuristics([replace(ANSWER, language="xx")])
    with pytest.raises(InvalidInput, match="answers: one or more"):
        heuristics([])


def test_the_claims_verdicts_and_baseline() -> None:
    preference = np.array([[2, 1.5], [1, 1.5], [1, np.nan]])
    matches = as_matches(("a", "b", "c"), preference, np.array([0, 1]))
    told = {
        (matches.systems[a], matches.systems[b], y)
        for a, b, y in zip(matches.a, matches.b, matches.outcome.tolist(), strict=True)
    }
    assert told == {("a", "b", 1.0), ("a", "b", 0.5), ("a", "c", 1.0), ("b", "c", 0.5)}
    trial = Trial(np.arange(4.0), np.array([[0.0, 1], [1, 0], [2, 3], [3, 2]]), {}, np.zeros(4))
    assert best_single(trial.features, trial.truth) == 1
