"""Probabilities asked for in words, for models that tell no log-probabilities.

What a model says it believes is worse calibrated than what it would say next (Tian et al. 2023, arXiv 2305.14975,
find it usable for large instruction-tuned models); callers calibrate on labelled data either way.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from weighup.errors import ModelUnavailable
from weighup.models.types import Prompt, Question

# An answer given no chance still might be right; nothing said in words is certain.
_LEAST = 0.005


class StatedProbabilities(BaseModel):
    """How likely each answer is, from 0 to 1."""

    probabilities: dict[str, float] = Field(description="every answer, exactly as given, with its probability")


def prompt_for(question: Question) -> Prompt:
    """The question with the request for a probability of each answer."""
    listed = "\n".join(f"- {answer}" for answer in question.answers)
    user = (
        f"{question.user}\n\nThe possible answers are:\n{listed}\n\n"
        'Give the probability of each answer as JSON: {"probabilities": {"<answer>": <number from 0 to 1>, …}}'
    )
    return Prompt(
        user=user, system=question.system, max_tokens=64 + 24 * len(question.answers), schema=StatedProbabilities
    )


def read_probabilities(question: Question, value: BaseModel | None) -> tuple[float, ...]:
    """Normalised, in the question's order. Raises ModelUnavailable if no answer was given a chance."""
    stated: dict[str, float] = {}
    if isinstance(value, StatedProbabilities):
        stated = {name.strip().casefold(): p for name, p in value.probabilities.items()}
    given = [stated.get(answer.strip().casefold(), 0.0) for answer in question.answers]
    given = [p if 0 <= p < float("inf") else 0.0 for p in given]
    if sum(given) <= 0:
        raise ModelUnavailable(f"the model gave none of {', '.join(question.answers)} a probability")
    total = sum(given)
    kept = [max(p / total, _LEAST) for p in given]
    return tuple(p / sum(kept) for p in kept)
