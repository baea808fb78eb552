"""What counts as evidence, and how often: orders are taken out, copies count once, a bare word counts for nothing.

Anyone can put up a hundred pages that say the same, or that a claim is false and no more. So before stances are taken:
what reads as an order to a model is taken out of every passage, whoever brought it; a passage that says no more than
that the claim is true or false is left out, unless a credible publisher says it; and near-copies go to the end of the
line, so that they do not take the places of others. After: near-copies that take the same side count as one passage
(those that differ in their figures often take different sides, and then count apart); and where two credible
publishers, independent of each other, take one side and none takes the other, the passages of publishers without a
record that oppose them are not counted: a hundred strangers are not more than one.

A near-copy is told by the content words of the shorter text that the longer one has (containment, Broder 1997, on words
instead of shingles, since passages are a sentence or two). Rewordings that share few words are not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from weighup.retrieve.credibility import credibility
from weighup.retrieve.hostile import defuse, suspicious_instructions
from weighup.retrieve.types import Evidence
from weighup.texts import sentences
from weighup.verify.knowledge import content_words, overlap
from weighup.verify.types import Stance, Stanced

COPY = 0.75
"""Share of the shorter passage's content words that a near-copy has."""
LEAST_WORDS = 5
"""Content words; of fewer, all must be the same."""
CREDIBLE = 0.7
"""Least score of a publisher whose word counts as a credible one's: the reports call it high."""
ABOUT = 0.3
"""Share of a claim's content words that a passage about it holds."""
FOR_CREDIBLE = 2
"""Places of a claim's passages that nobody takes from credible publishers: as many as decide."""

# Words for whether something is so, stemmed as content words are; with the claim's own they are all a bare word has.
_TALK = frozenset(
    w[:6]
    for w in (
        "true false fact facts fake hoax lie lies lying liar real wrong right correct incorrect accurate "
        "inaccurate debunk debunked confirmed confirm verified verify verdict rating rated rate myth claim "
        "claims claimed statement story rumour rumor report news check checked checker case totally "
        "completely absolutely entirely simply definitely proven disproven disproved nonsense bogus "
        "misinformation disinformation fabricated untrue misleading pants fire yes please believe just very "
        "100% 100 1 not no is never"
    ).split()
)
_SAYS_SO = frozenset(
    w[:6]
    for w in (
        "true false fake hoax lie lies wrong debunked debunk confirmed verified myth untrue bogus nonsense "
        "fabricated disproven disproved misinformation disinformation incorrect inaccurate misleading correct "
        "accurate fact"
    ).split()
)


Trust = Callable[[Evidence], bool]
"""Whether a passage is a credible publisher's."""


def trusting(own_list: Path | None = None) -> Trust:
    """By the passage's score, else by its address in the lists; `own_list`: `retrieve.credibility`, over the shipped.

    The score is looked up and not written down: weights are trained on passages as they come.
    """

    def trusted(passage: Evidence) -> bool:
        score = passage.credibility
        if score is None and passage.url:
            known = credibility(passage.url, own=own_list)
            score = None if known is None else known.score
        return score is not None and score >= CREDIBLE

    return trusted


def readable(claim: str, passages: Sequence[Evidence], trusted: Trust) -> tuple[list[Evidence], list[str]]:
    """The passages without orders to a model, less those that are bare words on the claim or nothing at all; and what
    the reader should be told."""
    kept: list[Evidence] = []
    defused = bare = 0
    for passage in passages:
        if suspicious_instructions(passage.text):
            defused += 1
            passage = replace(passage, text=defuse(passage.text))
            # Beside an order, the claim's own words are its bait.
            if content_words(passage.text) <= content_words(claim):
                continue
        if is_bare(claim, passage.text) and not trusted(passage):
            bare += 1
        elif any(c.isalnum() for c in passage.text):
            kept.append(passage)
    told = []
    if defused:
        told.append(f"orders to a machine were taken out of {_passages(defused)}")
    if bare:
        told.append(f"left out: {_passages(bare)} that said no more than that the claim is true or false")
    return kept, told


def is_bare(claim: str, text: str) -> bool:
    """Whether a passage says that the claim is so, or not so, and has nothing else to say."""
    rest = content_words(text) - content_words(claim)
    if not rest & _SAYS_SO or len(text) > 4 * len(claim) + 400:
        return False
    return len(rest - _TALK) <= len(sentences(text)) // 4


def places(claim: str, ranked: Sequence[Evidence], limit: int, trusted: Trust) -> list[Evidence]:
    """The `limit` of ranked passages that are judged, in their order: the first of each kind, then near-copies. Nobody
    takes two places from credible publishers' passages that are about the claim."""
    if len(ranked) <= limit:
        return list(ranked)
    credible = [trusted(p) for p in ranked]
    leaders = _leaders(ranked, credible)
    order = sorted(range(len(ranked)), key=lambda i: i not in leaders)
    held = overlap(claim, [p.text for p in ranked])
    sound = [i for i in sorted(leaders) if credible[i] and held[i] >= ABOUT][:FOR_CREDIBLE]
    chosen = list(dict.fromkeys([*sound, *order]))[:limit]
    return [ranked[i] for i in sorted(chosen)]


def kinds(passages: Sequence[Evidence]) -> int:
    """How many of the passages are left when near-copies count once."""
    return len(_leaders(passages, [False] * len(passages)))


def _leaders(passages: Sequence[Evidence], credible: Sequence[bool]) -> set[int]:
    """Places of the passages that are no near-copies of an earlier one, or of a credible publisher's."""
    told = [content_words(p.text) for p in passages]
    kept: list[int] = []
    for i in sorted(range(len(passages)), key=lambda i: not credible[i]):
        if not any(is_copy(told[i], told[k]) for k in kept):
            kept.append(i)
    return set(kept)


def is_copy(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two texts' content words are so many the same that one says what the other says."""
    fewer = min(len(one), len(other))
    if fewer < LEAST_WORDS:
        return one == other
    return len(one & other) >= COPY * fewer


def counted(stanced: Sequence[Stanced], trusted: Trust) -> tuple[list[Stanced], list[str]]:
    """The judged passages that count, in their order, and what the reader should be told about the others."""
    left: list[Stanced] = []
    for side in ("supports", "refutes", "neutral"):
        mine = [s for s in stanced if s.stance == side]
        given = [s.evidence for s in mine]
        left += [mine[i] for i in _leaders(given, [trusted(e) for e in given])]
    opposed = _opposed(left, trusted)
    kept = {id(s) for s in left} - {id(s) for s in opposed}
    told = []
    if len(left) < len(stanced):
        told.append(f"counted once: {_passages(len(stanced) - len(left))} that repeated another")
    if opposed:
        told.append(
            f"left out: {_passages(len(opposed))} of publishers without a record, against what independent credible "
            "ones say"
        )
    return [s for s in stanced if id(s) in kept], told


def _opposed(stanced: Sequence[Stanced], trusted: Trust) -> list[Stanced]:
    """Passages of publishers without a record against a side that at least two credible ones take, and none the
    opposite."""
    sites: dict[Stance, set[str]] = {}
    for s in stanced:
        if s.stance != "neutral" and trusted(s.evidence):
            sites.setdefault(s.stance, set()).add(_site(s.evidence))
    if len(sites) != 1:
        return []
    side, hosts = sites.popitem()
    if len(hosts) < 2:
        return []
    return [s for s in stanced if s.stance not in (side, "neutral") and not trusted(s.evidence)]


def _site(passage: Evidence) -> str:
    """The publisher, near enough: the last two labels of its host, three under endings such as `co.uk`."""
    labels = (urlsplit(passage.url or "").hostname or passage.source).lower().split(".")
    under = len(labels[-1]) == 2 and len(labels) > 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if under else -2 :])


def _passages(count: int) -> str:
    return "1 passage" if count == 1 else f"{count} passages"
