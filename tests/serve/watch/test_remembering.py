"""An encoder that remembers gives the same vectors and asks for each text once."""

from __future__ import annotations

import numpy as np
from watch_samples import WordEncoder

from weighup.serve.watch.vectors import Remembering


def test_each_text_is_embedded_once() -> None:
    inner = WordEncoder()
    outer = Remembering(inner)
    texts = ["the dam broke", "inflation fell", "the dam broke"]
    expected = WordEncoder().encode(texts)
    assert np.array_equal(outer.encode(texts), expected)
    assert np.array_equal(outer.encode(texts[::-1]), expected[::-1])
    assert inner.encoded == texts[:2]
    assert outer.encode([]).shape == (0, inner.dimension)
    assert (outer.name, outer.version, outer.dimension) == ("words", "1", 64)


def test_it_remembers_no_more_than_it_may_even_within_one_call() -> None:
    inner = WordEncoder()
    outer = Remembering(inner, kept=2)
    assert outer.encode(["a b", "c d", "e f"]).shape == (3, 64)
    outer.encode(["e f", "c d"])
    assert len(inner.encoded) == 3
    outer.encode(["a b"])
    assert len(inner.encoded) == 4
