"""Signed weights in memory: the same numbers, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.models.onnx_signed import signed, signed_is_faster

STANCE = Path(__file__).resolve().parents[2] / "src" / "weighup" / "_weights" / "stance.onnx"


def number(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(name: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return number(name << 3) + number(value)
    return number(name << 3 | 2) + number(len(value)) + value


def tensor(name: str, kind: int, values: bytes | None) -> bytes:
    told = field(1, 4) + field(2, kind) + field(8, name.encode())
    return field(5, told + (field(9, values) if values is not None else field(5, 1)))


def model(*tensors: bytes) -> bytes:
    return field(1, 8) + number(3 << 3 | 5) + b"abcd" + field(7, field(2, b"graph") + b"".join(tensors))


@given(st.binary(min_size=1, max_size=300), st.binary(min_size=1, max_size=4))
def test_a_pair_is_turned_over_and_nothing_else(values: bytes, zero: bytes) -> None:
    others = (
        tensor("b_quantized", 2, values),
        tensor("c_zero_point", 2, zero),
        tensor("d_quantized", 3, values),
        tensor("d_zero_point", 2, zero),
        tensor("e_quantized", 2, values),
        tensor("e_zero_point", 2, None),
    )
    before = model(tensor("a_quantized", 2, values), *others, tensor("a_zero_point", 2, zero))
    after = signed(before)
    turned = [bytes(one ^ 0x80 for one in some) for some in (values, zero)]
    assert after == model(tensor("a_quantized", 3, turned[0]), *others, tensor("a_zero_point", 3, turned[1]))
    weights = np.frombuffer(turned[0], np.int8).astype(int) - np.frombuffer(turned[1], np.int8)[0]
    assert weights.tolist() == [one - zero[0] for one in values]


def test_what_is_cut_off_is_no_model() -> None:
    whole = model(tensor("a_quantized", 2, b"1234"))
    for length in range(12, len(whole)):  # the graph begins, and is not whole
        with pytest.raises(ValueError, match="not an ONNX model"):
            signed(whole[:length])
    with pytest.raises(ValueError, match="wire type"):
        signed(b"\x0b")


@pytest.mark.parametrize(
    ("flags", "faster"), [("flags : avx2 avx512_vnni", True), ("flags : avx_vnni", True), ("flags : avx2", False)]
)
def test_the_processor_is_asked(flags: str, faster: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(flags, encoding="utf-8")
    assert signed_is_faster(tmp_path / "cpuinfo") is faster
    assert not signed_is_faster(tmp_path / "nowhere")


@pytest.mark.skipif(not signed_is_faster(), reason="no VNNI: signed weights may saturate here and are not used")
def test_the_shipped_model_says_the_same() -> None:
    before = STANCE.read_bytes()
    after = signed(before)
    assert after != before
    rng = np.random.default_rng(0)
    feeds = {
        "ids": rng.integers(1, 30000, (8, 40)), "types": rng.integers(0, 2, (8, 40)),
        "features": rng.random((8, 34), np.float32),
    }  # fmt: skip
    said = [
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]).run(None, feeds)
        for one in (before, after)
    ]
    for ours, theirs in zip(*said, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
