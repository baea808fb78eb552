"""How likely a yes is: P(yes) / (P(yes) + P(no)), from a model's own probabilities, or from samples.

As in RocketEval (Wei et al. 2025, arXiv 2503.05142, section 3.3). The model client gives log-probabilities where the
server tells them and asks for them in words where it does not; a model that can do neither is sampled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.errors import BudgetExceeded, InvalidInput
from weighup.models.metering import Meter
from weighup.models.types import Choice, LanguageModel, Prompt, Question, Reply

_SAID = re.compile(r"\W*(yes|no)\b", re.I)


def p_yes(
    model: LanguageModel,
    questions: Sequence[str],
    *,
    system: str = "",
    fallback_samples: int = 8,
    seed: int = 0,
    meter: Meter | None = None,
) -> NDArray[np.float64]:
    """P(yes)/(P(yes)+P(no)) of each question [n], in [0, 1]; NaN where the model gave neither.

    Questions whose probabilities cannot be had are asked `fallback_samples` times at temperature 1 (0: not at all);
    theirs is the share of yes among the answers that are yes or no. Raises InvalidInput naming an empty question,
    BudgetExceeded where nothing could be asked any more.
    """
    for place, question in enumerate(questions):
        if not question.strip():
            raise InvalidInput(f"question {place + 1}: is empty")
    if fallback_samples < 0:
        raise InvalidInput(f"fallback_samples: 0 or more, not {fallback_samples}")
    found = np.full(len(questions), np.nan)
    if not len(questions):
        return found
    chosen = model.choose([Question(one, ("yes", "no"), system) for one in questions], meter=meter)
    _afford(chosen)
    for place, choice in enumerate(chosen):
        if choice.error is None and sum(choice.probabilities) > 0:
            yes, no = choice.probabilities
            found[place] = yes / (yes + no)
    missing = np.flatnonzero(np.isnan(found))
    if len(missing) and fallback_samples:
        found[missing] = _sampled(model, [questions[int(n)] for n in missing], system, fallback_samples, seed, meter)
    return found


def _sampled(
    model: LanguageModel, questions: Sequence[str], system: str, k: int, seed: int, meter: Meter | None
) -> NDArray[np.float64]:
    asked = [
        Prompt(f"{one}\n\nAnswer with one word, yes or no.", system, max_tokens=8, temperature=1.0, seed=seed + n)
        for one in questions
        for n in range(k)
    ]
    replies = model.generate(asked, meter=meter)
    _afford(replies)
    said = [_SAID.match(reply.text) for reply in replies]
    yes = np.array([match is not None and match.group(1).lower() == "yes" for match in said]).reshape(-1, k).sum(1)
    heard = np.array([match is not None for match in said]).reshape(-1, k).sum(1)
    return np.where(heard > 0, yes / np.maximum(heard, 1), np.nan)


def _afford(answers: Sequence[Choice] | Sequence[Reply]) -> None:
    for answer in answers:
        if isinstance(answer.error, BudgetExceeded):
            raise answer.error
