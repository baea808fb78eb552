"""The written parts of a check: at most three calls of the language model for a claim, two of the built-in one.

1. `judge`: choose among real, fake and unknown; 2. `explain`: what is generally known; 3. `summarise` the passages,
asked only when there are some. Passages are defused before the model reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weighup.errors import BudgetExceeded, WeighupError
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Question, Reply
from weighup.retrieve.hostile import defuse
from weighup.retrieve.types import Evidence
from weighup.texts import shorten
from weighup.verify import evidence, reasoning
from weighup.verify.prompts import prompt

PASSAGE_CHARACTERS = 240
PASSAGES = 3
"""Passages and characters of each that the model summarises: reading is half of what writing costs on a CPU."""


@dataclass(slots=True)
class Written:
    """What the model gave: `opinion` P(real), P(fake), P(unknown); texts; what failed and why; prompts by version."""

    opinion: tuple[float, float, float] | None = None
    explanation: str | None = None
    summary: str | None = None
    failed: WeighupError | None = None
    warnings: list[str] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)


def opine(model: LanguageModel, claim: str, lang: str, meter: Meter, folder: Path | None) -> Written:
    """What the model knows: its choice, then its explanation. Needs no evidence, so it can run while that is sought.

    Failures and spent budgets are told in the result, never raised.
    """
    return opine_all(model, [claim], meter, folder, lang)[0]


def opine_all(
    model: LanguageModel, claims: Sequence[str], meter: Meter, folder: Path | None, lang: str = "en"
) -> list[Written]:
    """As `opine`, for many claims of one language under one meter: all choices, then all explanations."""
    judge, explain = prompt("judge", lang, folder), prompt("explain", lang, folder)
    questions = [Question(judge.fill(claim=claim, passages=""), judge.answers, judge.system) for claim in claims]
    found: list[Written] = []
    for choice in model.choose(questions, meter=meter):
        done = Written()
        found.append(done)
        if isinstance(choice.error, BudgetExceeded):  # not the model's fault: go on as a brief check would
            done.warnings.append(f"nothing was written: {choice.error}")
            continue
        done.prompts["judge"] = judge.version
        if choice.error is not None:
            done.failed = choice.error
            continue
        real, fake, unknown = choice.probabilities
        done.opinion = (real, fake, unknown)
    asked = [(claim, done) for claim, done in zip(claims, found, strict=True) if done.opinion is not None]
    prompts = [Prompt(explain.fill(claim=c, passages=""), explain.system, explain.max_tokens) for c, _ in asked]
    for (claim, done), reply in zip(asked, model.generate(prompts, meter=meter), strict=True):
        done.prompts["explain"] = explain.version
        text = _told(reply, done)
        if text is not None and reasoning.repeats(text, claim):
            done.warnings.append("the model's explanation was dropped: it only repeats the claim")
        else:
            done.explanation = text
    return found


def summarise(
    model: LanguageModel,
    done: Written,
    claim: str,
    lang: str,
    passages: Sequence[Evidence],
    meter: Meter,
    folder: Path | None,
) -> None:
    """Add the model's summary of `passages` (those that weigh most first) to `done`, if it gave an opinion at all."""
    if done.opinion is None or not passages:
        return
    texts = [shorten(defuse(p.text), PASSAGE_CHARACTERS) for p in passages[:PASSAGES]]
    file = prompt("summarise", lang, folder)
    done.prompts["summarise"] = file.version
    listed = "\n".join(f"[{i}] {text}" for i, text in enumerate(texts, 1))
    asked = Prompt(file.fill(claim=claim, passages=listed), file.system, file.max_tokens)
    text = _told(model.generate([asked], meter=meter)[0], done)
    if text is None:
        return
    fault = "it only repeats the claim" if reasoning.repeats(text, claim) else evidence.grounded(text, claim, texts)
    if fault is None:
        done.summary = text
    else:
        done.warnings.append(f"the model's summary of the evidence was dropped: {fault}")


def _told(reply: Reply, done: Written) -> str | None:
    if reply.error is not None:
        done.warnings.append(f"a text could not be written: {reply.error}")
        return None
    return reasoning.written(reply.text) or None
