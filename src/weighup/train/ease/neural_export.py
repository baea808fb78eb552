"""Writes trained experts that read: three int8 graphs of at most 4 MB each and their card, all or none of them."""

# mypy: disable-error-code="import-not-found,no-untyped-call"

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from weighup.errors import InvalidInput
from weighup.files import sha256
from weighup.models.onnx import OnnxModel
from weighup.models.types import Encoder
from weighup.train.ease.neural import predict
from weighup.train.ease.neural_material import Array, Material, Recipe, Rows
from weighup.train.ease.neural_net import ExpertNet
from weighup.train.stance.export import unsigned
from weighup.train.stance.net import DIM
from weighup.verify.neural import CARD, FORMAT, NeuralExperts, file_of
from weighup.verify.types import KINDS, Kind

MOST_BYTES = 4_000_000
FORBIDDEN = ("averitec", "sick")
"""Sets whose licences do not allow what is shipped."""
_NAMES = ("content", "content_mask", "knowledge", "knowledge_mask")
_SMALL = ("score", "fake", "verdict")  # layers with one or three outputs stay as they are


def to_onnx(net: ExpertNet, path: Path) -> None:
    """The fp32 graph. Inputs content and knowledge float [batch, length, 384] and their masks bool [batch, length];
    outputs logit [batch], verdict [batch, 3]."""
    net = net.float().eval()
    states, mask = torch.zeros(2, 5, DIM), torch.ones(2, 5, dtype=torch.bool)
    longer = torch.zeros(2, 7, DIM), torch.ones(2, 7, dtype=torch.bool)
    axes = {name: {0: "batch", 1: f"{name.split('_')[0]}_length"} for name in _NAMES}
    torch.onnx.export(
        net, (states, mask, *longer), str(path), input_names=list(_NAMES), output_names=["logit", "verdict"],
        dynamic_axes=axes | {"logit": {0: "batch"}, "verdict": {0: "batch"}}, opset_version=17, dynamo=False,
    )  # fmt: skip
    onnx.checker.check_model(str(path))


def quantise(fp32: Path, int8: Path) -> None:
    """Weights of the linear layers as bytes, by channel; attention's own products and the small heads stay fp32."""
    graph = onnx.load(str(fp32)).graph
    small = [node.name for node in graph.node if any(f"/{name}/" in node.name for name in _SMALL)]
    quantize_dynamic(
        str(fp32), str(int8), weight_type=QuantType.QInt8, per_channel=True,
        nodes_to_exclude=[*small, *(f"{name}_MatMul" for name in small)],
        op_types_to_quantize=["MatMul"], extra_options={"MatMulConstBOnly": True},
    )  # fmt: skip
    unsigned(int8)
    model = onnx.load(str(int8))
    del model.graph.value_info[:]  # shapes that onnxruntime finds by itself
    onnx.save(model, str(int8))


def write_neural(
    nets: Mapping[Kind, ExpertNet],
    materials: Mapping[Kind, Material],
    encoder: Encoder,
    out: Path,
    card: Mapping[str, Any],
    *,
    temperature: Mapping[Kind, float],
    recipes: Mapping[Kind, Recipe],
    sources: Mapping[str, int],
    checked: int = 256,
) -> dict[str, Any]:
    """Write the three files and `neural.json`, and return the card, to which hashes, sizes and what the bytes cost are
    added. `sources`: rows by set. All is made beside, read back, and put in place, the card last.

    Raises InvalidInput for sets that nothing shipped may learn from, and for a graph of more than 4 MB.
    """
    if found := sorted(name for name in sources if name in FORBIDDEN):
        raise InvalidInput(f"the rows hold {', '.join(found)}, whose licence forbids shipping what learned from it")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as folder:
        beside = Path(folder)
        cost = {}
        for kind in KINDS:
            fp32, int8 = beside / "fp32.onnx", beside / file_of(kind)
            to_onnx(nets[kind], fp32)
            quantise(fp32, int8)
            if int8.stat().st_size > MOST_BYTES:
                raise InvalidInput(f"{int8.name} has {int8.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
            cost[kind] = _cost(int8, nets[kind], materials[kind], recipes[kind], checked)
        done: dict[str, Any] = {
            "name": "weighup experts that read",
            "format": FORMAT,
            "licence": "Apache-2.0 (weights); the data sets keep their own licences",
            **card,
            "justified": all(recipes[kind].justified for kind in KINDS),
            "trunk": {"name": encoder.name, "version": encoder.version, "dimension": encoder.dimension},
            "temperature": {kind: round(float(temperature[kind]), 4) for kind in KINDS},
            "fit_rows": dict(sources),
            "int8": {"stored": "unsigned, zero point 128", "against_float32": cost},
            "sha256": {file_of(kind): sha256(beside / file_of(kind)) for kind in KINDS},
        }
        done.setdefault("version", f"1-{done['sha256'][file_of('evidence')][:8]}")
        (beside / CARD).write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        NeuralExperts.load(beside)
        for name in (*map(file_of, KINDS), CARD):
            os.replace(beside / name, out / name)
    return done


def _cost(int8: Path, net: ExpertNet, material: Material, recipe: Recipe, checked: int) -> dict[str, float]:
    """How far bytes are from float32 on some of the rows, logits of fake, and the file's size."""
    rows: Rows = np.flatnonzero(material.read)
    rows = np.random.default_rng(0).permutation(rows)[:checked]
    exact = predict(net, material, rows, recipe)[0]
    runtime = NeuralExperts({material.kind: OnnxModel(int8, threads=1)}, {material.kind: 1.0}, "")
    off: Array = np.abs(runtime.logits(material.kind, material.content(rows), material.knowledge(rows)) - exact)
    return {
        "bytes": int8.stat().st_size,
        "rows": len(rows),
        "mean_difference": round(float(off.mean()), 4),
        "most_difference": round(float(off.max()), 4),
    }
