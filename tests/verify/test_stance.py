"""The stance model: shapes, order, easy pairs, its card, and (claim) the five-set table it promises."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from weighup.verify.stance import STANCES, StanceModel, encode_pairs, load_tokenizer, softmax
from weighup.verify.stance_windows import MAX_TOKENS, MAX_WINDOWS, merged, windows

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "src" / "weighup" / "_weights"
DATA = Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data"))
SETS = ("healthver", "covid_fact", "climate_fever", "check_covid", "fool_me_twice")
FLOOR, BAR = 0.50, 0.55

PAIRS = [
    ("Masks reduce the spread of the virus.", "A review found that wearing masks lowers transmission of the virus."),
    ("The bridge opened in 1932.", "The bridge was opened to traffic on 19 March 1932 by the premier."),
    ("Coffee cures malaria.", "The city council met on Tuesday to discuss parking fees."),
]


@pytest.fixture(scope="module")
def model() -> StanceModel:
    return StanceModel.load(threads=1)


def test_rows_are_probabilities_in_stance_order(model: StanceModel) -> None:
    scored = model.score(PAIRS)
    assert STANCES == ("supports", "refutes", "neutral")
    assert scored.shape == (3, 3)
    assert scored.dtype == np.float32
    assert (scored >= 0).all()
    np.testing.assert_allclose(scored.sum(axis=1), 1, atol=1e-5)


def test_no_pairs_give_no_rows(model: StanceModel) -> None:
    assert model.score([]).shape == (0, 3)


def test_order_of_the_input_is_kept(model: StanceModel) -> None:
    long = [(c, p + " It was a calm day in the valley." * k) for k, (c, p) in enumerate(PAIRS * 3)]
    forward = model.score(long, batch_size=1)
    backward = model.score(long[::-1], batch_size=1)
    np.testing.assert_allclose(forward, backward[::-1], atol=1e-6)


def test_batch_size_changes_little_and_must_be_positive(model: StanceModel) -> None:
    # int8 scales are set per batch, so batches move a probability by a little.
    np.testing.assert_allclose(model.score(PAIRS, batch_size=1), model.score(PAIRS, batch_size=3), atol=0.12)
    with pytest.raises(ValueError, match="batch_size"):
        model.score(PAIRS, batch_size=0)


def test_equal_pairs_are_scored_once_and_equally(model: StanceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    real = model._network

    class Counting:
        def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            rows.append(len(inputs["ids"]))
            return real.run(inputs)

    monkeypatch.setattr(model, "_network", Counting())
    scored = model.score([PAIRS[0], PAIRS[1], PAIRS[0], PAIRS[0]])
    assert sum(rows) == 2
    assert (scored[0] == scored[2]).all()
    assert (scored[0] == scored[3]).all()


def test_where_pairs_are_encoded_whole_a_long_passage_is_cut_and_the_claim_kept() -> None:
    tokenizer = load_tokenizer(WEIGHTS / "minilm-tokenizer.json")
    claim, passage = "The dam holds water.", "river " * 5000
    ids, types = encode_pairs(tokenizer, [(claim, passage), (passage, claim), (claim, "")])
    alone = tokenizer.encode(claim, add_special_tokens=False).ids
    assert len(ids[0]) == len(types[0]) == 160
    assert ids[0][1 : 1 + len(alone)] == alone
    assert types[1].count(0) == 96 + 2
    assert ids[1][-1 - len(alone) : -1] == alone
    assert ids[2] == [101, *alone, 102, 102]


def test_a_passage_that_fits_is_one_window_and_as_encoded_before() -> None:
    tokenizer = load_tokenizer(WEIGHTS / "minilm-tokenizer.json")
    read = windows(tokenizer, PAIRS)
    assert (read.ids, read.types) == encode_pairs(tokenizer, PAIRS)
    assert read.texts == PAIRS
    assert read.rows == [0, 1, 2]


def test_a_longer_passage_is_read_to_its_end_in_overlapping_windows() -> None:
    tokenizer = load_tokenizer(WEIGHTS / "minilm-tokenizer.json")
    claim = "The dam holds water."
    passage = " ".join(f"word{i}" for i in range(100)) + " and the dam is dry."
    read = windows(tokenizer, [PAIRS[0], (claim, passage)])
    assert read.rows[0] == 0
    assert set(read.rows[1:]) == {1}
    assert 2 < len(read.rows) <= 1 + MAX_WINDOWS
    assert all(len(ids) <= MAX_TOKENS for ids in read.ids)
    texts = [text for _, text in read.texts[1:]]
    assert passage.startswith(texts[0])
    assert passage.endswith(texts[-1])
    for before, after in pairwise(texts):
        assert after[:20] in before


def test_of_a_book_a_bounded_number_of_windows_is_read_the_closest_ones() -> None:
    tokenizer = load_tokenizer(WEIGHTS / "minilm-tokenizer.json")
    filler = "It was a calm day in the valley and nothing was said. " * 100
    passage = filler + "The old dam no longer holds any water. " + filler + "x" * 10_000_000
    read = windows(tokenizer, [("The dam holds water.", passage)])
    assert len(read.ids) == MAX_WINDOWS
    assert any("holds any water" in text for _, text in read.texts)
    assert passage.startswith(read.texts[0][1])


def test_of_merged_windows_those_that_take_a_side_weigh_more() -> None:
    scored = np.array([[0.1, 0.1, 0.8], [0.7, 0.1, 0.2], [0.2, 0.3, 0.5]], dtype=np.float32)
    found = merged(scored, [0, 0, 1], 2)
    weights = np.array([(0.1 / 0.8) ** 2, (0.7 / 0.2) ** 2])
    np.testing.assert_allclose(found[0], weights @ scored[:2] / weights.sum(), rtol=1e-5)
    np.testing.assert_array_equal(found[1], scored[2])
    certain = merged(np.array([[1, 0, 0], [0, 0, 1]], dtype=np.float32), [0, 0], 1)
    np.testing.assert_allclose(certain, [[1, 0, 0]], atol=1e-6)


def test_a_sentence_far_down_a_passage_is_seen(model: StanceModel) -> None:
    filler = "The city council met on Tuesday to discuss parking fees and the colour of benches. " * 12
    sentence = "Satellite data show that global sea level is rising."
    alone, ahead, behind = model.score([("Sea level is rising.", t) for t in (sentence, filler, filler + sentence)])
    assert STANCES[int(alone.argmax())] == "supports"
    assert behind[0] > ahead[0] + 0.1


def test_long_and_empty_texts_are_scored(model: StanceModel) -> None:
    scored = model.score([("", ""), ("claim", "word " * 100_000), ("Ünïcode 日本語 🙂", "\x00\n\t")])
    assert np.isfinite(scored).all()


def test_threads_may_share_a_model(model: StanceModel) -> None:
    alone = model.score(PAIRS)
    with ThreadPoolExecutor(4) as pool:
        for scored in pool.map(lambda _: model.score(PAIRS), range(8)):
            np.testing.assert_allclose(scored, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("claim", "passage", "stance"),
    [
        ("Sea level is rising.", "Satellite data show that global sea level is rising.", "supports"),
        ("The tower is 300 metres tall.", "The tower is 120 metres tall.", "refutes"),
        ("Smoking reduces the risk of infection.", "Smoking increases the risk of infection.", "refutes"),
        ("Coffee cures malaria.", "The city council met on Tuesday to discuss parking fees.", "neutral"),
        ("The film won four awards.", "Rice is grown in flooded fields in the south.", "neutral"),
    ],
)
def test_easy_pairs(model: StanceModel, claim: str, passage: str, stance: str) -> None:
    scored = model.score([(claim, passage)])[0]
    assert STANCES[int(scored.argmax())] == stance, scored


def test_softmax_is_stable() -> None:
    rows = softmax(np.array([[1000.0, 0.0, -1000.0], [0.0, 0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(rows, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], atol=1e-6)


def test_card_names_the_shipped_files(model: StanceModel) -> None:
    card = json.loads((WEIGHTS / "stance.json").read_text(encoding="utf-8"))
    for name, digest in card["files"].items():
        assert hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest() == digest, name
    assert card["files"]["minilm-tokenizer.json"].startswith("be50c3628f2b")
    assert model.version == card["version"]
    assert (WEIGHTS / "stance.onnx").stat().st_size <= 25 * 2**20
    read = " ".join(card["data"])
    assert "sick" not in read
    assert "averitec" not in read
    assert "test" not in read


def macro_f1(gold: np.ndarray, said: np.ndarray) -> float:
    return float(
        np.mean(
            [2 * ((gold == c) & (said == c)).sum() / ((gold == c).sum() + (said == c).sum()) for c in np.unique(gold)]
        )
    )


def read_test(name: str) -> tuple[list[tuple[str, str]], np.ndarray]:
    pairs, gold = [], []
    with gzip.open(DATA / "news" / name / "test.jsonl.gz", "rt", encoding="utf-8") as f:
        for row in map(json.loads, f):
            for e in row["evidence"]:
                if e.get("gold") is False:
                    continue  # merely retrieved: it has no label
                stance = e.get("stance") or row["label"].lower()
                pairs.append((row["text"], e["text"]))
                gold.append(STANCES.index(stance))
    return pairs, np.array(gold)


@pytest.fixture(scope="module")
def five_sets() -> dict[str, float]:
    if not DATA.is_dir():
        pytest.skip("the claim-evidence sets are not here")
    model = StanceModel.load()
    found = {}
    for name in SETS:
        pairs, gold = read_test(name)
        found[name] = macro_f1(gold, model.score(pairs).argmax(axis=1))
    return found


@pytest.mark.claim
@pytest.mark.timeout(900)
def test_the_card_tells_the_five_sets_truly(five_sets: dict[str, float]) -> None:
    card = json.loads((WEIGHTS / "stance.json").read_text(encoding="utf-8"))
    for name, found in five_sets.items():
        assert found == pytest.approx(card["test"]["per_set"][name]["macro_f1"], abs=0.02), name
    assert np.mean(list(five_sets.values())) >= FLOOR, five_sets


@pytest.mark.claim
@pytest.mark.timeout(900)
@pytest.mark.xfail(strict=True, reason="0.53: what was tried is in docs/methods/stance.md")
def test_mean_macro_f1_reaches_the_bar(five_sets: dict[str, float]) -> None:
    assert np.mean(list(five_sets.values())) >= BAR, five_sets
