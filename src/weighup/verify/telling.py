"""What each perspective says of a claim, in words: for the reader, and for models that learn from the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighup.verify import evidence, reasoning
from weighup.verify.tone import describe
from weighup.verify.types import Kind

if TYPE_CHECKING:
    from weighup.verify.decision import Weighed


def texts_of(weighed: Weighed) -> dict[Kind, str]:
    """Of a perspective that could not be had, why."""
    written, stanced, lang = weighed.written, weighed.stanced, weighed.prepared.lang
    readable = lang == "en" and bool(stanced)
    extracted = evidence.extract(stanced) if readable or not stanced else "The passages found could not be weighed."
    summary = written.summary if written is not None else None
    said = reasoning.template(weighed.prior, written.opinion if written else None, weighed.writer or "")
    if written is not None and written.explanation is not None:
        said = f"{said} In the model's words: “{written.explanation}”"
    if written is not None and written.failed is not None:
        said = f"Unavailable: {written.failed}"
    elif lang == "other":
        said = "Unavailable: the language is not supported."
    return {
        "evidence": f"{extracted} In {weighed.writer}'s words: “{summary}”" if summary else extracted,
        "reasoning": said,
        "sentiment": describe(weighed.tones),
    }
