"""Selection goes in the paper's order, and decisions are probabilities with an interval around them."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

import numpy as np
import pytest

from weighup.verify.ease import Ease, evaluator_rows, expert_rows, select_all
from weighup.verify.knowledge import EVIDENCE, REASONING, SENTIMENT
from weighup.verify.tone import NAMES
from weighup.verify.types import KINDS

WIDTH = {"evidence": len(EVIDENCE), "reasoning": len(REASONING), "sentiment": len(SENTIMENT)}
ALL = dict.fromkeys(KINDS, True)


@pytest.fixture(scope="module")
def ease() -> Ease:
    return Ease.load()


@pytest.mark.parametrize(
    ("sure", "chosen"),
    [
        ({"evidence": 0.99, "reasoning": 0.99, "sentiment": 0.99}, "evidence"),
        ({"evidence": 0.01, "reasoning": 0.99, "sentiment": 0.99}, "reasoning"),
        ({"evidence": 0.01, "reasoning": 0.01, "sentiment": 0.01}, "sentiment"),
    ],
)
def test_evidence_then_reasoning_then_sentiment(ease: Ease, sure: dict, chosen: str) -> None:
    assert selected(ease, sure, ALL) == chosen


def test_what_is_not_available_is_passed_over(ease: Ease) -> None:
    sure = dict.fromkeys(KINDS, 0.99)
    assert selected(ease, sure, {"evidence": False, "reasoning": True, "sentiment": True}) == "reasoning"
    assert selected(ease, sure, {"evidence": False, "reasoning": False, "sentiment": True}) == "sentiment"


def selected(ease: Ease, sure: dict, available: dict) -> str:
    reliability = {kind: np.asarray([p], np.float32) for kind, p in sure.items()}
    there = {kind: np.asarray([on]) for kind, on in available.items()}
    return KINDS[select_all(reliability, there, ease.reliable_at)[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_decisions_are_probabilities_inside_their_interval(ease: Ease, kind: str) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(50, WIDTH[kind])).astype(np.float32)
    content = rng.normal(size=(50, 2 + len(NAMES))).astype(np.float32)
    opinion = ease.opinion(kind, rows)
    np.testing.assert_allclose(opinion.sum(1), 1, rtol=1e-4)
    others = {other: opinion if other == kind else np.full((50, 3), 1 / 3, np.float32) for other in KINDS}
    reliability = ease.reliability(kind, rows, others)
    for decision in ease.decide(kind, rows, content, reliability):
        low, high = decision.interval
        assert 0 <= low <= decision.probability_fake <= high <= 1
        sure = max(decision.probability_fake, 1 - decision.probability_fake)
        assert decision.unknown == (sure < ease.threshold[kind])


def test_evidence_that_refutes_raises_the_probability_of_fake(ease: Ease) -> None:
    from weighup.verify.knowledge import evidence_row

    claim, passages = "Sales rose 12% in 2019", ["Sales rose 12% in 2019 at home", "Sales in 2019"]
    content = np.zeros((1, 2 + len(NAMES)), np.float32)
    p = []
    for stance in ([0.9, 0.05, 0.05], [0.05, 0.9, 0.05]):
        row = evidence_row(claim, passages, np.asarray([stance] * 2, np.float32), [None, None])[None]
        opinions = dict.fromkeys(KINDS, ease.opinion("evidence", row))
        reliability = ease.reliability("evidence", row, opinions)
        p.append(ease.decide("evidence", row, content, reliability)[0].probability_fake)
    assert p[0] + 0.1 < p[1]


def test_rows_are_put_together_in_the_trained_order() -> None:
    rows, opinion = np.ones((2, 3), np.float32), np.asarray([[0.2, 0.5, 0.3]] * 2, np.float32)
    sure_fake, open_ = np.asarray([[0, 1, 0]] * 2, np.float32), np.asarray([[0, 0, 1]] * 2, np.float32)
    row = evaluator_rows("reasoning", rows, {"evidence": sure_fake, "reasoning": opinion, "sentiment": open_})[0]
    assert row.tolist() == pytest.approx([1, 1, 1, 0.2, 0.5, 0.3, 0.5, 0, 1, 0, 0.5, 0, 0, 1, 0.3])
    assert expert_rows(rows, opinion, np.asarray([0.7, 0.7], np.float32)).shape == (2, 7)


def test_the_card_is_of_these_weights() -> None:
    folder = files("weighup") / "_weights"
    card = json.loads((folder / "ease.json").read_text(encoding="utf-8"))
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert set(card["fit_rows"]).isdisjoint({"averitec", "sick"})
