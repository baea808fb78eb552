"""The reasoning perspective: what is known without looking anything up.

Two voices: the content model's prior (trained on labelled claims) and, unless brief, the language model's own
choice among real, fake and unknown with a short explanation. A small model is often wrong; its word is presented
as its opinion, and the evaluator decides whether it counts.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from weighup.texts import clean, shorten
from weighup.verify.knowledge import content_words

Array = NDArray[np.float32]
# Numbers of passages and of list items, which the model copies from how it was asked.
_MARKS = re.compile(r"\s?\[\d+\]|^\s*\d+[.)]\s+|<<<\s*|\s*>>>")


def template(prior: float, model: tuple[float, float, float] | None, model_name: str) -> str:
    """State both voices as probabilities. `prior` is P(fake)."""
    text = f"Going by wording and subject alone, claims like this one were fake with probability {prior:.2f}."
    if model is not None:
        likely = ("real", "fake", "unknown")[int(np.argmax(model))]
        text += f" Asked without evidence, {model_name} leans to {likely} ({max(model):.2f})."
    return text


def written(text: str, limit: int = 600) -> str:
    """A model's explanation made fit to show: cleaned, at most `limit` characters, ending at a sentence if possible."""
    text = _MARKS.sub("", " ".join(clean(text).split()))
    end = max(text.rfind(mark) for mark in (". ", "! ", "? ", "。", "."))
    return shorten(text[: end + 1] if end > 30 else text, limit)


def repeats(text: str, claim: str) -> bool:
    """Whether `text` adds fewer than three content words to the claim: then it explains nothing."""
    return len(content_words(text) - content_words(claim) - {"claim", "true", "false", "statem"}) < 3


def note(prior: float, model: tuple[float, float, float] | None) -> str:
    """What the evaluator's number mostly rests on."""
    strength = "clear" if abs(prior - 0.5) > 0.25 else "weak" if abs(prior - 0.5) > 0.1 else "no"
    text = f"wording and subject give {strength} indication"
    if model is not None:
        agrees = (model[1] > model[0]) == (prior > 0.5)
        text += f"; the language model {'leans the same way' if agrees else 'leans the other way'}"
    return text
