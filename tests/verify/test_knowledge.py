"""The numbers evaluators and experts see."""

from __future__ import annotations

import numpy as np

from weighup.verify.knowledge import EVIDENCE, REASONING, evidence_row, overlap, reasoning_row


def _of(row: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(names, (float(v) for v in row), strict=True))


def test_overlap_counts_content_words_with_crude_stems() -> None:
    held = overlap("The mayors resigned in Lyon", ["A mayor of Lyon resigns", "Nothing here", ""])
    assert held.round(2).tolist() == [0.67, 0.0, 0.0] or held[0] > 0.6
    assert overlap("the of and", ["anything"]).tolist() == [0.0]


def test_no_passages_are_all_zeros() -> None:
    assert not evidence_row("a claim", [], np.zeros((0, 3), np.float32), []).any()


def test_evidence_numbers_follow_the_stances() -> None:
    claim = "Sales rose 12% in 2019"
    passages = ["Sales rose 12% that year", "Sales fell"]
    row = _of(
        evidence_row(claim, passages, np.asarray([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2]], np.float32), [None, 1.0]), EVIDENCE
    )
    assert row["available"] == 1
    assert round(row["supports_max"], 3) == 0.8
    assert round(row["conflict"], 3) == 0.7
    assert round(row["top_supports"], 3) == 0.8
    assert row["numbers_missing"] == 0.5
    assert row["credibility"] == 0.75
    flipped = _of(
        evidence_row(claim, passages, np.asarray([[0.1, 0.8, 0.1], [0.7, 0.1, 0.2]], np.float32), [None, 1.0]), EVIDENCE
    )
    assert flipped["net"] < 0 < row["net"]


def test_reasoning_without_a_model_says_so() -> None:
    alone, asked = reasoning_row(0.8, None, False), reasoning_row(0.8, (0.1, 0.6, 0.3), True)
    assert _of(alone, REASONING)["model_asked"] == 0
    assert _of(asked, REASONING)["model_asked"] == 1
    assert _of(asked, REASONING)["model_fake"] > 0
    assert _of(asked, REASONING)["chinese"] == 1
