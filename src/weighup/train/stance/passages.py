"""Passages made harder: one of the wrong page that shares words, and the right sentence among others.

Hard negatives by word overlap, as BM25 negatives in dense retrieval (Karpukhin et al. 2020, arXiv 2004.04906, section
3.2); sentences around the right one as in document-level claim verification (MultiVerS, Wadden et al. 2022, arXiv
2112.01640). Ours: the rules.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from weighup.texts import shorten
from weighup.train.stance.data import Pair
from weighup.verify.stance_features import STOP, stem

NEAREST = 12
"""Of so many strange passages, those that share most with the claim, one is drawn."""
TOO_NEAR = 0.6
"""A strange passage with more of the claim's words may well support or refute it: it is left alone."""
_WORD = re.compile(r"[a-z]{3,}|\d+")


def stems(text: str) -> frozenset[str]:
    """Stems of the content words."""
    return frozenset(stem(w) for w in _WORD.findall(text.lower()) if w not in STOP)


def wrong_page(pairs: Sequence[Pair], rng: random.Random) -> list[Pair]:
    """For each claim one passage of another group of its source that shares words with it, as neutral.

    Left out are passages that stand with a claim of the same group, and those that hold more than TOO_NEAR of the
    claim's words.
    """
    out = []
    for claim, group, _, passages in near_passages(pairs, TOO_NEAR):
        out.append(Pair(claim, rng.choice(passages), 2, "wrong_page", group))
    return out


def near_passages(pairs: Sequence[Pair], most: float = 1.0) -> Iterator[tuple[str, str, str, list[str]]]:
    """(claim, group, source, passages) for each claim that has some: up to NEAREST passages of other groups of its
    source, nearest first, that hold at most the share `most` of the claim's words."""
    for source in sorted({p.source for p in pairs}):
        own = [p for p in pairs if p.source == source]
        passages = sorted({p.passage for p in own})
        bags = [stems(text) for text in passages]
        where: dict[str, list[int]] = {}
        for i, bag in enumerate(bags):
            for word in bag:
                where.setdefault(word, []).append(i)
        groups: dict[str, set[str]] = {}
        for p in own:
            groups.setdefault(p.passage, set()).add(p.group)
        for claim, group in sorted({(p.claim, p.group) for p in own}):
            near = _nearest(stems(claim), bags, where, most)
            near = [i for i in near if group not in groups[passages[i]]][:NEAREST]
            if near:
                yield claim, group, source, [passages[i] for i in near]


def _nearest(
    claim: frozenset[str], bags: Sequence[frozenset[str]], where: dict[str, list[int]], most: float
) -> list[int]:
    score: dict[int, float] = {}
    for word in claim:
        places = where.get(word, ())
        for i in places if len(places) <= max(20, len(bags) // 20) else ():  # words of every page tell nothing
            score[i] = score.get(i, 0.0) + math.log(1 + len(bags) / len(places))
    near = sorted(score, key=lambda i: (-score[i], i))[: 6 * NEAREST]
    return [i for i in near if len(claim & bags[i]) <= most * len(claim)]


def several(pairs: Sequence[Pair], rng: random.Random, limit: int = 700) -> list[Pair]:
    """Pairs whose passage stands between one to three others, the stance kept: `several` sentences as one premise.

    The others are neutral passages of the same claim and, where there are not two, passages of other groups of the same
    source; together at most `limit` characters.
    """
    neutral: dict[str, list[str]] = {}
    source: dict[str, list[tuple[str, str]]] = {}
    for p in pairs:
        if p.label == 2:
            neutral.setdefault(p.claim, []).append(p.passage)
        source.setdefault(p.source, []).append((p.passage, p.group))
    # A passage that takes a side on the claim must not stand beside one that does not, or takes the other.
    sides: dict[str, set[str]] = {}
    for p in pairs:
        if p.label != 2:
            sides.setdefault(p.claim, set()).add(p.passage)
    out = []
    for p in pairs:
        if p.label > 2:
            continue
        options = neutral.get(p.claim, [])
        if len(options) < 2:
            drawn = rng.sample(source[p.source], min(4, len(source[p.source])))
            options = options + [text for text, group in drawn if group != p.group]
        others = [t for t in dict.fromkeys(options) if t != p.passage and t not in sides.get(p.claim, set())]
        rng.shuffle(others)
        kept, room = [p.passage], limit - len(p.passage)
        for text in others[: rng.randint(1, 3)]:
            text = shorten(text, 300)
            if len(text) <= room:
                kept.append(text)
                room -= len(text)
        if len(kept) > 1:
            rng.shuffle(kept)
            out.append(replace(p, passage=" ".join(_closed(text) for text in kept), source="several"))
    return out


def _closed(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", '"', "”")) else f"{text}."
