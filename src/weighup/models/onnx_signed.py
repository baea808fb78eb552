"""Signed weights for processors that multiply unsigned by signed bytes in one instruction (VNNI).

Shipped integer weights are unsigned, since processors without VNNI saturate on sums of unsigned × signed products
(onnxruntime's quantisation guide, "When and why do I need to try U8U8"). With VNNI nothing saturates, and signed
weights are a third faster. A weight w with zero point z means w − z, which stays as it is when 128 is taken off both;
for a byte that is its highest bit turned over. So the file is changed in memory, in place, at the same length:
ModelProto.graph = 7, GraphProto.initializer = 5, TensorProto.data_type = 2, .name = 8, .raw_data = 9 (onnx.proto).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_UINT8, _INT8 = 2, 3
_GRAPH, _INITIALIZER, _DATA_TYPE, _NAME, _RAW_DATA = 7, 5, 2, 8, 9
_WEIGHTS, _ZERO = "_quantized", "_zero_point"


@functools.cache
def signed_is_faster(told: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processors have VNNI; False where that cannot be told."""
    try:
        flags = told.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def signed(model: bytes) -> bytes:
    """The same ONNX model with signed weights where they were unsigned; as it is where nothing can be changed.

    Only pairs `x_quantized` and `x_zero_point` whose numbers stand as raw bytes are changed. Raises ValueError for what
    is cut off.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for field, start, end in _fields(model, 0, len(model)):
        if field != _GRAPH:
            continue
        for inner, begin, stop in _fields(model, start, end):
            if inner == _INITIALIZER:
                parts = {name: (at, to) for name, at, to in _fields(model, begin, stop)}
                kind, raw = parts.get(_DATA_TYPE), parts.get(_RAW_DATA)
                if kind is not None and raw is not None and _NAME in parts and model[kind[0]] == _UINT8:
                    at, to = parts[_NAME]
                    found[model[at:to].decode("utf-8", "replace")] = (kind[0], *raw)
    zeros = {name: name.removesuffix(_WEIGHTS) + _ZERO for name in found if name.endswith(_WEIGHTS)}
    pairs = [places for name, zero in zeros.items() if zero in found for places in (found[name], found[zero])]
    if not pairs:
        return model
    changed = bytearray(model)
    for kind_at, begin, stop in pairs:
        changed[kind_at] = _INT8
        np.frombuffer(changed, np.uint8, stop - begin, begin)[:] ^= 0x80
    return bytes(changed)


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number of each field of a message, and where its value starts and ends."""
    while at < end:
        key, at = _number(data, at)
        field, wire = key >> 3, key & 7
        start = at
        if wire == 0:
            _, at = _number(data, at)
        elif wire == 2:
            length, start = _number(data, at)
            at = start + length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"not an ONNX model: wire type {wire} at byte {start}")
        if at > end:
            raise ValueError(f"not an ONNX model: cut off in the field at byte {start}")
        yield field, start, at


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number, and where what follows it starts."""
    value, shift = 0, 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError(f"not an ONNX model: no number ends before byte {at}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
