"""The usual fact-checking pipeline, for comparison: five kinds of language-model call.

Decompose → check-worthiness → query → verify each evidence → summarise and judge: the layout of Loki (the
OpenFactVerification project) and, nearly, of FacTool (arXiv 2307.13528); here on the same embedded model and passages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from weighup.models import LanguageModel, Meter, Prompt, Question, Usage

JUDGED = ("real", "fake", "unknown")
STANCES = ("supports", "refutes", "neutral")


@dataclass(frozen=True)
class Outcome:
    """The pipeline's label and what it cost."""

    label: str
    usage: Usage


def check(model: LanguageModel, claim: str, passages: list[str]) -> Outcome:
    """Run the five steps on one claim with its passages."""
    meter = Meter()

    def write(user: str, tokens: int) -> str:
        reply = model.generate([Prompt(user, max_tokens=tokens)], meter=meter)[0]
        return reply.text if reply.error is None else ""

    def choose(user: str, answers: tuple[str, ...]) -> str:
        choice = model.choose([Question(user, answers)], meter=meter)[0]
        return (
            answers[max(range(len(answers)), key=choice.probabilities.__getitem__)]
            if choice.probabilities
            else answers[-1]
        )

    parts = write(f"Split this claim into atomic claims, one on each line, at most three.\nClaim: {claim}", 80)
    atoms = [re.sub(r"^[\s\d.*-]+", "", line) for line in parts.splitlines() if len(line.split()) > 2][:3] or [claim]
    votes = {"supports": 0, "refutes": 0, "neutral": 0}
    notes = []
    for atom in atoms:
        worthy = choose(
            f"Is this a factual claim that is worth checking? Answer yes or no.\nClaim: {atom}\nAnswer:", ("yes", "no")
        )
        write(f"Write one web search query to check this claim.\nClaim: {atom}\nQuery:", 24)
        if worthy == "no":
            continue
        for passage in passages:
            stance = choose(
                "Does the passage support the claim, refute it, or neither? Answer supports, refutes or neutral.\n"
                f"Claim: {atom}\nPassage: {passage[:350]}\nAnswer:",
                STANCES,
            )
            votes[stance] += 1
            notes.append(f"{stance}: {passage[:120]}")
    summary = write(
        f"Summarise in two sentences what was found about the claim.\nClaim: {claim}\n" + "\n".join(notes[:8]), 60
    )
    label = choose(
        f"Claim: {claim}\nFindings: {summary}\nVotes: {votes['supports']} support, {votes['refutes']} refute, "
        f"{votes['neutral']} neutral.\nIs the claim real, fake or unknown? Answer:",
        JUDGED,
    )
    return Outcome(label, meter.usage)
