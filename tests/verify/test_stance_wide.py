"""The wide half: which columns a pair fills, and its sum against a plain matrix product."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from weighup.verify.stance_wide import BIGRAM, BIGRAM_BITS, Wide, bags

VOCAB = 200
COLUMNS = BIGRAM * VOCAB + (1 << BIGRAM_BITS)
#      [CLS] claim: 110 111 112 [SEP] passage: 111 150 [SEP]
TOKENS = [101, 110, 111, 112, 102, 111, 150, 102]
TYPES = [0, 0, 0, 0, 0, 1, 1, 1]


def test_bags_hold_claim_found_missing_passage_and_bigrams() -> None:
    columns, values = bags(TOKENS, TYPES, VOCAB)
    by_role = [columns[columns // VOCAB == role] % VOCAB for role in range(BIGRAM)]
    assert [r.tolist() for r in by_role] == [[110, 111, 112], [111], [110, 112], [111, 150]]
    assert (columns >= BIGRAM * VOCAB).sum() == 2
    assert len(columns) == len(values) == 10
    np.testing.assert_allclose(values[:3], 3**-0.5)


def test_an_empty_pair_has_no_bags() -> None:
    columns, values = bags([101, 102, 102], [0, 0, 1], VOCAB)
    assert len(columns) == len(values) == 0


def test_logits_are_the_matrix_product_and_survive_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    wide = Wide(
        rng.normal(size=(COLUMNS, 3)).astype(np.float16),
        rng.normal(size=(4, 3)).astype(np.float32),
        np.array([0.1, -0.2, 0.3], dtype=np.float32),
        np.float32(1.5),
    )
    features = rng.normal(size=(1, 4)).astype(np.float32)
    columns, values = bags(TOKENS, TYPES, VOCAB)
    row = np.zeros(COLUMNS)
    row[columns] = values
    expected = row @ wide.table.astype(float) + features[0] @ wide.dense + wide.bias
    path = tmp_path / "wide.npz"
    np.savez(path, table=wide.table, dense=wide.dense, bias=wide.bias, temperature=wide.temperature)
    found = Wide.load(path)
    np.testing.assert_allclose(found.logits([TOKENS], [TYPES], features)[0], expected, rtol=1e-3, atol=1e-4)
    assert found.temperature == np.float32(1.5)
