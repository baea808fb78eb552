"""Evaluators and experts on tables made by chance, where what must come out is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weighup.train.ease import steps
from weighup.train.ease.fit import choose_reliable, fit_evaluators, fit_experts, halves
from weighup.train.ease.heads import Sample, Shape, fit_head, folded
from weighup.train.ease.run import ease_of, held_of
from weighup.train.ease.table import Table
from weighup.verify.ease import Ease
from weighup.verify.knowledge import EVIDENCE, REASONING, SENTIMENT
from weighup.verify.tone import NAMES
from weighup.verify.types import KINDS

SHAPES = (Shape(0, 0.1),)


def table(n: int = 600, *, telling: float = 3.0, seed: int = 0) -> Table:
    """Claims whose evidence tells the label (`telling` times its noise) where q is 1, and nothing where q is 0."""
    chance = np.random.default_rng(seed)
    label = chance.integers(0, 2, n)
    q = (np.arange(n) % 2).astype(np.float32)
    knowledge = {
        kind: chance.normal(size=(n, len(names))).astype(np.float32)
        for kind, names in (("evidence", EVIDENCE), ("reasoning", REASONING), ("sentiment", SENTIMENT))
    }
    knowledge["evidence"][:, 7] += (q * telling * (2 * label - 1)).astype(np.float32)
    knowledge["evidence"][q == 0] = 0
    content = chance.normal(size=(n, 2 + len(NAMES))).astype(np.float32)
    content[:, 0] += 0.5 * (2 * label - 1)
    zeros = np.zeros(n, np.int64)
    return Table(
        knowledge=knowledge,
        content=content,
        vector=np.zeros((n, 4), np.float32),
        label=label,
        group=np.asarray([f"g{i // 2}" for i in range(n)]),
        source=np.asarray(["a", "b"])[chance.integers(0, 2, n)],
        q=q,
        r=np.zeros(n, np.float32),
        has=q > 0,
        claim=np.arange(n),
        texts=tuple(f"claim {i}" for i in range(n)),
        told=dict.fromkeys(KINDS, zeros),
        tellings=("nothing",),
    )


def test_an_evaluator_tells_when_its_perspective_is_right() -> None:
    found = fit_evaluators(table(1200, telling=1.0), SHAPES)
    told = found.report["evaluator"]["evidence"]["all"]
    assert told["auroc"] > 0.6
    assert told["ece"] < 0.1


def test_no_claim_teaches_its_own_evaluator() -> None:
    """With labels by chance, what is said out of fold is right by chance; in sample it would seem better."""
    found = fit_evaluators(table(400, telling=0.0), (Shape(0, 10.0),))
    for kind in ("reasoning", "sentiment"):
        right = found.report["evaluator"][kind]["all"]["right"]
        assert right == pytest.approx(0.5, abs=0.1)
        assert found.report["evaluator"][kind]["all"]["auroc"] == pytest.approx(0.5, abs=0.12)


def test_selection_takes_evidence_where_there_is_some() -> None:
    made = table()
    found = fit_evaluators(made, SHAPES)
    experts = fit_experts(made, found, SHAPES)
    assert (experts.chosen[made.q == 1] == 0).mean() > 0.8
    assert (experts.chosen[made.q == 0] == 0).sum() == 0
    p = np.stack([experts.fake[kind] for kind in KINDS])[experts.chosen, np.arange(len(made))]
    right = (p >= 0.5) == made.label
    assert right[made.q == 1].mean() > 0.95
    assert right[made.q == 0].mean() > 0.6


def test_a_kind_without_rows_keeps_the_heads_that_are_shipped() -> None:
    made = table(200)
    bare = made.taken(np.arange(len(made)))
    bare.has[:] = False
    found = fit_evaluators(bare, SHAPES)
    assert found.taken_over == ("evidence",)
    experts = fit_experts(bare, found, SHAPES)
    shipped = Ease.load()
    assert (experts.experts["evidence"].w2 == shipped.experts["evidence"].w2).all()
    assert (experts.experts["reasoning"].w2.shape != shipped.experts["reasoning"].w2.shape) or (
        experts.experts["reasoning"].w2 != shipped.experts["reasoning"].w2
    ).any()
    assert not (experts.chosen == 0).any()


def test_heads_put_together_decide_as_they_did_out_of_fold() -> None:
    made = table()
    found = fit_evaluators(made, SHAPES)
    experts = fit_experts(made, found, SHAPES)
    ease = ease_of(found, experts)
    rows = made.knowledge["evidence"]
    opinions = {kind: ease.opinion(kind, made.knowledge[kind]) for kind in KINDS}
    reliability = ease.reliability("evidence", rows, opinions)
    fake = np.asarray([d.probability_fake for d in ease.decide("evidence", rows, made.content, reliability)])
    assert np.corrcoef(fake[made.has], experts.fake["evidence"][made.has])[0, 1] > 0.95


def test_what_is_labelled_unknown_pulls_to_one_half() -> None:
    made = table(400)
    unknown = made.taken(np.arange(len(made)))
    unknown.label[:200] = 2
    sample, place = halves(unknown, np.zeros((400, 30), np.float32))
    assert len(place) == 600
    assert sample.weight[place < 200].sum() == pytest.approx(sample.weight[:0].sum() + sample.weight[200:].sum())
    assert set(sample.y[200:400]) == {0}
    assert set(sample.y[400:]) == {1}


def test_the_least_reliability_is_where_it_helps() -> None:
    """Evidence is right when judged reliable above 0.6, and wrong below; reasoning is always right."""
    made = table(400)
    reliability = {kind: np.zeros(400, np.float32) for kind in KINDS}
    reliability["evidence"] = np.where(np.arange(400) % 4 < 2, 0.7, 0.5).astype(np.float32)
    reliability["reasoning"][:] = 0.9
    good = made.label.astype(np.float32)
    fake = {
        "evidence": np.where(reliability["evidence"] > 0.6, good, 1 - good),
        "reasoning": good,
        "sentiment": 1 - good,
    }
    at, chosen, _ = choose_reliable(made, reliability, {kind: v.astype(np.float32) for kind, v in fake.items()})
    assert at["evidence"] > 0.5
    p = np.stack([fake[kind] for kind in KINDS])[chosen, np.arange(400)]
    assert ((p >= 0.5) == made.label).all()


def test_calibration_takes_what_was_said_out_of_fold() -> None:
    made = table()
    found = fit_evaluators(made, SHAPES)
    held = held_of(made, fit_experts(made, found, SHAPES))
    assert held.fake.shape == (600, 3)
    assert np.isfinite(held.fake).all()


def test_a_head_knows_classes_that_a_sample_lacks() -> None:
    sample = Sample(np.zeros((30, 2), np.float32), np.ones(30, np.int64), np.ones(30), np.asarray(["g"] * 30))
    assert fit_head(sample, 3, Shape(0, 1.0), 2)(np.zeros((1, 2), np.float32)).argmax() == 1
    assert fit_head(sample, 3, Shape(4, 1.0), 2)(np.zeros((1, 2), np.float32)).argmax() == 1


def test_hushed_columns_weigh_less() -> None:
    chance = np.random.default_rng(0)
    y = chance.integers(0, 2, 300)
    x = (chance.normal(size=(300, 2)) + (2 * y - 1)[:, None]).astype(np.float32)
    groups = np.asarray([str(i) for i in range(300)])
    head = fit_head(Sample(x, y, np.ones(300), groups, np.asarray([False, True])), 2, Shape(0, 0.01))
    slope = np.abs(head.w2[:, :, 1] / head.scale).mean(0)
    assert slope[0] > 5 * slope[1]


def test_folds_keep_groups_together() -> None:
    """Rows of a group are alike and their label is theirs alone: learned from its twin, each would be right."""
    chance = np.random.default_rng(0)
    x = np.repeat(chance.normal(size=(60, 20)), 2, axis=0).astype(np.float32)
    y = np.repeat(chance.integers(0, 2, 60), 2)
    sample = Sample(x, y, np.ones(120), np.asarray([f"g{i // 2}" for i in range(120)]))
    assert (folded(sample, 2, Shape(0, 100.0)).argmax(1) == y).mean() < 0.75


def test_steps_are_read_back_as_they_were(tmp_path: Path) -> None:
    made = table(80)
    steps.keep(tmp_path / "table.npz", "key", steps.table_arrays(made))
    found = steps.kept(tmp_path / "table.npz", "key")
    assert found is not None
    again = steps.table_from(found[0])
    assert again.texts == made.texts
    assert (again.knowledge["evidence"] == made.knowledge["evidence"]).all()
    evaluated = fit_evaluators(made, SHAPES)
    steps.keep(tmp_path / "e.npz", "key", steps.evaluators_arrays(evaluated), evaluated.report)
    back = steps.evaluators_from(*steps.kept(tmp_path / "e.npz", "key"))  # type: ignore[misc]
    assert back.report == evaluated.report
    assert (back.reliability["evidence"] == evaluated.reliability["evidence"]).all()


@pytest.mark.parametrize("spoil", ["key", "bytes"])
def test_a_step_of_other_rows_or_a_broken_one_is_done_anew(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "table.npz"
    steps.keep(path, "key", {"a": np.zeros(3)})
    if spoil == "bytes":
        path.write_bytes(path.read_bytes()[:40])
    assert steps.kept(path, "another" if spoil == "key" else "key") is None
