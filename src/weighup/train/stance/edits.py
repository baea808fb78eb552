"""Edited negatives: one small change to a supported claim, so that its passage no longer supports it.

After counterfactual and contrastive data for claim verification (Schuster, Fisch & Barzilay 2021, arXiv 2103.08541;
Thorne et al. 2019 on rule-based perturbation, arXiv 1903.05543). Ours: the rules and word lists.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from weighup.train.stance.data import NOT_TOLD, Pair

ALL = ("number", "negation", "opposite", "name", "word", "date", "entity")
"""Kinds of edit. `date` and `entity` look at the passage as well."""
_OPPOSITES = [
    (pair.split("/")[0], pair.split("/")[1])
    for pair in (
        "increase/decrease increases/decreases increased/decreased increasing/decreasing higher/lower high/low "
        "more/less most/least before/after first/last always/never all/none many/few rise/fall rising/falling "
        "rose/fell warm/cool warmer/cooler warming/cooling hot/cold hotter/colder positive/negative better/worse "
        "best/worst effective/ineffective safe/dangerous likely/unlikely with/without can/cannot cause/prevent "
        "causes/prevents improve/worsen improves/worsens improved/worsened reduce/raise reduces/raises "
        "reduced/raised larger/smaller large/small longer/shorter long/short older/younger old/young male/female "
        "men/women man/woman boy/girl father/mother son/daughter husband/wife brother/sister early/late "
        "earlier/later start/end started/ended began/ended win/lose won/lost success/failure successful/failed "
        "strong/weak stronger/weaker faster/slower fast/slow above/below over/under up/down north/south "
        "northern/southern east/west eastern/western inside/outside alive/dead life/death born/died "
        "accept/reject accepted/rejected true/false same/different common/rare significant/insignificant "
        "associated/unrelated gain/loss major/minor majority/minority maximum/minimum helps/harms help/harm "
        "protects/endangers susceptible/resistant symptomatic/asymptomatic acute/chronic mild/severe "
        "adults/children public/private rich/poor open/closed include/exclude includes/excludes only/also "
        "increased/reduced increase/reduce increases/reduces beneficial/harmful inhibit/cause inhibits/causes "
        "natural/artificial wet/dry expand/shrink accelerating/slowing melting/growing confirmed/denied "
        "supports/contradicts"
    ).split()
]
OPPOSITE: dict[str, str] = dict(_OPPOSITES) | {b: a for a, b in reversed(_OPPOSITES)}
AUX = re.compile(r"\b(is|are|was|were|can|could|may|might|will|would|should|has|have|had|does|do|did)\b(?! not)", re.I)
NOT = re.compile(r"\b(not|never)\s+|n't\b", re.I)
NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?")
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*")
WORD = re.compile(r"\b[a-z]{4,}\b")
_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_CALENDAR = re.compile(rf"\b(?:{'|'.join((*_MONTHS, *_DAYS))})\b")
_YEAR = re.compile(r"(?<![\w.,-])(?:1[5-9]|20)\d\d(?![\w-]|[.,]\d)")
_DECADE = re.compile(r"\b(?:1[5-9]|20)\d0(?=s\b)")


def edits(
    claim: str,
    names: Sequence[str],
    neighbours: Mapping[str, Sequence[str]],
    rng: random.Random,
    *,
    passage: str = "",
    kinds: Collection[str] = ALL,
) -> Iterator[tuple[str, int]]:
    """Edited claims that a passage which supports `claim` no longer supports: (claim, label 1 or 3).

    `names` are what a name may be swapped for, `neighbours` near words for a word, `passage` the one that supports.
    """
    if "number" in kinds and (found := list(NUMBER.finditer(claim))):
        m = rng.choice(found)
        yield claim[: m.start()] + other_number(m.group(), rng) + claim[m.end() :], 1
    if "negation" in kinds:
        if NOT.search(claim):
            yield NOT.sub("", claim, count=1), 1
        elif aux := AUX.search(claim):
            yield claim[: aux.end()] + " not" + claim[aux.end() :], 1
    words = [m for m in re.finditer(r"[A-Za-z]+", claim) if m.group().lower() in OPPOSITE]
    if "opposite" in kinds and words:
        m = rng.choice(words)
        new = OPPOSITE[m.group().lower()]
        yield claim[: m.start()] + (new.capitalize() if m.group()[0].isupper() else new) + claim[m.end() :], 1
    if "name" in kinds and names and (found := list(NAME.finditer(claim))):
        m = rng.choice(found)
        yield claim[: m.start()] + rng.choice(names) + claim[m.end() :], NOT_TOLD
    swappable = [m for m in WORD.finditer(claim) if m.group() in neighbours]
    if "word" in kinds and swappable:
        m = rng.choice(swappable)
        yield claim[: m.start()] + rng.choice(neighbours[m.group()]) + claim[m.end() :], 1
    if "date" in kinds and (dated := other_date(claim, rng)):
        yield dated, 1
    if "entity" in kinds and passage and (swapped := other_entity(claim, passage, rng)):
        yield swapped, 1


def other_number(text: str, rng: random.Random) -> str:
    """A different number of like size and the same look (years stay near)."""
    value = float(text.replace(",", ""))
    if "." in text:
        return f"{value * rng.choice([0.3, 0.5, 1.7, 2.5]) + 0.1:.{len(text.split('.')[1])}f}"
    if 1500 <= value <= 2100:
        return str(int(value) + rng.choice([-30, -12, -7, -3, -1, 1, 2, 4, 9, 15]))
    new = max(0, int(value * rng.choice([0.2, 0.4, 0.6, 1.5, 2, 3])) + rng.choice([0, 1, 2]))
    return f"{new if new != value else new + 1:,}" if "," in text else str(new if new != value else new + 1)


def other_date(claim: str, rng: random.Random) -> str | None:
    """The claim with one month, weekday, year or decade swapped for another; None where it has none.

    `May` is a month only before a number or after a word that dates.
    """
    found = [m for pattern in (_CALENDAR, _YEAR, _DECADE) for m in pattern.finditer(claim)]
    found = [m for m in found if m.group() != "May" or _dated(claim, m)]
    if not found:
        return None
    m = rng.choice(found)
    told = m.group()
    if told[0].isdigit():
        step = 10 if claim[m.end() : m.end() + 1] == "s" else 1
        new = str(int(told) + step * rng.choice([-5, -3, -2, -1, 1, 2, 3, 5]))
    else:
        new = rng.choice([name for name in (_MONTHS if told in _MONTHS else _DAYS) if name != told])
    return claim[: m.start()] + new + claim[m.end() :]


def _dated(claim: str, m: re.Match[str]) -> bool:
    before = claim[: m.start()].rsplit(None, 1)[-1:]
    return claim[m.end() : m.end() + 2].strip(" ,")[:1].isdigit() or before in (["in"], ["since"], ["until"], ["last"])


def other_entity(claim: str, passage: str, rng: random.Random) -> str | None:
    """The claim with a name that it shares with the passage swapped for another name of the passage, or None."""
    there = {m.group() for m in NAME.finditer(passage)}
    shared = [m for m in NAME.finditer(claim) if m.group() in there]
    others = sorted(name for name in there if name not in claim)
    if not shared or not others:
        return None
    m = rng.choice(shared)
    return claim[: m.start()] + rng.choice(others) + claim[m.end() :]


def names_of(pairs: Sequence[Pair]) -> list[str]:
    """Every name in the claims, sorted."""
    return sorted({m.group() for p in pairs for m in NAME.finditer(p.claim)})


def edited(
    pairs: Sequence[Pair],
    neighbours: Mapping[str, Sequence[str]],
    rng: random.Random,
    kinds: Collection[str] = ALL,
    source: str = "edited",
) -> list[Pair]:
    """One edited negative for each supported pair that has an edit, the kind of edit drawn at random."""
    names = names_of(pairs)
    out = []
    for p in pairs:
        if p.label == 0:
            options = list(edits(p.claim, names, neighbours, rng, passage=p.passage, kinds=kinds))
            if options:
                claim, label = rng.choice(options)
                out.append(replace(p, claim=claim, label=label, source=source))
    return out


def sentences_as_claims(
    pairs: Sequence[Pair],
    neighbours: Mapping[str, Sequence[str]],
    rng: random.Random,
    kinds: Collection[str] = ALL,
    among: Collection[str] | None = None,
) -> list[Pair]:
    """A passage's own sentence as the claim, plain (supports) or edited (refutes): word-for-word comparison, taught.

    `among` names the sources whose passages are used; None is all.
    """
    names = names_of(pairs)
    out = []
    for passage in sorted({p.passage for p in pairs if (not among or p.source in among) and 60 < len(p.passage) < 300}):
        words = passage.split()
        cut = " ".join(words[: rng.randint((len(words) + 1) // 2, len(words))]) if rng.random() < 0.5 else passage
        if rng.random() < 0.3:
            out.append(Pair(cut, passage, 0, "own_sentence", passage[:80]))
        elif options := list(edits(cut, names, neighbours, rng, passage=passage, kinds=kinds)):
            claim, label = rng.choice(options)
            out.append(Pair(claim, passage, label, "own_sentence", passage[:80]))
    return out
