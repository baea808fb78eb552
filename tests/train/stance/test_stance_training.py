"""Training the stance model: from the shipped integers, a few real steps, stopped and gone on with."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.errors import InvalidInput, JobFailed
from weighup.train.labelled import Labelled, read_labelled
from weighup.train.stance import own
from weighup.train.stance.data import Pair
from weighup.train.stance.scores import best_shift, mean_f1, mix
from weighup.verify import weights
from weighup.verify.stance import StanceModel, encode_pairs, load_tokenizer, padded
from weighup.verify.stance_features import features

PAIRS = [
    ("Sea level is rising.", "Satellite data show that global sea level is rising."),
    ("The tower is 300 metres tall.", "The tower is 120 metres tall."),
    ("Coffee cures malaria.", "The city council met on Tuesday to discuss parking fees."),
    ("Masks do not work.", "A review found that masks lower transmission of the virus in homes and schools."),
]


@pytest.fixture
def rows(tmp_path: Path) -> list[Labelled]:
    chance = random.Random(0)
    path = tmp_path / "mine.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(60):
            river, metres = chance.choice(["Amber", "Birch", "Cedar"]), chance.randint(10, 99)
            told = metres if i % 2 else metres + 7
            passage = f"Engineers say that the dam on the {river} is {told} metres high."
            row = {
                "text": f"Dam {i} on the {river} is {metres} metres high.", "label": "real" if i % 2 else "fake",
                "evidence": [{"text": passage}, {"text": f"The council met in week {i}.", "stance": "neutral"}],
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return read_labelled([path])


def need_torch() -> Any:
    for name in ("onnx", "safetensors", "sklearn"):
        pytest.importorskip(name, reason="training needs pip install 'weighup[train]'")
    return pytest.importorskip("torch", reason="training needs pip install 'weighup[train]'")


def test_the_dequantised_network_gives_the_shipped_logits() -> None:
    torch = need_torch()
    from weighup.train.stance.quantised import from_onnx

    tokenizer = load_tokenizer(weights.SHIPPED / weights.TOKENIZER)
    net = from_onnx(weights.SHIPPED / "stance.onnx", tokenizer.get_vocab())
    model = StanceModel.load(threads=1)
    for pair in PAIRS:
        ids, types = encode_pairs(tokenizer, [pair])
        feeds = {"ids": padded(ids), "types": padded(types), "features": features([pair])}
        shipped = model._network.run(feeds)[0]
        with torch.inference_mode():
            ours = net(*(torch.from_numpy(feeds[name]) for name in ("ids", "types", "features"))).numpy()
        # What differs is the rounding of activations, which only the integer graph does.
        np.testing.assert_allclose(ours, shipped, atol=1.0)
        assert ours.argmax() == shipped.argmax()


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_and_ends_as_one_that_was_not(rows: list[Labelled], tmp_path: Path) -> None:
    torch = need_torch()
    whole = own.train_stance(rows, tmp_path / "whole", steps=3, seed=4, threads=1, augment=["edits"])
    out = tmp_path / "stopped"

    calls = 0

    def stop(step: int = 1, *, note: str | None = None) -> None:
        nonlocal calls
        calls += step if note and "loss" in note else 0
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.train_stance(rows, out, steps=3, seed=4, threads=1, augment=["edits"], advance=stop)
    assert [path.name for path in out.iterdir()] == [own.STATE]
    assert torch.load(out / own.STATE, weights_only=True)["told"][0] == 2
    gone_on = own.train_stance(rows, out, steps=3, seed=4, threads=1, augment=["edits"])
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["stance.json", "stance.onnx", "stance-wide.npz", weights.TOKENIZER]
    )
    assert gone_on.card["recipe"]["steps_done"] == 3
    one, other = (StanceModel.load(folder, threads=1) for folder in (whole.folder, out))
    np.testing.assert_allclose(one.score(PAIRS), other.score(PAIRS), atol=0.02)
    assert gone_on.card["version"] == other.version
    assert gone_on.card["version"].startswith("own-")
    assert gone_on.card["pairs"]["train"].keys() == {"supports", "refutes", "neutral"}
    assert gone_on.card["shipped_model"]["valid"]["mean_macro_f1"] > 0
    assert gone_on.notes


@pytest.mark.timeout(900)
def test_a_state_of_other_rows_is_set_aside(rows: list[Labelled], tmp_path: Path, caplog: Any) -> None:
    need_torch()
    out = tmp_path / "out"
    out.mkdir()
    (out / own.STATE).write_bytes(b"not a state")
    own.train_stance(rows, out, steps=1, threads=1, augment=[])
    assert "training starts anew" in caplog.text


def test_batches_depend_on_the_seed_and_their_number_alone() -> None:
    need_torch()
    from weighup.train.stance.fit import Recipe, batches

    pool = {"a": [Pair(f"c{i}", "p", i % 3, "a", "g") for i in range(70)]}
    recipe = Recipe(batch=8, seed=2)
    stream, later = batches(pool, recipe), batches(pool, recipe, skip=11)
    first = [next(stream) for _ in range(12)]
    assert next(later) == first[11]
    assert sorted(p.claim for b in first[:9] for p in b) == sorted(p.claim for p in pool["a"])


def test_options_that_make_no_sense_are_refused(rows: list[Labelled], tmp_path: Path) -> None:
    for wrong in ({"start": "nowhere"}, {"minutes": 0.0}, {"steps": 0}, {"augment": ["magic"]}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            own.train_stance(rows, tmp_path / "out", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_without_torch_it_is_said_what_to_install(
    rows: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "_NEEDS", ("torch_that_is_not_there",))
    with pytest.raises(JobFailed, match=r"pip install 'weighup\[train\]'"):
        own.train_stance(rows, tmp_path / "out")


def test_the_shift_calls_a_class_that_is_never_called() -> None:
    pairs = [Pair("c", "p", i % 3, "a", "g") for i in range(30)]
    logits = np.eye(3, dtype=np.float32)[[p.label for p in pairs]] - np.array([0, 1.05, 0], np.float32)
    shift = best_shift(logits, pairs)
    assert mean_f1(logits + shift, pairs) == 1.0
    share, _, divisor, tried = mix(logits, np.zeros_like(logits), pairs)
    assert share == 0.0
    assert divisor > 0
    assert len(tried) == 6
