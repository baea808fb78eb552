"""Training pairs for the stance model: claim, passage and the stance of the passage, from sets and from users' rows.

A pair's label is 0 supports, 1 refutes, 2 neutral, 3 "refutes or neutral, not told apart" (its loss is the log-sum of
the two), 4 "supports or neutral" (partial support), 5 "not known", for a teacher to say.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput
from weighup.texts import clean
from weighup.train.labelled import LABELS as TRUTHS
from weighup.train.labelled import Labelled, text_key
from weighup.verify.row_files import decoded_rows
from weighup.verify.rows import BadRow

SETS = ("healthver", "covid_fact", "climate_fever", "check_covid", "fool_me_twice")
EXTRA = ("rte", "scifact_rte", "wice_claims", "med")
LABELS = {"supports": 0, "refutes": 1, "neutral": 2, "not_supports": 3, "not_supported": 3, "partially_supported": 4}
NOT_TOLD, PARTIAL, UNTOLD = 3, 4, 5
_STANCE_OF = {"real": 0, "fake": 1, "unknown": 2}
_NAMES = LABELS | {"support": 0, "supported": 0, "refute": 1, "refuted": 1, "not enough info": 2}


@dataclass(frozen=True)
class Pair:
    """One claim and one passage with the stance of the passage to the claim."""

    claim: str
    passage: str
    label: int
    source: str
    group: str


def rows(path: Path) -> list[dict[str, Any]]:
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
    """The sets of the shipped model: (train pairs, dev pairs, files read).

    Dev is never a test split: the authors' own `valid` files for covid_fact, climate_fever and check_covid, and 15 % of
    the groups of the two sets that have no train file (healthver, fool_me_twice), whose other groups train. A claim
    seen in dev or test is dropped from train.
    """
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


# --- a user's rows ------------------------------------------------------------------------------------------------


def pairs_of(labelled: Sequence[Labelled], seed: int) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """(train, valid, test) pairs of labelled rows that have evidence.

    An evidence item's `stance` is its label; one that names none takes the claim's: real supports, fake refutes,
    unknown neutral. The stances are read from the rows' own files. Of groups that no row gives a split, one in five is
    drawn for valid. A claim or group of valid or test is left out of train, one of test out of valid. Raises
    InvalidInput where there is nothing to learn from or to choose on, or a stance is not one.
    """
    with_evidence = [row for row in labelled if row.claim.evidence]
    if not with_evidence:
        told = f"none of the {len(labelled):,} rows has evidence" if labelled else "there are no labelled rows"
        raise InvalidInput(f"no pairs to learn from: {told}; give each row `evidence`: [{{text, stance}}, …]")
    stances = _stances({row.file for row in with_evidence})
    named = {row.group: row.split for row in with_evidence if row.split is not None}
    done: dict[str, list[Pair]] = {"train": [], "valid": [], "test": []}
    for row in with_evidence:
        own = stances.get((row.file, row.line), {})
        split = row.split or named.get(row.group) or ("valid" if _drawn(seed, row.group) else "train")
        for item in row.claim.evidence or ():
            stance = own.get(text_key(item.text))
            label = _STANCE_OF[TRUTHS[row.label]] if stance is None else stance
            done[split].append(Pair(row.claim.text, item.text, label, Path(row.file).name or "rows", row.group))
    barred: set[str] = set()
    for split in ("test", "valid", "train"):
        done[split] = [p for p in done[split] if barred.isdisjoint((p.group, text_key(p.claim)))]
        barred |= {name for p in done[split] for name in (p.group, text_key(p.claim))}
    require_pairs(done["train"], "train")
    if len({p.label for p in done["valid"]}) < 2:
        raise InvalidInput(
            f"too little to choose on: valid has {len(done['valid']):,} pairs, not of two stances; add rows, or name "
            "the splits yourself in a column `split`"
        )
    for part in ("valid", "test"):  # what supports only in part has no class to be measured against
        done[part] = [p for p in done[part] if p.label < NOT_TOLD]
    return done["train"], done["valid"], done["test"]


def require_pairs(pairs: Sequence[Pair], where: str) -> None:
    """Raise InvalidInput unless there are pairs, of two stances at least."""
    if not pairs:
        raise InvalidInput(f"no pairs to learn from in {where}; give rows `evidence`: [{{text, stance}}, …]")
    labels = {p.label for p in pairs}
    if len(labels) < 2:
        name = next(name for name, number in LABELS.items() if number == min(labels))
        raise InvalidInput(f"needs at least two stances to learn from; all {len(pairs):,} pairs of {where} are {name}")


def _drawn(seed: int, group: str) -> bool:
    """One in five groups, by a hash, so that rows which are added move no others."""
    return int(hashlib.sha256(f"{seed} {group}".encode("utf-8", "replace")).hexdigest(), 16) % 5 == 0


def _stances(files: Iterable[str]) -> dict[tuple[str, int], dict[str, int]]:
    """(file, line) -> the key of each passage that names its stance, and that stance."""
    found: dict[tuple[str, int], dict[str, int]] = {}
    for file in sorted(files):
        for item in decoded_rows(Path(file)) if file else ():
            if isinstance(item, BadRow) or not isinstance(item[1], Mapping):
                continue
            line, data = item[0], item[1]
            given = data.get("evidence")
            if isinstance(given, list):
                found[file, line] = dict(_told(given, file, line))
    return found


def _told(given: Sequence[Any], file: str, line: int) -> Iterable[tuple[str, int]]:
    for item in given:
        stance = item.get("stance") if isinstance(item, Mapping) else None
        if stance is None or not isinstance(item.get("text"), str):
            continue
        name = str(stance).strip().casefold()
        if name not in _NAMES:
            raise InvalidInput(
                f"line {line} of {file}: stance {str(stance)[:40]!r} is not one of supports, refutes and neutral"
            )
        yield text_key(clean(item["text"])), _NAMES[name]
