"""Writes the trained stance model: the int8 graph, the tokenizer and the provenance card."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from stance_data import SETS, Pair, news_pairs
from stance_eval import mean_f1, per_set
from stance_net import StanceNet

from weighup.files import sha256
from weighup.models.onnx import OnnxModel
from weighup.verify.stance import StanceModel, load_tokenizer
from weighup.verify.stance_features import FEATURES
from weighup.verify.stance_wide import Wide

VERSION = "2.1"
LICENCES = {
    "trunk all-MiniLM-L6-v2": "Apache-2.0",
    "healthver, covid_fact, climate_fever": "as published with the papers",
    "check_covid": "MIT",
    "fool_me_twice": "Apache-2.0",
    "rte": "GLUE, as published",
    "scifact_rte": "as published with CovidFact",
    "wice_claims": "ODC-BY",
    "med": "CC BY-SA 4.0",
}


def to_onnx(net: StanceNet, path: Path) -> None:
    """The fp32 graph: inputs ids, types [batch, length], features [batch, n]; output logits [batch, 3]."""
    net = net.float().eval()
    example = (torch.ones(2, 9, dtype=torch.int64), torch.ones(2, 9, dtype=torch.int64), torch.zeros(2, len(FEATURES)))
    axes = {"ids": {0: "batch", 1: "length"}, "types": {0: "batch", 1: "length"}, "features": {0: "batch"}}
    names = ["ids", "types", "features"]
    torch.onnx.export(
        net, example, str(path), input_names=names, output_names=["logits"],
        dynamic_axes=axes | {"logits": {0: "batch"}}, opset_version=17, dynamo=False,
    )  # fmt: skip
    onnx.checker.check_model(str(path))


def quantise(fp32: Path, int8: Path) -> None:
    """Dynamic int8, weights per channel (attention's own products stay fp32); the last layer of the head is kept."""
    graph = onnx.load(str(fp32)).graph
    head = [node.name for node in graph.node if node.op_type in ("Gemm", "MatMul") and "head" in node.name]
    quantize_dynamic(
        str(fp32), str(int8), weight_type=QuantType.QInt8, per_channel=True, nodes_to_exclude=head,
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


def logits_of(model: StanceModel, pairs: list[Pair]) -> NDArray[np.float32]:
    """Log-probabilities [n, 3] of the shipped scorer, so that what is measured is what is shipped."""
    scored = model.score([(p.claim, p.passage) for p in pairs])
    return np.asarray(np.log(np.maximum(scored, 1e-9)), dtype=np.float32)


def ship(
    net: StanceNet, args: argparse.Namespace, stages: list[dict[str, Any]], files: list[Path], dev: list[Pair]
) -> None:
    """Exports, quantises, measures the int8 loss on dev, writes the card; scores the test splits if asked."""
    tokenizer_file = args.out / "minilm-tokenizer.json"
    shutil.copyfile(args.encoder / "tokenizer.json", tokenizer_file)
    model_file, card_file = args.out / "stance.onnx", args.out / "stance.json"
    wide_file = args.out / "stance-wide.npz"
    with tempfile.TemporaryDirectory() as folder:
        fp32_file = Path(folder) / "stance.onnx"
        to_onnx(net, fp32_file)
        quantise(fp32_file, model_file)
        fp32 = StanceModel(OnnxModel(fp32_file), Wide.load(wide_file), load_tokenizer(tokenizer_file), "fp32")
        dev_fp32 = mean_f1(logits_of(fp32, dev), dev)
    int8 = StanceModel(OnnxModel(model_file), Wide.load(wide_file), load_tokenizer(tokenizer_file), VERSION)
    dev_logits = logits_of(int8, dev)
    dev_int8 = mean_f1(dev_logits, dev)
    card = {
        "name": "weighup-stance",
        "version": VERSION,
        "date": time.strftime("%Y-%m-%d"),
        "licence": "Apache-2.0 (weights); the data sets keep their own licences",
        "trunk": {"name": "all-MiniLM-L6-v2", "sha256": sha256(args.encoder / "model.safetensors")},
        "files": {f.name: sha256(f) for f in (model_file, wide_file, tokenizer_file)},
        "labels": ["supports", "refutes", "neutral"],
        "data": {str(f.relative_to(args.data)): sha256(f) for f in files},
        "data_licences": LICENCES,
        "excluded": {
            "sick, averitec": "non-commercial licences (CC BY-NC-SA 3.0, CC BY-NC 4.0)",
            "test splits": "never trained on and never used to choose; only their claims are read, to drop the same "
            "claim from training",
            "fool_me_twice copies": "gold sentences are listed twice, once flagged false; the copy is left out",
        },
        "recipe": {"stages": stages},
        "dev": {
            "split": "valid of covid_fact, climate_fever, check_covid; 15 % of groups of healthver, fool_me_twice",
            "per_set": table(dev_logits, dev),
            "mean_macro_f1_fp32": round(dev_fp32, 4),
            "mean_macro_f1_int8": round(dev_int8, 4),
            "int8_loss": round(dev_fp32 - dev_int8, 4),
        },
        "intended_use": "Ranking and weighing short English evidence passages for or against a claim, as one signal "
        "among several.",
        "limits": "English; up to 160 tokens; weak on arithmetic, on world knowledge and on claims that need several "
        "passages; covid and climate claims are over-represented. A stance is not a verdict on truth.",
    }  # fmt: skip
    if args.score_test:
        for part, retrieved in (("test", False), ("test_with_retrieved_as_neutral", True)):
            paths = {name: args.data / "news" / name / "test.jsonl.gz" for name in SETS}
            test = [p for name, path in paths.items() for p in news_pairs(path, name, retrieved=retrieved)]
            test_logits = logits_of(int8, test)
            card[part] = {"per_set": table(test_logits, test), "mean_macro_f1": round(mean_f1(test_logits, test), 4)}
    card_file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({k: card[k] for k in ("dev", "test", "files") if k in card}, indent=2))


def table(logits: NDArray[np.float32], pairs: list[Pair]) -> dict[str, dict[str, float]]:
    """per_set as a mapping for the card."""
    return {
        name: {"pairs": n, "accuracy": round(a, 4), "macro_f1": round(f, 4)}
        for name, (n, a, f) in per_set(logits, pairs).items()
    }
