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
# A small model does a step only when it is shown one: without examples it repeats the claim.
_DECOMPOSE = """Split the claim into its separate facts, one on each line, at most three.
Claim: Marie Curie was born in Warsaw and won two Nobel Prizes.
1. Marie Curie was born in Warsaw.
2. Marie Curie won two Nobel Prizes.
Claim: {claim}
1."""
_WORTHY = """Is it a factual claim? Answer yes or no.
Claim: Marie Curie was born in Warsaw.
Answer: yes
Claim: What a lovely day!
Answer: no
Claim: {claim}
Answer:"""


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

    parts = write(_DECOMPOSE.format(claim=claim), 80)
    lines = [re.sub(r"^[\s\d.*-]+", "", line) for line in parts.splitlines()]
    atoms = list(dict.fromkeys(line for line in lines if len(line.split()) > 2 and ":" not in line))[:3] or [claim]
    votes = {"supports": 0, "refutes": 0, "neutral": 0}
    notes = []
    worthy = [atom for atom in atoms if choose(_WORTHY.format(claim=atom), ("yes", "no")) == "yes"]
    for atom in worthy or [claim]:  # it was asked about this claim, so it has to answer
        write(f"Write one web search query to check this claim.\nClaim: {atom}\nQuery:", 24)
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
