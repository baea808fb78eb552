"""Training pairs for the stance model: the sets, the dev split, the edited negatives.

A pair is a `Pair(claim, passage, label, source, group)`; label is 0 supports, 1 refutes, 2 neutral, 3 "refutes or
neutral, not told apart" (its loss is the log-sum of the two), 4 "supports or neutral" (partial support).

Dev is never a test split: the authors' own `valid` files for covid_fact, climate_fever and check_covid, and 15 % of
the groups of the two sets that have no train file (healthver, fool_me_twice), whose other groups train.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from weighup.train.labelled import text_key

SETS = ("healthver", "covid_fact", "climate_fever", "check_covid", "fool_me_twice")
EXTRA = ("rte", "scifact_rte", "wice_claims", "med")
LABELS = {"supports": 0, "refutes": 1, "neutral": 2, "not_supports": 3, "not_supported": 3, "partially_supported": 4}
NOT_TOLD, PARTIAL = 3, 4


@dataclass(frozen=True)
class Pair:
    """One claim and one passage with the stance of the passage to the claim."""

    claim: str
    passage: str
    label: int
    source: str
    group: str


def rows(path: Path) -> list[dict]:
    """Rows of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def news_pairs(path: Path, source: str, *, retrieved: bool) -> list[Pair]:
    """Every evidence item of a file with its own stance; for `gold` flags, gold takes the claim's label.

    fool_me_twice's other, merely retrieved, sentences have no label; with `retrieved` they are taken as neutral, which
    many are, and some are not (training draws a few; dev and test are scored without them, and with them beside).

    fool_me_twice lists each gold sentence a second time among the retrieved ones (flag false): that copy would be
    the same pair with two labels, so it is left out.
    """
    pairs = []
    for row in rows(path):
        group = str(row.get("group") or row["text"].lower())
        gold = {item["text"] for item in row["evidence"] if item.get("gold")}
        for item in row["evidence"]:
            if item.get("gold") is False and (not retrieved or item["text"] in gold):
                continue
            stance = item.get("stance")
            if stance is None:
                stance = row["label"].lower() if item["gold"] else "neutral"
            pairs.append(Pair(row["text"], item["text"], LABELS[stance], source, group))
    return pairs


def nli_pairs(path: Path, source: str) -> list[Pair]:
    """Premise is the passage, hypothesis the claim; pairs are grouped by passage."""
    return [Pair(r["hypothesis"], r["premise"], LABELS[r["label"]], source, r["premise"][:80]) for r in rows(path)]


def held_out(group: str) -> bool:
    """15 % of groups by a hash of their name, so the split needs no seed and never moves."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 100 < 15


def load(data: Path) -> tuple[list[Pair], list[Pair], list[Path]]:
    """(train pairs, dev pairs, files read). A claim seen in dev or test is dropped from train."""
    train: list[Pair] = []
    dev: list[Pair] = []
    files: list[Path] = []
    barred: set[str] = set()
    for name in SETS:
        folder = data / "news" / name
        valid = news_pairs(folder / "valid.jsonl.gz", name, retrieved=True)
        labelled = news_pairs(folder / "valid.jsonl.gz", name, retrieved=False)
        files.append(folder / "valid.jsonl.gz")
        if (folder / "train.jsonl.gz").exists():
            files.append(folder / "train.jsonl.gz")
            train += news_pairs(folder / "train.jsonl.gz", name, retrieved=True)
            dev += labelled
        else:
            dev += [p for p in labelled if held_out(p.group)]
            train += [p for p in valid if not held_out(p.group)]
        # Only the claims of the test file are read, to keep a claim that is in two splits out of training.
        barred |= {text_key(row["text"]) for row in rows(folder / "test.jsonl.gz")}
    barred |= {text_key(p.claim) for p in dev}
    for name in EXTRA:
        files.append(data / "nli" / f"{name}.jsonl.gz")
        train += nli_pairs(files[-1], name)
    return [p for p in train if text_key(p.claim) not in barred], dev, files


# --- edited negatives: one small change to a supported claim ------------------------------------------------------

OPPOSITES = [
    tuple(line.split("/"))
    for line in (
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
OPPOSITE: dict[str, str] = dict(OPPOSITES) | {b: a for a, b in reversed(OPPOSITES)}
AUX = re.compile(r"\b(is|are|was|were|can|could|may|might|will|would|should|has|have|had|does|do|did)\b(?! not)", re.I)
NOT = re.compile(r"\b(not|never)\s+|n't\b", re.I)
NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?")
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*")
WORD = re.compile(r"\b[a-z]{4,}\b")


def edits(
    claim: str, names: list[str], neighbours: dict[str, list[str]], rng: random.Random
) -> Iterator[tuple[str, int]]:
    """Edited claims that a passage which supports `claim` no longer supports: (claim, label 1 or 3)."""
    if found := list(NUMBER.finditer(claim)):
        m = rng.choice(found)
        yield claim[: m.start()] + other_number(m.group(), rng) + claim[m.end() :], 1
    if NOT.search(claim):
        yield NOT.sub("", claim, count=1), 1
    elif m := AUX.search(claim):
        yield claim[: m.end()] + " not" + claim[m.end() :], 1
    words = [m for m in re.finditer(r"[A-Za-z]+", claim) if m.group().lower() in OPPOSITE]
    if words:
        m = rng.choice(words)
        new = OPPOSITE[m.group().lower()]
        yield claim[: m.start()] + (new.capitalize() if m.group()[0].isupper() else new) + claim[m.end() :], 1
    if names and (found := list(NAME.finditer(claim))):
        m = rng.choice(found)
        yield claim[: m.start()] + rng.choice(names) + claim[m.end() :], NOT_TOLD
    swappable = [m for m in WORD.finditer(claim) if m.group() in neighbours]
    if swappable:
        m = rng.choice(swappable)
        yield claim[: m.start()] + rng.choice(neighbours[m.group()]) + claim[m.end() :], 1


def other_number(text: str, rng: random.Random) -> str:
    """A different number of like size and the same look (years stay near)."""
    value = float(text.replace(",", ""))
    if "." in text:
        return f"{value * rng.choice([0.3, 0.5, 1.7, 2.5]) + 0.1:.{len(text.split('.')[1])}f}"
    if 1500 <= value <= 2100:
        return str(int(value) + rng.choice([-30, -12, -7, -3, -1, 1, 2, 4, 9, 15]))
    new = max(0, int(value * rng.choice([0.2, 0.4, 0.6, 1.5, 2, 3])) + rng.choice([0, 1, 2]))
    return f"{new if new != value else new + 1:,}" if "," in text else str(new if new != value else new + 1)


def edited(train: list[Pair], neighbours: dict[str, list[str]], rng: random.Random) -> list[Pair]:
    """One edited negative for each supported pair that has an edit, the kind of edit drawn at random."""
    names = sorted({m.group() for p in train for m in NAME.finditer(p.claim)})
    out = []
    for p in train:
        if p.label == 0:
            options = list(edits(p.claim, names, neighbours, rng))
            if options:
                claim, label = rng.choice(options)
                out.append(replace(p, claim=claim, label=label, source="edited"))
    return out


def sentences_as_claims(train: list[Pair], neighbours: dict[str, list[str]], rng: random.Random) -> list[Pair]:
    """A passage's own sentence as the claim, plain (supports) or edited (refutes): word-for-word comparison, taught."""
    names = sorted({m.group() for p in train for m in NAME.finditer(p.claim)})
    out = []
    for passage in sorted({p.passage for p in train if p.source in SETS and 60 < len(p.passage) < 300}):
        words = passage.split()
        cut = " ".join(words[: rng.randint((len(words) + 1) // 2, len(words))]) if rng.random() < 0.5 else passage
        if rng.random() < 0.3:
            out.append(Pair(cut, passage, 0, "own_sentence", passage[:80]))
        elif options := list(edits(cut, names, neighbours, rng)):
            claim, label = rng.choice(options)
            out.append(Pair(claim, passage, label, "own_sentence", passage[:80]))
    return out
