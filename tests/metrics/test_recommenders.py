"""Recommender measures: by hand, against ir-measures, scikit-learn and SciPy, and what is refused."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import ndcg_score

from weighup.errors import InvalidInput
from weighup.metrics.recommenders import (
    FAMILIES,
    Interactions,
    Items,
    Recommendations,
    RecommenderReport,
    evaluate_recommendations,
    similarity,
)
from weighup.metrics.recommenders_claim import check, elsewhere, made, popular

# Users a, b, c; items 1 to 6; c has nothing held out.
HELD = Interactions(list("aaab"), [1, 2, 3, 1], rating=[5, 3, 1, 4])
LISTS = Recommendations(list("aaabbbcc"), [4, 1, 2, 5, 6, 1, 1, 2], rank=[1, 2, 3, 1, 2, 3, 1, 2])
CATALOGUE = Items([1, 2, 3, 4, 5, 6], [[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [0, 0]])
TRAIN = Interactions(list("aabbc"), [4, 5, 4, 6, 4])


def measured(metrics: Any = "all", k: Any = 3, held: Any = HELD, lists: Any = LISTS, **options: Any) -> Any:
    items = options.pop("items", CATALOGUE)
    return evaluate_recommendations(held, lists, items, k, metrics, **options)


def value(name: str, **options: Any) -> float:
    report: RecommenderReport = measured(name.partition("@")[0], **options)
    return report[name].value


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("precision@3", (2 / 3 + 1 / 3) / 2),
        ("recall@3", (2 / 3 + 1) / 2),
        ("hit@3", 1),
        ("f1@3", (2 / 3 + 2 / 4) / 2),
        ("map@3", ((1 / 2 + 2 / 3) / 3 + 1 / 3) / 2),
        ("mrr@3", (1 / 2 + 1 / 3) / 2),
        ("arhr@3", (1 / 2 + 1 / 3 + 1 / 3) / 2),
        ("ndcg@3", ((5 / math.log2(3) + 3 / 2) / (5 + 3 / math.log2(3) + 1 / 2) + 1 / 2) / 2),
        ("rank_correlation@3", 1),
        ("coverage@3", 5 / 6),
        ("gini@3", (-5 * 0 - 3 * 1 - 1 * 1 + 1 * 1 + 3 * 2 + 5 * 3) / (6 * 8)),
        ("user_coverage", 1),
        # Lists (4, 1, 2), (5, 6, 1), (1, 2): cosines 1/3, 2/√6, 1/√6.
        ("personalisation@3", 1 - (1 / 3 + 3 / math.sqrt(6)) / 3),
        # Pairs alike: 1–2 fully, 5–1 by 1/√2; item 6 has no features.
        ("diversity@3", 1 - (1 / 3 + 1 / math.sqrt(2) / 3 + 1) / 3),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    assert value(name) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Used by all three: 4; by one: 5 and 6; by none, taken as one: 1 and 2.
        ("novelty@3", (2 * math.log2(3) / 3 + math.log2(3) + math.log2(3)) / 3),
        ("arp@3", (3 / 3 + 2 / 3 + 0) / 3),
        ("serendipity@3", (2 / 3 + 1 / 3) / 2),
    ],
)
def test_by_hand_what_needs_the_training_rows(name: str, expected: float) -> None:
    assert value(name, train=TRAIN) == pytest.approx(expected, abs=1e-12)


def test_what_is_popular_is_no_surprise() -> None:
    train = Interactions(list("bcde"), [1, 1, 2, 2])
    assert value("serendipity@2", k=2, train=train, seen="allow") == 0


def test_calibration_by_hand() -> None:
    # a: history genres (.25, .75) of items 4 and 5; list (4, 1, 2): (2/3, 1/3). The others in the same way.
    def kl(p: tuple[float, float], q: tuple[float, float]) -> float:
        return sum(x * math.log(x / (0.99 * y + 0.01 * x)) for x, y in zip(p, q, strict=True) if x)

    expected = [kl((0.25, 0.75), (2 / 3, 1 / 3)), kl((0, 1), (0.75, 0.25)), kl((0, 1), (1, 0))]
    report = measured("calibration", train=TRAIN)
    assert report["calibration@3"].value == pytest.approx(np.mean(expected), abs=1e-12)
    assert report["calibration@3"].n == 3


def test_gaps_between_groups_by_hand() -> None:
    report = measured(["gap_recall", "gap_ndcg", "ndcg"], groups={"a": "old", "b": "new"})
    assert report["gap_recall@3"].value == pytest.approx(1 / 3)
    assert report["gap_recall@3"].n == 2


def test_business_by_hand() -> None:
    lists = Recommendations(
        LISTS.user,
        LISTS.item,
        rank=LISTS.rank,
        clicked=[1, 1, 0, 0, 0, 1, 0, 0],
        bought=[1, 0, 0, 0, 0, 1, 0, 0],
        revenue=[10, 0, 0, 0, 0, 5, 0, 0],
    )
    report = measured("business", k=(2, 3), lists=lists, held=Interactions(HELD.user, HELD.item, None, [0, 8, 3, 30]))
    assert {v.name: (v.value, v.n) for v in report.values if v.k == 3} == {
        "ctr@3": (3 / 8, 8),
        "conversion@3": (2 / 3, 3),
        "adoption@3": (2 / 3, 3),
        "revenue@3": (5, 3),
    }
    assert report["ctr@2"].value == pytest.approx(2 / 6)
    assert report["conversion@2"].value == 0.5


def test_retention_is_over_those_whose_second_period_is_over() -> None:
    # a comes back after 8 of a period of 7; b is back too soon; c joins too late to tell.
    held = Interactions(list("aabbc"), [1, 2, 1, 2, 1], timestamp=[0, 8, 1, 3, 20])
    report = measured("retention", held=held, period=7)
    assert (report["retention"].value, report["retention"].n) == (0.5, 2)
    earlier = Interactions(["c"], [5], timestamp=[5])
    assert measured("retention", held=held, period=7, train=earlier)["retention"].value == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_ir_measures_and_scikit_learn(seed: int) -> None:
    world = made(seed, 60, 101, 1_500)
    lists = popular(world)
    report = evaluate_recommendations(
        world.interactions(held=True), lists, world.items(), train=world.interactions(held=False)
    )
    for name, expected in elsewhere(world, lists).items():
        assert report[name].value == pytest.approx(expected, abs=1e-9), name


def test_ndcg_agrees_with_scikit_learn_on_whole_catalogues() -> None:
    rng = np.random.default_rng(0)
    gain, score = rng.integers(0, 4, (20, 12)).astype(float), rng.random((20, 12))
    user, item = (part.ravel() for part in np.indices(gain.shape))
    for k in (1, 5, 12):
        held = Interactions(user, item, gain.ravel())
        found = evaluate_recommendations(held, Recommendations(user, item, score=score.ravel()), None, k, "ndcg")
        assert found[f"ndcg@{k}"].value == pytest.approx(ndcg_score(gain, score, k=k), abs=1e-9)


def test_rank_correlation_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    gain = rng.integers(0, 4, (30, 8)).astype(float)
    user, item = (part.ravel() for part in np.indices(gain.shape))
    rank = np.argsort(np.argsort(rng.random(gain.shape), axis=1), axis=1)
    there = rng.random(gain.size) < 0.6
    held = Interactions(user[there], item[there], gain.ravel()[there])
    found = evaluate_recommendations(held, Recommendations(user, item, rank=rank.ravel()), None, 8, "rank_correlation")
    each = []
    for row in range(30):
        kept = there.reshape(gain.shape)[row]
        if len(set(gain[row][kept])) > 1:
            each.append(kendalltau(-rank[row][kept], gain[row][kept]).statistic)
    assert found["rank_correlation@8"].value == pytest.approx(np.mean(each), abs=1e-9)
    assert found["rank_correlation@8"].n == len(each)


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_sums_over_all_pairs_are_what_each_pair_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(7)[: rng.integers(1, 5)] for _ in range(5)]
    user = np.repeat(np.arange(5), [len(one) for one in lists])
    shown = Recommendations(user, np.concatenate(lists), rank=np.concatenate([np.arange(len(o)) for o in lists]))
    features = rng.normal(size=(7, 3))
    held = Interactions([0], [0])
    report = evaluate_recommendations(held, shown, Items(np.arange(7), features), 4, ["personalisation", "diversity"])
    rows = np.array([np.isin(np.arange(7), one) for one in lists], float)
    pairs = list(itertools.combinations(range(5), 2))
    alike = similarity(rows, "cosine")
    assert report["personalisation@4"].value == pytest.approx(1 - np.mean([alike[pair] for pair in pairs]))
    near = similarity(features, "cosine")
    each = [1 - np.mean([near[p] for p in itertools.combinations(one, 2)]) for one in lists if len(one) > 1]
    if each:
        assert report["diversity@4"].value == pytest.approx(np.mean(each))
    else:
        assert "undefined" in report.skipped["diversity@4"]


def test_a_longer_list_never_finds_less() -> None:
    world = made(0, 100, 101, 2_000)
    report = evaluate_recommendations(world.interactions(held=True), popular(world), k=range(1, 11), metrics="recall")
    found = [v.value for v in report.values]
    assert found == sorted(found)


def test_scores_rank_as_ranks_do_and_equal_ones_stay_in_order() -> None:
    by_rank = measured("ranking").values
    scored = Recommendations(LISTS.user, LISTS.item, score=[3, 2, 1, 9, 9, 9, 1, 0])
    assert measured("ranking", lists=scored).values == by_rank


def test_users_without_held_out_items_follow_the_policy() -> None:
    report = measured("hit")
    assert (report.judged, report.unjudged, report.unserved, report["hit@3"].n) == (2, 1, 0, 2)
    assert value("hit@3", no_truth="zero") == pytest.approx(2 / 3)
    with pytest.raises(InvalidInput, match="user 'c' has a list but no relevant item"):
        measured("hit", no_truth="refuse")


def test_a_judged_user_without_a_list_counts_as_0() -> None:
    held = Interactions(list("aaabz"), [1, 2, 3, 1, 1])
    report = measured(["hit", "user_coverage"], held=held)
    assert report["hit@3"].value == report["user_coverage"].value == pytest.approx(2 / 3)
    assert report.unserved == 1


def test_what_is_relevant_may_need_a_rating() -> None:
    assert value("recall@3", relevant_at=4) == 1
    assert measured("recall", relevant_at=5)["recall@3"].n == 1
    assert value("recall@3", held=Interactions(HELD.user, HELD.item)) == pytest.approx(5 / 6)


def test_repeats_of_an_event_count_once() -> None:
    again = Interactions(list("aaabab"), [1, 2, 3, 1, 1, 1], rating=[5, 3, 1, 4, 5, 4])
    assert measured("ranking", held=again).values == measured("ranking").values


def test_all_measures_what_it_can_and_says_what_it_skips() -> None:
    report = measured()
    assert report.skipped["novelty"] == "train is not given"
    assert report.skipped["conversion"] == "recommendations.clicked and recommendations.bought is not given"
    done = {v.metric for v in report.values}
    assert done | set(report.skipped) == {name for family in FAMILIES.values() for name in family}
    with pytest.raises(KeyError, match="train is not given"):
        report["novelty@3"]
    with pytest.raises(InvalidInput, match=r"novelty: train is not given"):
        measured(["novelty", "hit"])


def test_what_is_undefined_on_the_data_is_said() -> None:
    report = measured("predictive", held=Interactions(HELD.user, HELD.item, [3] * 4, prediction=[1, 2, 3, 4]))
    assert set(report.skipped) == {"explained_variance", "r2"}
    assert report["mae"].value == 1
    assert "n = 0 users" in measured("hit", held=Interactions(["z"], [1], rating=[0])).skipped["hit@3"]


def test_intervals_hold_the_value_and_are_the_same_for_the_same_seed() -> None:
    world = made(0, 200, 101, 5_000)
    rng = np.random.default_rng(0)
    shown = popular(world)
    clicked = rng.random(len(shown.user)) < 0.2  # type: ignore[arg-type]
    lists = Recommendations(shown.user, shown.item, rank=shown.rank, clicked=clicked)
    options: dict[str, Any] = {"train": world.interactions(held=False), "interval": True, "draws": 200}
    options["groups"] = {user: user % 2 for user in range(200)}
    held = world.interactions(held=True)
    report = evaluate_recommendations(held, lists, world.items(), **options)
    assert report.values == evaluate_recommendations(held, lists, world.items(), **options).values
    for one in report.values:
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high or one.metric.startswith("gap"), one
    ours = report["ctr@10"]
    sd = math.sqrt(ours.value * (1 - ours.value) / ours.n)
    assert ours.high - ours.low == pytest.approx(2 * 1.96 * sd, rel=0.25)  # type: ignore[operator]
    assert evaluate_recommendations(held, lists, None, metrics="hit")["hit@5"].low is None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "k over the catalogue": ({"k": 7}, "7 is more than the 6 items"),
    "k of 0": ({"k": 0}, "k:"),
    "k of nothing": ({"k": ()}, "k:"),
    "k a fraction": ({"k": (1.5,)}, "k:"),
    "twice in a list": (
        {"lists": Recommendations(["a", "a"], [1, 1], rank=[1, 2])},
        "item 1 is twice in the list of user 'a'",
    ),
    "in train and test": (
        {"train": Interactions(["a"], [1])},
        "1 pairs are in train too, for example user 'a', item 1",
    ),
    "negative rating": ({"held": Interactions(["a"], [1], [-1])}, "row 0 is -1"),
    "negative rating in train": ({"train": Interactions(["a"], [5], [-1])}, "train.rating"),
    "NaN rating": ({"held": Interactions(["a"], [1], [math.nan])}, "not a finite"),
    "NaN score": ({"lists": Recommendations(["a"], [1], score=[math.nan])}, "recommendations.score"),
    "NaN time": ({"held": Interactions(["a"], [1], timestamp=[math.nan])}, "interactions.timestamp"),
    "NaN prediction": ({"held": Interactions(["a"], [1], [1], prediction=[math.inf])}, "interactions.prediction"),
    "no user named": ({"held": Interactions(np.array([None, "a"], object), [1, 2])}, "1 rows name no user"),
    "users as fractions": ({"held": Interactions([1.0], [1])}, "whole numbers or text"),
    "mixed labels": ({"held": Interactions(np.array(["a", 1], object), [1, 2])}, "whole numbers or text"),
    "users of two kinds": ({"held": Interactions([1], [1])}, "never match"),
    "neither rank nor score": ({"lists": Recommendations(["a"], [1])}, "either `rank` or `score`"),
    "rank and score": ({"lists": Recommendations(["a"], [1], [1], [1])}, "either `rank` or `score`"),
    "lengths": ({"held": Interactions(["a", "b"], [1])}, "one value a row"),
    "no rows": ({"lists": Recommendations([], [], rank=[])}, "no rows"),
    "rated twice unlike": ({"held": Interactions(["a", "a"], [1, 1], [2, 3])}, "twice, unlike"),
    "outside the catalogue": ({"held": Interactions(["a"], [9])}, "item 9 is not in the catalogue"),
    "item twice in the catalogue": ({"items": Items([1, 2, 2])}, "twice in the catalogue"),
    "empty catalogue": ({"items": Items(np.empty(0, int))}, "empty"),
    "features of another length": ({"items": Items([1, 2, 3, 4, 5, 6], np.eye(3))}, "one row for each of 6"),
    "NaN features": ({"items": Items([1, 2, 3, 4, 5, 6], np.full((6, 1), np.nan))}, "not a finite"),
    "features in words": ({"items": Items([1, 2, 3, 4, 5, 6], [["x"]] * 6)}, "matrix of numbers"),
    "negative shares": (
        {"items": Items([1, 2, 3, 4, 5, 6], -np.eye(6)), "train": TRAIN, "metrics": "calibration"},
        "not negative",
    ),
    "a click of 2": ({"lists": Recommendations(["a"], [1], [1], clicked=[2])}, "only 0 and 1"),
    "negative money": ({"lists": Recommendations(["a"], [1], [1], revenue=[-2])}, "revenue: row 0 is negative"),
    "unknown measure": ({"metrics": "beauty"}, "'beauty' is none of"),
    "no measure": ({"metrics": []}, "none is asked for"),
    "one group": ({"groups": {"a": 1}}, "two groups or more"),
    "relevant_at of 0": ({"relevant_at": 0}, "relevant_at"),
    "relevant_at without ratings": ({"held": Interactions(["a"], [1]), "relevant_at": 3}, "no ratings"),
    "policy": ({"no_truth": "guess"}, "no_truth"),
    "seen": ({"seen": "maybe"}, "seen"),
    "period": ({"period": 0}, "period"),
    "draws": ({"draws": 0}, "draws"),
    "level": ({"level": 1}, "level"),
    "one user": (
        {"held": Interactions(["a"], [1]), "lists": Recommendations(["a"], [1], [1]), "interval": True},
        "two users",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case: str) -> None:
    options, says = REFUSED[case]
    with pytest.raises(InvalidInput, match=says):
        measured(**options)


def test_an_item_may_come_back_where_that_is_allowed() -> None:
    assert value("hit@3", train=Interactions(["a"], [1]), seen="allow") == 1


def test_the_claim_check_runs(tmp_path: Path) -> None:
    results = check(tmp_path, (0, 1), size=(200, 101, 3_000), large=(200, 101, 3_000))
    assert len(results) == 7
    assert results[0].holds == "true"
    assert all(r.value > r.baseline_value for r in results[1:5])
