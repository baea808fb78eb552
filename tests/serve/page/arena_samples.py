"""Answers to compare, put into a server's arena."""

from __future__ import annotations

from typing import Any

from weighup.judge.types import Item, Response
from weighup.serve.db import Database

SYSTEMS = ("Heron-70B", "Kestrel-8B", "Wren-mini")
_QUESTIONS = {
    "Why is the sky blue?": (
        "Air scatters short wavelengths more than long ones (Rayleigh scattering), so the light that reaches us from "
        "all over the sky is mostly blue.",
        "Because the oceans are mirrored in it.",
        "Short waves of sunlight are scattered more by molecules of air.\n\nAt sunset the path is longer: red is left.",
    ),
    "How many legs has a spider?": (
        "Eight. That is one way to tell it from an insect, which has six.",
        "Eight.",
        "Six, like all insects.",
    ),
    "Who wrote the Iliad?": (
        "It is attributed to Homer; whether he was one poet is disputed.",
        "Homer.",
        "Virgil, in the first century BC.",
    ),
    "What is 17 × 23?": ("391: 17 × 20 is 340, and 17 × 3 is 51.", "391", "371"),
}


def pairs(**more: Any) -> list[Item]:
    """Each question with every two of the systems; two judges said what they think, one of them always the first."""
    found = []
    for number, (prompt, answers) in enumerate(_QUESTIONS.items()):
        for i, j in ((0, 1), (1, 2), (0, 2)):
            responses = tuple(Response(text=answers[at], system=SYSTEMS[at]) for at in (i, j))
            meta = {"judgements": {"judge-of-length": "1", "undecided": "tie"}}
            told = {"category": "general", "meta": meta, **more}
            found.append(Item(id=f"{SYSTEMS[i]}-v-{SYSTEMS[j]}-{number}", prompt=prompt, responses=responses, **told))
    return found


def trio(id: str = "trio", **more: Any) -> Item:
    """A set of three."""
    prompt, answers = next(iter(_QUESTIONS.items()))
    responses = tuple(Response(text=text, system=name) for name, text in zip(SYSTEMS, answers, strict=True))
    return Item(id=id, prompt=prompt, responses=responses, **more)


def crowd(database: Database, tenant: str = "", *, voters: int = 6) -> None:
    """Votes of a few on everything: the better by the systems' order four times out of five."""
    for number in range(voters):
        voter, turn = f"reader {number}", number
        while (one := database.arena.next(tenant, voter)) is not None:
            order, turn = one.order(voter), turn + 1
            if len(order) > 2:
                database.arena.vote(tenant, voter, one.id, by=voter, places=[place + 1 for place in order], seconds=20)
                continue
            better = "a" if order[0] < order[1] else "b"
            worse = "b" if better == "a" else "a"
            winner = "tie" if turn % 9 == 4 else worse if turn % 5 == 0 else better
            database.arena.vote(tenant, voter, one.id, by=voter, winner=winner, seconds=10 + number)
