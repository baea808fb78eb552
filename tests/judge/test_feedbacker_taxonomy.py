"""Feedbacker's taxonomy of queries, made queries, profiles and their pictures; and what is refused."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_model import Scripted, Written

from weighup.errors import BudgetExceeded, InvalidInput, JobFailed, ModelUnavailable
from weighup.judge import feedbacker_claim
from weighup.judge.feedbacker_pictures import radar, tree, weak
from weighup.judge.feedbacker_profile import profile
from weighup.judge.feedbacker_taxonomy import OTHER, Branch, ModelPlacer, Taxonomy, synthesise
from weighup.models.types import Prompt

DATA = Path(os.environ.get("WEIGHUP_DATA", "../shared/data"))


class Words:
    """Places a query by its first two words, and takes kinds to be the same if their first letters are."""

    name = "words"

    def place(self, query: str, path: Branch, children: Sequence[str]) -> str:
        return query.split()[len(path)]

    def same(self, path: Branch, children: Sequence[str]) -> Sequence[Sequence[str]]:
        groups: dict[str, list[str]] = {}
        for one in children:
            groups.setdefault(one[0], []).append(one)
        return list(groups.values())


def grown(*queries: str) -> Taxonomy:
    made = Taxonomy(Words())
    for n, query in enumerate(queries):
        made.insert(query, f"q{n}")
    return made


def test_queries_are_placed_in_leaves() -> None:
    made = grown("math sums 1", "math Roots 2", "Math roots 3")
    assert made.placements() == {"q0": ("math", "sums"), "q1": ("math", "Roots"), "q2": ("math", "Roots")}
    assert [path for path, _ in made.root.walk()] == [("math",), ("math", "sums"), ("math", "Roots")]


def test_refining_merges_kinds_and_what_is_below() -> None:
    made = grown("math sums", "maths roots", "maths sums", "law torts")
    assert made.refine() == 1
    assert made.placements()["q2"] == ("math", "sums")
    assert made.placements()["q1"] == ("math", "roots")
    assert set(made.root.children) == {"math", "law"}


def test_pruning_dissolves_small_nodes_into_other() -> None:
    made = grown("math sums", "math sums", "math roots", "law torts", "art oil")
    assert made.prune(2) >= 3
    assert made.placements() == {
        "q0": ("math", "sums"),
        "q1": ("math", "sums"),
        "q2": ("math", OTHER),
        "q3": (OTHER, OTHER),
        "q4": (OTHER, OTHER),
    }
    assert made.prune(2) == 0


@given(st.lists(st.tuples(st.sampled_from(["a1", "a2", "b"]), st.sampled_from(["x1", "x2", "y", OTHER])), min_size=1))
def test_every_query_stands_in_exactly_one_leaf(some: list[tuple[str, str]]) -> None:
    made = grown(*(f"{a} {b}" for a, b in some))
    made.refine()
    made.prune(3)
    assert sorted(made.root.all()) == sorted(f"q{n}" for n in range(len(some)))
    assert {len(path) for path in made.placements().values()} == {2}
    assert all(not node.queries for path, node in made.root.walk() if len(path) < 2)


def test_a_model_places_and_refines() -> None:
    said: list[Written] = [{"number": 0, "name": "maths"}, {"number": 0, "name": "sums"}, {"number": 1}, {"number": 1}]
    model = Scripted(lambda p: said.pop(0))
    made = Taxonomy(ModelPlacer(model))
    assert made.insert("add 1 and 2", "a") == made.insert("add 3 and 4", "b") == ("maths", "sums")
    assert ">\nadd 3 and 4\n<" in model.prompts[2].user
    assert "maths" in model.prompts[2].user
    assert "all / maths" in model.prompts[3].user
    groups = Scripted(lambda p: {"groups": [[2, 1], [3]]})
    assert ModelPlacer(groups).same((), ["sum", "sums", "roots"]) == [["sums", "sum"], ["roots"]]


@pytest.mark.parametrize(
    "said", [{"number": 4, "name": "x"}, {"number": 0, "name": " "}, ModelUnavailable("away"), "?"]
)
def test_a_placer_that_fails_leaves_the_tree_as_it_was(said: Written) -> None:
    made = Taxonomy(ModelPlacer(Scripted(lambda p: said)))
    with pytest.raises((JobFailed, ModelUnavailable)):
        made.insert("a query", "a")
    assert (made.placements(), made.root.children) == ({}, {})


def test_groups_that_are_no_partition_are_refused() -> None:
    class Odd(Words):
        def same(self, path: Branch, children: Sequence[str]) -> Sequence[Sequence[str]]:
            return [[children[0]]]

    made = grown("math sums", "law torts")
    made.placer = Odd()
    with pytest.raises(InvalidInput, match="not each of its nodes once"):
        made.refine()
    with pytest.raises(JobFailed, match="one group"):
        ModelPlacer(Scripted(lambda p: {"groups": [[1], [1]]})).same((), ["a", "b"])


TAXONOMY_CASES: list[tuple[str, Callable[[], object]]] = [
    ("query q0: stands in the tree", lambda: grown("math sums").insert("law torts", "q0")),
    ("query x: is empty", lambda: grown("math sums").insert(" ", "x")),
    ("layers", lambda: Taxonomy(Words(), layers=0)),
    ("needs a placer", lambda: Taxonomy().insert("a b", "x")),
    ("least", lambda: grown("math sums").prune(0)),
    ("same length", lambda: Taxonomy.of({"a": ("x",), "b": ("x", "y")})),
    ("same length", lambda: Taxonomy.of({})),
    ("no taxonomy place for z", lambda: profile({"s": {"z": [1.0]}}, Taxonomy.of({"a": ("x",)}))),
    ("results of s: none", lambda: profile({"s": {}}, Taxonomy.of({"a": ("x",)}))),
    ("query a has none", lambda: profile({"s": {"a": []}}, Taxonomy.of({"a": ("x",)}))),
    ("two real queries", lambda: synthesise(Scripted(), grown("math sums"), ("math", "sums"), 1)),
]


@pytest.mark.parametrize(("says", "call"), TAXONOMY_CASES)
def test_bad_taxonomies_are_refused(says: str, call: Callable[[], object]) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()


def test_new_queries_mix_two_of_a_leaf_and_are_tagged() -> None:
    made = grown("math sums uno", "math sums due", "math sums tre", "law torts")

    def mixes(asked: Prompt) -> Written:
        return {"query": "mixed"} if "uno" in asked.user else ModelUnavailable("away")

    model = Scripted(mixes, lambda q: (0.2, 0.7, 0.1))
    found = synthesise(model, made, ("math", "sums"), 12, seed=1)
    assert 0 < len(found) < 12
    assert {(one.text, one.quality, one.certainty) for one in found} == {("mixed", "usable", 0.7)}
    assert all("q0" in one.seeds and len(set(one.seeds)) == 2 and "q3" not in one.seeds for one in found)
    assert "torts" not in "".join(one.user for one in model.prompts)
    with pytest.raises(BudgetExceeded):
        synthesise(Scripted(lambda p: BudgetExceeded("spent")), made, ("math", "sums"), 1)


def results() -> tuple[dict[str, dict[str, list[float]]], Taxonomy]:
    rng = np.random.default_rng(0)
    paths = {f"{kind}{n}": (kind, f"{kind} {n % 2}") for kind in ("maths", "law", "art") for n in range(20)}
    told = {
        system: {id: [float(rng.normal(2 if path[0] == bad else 4, 0.5))] for id, path in paths.items()}
        for system, bad in (("a", "maths"), ("b & c", "none"))
    }
    return told, Taxonomy.of(paths)


def test_a_profile_has_every_node_and_finds_the_weak() -> None:
    found = profile(*results())
    assert found.systems == ("a", "b & c")
    assert found.of("a", ("maths",)).n == 20
    assert found.of("a", ("maths", "maths 1")).n == 10
    assert found.of("a").value == pytest.approx(sum(found.of("a", (k,)).value for k in ("maths", "law", "art")) / 3)
    assert {one.path[0] for one in found.weak("a")} == {"maths"}
    assert len(found.weak("a")) == 3
    table = found.markdown().splitlines()
    assert len(table) == 2 + 1 + 3 + 6
    assert table[3].startswith("| maths | 1.908 (1.7")
    with pytest.raises(InvalidInput, match="no results in physics"):
        found.of("a", ("physics",))


def test_several_results_of_a_query_count_once() -> None:
    found = profile({"s": {"a": [1.0, 3.0], "b": [5.0]}}, Taxonomy.of({"a": ("x",), "b": ("y",)}))
    assert (found.of("s").value, found.of("s").n) == (3.5, 2)
    assert found.of("s", ("x",)).n == 1
    assert np.isnan(found.of("s", ("x",)).low)


def test_pictures_are_svg_told_in_words() -> None:
    found = profile(*results())
    pictures = [tree(found, "a", scale=(1, 5)), weak(found, "a", scale=(1, 5)), radar(found, scale=(1, 5))]
    for picture in pictures:
        root = ET.fromstring(picture)
        assert root.get("role") == "img"
        assert "maths" in (root.find("desc").text or "")  # type: ignore[union-attr]
        assert "nan" not in picture
    assert "b &amp; c" in pictures[2]
    assert pictures[0].count("<rect") == 10
    assert "weak nowhere" in weak(found, "b & c", scale=(1, 5)) or found.weak("b & c")


def test_a_radar_leaves_a_gap_where_there_are_no_results() -> None:
    told, taxonomy = results()
    told["b & c"] = {id: value for id, value in told["b & c"].items() if not id.startswith("law")}
    picture = radar(profile(told, taxonomy), scale=(1, 5))
    assert picture.count("<circle") == 5
    assert ET.fromstring(picture).tag == "svg"


def test_pictures_that_cannot_be_drawn_are_refused() -> None:
    two = profile({"s": {"a": [1.0, 3.0], "b": [5.0]}}, Taxonomy.of({"a": ("x",), "b": ("y",)}))
    with pytest.raises(InvalidInput, match="three nodes"):
        radar(two, scale=(1, 5))
    with pytest.raises(InvalidInput, match="does not rise"):
        tree(two, "s", scale=(5, 1))
    with pytest.raises(InvalidInput, match="'t' has no results"):
        tree(two, "t", scale=(1, 5))


@pytest.mark.claim
def test_the_profile_of_mt_bench_has_its_categories() -> None:
    if not (DATA / "judging").is_dir():
        pytest.skip(f"no judging data in {DATA}; set WEIGHUP_DATA")
    found = feedbacker_claim.mt_bench_profile(DATA)
    assert len(found.systems) == 4
    assert len(found.slices) == 4 * 9
