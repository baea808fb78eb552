"""The float32 network back from the shipped integers: what `start="shipped"` trains on from.

Every product's weights are stored per column as uint8 (or int8) with a scale and a zero point, the embeddings as one
table each; (stored - zero point) * scale is the weight that the shipped model computes with (Jacob et al. 2018, arXiv
1712.05877, equation 1). What rounding lost stays lost; what was shipped is what training goes on from.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from weighup.errors import WeightsError
from weighup.train.stance.net import StanceNet, token_kinds
from weighup.verify.stance_features import FEATURES, NEGATIONS, STOP


def build(vocab: dict[str, int], *, match: bool = True) -> StanceNet:
    """A fresh network for that vocabulary."""
    return StanceNet(token_kinds(vocab, STOP, NEGATIONS), len(FEATURES), match=match)


def from_onnx(path: Path, vocab: dict[str, int]) -> StanceNet:
    """The network of a `stance.onnx`, integer or float. Raises WeightsError if the file is not such a graph."""
    try:
        found = parameters(path)
        net = build(vocab)
        net.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in found.items()})
    except (KeyError, RuntimeError, ValueError, OSError) as error:
        raise WeightsError(f"{path}: cannot be trained on from ({error}); start from the encoder instead") from error
    return net.eval()


def parameters(path: Path) -> dict[str, NDArray[Any]]:
    """The graph's initialisers under the network's own names, dequantised; products are told by their nodes' names."""
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found: dict[str, NDArray[Any]] = {
        name: array for name, array in stored.items() if not name.endswith(("_scale", "_zero_point", "_quantized"))
    }
    found = {name: array for name, array in found.items() if "::" not in name}
    for name in ("words.weight", "types.weight", "match.weight"):
        if name not in found:
            found[name] = _dequantised(stored, name)
    for node in graph.node:
        if node.op_type not in ("MatMulInteger", "MatMul", "Gemm"):
            continue
        weights = node.input[1]
        if weights not in stored:
            continue  # a product of two activations
        # "/layers.0/qkv/MatMul_quant" and "/head/head.0/Gemm_MatMul_quant" name the module.
        parts = node.name.strip("/").split("/")
        module = parts[1] if parts[0] == "head" else ".".join(parts[:2])
        if node.op_type == "MatMulInteger":
            array = _dequantised(stored, weights.removesuffix("_quantized"))
            found[f"{module}.weight"] = np.ascontiguousarray(array.T)
        elif node.op_type == "MatMul":
            found[f"{module}.weight"] = np.ascontiguousarray(stored[weights].T)
            found.pop(weights, None)
    return found


def _dequantised(stored: dict[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    """float32 of `name`_quantized, per column where its scale is a vector."""
    integers, zero = stored[f"{name}_quantized"].astype(np.int32), stored[f"{name}_zero_point"].astype(np.int32)
    result: NDArray[np.float32] = ((integers - zero) * stored[f"{name}_scale"]).astype(np.float32)
    return result
