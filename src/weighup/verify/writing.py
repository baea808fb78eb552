"""The written parts of a check: at most three calls of the language model for a claim.

1. `judge`: choose among real, fake and unknown; 2. `explain`: what is generally known; 3. `summarise` the passages,
asked only when there are some. 2 and 3 go in one batch. Passages are defused before the model reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weighup.errors import BudgetExceeded, WeighupError
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Question
from weighup.retrieve.hostile import defuse
from weighup.retrieve.types import Evidence
from weighup.texts import shorten
from weighup.verify import evidence, reasoning
from weighup.verify.prompts import prompt

PASSAGE_CHARACTERS = 350


@dataclass(slots=True)
class Written:
    """What the model gave: `opinion` P(real), P(fake), P(unknown); texts; what failed and why."""

    opinion: tuple[float, float, float] | None = None
    explanation: str | None = None
    summary: str | None = None
    failed: WeighupError | None = None
    warnings: list[str] = field(default_factory=list)


def write(
    model: LanguageModel, claim: str, lang: str, passages: Sequence[Evidence], meter: Meter, folder: Path | None
) -> Written:
    """Ask the model about one claim. Failures and spent budgets are told in the result, never raised."""
    done = Written()
    judge = prompt("judge", lang, folder)
    question = Question(judge.fill(claim=claim, passages=""), judge.answers, judge.system)
    choice = model.choose([question], meter=meter)[0]
    if isinstance(choice.error, BudgetExceeded):  # not the model's fault: go on as a brief check would
        done.warnings.append(f"nothing was written: {choice.error}")
        return done
    if choice.error is not None:
        done.failed = choice.error
        return done
    real, fake, unknown = choice.probabilities
    done.opinion = (real, fake, unknown)

    explain, summarise = prompt("explain", lang, folder), prompt("summarise", lang, folder)
    prompts = [Prompt(explain.fill(claim=claim, passages=""), explain.system, explain.max_tokens)]
    texts = [shorten(defuse(p.text), PASSAGE_CHARACTERS) for p in passages]
    if texts:
        listed = "\n".join(f"[{i}] {text}" for i, text in enumerate(texts, 1))
        prompts.append(Prompt(summarise.fill(claim=claim, passages=listed), summarise.system, summarise.max_tokens))
    replies = model.generate(prompts, meter=meter)
    for name, reply in zip(("explanation", "summary"), replies, strict=False):
        if reply.error is not None:
            done.warnings.append(f"the {name} could not be written: {reply.error}")
    if replies[0].error is None and replies[0].text.strip():
        done.explanation = reasoning.written(replies[0].text)
    if texts and replies[1].error is None and replies[1].text.strip():
        summary = reasoning.written(replies[1].text)
        fault = evidence.grounded(summary, claim, texts)
        if fault is None:
            done.summary = summary
        else:
            done.warnings.append(f"the model's summary of the evidence was dropped: {fault}")
    return done
