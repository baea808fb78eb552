"""The evidence perspective: what the passages say about the claim, passage by passage, and what that adds up to."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.dates import iso
from weighup.retrieve.types import Evidence
from weighup.texts import STOP_WORDS, shorten, words
from weighup.verify.knowledge import evidence_row
from weighup.verify.stance import Stances
from weighup.verify.types import Stanced

Array = NDArray[np.float32]


def take_stances(model: Stances, claims: Sequence[str], passages: Sequence[Sequence[Evidence]]) -> list[list[Stanced]]:
    """Judge every claim's passages in one batch."""
    pairs = [(claim, p.text) for claim, own in zip(claims, passages, strict=True) for p in own]
    scores = model.score(pairs)
    done, at = [], 0
    for own in passages:
        rows = scores[at : at + len(own)]
        at += len(own)
        done.append([Stanced(p, float(r[0]), float(r[1]), float(r[2])) for p, r in zip(own, rows, strict=True)])
    return done


def numbers(claim: str, stanced: Sequence[Stanced]) -> Array:
    """The knowledge row of a claim's judged passages."""
    stances = np.asarray([(s.supports, s.refutes, s.neutral) for s in stanced], np.float32).reshape(-1, 3)
    return evidence_row(claim, [s.evidence.text for s in stanced], stances, [s.evidence.credibility for s in stanced])


def extract(stanced: Sequence[Stanced]) -> str:
    """Say in plain words what was found, quoting the passage that weighs most. Nothing here is generated."""
    if not stanced:
        return "No evidence was found that was published before the claim and is about it."
    counts = {stance: sum(s.stance == stance for s in stanced) for stance in ("supports", "refutes", "neutral")}
    n = len(stanced)
    verbs = {"supports": "support", "refutes": "refute"}
    told = [f"{counts[s]} {s if counts[s] == 1 else verb} it" for s, verb in verbs.items() if counts[s]]
    if counts["neutral"]:
        told.append(f"{counts['neutral']} {'says' if counts['neutral'] == 1 else 'say'} nothing either way")
    head = f"Of {n} passage{'s' if n > 1 else ''}, {', '.join(told)}."
    strongest = max(stanced, key=lambda s: max(s.supports, s.refutes))
    where = ", ".join(
        part
        for part in (strongest.evidence.title or strongest.evidence.source, iso(strongest.evidence.published))
        if part
    )
    quote = shorten(" ".join(strongest.evidence.text.split()), 240)
    return f"{head} Weighs most ({strongest.stance}): “{quote}”{f' ({where})' if where else ''}"


def note(stanced: Sequence[Stanced], row: Array) -> str:
    """What the evaluator's number mostly rests on, for the reader."""
    if not stanced:
        return "there is no evidence to rely on"
    clear = [s for s in stanced if s.stance != "neutral"]
    parts = [f"{len(stanced)} passage{'s' if len(stanced) > 1 else ''}, {len(clear)} taking a side"]
    if {s.stance for s in clear} >= {"supports", "refutes"}:
        parts.append("they contradict each other")
    parts.append(f"the closest holds {float(row[14]):.0%} of the claim's key words")
    if row[17] > 0:
        parts.append("some of its figures appear in none")
    return "; ".join(parts)


def grounded(summary: str, claim: str, passages: Sequence[str]) -> str | None:
    """Why a written summary cannot be trusted, or None: every figure and name in it must stand in what was read,
    and at least half of its content words."""
    read = " ".join([claim, *passages])
    known = set(words(read))
    figures = {w for w in words(summary) if w[0].isdigit()} - known
    if figures:
        return f"it gives figures that no passage has ({', '.join(sorted(figures)[:3])})"
    names = {n.lower() for n in re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", summary)} - known
    if names:
        return f"it names what no passage names ({', '.join(sorted(names)[:3])})"
    content = [w for w in words(summary) if w not in STOP_WORDS]
    if content and sum(w in known for w in content) < 0.5 * len(content):
        return "most of its words are in no passage"
    return None
