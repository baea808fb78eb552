"""Evaluators that read texts find what stands in them alone, and nothing where there is nothing to find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from weighup.models.types import TokenStates
from weighup.train.ease.fit import Evaluators
from weighup.train.ease.heads import Shape
from weighup.train.ease.table import Table
from weighup.train.ease.text_evaluator import VARIANTS, compare, folded, text_features
from weighup.verify.types import KINDS

N = 300


class Letters:
    """A text's vector: its counts of letters, made unit length."""

    name, version, dimension = "letters", "1", 26

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]:
        counts = np.asarray([[t.lower().count(chr(97 + i)) for i in range(26)] for t in texts], np.float32)
        return np.asarray(counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1), np.float32)

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        raise AssertionError("no tokens are asked for")


@pytest.fixture(scope="module")
def made() -> tuple[Table, Evaluators]:
    """The evidence's own verdict is right where its telling says so, and no number tells."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, N)
    right = rng.integers(0, 2, N)
    tellings = tuple("it refutes" if r else "so vague" for r in right)
    table = Table(
        knowledge={kind: rng.normal(size=(N, 4)).astype(np.float32) for kind in KINDS},
        content=np.zeros((N, 2), np.float32),
        vector=rng.normal(size=(N, 8)).astype(np.float32),
        label=label,
        group=np.asarray([f"g{i // 2}" for i in range(N)]),
        source=np.asarray(["a", "b"])[rng.integers(0, 2, N)],
        q=(np.arange(N) % 2).astype(np.float32),
        r=np.zeros(N, np.float32),
        has=np.arange(N) % 5 > 0,
        claim=np.arange(N),
        texts=tuple(f"claim {i}" for i in range(N)),
        told={kind: np.arange(N) if kind == "evidence" else np.zeros(N, np.int64) for kind in KINDS},
        tellings=tellings,
    )
    said = np.where(right == 1, label, 1 - label)
    opinion = {kind: np.tile(np.asarray([0.4, 0.35, 0.25], np.float32), (N, 1)) for kind in KINDS}
    opinion["evidence"] = (0.2 + 0.4 * np.eye(3)[said]).astype(np.float32)
    nothing = dict.fromkeys(KINDS, np.zeros(N, np.float32))
    return table, Evaluators({}, {}, opinion, nothing, {})


def test_only_what_reads_the_texts_finds_what_stands_there(made: tuple[Table, Evaluators]) -> None:
    pytest.importorskip("sklearn")
    table, evaluated = made
    report = compare(table, evaluated, Letters(), (Shape(0, 0.1),))
    assert list(report) == list(VARIANTS)
    assert report["heads + text embeddings"]["evidence"]["all"]["auroc"] > 0.95
    for variant in VARIANTS[:3]:
        assert report[variant]["evidence"]["all"]["auroc"] < 0.75
    for kinds in report.values():
        assert kinds["evidence"]["all"]["rows"] == int(table.has.sum())
        assert set(kinds["reasoning"]["by_set"]) == {"a", "b"}
        assert set(kinds["sentiment"]["by_q"]) == {"0", "1"}


def test_no_group_is_seen_by_what_judges_it(made: tuple[Table, Evaluators]) -> None:
    """Each group has a vector of its own and a label by chance: only components or heads that saw it could tell."""
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(3)
    group = np.asarray([f"g{i // 10}" for i in range(200)])
    vectors = rng.normal(size=(20, 20))[np.arange(200) // 10].astype(np.float32)
    right = rng.integers(0, 2, 20)[np.arange(200) // 10]
    p = folded(np.zeros((200, 1), np.float32), {"own": vectors}, right, group, Shape(0, 10.0))[:, 1]
    assert abs(np.corrcoef(p, right)[0, 1]) < 0.6


def test_texts_come_as_both_vectors_and_how_they_differ(made: tuple[Table, Evaluators]) -> None:
    blocks = text_features(made[0], "evidence", Letters())
    assert {name: block.shape for name, block in blocks.items()} == dict.fromkeys(
        ("news", "telling", "apart", "together"), (N, 26)
    )
    assert (blocks["apart"] >= 0).all()
