"""Tone is read as bounded numbers and told in words."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weighup.verify.tone import NAMES, describe, tone


def test_cues_are_found_in_english_and_chinese() -> None:
    loud, plain, chinese = tone(
        [
            "SHOCKING!!! They don't want you to know this secret cure. Share it!",
            "The sky is grey over Leeds.",
            "震惊！转发扩散",
        ]
    )
    for cue in ("alarm", "secrecy", "appeal", "remedy", "exclamation", "capitals"):
        assert loud[NAMES.index(cue)] > 0, cue
    assert chinese[NAMES.index("alarm")] > 0
    assert chinese[NAMES.index("appeal")] > 0
    assert plain[: NAMES.index("length")].max() < 0.3
    assert "plain" in describe(plain)
    assert "exclamation marks" in describe(loud)


@given(st.lists(st.text(max_size=300), max_size=5))
def test_any_text_gives_finite_bounded_numbers(texts: list[str]) -> None:
    rows = tone(texts)
    assert rows.shape == (len(texts), len(NAMES))
    assert np.isfinite(rows).all()
    assert rows.size == 0 or 0 <= rows.min() <= rows.max() < 60
