"""A tiny model as files: our checkpoint (safetensors with its config and hashes), or one that plain transformers loads.

What a checkpoint holds is checked, by hash and by shape, before a weight of a model is changed.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput, JobFailed
from weighup.moe.routers.topk import TopK
from weighup.moe.tiny import VOCABULARY, TinyConfig, TinyMoELM

WEIGHTS, CARD = "model.safetensors", "card.json"
SHIPPED = Path(__file__).parents[1] / "_weights" / "moe"
"""The model that comes with weighup (`weights/moe.py` remakes it)."""
FORMAT = 1


def save(model: TinyMoELM, folder: Path, *, half: bool = False, card: Mapping[str, Any] | None = None) -> Path:
    """Write a checkpoint; `half` as float16. It appears whole. Raises JobFailed where it cannot be written."""
    from safetensors.torch import save as packed

    state = {
        name: (one.half() if half and one.is_floating_point() else one).contiguous().clone()
        for name, one in model.state_dict().items()
    }
    data = packed(state)
    told = {
        "format": FORMAT,
        "config": model.config.dump(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        **(card or {}),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((WEIGHTS, data), (CARD, (json.dumps(told, indent=1) + "\n").encode())):
            beside = folder / f".{name}.part"
            beside.write_bytes(content)
            os.replace(beside, folder / name)
    except OSError as error:
        raise JobFailed(f"{folder}: cannot be written: {error}") from error
    return folder


def load(folder: Path = SHIPPED) -> TinyMoELM:
    """The model of a checkpoint, ready to be used. Raises InvalidInput naming a file that is missing, cut off, changed
    since (hash), or of other shapes than its config says."""
    card = read_card(folder)
    state = _state(folder, card)
    try:
        model = TinyMoELM(TinyConfig(**card["config"]))
    except TypeError as error:
        raise InvalidInput(f"{folder / CARD}: its config is of another version: {error}") from error
    fit(model, state, folder)
    return model.eval()


def read_card(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself. Raises InvalidInput."""
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
        if card["format"] != FORMAT:
            raise InvalidInput(f"{folder / CARD}: format {card['format']} where {FORMAT} is read")
        _ = card["config"], card["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{folder}: is no checkpoint of weighup: {error}") from error
    return card


def fit(model: nn.Module, state: Mapping[str, Tensor], name: Path | str) -> None:
    """Load a state, all or nothing. Raises InvalidInput naming a weight that is missing, unknown or misshapen."""
    wanted = model.state_dict()
    for key in wanted.keys() | state.keys():
        if key not in state or key not in wanted:
            raise InvalidInput(f"{name}: {'lacks' if key not in state else 'has an unknown'} weight {key}")
        if wanted[key].shape != state[key].shape:
            raise InvalidInput(f"{name}: {key} is {list(state[key].shape)}, the model's is {list(wanted[key].shape)}")
        if state[key].is_floating_point() and not bool(torch.isfinite(state[key]).all()):
            raise InvalidInput(f"{name}: {key} holds values that are not finite")
    model.load_state_dict({key: one.to(wanted[key].dtype) for key, one in state.items()})


def _state(folder: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    from safetensors.torch import load as unpacked

    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{folder / WEIGHTS}: cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise InvalidInput(f"{folder / WEIGHTS}: its hash is not that of the card; it is cut off or was changed")
    return unpacked(data)


def to_hugging_face(model: TinyMoELM) -> nn.Module:
    """As `MixtralForCausalLM` with the same logits. Experts of different widths are filled up with zeros. Raises
    InvalidInput for a router that Mixtral has not."""
    from transformers import MixtralConfig, MixtralForCausalLM

    first = model.blocks[0].moe
    for block in model.blocks:
        router = block.moe.router
        if type(router) is not TopK or not router.renormalise or block.moe.shared is not None:
            raise InvalidInput(
                f"export: Mixtral has top-k routing with renormalised weights and no shared experts; this model has "
                f"{type(router).__name__}{' and shared experts' if block.moe.shared is not None else ''}"
            )
        if (
            block.moe.experts.activation != "swiglu"
            or block.moe.experts.n != first.experts.n
            or router.k != first.router.k
        ):
            raise InvalidInput("export: Mixtral has SwiGLU experts, the same number and the same k in every layer")
    config = model.config
    hidden = max(block.moe.experts.hidden for block in model.blocks)
    made = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=VOCABULARY,
            hidden_size=config.width,
            intermediate_size=hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            num_local_experts=first.experts.n,
            num_experts_per_tok=first.router.k,
            max_position_embeddings=8 * config.context,
            rms_norm_eps=1e-6,
            sliding_window=None,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            tie_word_embeddings=False,
            bos_token_id=257,
            eos_token_id=258,
            pad_token_id=256,
        )
    )
    state: dict[str, Tensor] = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": model.norm.weight,
        "lm_head.weight": model.head.weight,
    }
    for n, block in enumerate(model.blocks):
        at = f"model.layers.{n}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            state[f"{at}.self_attn.{name}.weight"] = getattr(block.attention, name).weight
        state[f"{at}.input_layernorm.weight"] = block.input_norm.weight
        state[f"{at}.post_attention_layernorm.weight"] = block.post_norm.weight
        experts, more = block.moe.experts, hidden - block.moe.experts.hidden
        gate, up = experts.gate_up_proj.chunk(2, dim=1)
        pad = nn.functional.pad
        state[f"{at}.mlp.gate.weight"] = block.moe.router.weight
        state[f"{at}.mlp.experts.gate_up_proj"] = torch.cat((pad(gate, (0, 0, 0, more)), pad(up, (0, 0, 0, more))), 1)
        state[f"{at}.mlp.experts.down_proj"] = pad(experts.down_proj, (0, more))
    fit(made, {name: one.detach() for name, one in state.items()}, "export")
    return made.eval()


def save_hugging_face(model: nn.Module, folder: Path) -> Path:
    """Write a checkpoint that `AutoModelForCausalLM.from_pretrained` loads, from ours or from a Hugging Face model.
    Raises JobFailed where it cannot be written."""
    made = to_hugging_face(model) if isinstance(model, TinyMoELM) else model
    try:
        made.save_pretrained(folder)
    except OSError as error:
        raise JobFailed(f"{folder}: cannot be written: {error}") from error
    return folder


def load_any(name: str | Path | None) -> nn.Module:
    """A model by folder: ours, or one of `transformers`; None the shipped one. Only local files are read, and no code
    of a checkpoint is run. Raises InvalidInput for what is neither."""
    folder = SHIPPED if name is None else Path(name)
    if (folder / CARD).is_file():
        return load(folder)
    if not (folder / "config.json").is_file():
        raise InvalidInput(
            f"{folder}: is no folder of a checkpoint (card.json of ours, or config.json of transformers)"
        )
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"{folder}: transformers cannot load it: {str(error)[:300]}") from error
