"""Writes a trained stance model: the int8 graph, the wide half, the tokenizer and the card, all or none of them."""

# mypy: disable-error-code="no-untyped-call,no-any-return"

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from weighup.files import sha256
from weighup.models.onnx import OnnxModel
from weighup.train.stance.data import Pair
from weighup.train.stance.net import StanceNet
from weighup.train.stance.scores import mean_f1, table
from weighup.train.stance.wide import save_wide
from weighup.verify.stance import StanceModel, load_tokenizer
from weighup.verify.stance_features import FEATURES
from weighup.verify.stance_wide import Wide
from weighup.verify.weights import TOKENIZER

FILES = ("stance.onnx", "stance-wide.npz", TOKENIZER)


def to_onnx(net: StanceNet, path: Path) -> None:
    """The fp32 graph: inputs ids, types [batch, length], features [batch, n]; output logits [batch, 3]."""
    net = net.float().eval()
    example = (torch.ones(2, 9, dtype=torch.int64), torch.ones(2, 9, dtype=torch.int64), torch.zeros(2, len(FEATURES)))
    axes = {"ids": {0: "batch", 1: "length"}, "types": {0: "batch", 1: "length"}, "features": {0: "batch"}}
    names = ["ids", "types", "features"]
    with warnings.catch_warnings():  # the three of q, k, v, which are always three
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, example, str(path), input_names=names, output_names=["logits"],
            dynamic_axes=axes | {"logits": {0: "batch"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    onnx.checker.check_model(str(path))


def quantise(fp32: Path, int8: Path) -> None:
    """Dynamic int8, weights per channel (attention's own products stay fp32, and so does the small head)."""
    graph = onnx.load(str(fp32)).graph
    head = [node.name for node in graph.node if node.op_type in ("Gemm", "MatMul") and "head" in node.name]
    quantize_dynamic(
        str(fp32), str(int8), weight_type=QuantType.QInt8, per_channel=True,
        nodes_to_exclude=[*head, *(f"{name}_MatMul" for name in head)],
        op_types_to_quantize=["MatMul", "Gather"], extra_options={"MatMulConstBOnly": True},
    )  # fmt: skip
    unsigned(int8)


def unsigned(path: Path) -> None:
    """Stores the signed weights of every integer product as the same numbers, unsigned with zero point 128.

    Where a processor has no VNNI, onnxruntime multiplies u8 by s8 in 16 bits, which saturate: on AVX2 that cost 0.010
    of dev macro-F1. The product of u8 by u8 is exact on all of them.
    """
    model = onnx.load(str(path))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "MatMulInteger":
            continue
        weights, zero = (stored[name] for name in (node.input[1], node.input[3]))
        for tensor in (weights, zero):
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.int8:
                shifted = (values.astype(np.int16) + 128).astype(np.uint8)
                tensor.CopyFrom(onnx.numpy_helper.from_array(shifted, tensor.name))
    onnx.save(model, str(path))


def logits_of(model: StanceModel, pairs: Sequence[Pair]) -> NDArray[np.float32]:
    """Log-probabilities [n, 3] of the finished scorer, so that what is measured is what is used."""
    scored = model.score([(p.claim, p.passage) for p in pairs])
    return np.asarray(np.log(np.maximum(scored, 1e-9)), dtype=np.float32)


def write(
    net: StanceNet,
    halves: tuple[Wide, float, NDArray[np.float32], float],
    tokenizer: Path,
    out: Path,
    card: Mapping[str, Any],
    dev: Sequence[Pair],
    *,
    measured: Mapping[str, Sequence[Pair]] | None = None,
    threads: int = 0,
) -> dict[str, Any]:
    """Write all files and return the card, to which the files' sha256 and what was measured on them are added.

    `halves`: the wide half, its share, the shift and the temperature. `measured` names further pairs to score. All is
    made beside and then put in place, the card last. A version ending in `-` gets the start of the graph's sha256.
    """
    wide, share, shift, divisor = halves
    with tempfile.TemporaryDirectory(dir=out, prefix=".making-") as folder:
        beside = Path(folder)
        to_onnx(net, beside / "fp32.onnx")
        quantise(beside / "fp32.onnx", beside / "stance.onnx")
        save_wide(wide, share, shift, divisor, beside / "stance-wide.npz")
        shutil.copyfile(tokenizer, beside / TOKENIZER)
        done = dict(card)
        done["files"] = {name: sha256(beside / name) for name in FILES}
        if str(done["version"]).endswith("-"):
            done["version"] += done["files"]["stance.onnx"][:8]
        words, half = load_tokenizer(beside / TOKENIZER), Wide.load(beside / "stance-wide.npz")
        fp32, int8 = (
            StanceModel(OnnxModel(beside / name, threads=threads), half, words, str(done["version"]))
            for name in ("fp32.onnx", "stance.onnx")
        )
        dev_fp32, dev_logits = mean_f1(logits_of(fp32, dev), dev), logits_of(int8, dev)
        dev_int8 = mean_f1(dev_logits, dev)
        done["dev"] = dict(done.get("dev", {})) | {
            "per_set": table(dev_logits, dev),
            "mean_macro_f1_fp32": round(dev_fp32, 4),
            "mean_macro_f1_int8": round(dev_int8, 4),
            "int8_loss": round(dev_fp32 - dev_int8, 4),
        }
        for name, pairs in (measured or {}).items():
            if pairs:
                logits = logits_of(int8, pairs)
                done[name] = {"per_set": table(logits, pairs), "mean_macro_f1": round(mean_f1(logits, pairs), 4)}
        (beside / "stance.json").write_text(json.dumps(done, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for name in (*FILES, "stance.json"):
            os.replace(beside / name, out / name)
    return done
