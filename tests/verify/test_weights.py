"""Weights of one's own: whole, in parts, and every way in which a folder of them can be wrong."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup import Verifier, load_settings
from weighup.errors import WeightsError
from weighup.verify import weights
from weighup.verify.conditions import conditions, digest
from weighup.verify.content import ContentModel
from weighup.verify.ease import Ease
from weighup.verify.stance import StanceModel

PARTS: dict[weights.Part, Callable[[Path | None], Any]] = {
    "content": ContentModel.load,
    "ease": Ease.load,
    "stance": StanceModel.load,
}
PAIRS = [("The tower is 300 metres tall.", "The tower is 120 metres tall.")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped weights."""
    return Path(shutil.copytree(weights.SHIPPED, tmp_path / "mine"))


def keep(folder: Path, *parts: weights.Part) -> Path:
    for part in PARTS.keys() - set(parts):
        for name in (f"{part}.json", *weights.PARTS[part]):
            (folder / name).unlink()
    return folder


def change_card(folder: Path, part: weights.Part, **values: Any) -> None:
    """Write values into a card; None takes the key out."""
    path = folder / f"{part}.json"
    card = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({k: v for k, v in card.items() if v is not None}), encoding="utf-8")


def replace(folder: Path, part: weights.Part, name: str, content: bytes) -> None:
    """Another file under a name, with a card that says so: what is wrong is then inside."""
    (folder / name).write_bytes(content)
    key = "files" if part == "stance" else "sha256"
    card = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
    change_card(folder, part, **{key: card[key] | {name: hashlib.sha256(content).hexdigest()}})


def change_arrays(folder: Path, part: weights.Part, name: str, **arrays: Any) -> None:
    """Put other arrays into an .npz, with a card that says so; None takes one out."""
    with np.load(folder / name, allow_pickle=False) as found:
        merged = {**found, **{key.replace("__", "/"): value for key, value in arrays.items()}}
    with (folder.parent / "made.npz").open("wb") as stream:
        np.savez(stream, **{key: value for key, value in merged.items() if value is not None})
    replace(folder, part, name, (folder.parent / "made.npz").read_bytes())


def refused(part: weights.Part, folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        PARTS[part](folder)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("part", PARTS)
def test_shipped_cards_are_whole_and_of_this_format(part: weights.Part) -> None:
    card = weights.card(part, None)
    for name, sha in weights.digests(part, card, weights.SHIPPED / f"{part}.json").items():
        assert hashlib.sha256((weights.SHIPPED / name).read_bytes()).hexdigest() == sha
    assert {"name", "version", "licence"} <= card.keys()


def test_the_content_card_tells_what_it_was_made_from(tests_data: Path) -> None:
    card = weights.card("content", None)
    assert {name.split("/")[1] for name in card["data"]} >= {"liar", "ced_weibo", "healthver"}
    assert not [name for name in card["data"] if "averitec" in name or "sick" in name]
    for name, sha in card["data"].items():
        assert hashlib.sha256((tests_data / name).read_bytes()).hexdigest() == sha, name
    assert card["metrics"]["test"].keys() >= {"liar", "covid_constraint", "ced_weibo"}


def test_a_whole_copy_gives_what_the_shipped_weights_give(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in PARTS:
        assert weights.find(part, folder) == folder
        assert PARTS[part](folder).version == PARTS[part](None).version
    assert (StanceModel.load(folder).score(PAIRS) == StanceModel.load().score(PAIRS)).all()
    tones, vectors = np.zeros((1, 20), np.float32), np.ones((1, 384), np.float32)
    told = [ContentModel.load(home).prior(["A claim."], vectors, tones, [False]) for home in (folder, None)]
    assert told[0] == told[1]
    assert not caplog.records


def test_weights_are_read_once_for_each_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert ContentModel.load() is ContentModel.load(None)
    assert Ease.load(folder) is Ease.load(Path("mine"))
    assert Ease.load(folder) is not Ease.load()


@pytest.mark.parametrize("part", PARTS)
def test_parts_that_a_folder_lacks_are_the_shipped_ones(folder: Path, part: weights.Part) -> None:
    keep(folder, part)
    change_card(folder, part, version="mine")
    assert {name: weights.find(name, folder) == folder for name in PARTS} == {name: name == part for name in PARTS}
    assert {name for name, load in PARTS.items() if load(folder).version == "mine"} == {part}


def test_the_tokenizer_may_be_the_shipped_one_if_it_is_that_one(folder: Path) -> None:
    (folder / weights.TOKENIZER).unlink()
    assert StanceModel.load(folder).score(PAIRS).shape == (1, 3)
    other = shutil.copytree(folder, folder.parent / "other")
    files = json.loads((other / "stance.json").read_text())["files"]
    change_card(other, "stance", files=files | {weights.TOKENIZER: "0" * 64})
    assert f"{weights.TOKENIZER}: has sha256 be50c3628f2b…, expected 000000000000…" in refused("stance", other)


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part in PARTS for name in (f"{part}.json", *weights.PARTS[part])]
)
def test_a_missing_file_is_named(folder: Path, part: weights.Part, name: str) -> None:
    (folder / name).unlink()
    said = refused(part, folder)
    assert said.startswith(str(folder / name))
    assert "expected" in said
    assert said.endswith("train it again with `weighup train` or leave --weights out")


@pytest.mark.parametrize(("part", "name"), [(part, name) for part in PARTS for name in weights.PARTS[part]])
def test_a_changed_byte_is_noticed(folder: Path, part: weights.Part, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    said = refused(part, folder)
    assert said.startswith(f"{folder / name}: has sha256 ")
    assert f"as {part}.json says" in said


def test_a_file_that_only_the_card_names_counts_too(folder: Path) -> None:
    card = json.loads((folder / "ease.json").read_text())
    change_card(folder, "ease", sha256=card["sha256"] | {"notes.txt": hashlib.sha256(b"x").hexdigest()})
    assert "notes.txt: is missing" in refused("ease", folder)
    (folder / "notes.txt").write_bytes(b"x")
    assert Ease.load(folder).version


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"format": 2}, "has format 2, expected 1 (a newer weighup made it: upgrade)"),
        ({"format": "1"}, "has format '1', expected 1"),
        ({"format": True}, "has format True, expected 1"),
        ({"version": None}, "has no `version`"),
        ({"version": 3}, "has no `version`"),
        ({"sha256": None}, "has no `sha256`"),
        ({"sha256": ["ease.npz"]}, "has no `sha256`"),
        ({"sha256": {"ease.npz": 5}}, "has no `sha256`"),
        ({"sha256": {}}, "names no sha256 of ease.npz"),
        ({"sha256": {"ease.npz": "0", "../../secret": "0"}}, "names the file '../../secret'"),
        ({"threshold": {"evidence": 0.5}}, "threshold.reasoning is None, expected a number from 0 to 1"),
        ({"reliable_at": {"evidence": "a"}}, "reliable_at.evidence is a, expected a number"),
        ({"reliable_at": {"evidence": float("nan")}}, "reliable_at.evidence is nan, expected a number"),
        ({"reliable_at": None}, "reliable_at.evidence is None"),
    ],
    ids=str,
)
def test_a_card_that_cannot_be_used_is_refused(folder: Path, values: dict[str, Any], says: str) -> None:
    change_card(folder, "ease", **values)
    said = refused("ease", folder)
    assert said.startswith(str(folder / "ease.json"))
    assert says in said


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"null", b"[" * 100_000])
def test_a_card_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / "content.json").write_bytes(content)
    assert "expected the card of content" in refused("content", folder)


def test_a_first_format_may_go_unsaid(folder: Path) -> None:
    change_card(folder, "content", format=None)
    assert ContentModel.load(folder).version


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    for part in PARTS:
        assert refused(part, tmp_path / "absent").startswith(f"{tmp_path / 'absent'}: is not a folder")
        assert "is not a folder" in refused(part, Path(__file__))


def test_a_folder_without_any_part_is_refused_and_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / weights.TOKENIZER).write_text("{}")
    said = refused("ease", tmp_path)
    assert "content (content.json, content.npz)" in said
    assert "ease (ease.json, ease.npz)" in said
    assert "stance (stance.json, stance.onnx, stance-wide.npz)" in said


class Trap:
    """Unpickling this leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize(
    ("part", "name", "key"),
    [
        ("content", "content.npz", "en__table"),
        ("ease", "ease.npz", "expert__sentiment__mean"),
        ("stance", "stance-wide.npz", "bias"),
    ],
)
def test_nothing_is_unpickled(folder: Path, part: weights.Part, name: str, key: str) -> None:
    trace = folder.parent / "trace"
    change_arrays(folder, part, name, **{key: np.array([Trap(trace)], dtype=object)})
    assert "expected an .npz of plain arrays" in refused(part, folder)
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    replace(other, part, name, pickle.dumps(Trap(trace)))
    assert "expected an .npz of plain arrays" in refused(part, other)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 and then nothing", b"\x93NUMPY", b"words", b"PK\x05\x06" + bytes(18)]
)
@pytest.mark.parametrize("part", PARTS)
def test_a_file_that_is_no_npz_is_refused(folder: Path, part: weights.Part, content: bytes) -> None:
    name = weights.PARTS[part][-1]
    replace(folder, part, name, content)
    assert refused(part, folder).startswith(str(folder / name))


@pytest.mark.parametrize(
    ("part", "name", "arrays", "says"),
    [
        (
            "content",
            "content.npz",
            {"en_dense": np.zeros(9)},
            "en_dense is [9], expected the vector's numbers and 20 of tone",
        ),
        ("content", "content.npz", {"zh__keys": None}, "has no numbers named zh/keys"),
        ("content", "content.npz", {"en__scalars": np.full(3, np.nan)}, "en/scalars holds what is not a number"),
        ("content", "content.npz", {"en__scalars": np.full(3, 1e300)}, "en/scalars holds what is not a number"),
        ("content", "content.npz", {"zh__table": np.zeros((2, 2))}, "zh/table is [2, 2], expected [3, "),
        ("content", "content.npz", {"tone__mean": np.zeros(3)}, "tone/mean is [3], expected [20]"),
        ("content", "content.npz", {"tone__mean": np.full(20, "a")}, "has no numbers named tone/mean, expected [20]"),
        ("content", "content.npz", {"tone__scale": np.zeros(20)}, "tone/scale holds 0.0, expected numbers above 0"),
        ("ease", "ease.npz", {"opinion__evidence__w1": None}, "opinion/evidence/w2 is"),
        ("ease", "ease.npz", {"opinion__evidence__b2": np.zeros((0, 3))}, "opinion/evidence/b2 is [0, 3]"),
        ("ease", "ease.npz", {"expert__reasoning__b1": np.zeros((8, 9))}, "b1 is [8, 9], expected [8, 8]"),
        ("ease", "ease.npz", {"expert__reasoning__temperature": np.zeros(())}, "temperature holds 0.0"),
        ("stance", "stance-wide.npz", {"table": np.zeros((7, 3))}, "table has 7 rows"),
        ("stance", "stance-wide.npz", {"table": np.zeros((32776, 3))}, "knows 2 word pieces and 34 features"),
        ("stance", "stance-wide.npz", {"dense": np.zeros((5, 3))}, "knows 30522 word pieces and 5 features"),
        ("stance", "stance-wide.npz", {"bias": np.zeros(2)}, "bias is [2], expected [3]"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:30],
)
def test_arrays_of_another_shape_are_refused(
    folder: Path, part: weights.Part, name: str, arrays: dict[str, Any], says: str
) -> None:
    change_arrays(folder, part, name, **arrays)
    said = refused(part, folder)
    assert said.startswith(str(folder / name))
    assert says in said


def test_a_network_that_cannot_be_run_is_refused(folder: Path) -> None:
    replace(folder, "stance", "stance.onnx", b"not a graph")
    assert "expected the stance network" in refused("stance", folder)


def test_a_content_model_of_another_encoder_says_so() -> None:
    with pytest.raises(WeightsError, match=r"fitted on vectors of 384 numbers and models\.encoder gives 8"):
        ContentModel.load().prior(["a"], np.zeros((1, 8), np.float32), np.zeros((1, 20), np.float32), [False])


def test_ease_on_top_of_other_content_is_warned_of_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep(folder, "content")
    change_arrays(folder, "content", "content.npz", en__scalars=np.ones(3))
    with caplog.at_level(logging.WARNING, logger="weighup"):
        for _ in range(3):
            Ease.load(folder)
            Ease.load()
    assert [str(folder) in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.usefixtures("clean_environment")
def test_a_verifier_refuses_a_folder_before_it_opens_anything(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(WeightsError, match="is not a folder"):
        Verifier(load_settings({"verify": {"weights": tmp_path / "absent"}}))
    (folder / "ease.npz").unlink()
    with pytest.raises(WeightsError, match=r"ease\.npz: is missing"):
        Verifier(load_settings({"verify": {"weights": folder}}))


@pytest.mark.usefixtures("models_ready")
def test_verdicts_name_the_weights_in_use(folder: Path) -> None:
    keep(folder, "content", "ease")
    change_card(folder, "content", version="mine")
    settings = load_settings({"verify": {"weights": folder}})
    with Verifier(settings, offline=True, search=False, brief=True) as verifier:
        versions = verifier.check(["The Golden Gate Bridge opened in 1937."])[0].model_versions
    assert versions["content"] == "mine"
    assert versions["ease"] == Ease.load().version
    assert versions["stance"] == StanceModel.load().version


@pytest.mark.usefixtures("clean_environment")
def test_weights_are_among_what_a_run_depends_on(folder: Path) -> None:
    def mark(**verify: Any) -> str:
        return digest(conditions(load_settings({"verify": verify}), offline=True, search=False))

    assert mark(weights=folder) == mark(weights=folder) != mark()


@pytest.mark.usefixtures("clean_environment")
def test_a_batch_with_weights_that_cannot_be_used_ends_as_a_whole(folder: Path) -> None:
    from weighup.verify.batch import run_batch
    from weighup.verify.rows import Row
    from weighup.verify.types import Claim

    change_arrays(folder, "ease", "ease.npz", expert__reasoning__b1=np.zeros((8, 9)))

    class Checker:
        def check(self, items: Any) -> Any:
            return Ease.load(folder)

    with pytest.raises(WeightsError, match="b1 is"):
        run_batch(Checker(), [Row(claim=Claim("A claim."), id=None, digest="d", line=1)], folder / "out.jsonl")
