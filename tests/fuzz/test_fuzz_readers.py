"""Spoilt input is read or refused by one of our own errors: no reader breaks, hangs or grows without bound.

A short run; `python benchmarks/fuzz.py --minutes 5` is the long one, with the same readers and inputs.
"""

from __future__ import annotations

import importlib.util
import sys
import threading

import pytest
from fuzz_inputs import HTML, RSS, Hang, Reader, bounded, mutated, readers
from hypothesis import HealthCheck, Phase, given, settings

from weighup.errors import WeighupError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by what Linux offers")
READERS = readers()
SERVED = {"feed", "lines"}
EXAMPLES = 100


@pytest.mark.parametrize("name", READERS)
def test_true_samples_are_read(name: str) -> None:
    _served(name)
    for sample in READERS[name].samples[:1]:
        READERS[name].read(sample)


@pytest.mark.parametrize("name", READERS)
def test_spoilt_ones_break_nothing(name: str) -> None:
    _served(name)
    reader = READERS[name]
    reader.read(reader.samples[0])  # what is imported on first use takes memory of its own

    @settings(
        max_examples=EXAMPLES,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        database=None,
    )
    @given(mutated(reader.samples, reader.words))
    def spoil(data: bytes) -> None:
        fed(reader, data)

    spoil()


BROKE = {
    "a character beyond the last": ("saved feed", RSS.replace("Bridge", "&#99999999;<b ").encode()),
    "a control character in a name": ("HTML", HTML.replace("<meta ", "<meta \x01a=b ").encode()),
    "half a pair in a name": ("HTML", HTML.replace("<meta ", "<meta \uffffa=b ").encode()),
}


@pytest.mark.parametrize("case", BROKE)
def test_what_once_broke_a_reader_is_read(case: str) -> None:
    name, data = BROKE[case]
    _served(name)
    assert fed(READERS[name], data)


def fed(reader: Reader, data: bytes) -> bool:
    """Whether it was read; False if it was refused."""
    with bounded(megabytes=600, seconds=60):
        try:
            reader.read(data)
        except WeighupError:
            return False
    return True


def _served(name: str) -> None:
    if name in SERVED and importlib.util.find_spec("feedparser") is None:
        pytest.skip("needs pip install 'weighup[serve]'")


def test_the_bounds_hold() -> None:
    """Were a reader to hang or to grow, these tests would fail."""
    with pytest.raises(MemoryError), bounded(megabytes=50, seconds=60):
        bytearray(200_000_000)
    with pytest.raises(Hang), bounded(megabytes=50, seconds=0.05):
        threading.Event().wait(60)
