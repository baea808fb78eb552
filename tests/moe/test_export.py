"""Checkpoints: checked before a weight changes, small as halves, and the same logits as a Hugging Face model."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")
pytest.importorskip("transformers", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput, JobFailed  # noqa: E402
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.export import (  # noqa: E402
    CARD,
    WEIGHTS,
    fit,
    load,
    load_any,
    read_card,
    save,
    save_hugging_face,
    to_hugging_face,
)
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.routers.topk import TopK  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.types import Router  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)
IDS = torch.arange(24).view(2, 12)


def drawn():
    torch.manual_seed(0)
    return TinyMoELM(CONFIG).eval()


@torch.no_grad()
def logits(model):
    return (model(IDS) if isinstance(model, TinyMoELM) else model(input_ids=IDS)).logits


def test_a_checkpoint_gives_back_the_model(tmp_path):
    model = drawn()
    save(model, tmp_path / "a" / "b", card={"note": "mine"})
    again = load(tmp_path / "a" / "b")
    assert torch.equal(logits(again), logits(model))
    assert not again.training
    assert again.config == CONFIG
    card = read_card(tmp_path / "a" / "b")
    assert card["note"] == "mine"
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert sorted(one.name for one in (tmp_path / "a" / "b").iterdir()) == [CARD, WEIGHTS]


def test_halves_take_half_the_room_and_load_as_whole_numbers_of_the_model(tmp_path):
    model = drawn()
    save(model, tmp_path / "full")
    save(model, tmp_path / "half", half=True)
    again = load(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in again.parameters())
    torch.testing.assert_close(logits(again), logits(model), atol=1e-2, rtol=1e-2)
    small, big = ((tmp_path / one / WEIGHTS).stat().st_size for one in ("half", "full"))
    assert small < 0.6 * big
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_a_hash_that_differs_is_refused(tmp_path):
    folder = save(drawn(), tmp_path)
    data = bytearray((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).write_bytes(data[:-1])
    with pytest.raises(InvalidInput, match="hash is not that of the card"):
        load(folder)
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(InvalidInput, match="hash is not that of the card"):
        load(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(InvalidInput, match=r"model\.safetensors: cannot be read"):
        load(folder)


def test_other_shapes_than_the_config_says_are_refused(tmp_path):
    folder = save(drawn(), tmp_path)
    card = json.loads((folder / CARD).read_text())
    card["config"]["hidden"] = 9
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(InvalidInput, match=r"is \[4, (16|16, 8|16, 16)"):
        load(folder)
    card["config"] = {**CONFIG.dump(), "wings": 2}
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(InvalidInput, match="another version"):
        load(folder)


@pytest.mark.parametrize("change", ["shape", "missing", "unknown", "infinite"])
def test_nothing_is_changed_by_a_state_that_does_not_fit(change):
    model, other = drawn(), TinyMoELM(CONFIG)
    state = dict(other.state_dict())
    name = "blocks.1.moe.experts.down_proj"
    if change == "shape":
        state[name] = state[name][:3]
    elif change == "missing":
        del state[name]
    elif change == "unknown":
        name = "blocks.7.extra"
        state[name] = torch.zeros(1)
    else:
        state[name] = torch.full_like(state[name], float("inf"))
    before = {key: one.clone() for key, one in model.state_dict().items()}
    with pytest.raises(InvalidInput, match=name.replace(".", r"\.")):
        fit(model, state, "here")
    assert all(torch.equal(one, before[key]) for key, one in model.state_dict().items())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2, "config": {}, "sha256": ""}'])
def test_cards_that_are_none_are_refused(tmp_path, text):
    (tmp_path / CARD).write_text(text)
    with pytest.raises(InvalidInput, match=r"no checkpoint of weighup|format 2"):
        load(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobFailed, match="cannot be written"):
        save(drawn(), tmp_path / "file" / "x")


def test_as_mixtral_the_logits_are_the_same(tmp_path):
    model = drawn()
    made = to_hugging_face(model)
    torch.testing.assert_close(logits(made), logits(model), atol=1e-5, rtol=1e-5)
    folder = save_hugging_face(model, tmp_path / "hf")
    again = load_any(folder)
    assert type(again).__name__ == "MixtralForCausalLM"
    torch.testing.assert_close(logits(again), logits(model), atol=1e-5, rtol=1e-5)


def test_experts_of_different_widths_are_filled_up():
    model = drawn()
    narrow = Experts(4, 16, 5)
    model.blocks[1].moe = MoELayer(narrow, model.blocks[1].moe.router)
    torch.testing.assert_close(logits(to_hugging_face(model)), logits(model), atol=1e-5, rtol=1e-5)


def test_what_mixtral_has_not_is_refused():
    cases = [
        (MoELayer(Experts(4, 16, 8), Router(16, 4, 2)), "has Router"),
        (MoELayer(Experts(4, 16, 8), TopK(16, 4, 2), torch.nn.Linear(16, 16)), "shared experts"),
        (MoELayer(Experts(4, 16, 8), TopK(16, 4, 2, renormalise=False)), "renormalised"),
        (MoELayer(Experts(4, 16, 8, "gelu"), TopK(16, 4, 2)), "SwiGLU"),
        (MoELayer(Experts(4, 16, 8), TopK(16, 4, 1)), "same k"),
    ]
    for layer, told in cases:
        model = drawn()
        model.blocks[1].moe = layer
        with pytest.raises(InvalidInput, match=told):
            to_hugging_face(model)


def test_load_any_takes_ours_or_theirs_and_names_what_is_neither(tmp_path):
    folder = save(drawn(), tmp_path / "ours")
    assert isinstance(load_any(str(folder)), TinyMoELM)
    with pytest.raises(InvalidInput, match="no folder of a checkpoint"):
        load_any(tmp_path)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(InvalidInput, match="transformers cannot load it"):
        load_any(bad)
