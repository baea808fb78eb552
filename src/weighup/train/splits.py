"""Train, valid and test: what leaks between them, and how rows that name no split are given one.

Rows are tied if they share a group or a text (its letters and digits). Tied rows on two sides of a split are a leak:
what was learned by heart then passes for skill.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from weighup.errors import InvalidInput
from weighup.texts import shorten
from weighup.train.labelled import LABELS, SPLITS, Labelled, text_key

SHARES = (0.8, 0.1, 0.1)
"""Of train, valid and test."""
_SHOWN = 3


def check_leakage(rows: Sequence[Labelled]) -> None:
    """Raise InvalidInput, naming the first few, if tied rows stand in different splits."""
    seen: dict[str, dict[str, Labelled]] = {}
    for row in rows:
        if row.split is not None:
            for tie in _ties(row):
                seen.setdefault(tie, {}).setdefault(row.split, row)
    leaks = [_leak(tie, sides) for tie, sides in seen.items() if len(sides) > 1 and not _told_by_group(tie, sides)]
    if leaks:
        more = [f"and {len(leaks) - _SHOWN:,} more"] if len(leaks) > _SHOWN else []
        raise InvalidInput(
            "\n  ".join([*leaks[:_SHOWN], *more])
            + "; repair the split, or pass --drop-leaks to leave such rows out of training"
        )


def without_leaks(rows: Sequence[Labelled]) -> tuple[list[Labelled], int]:
    """The rows less those that leak, and how many those were.

    Out of train goes what is tied to valid or test; out of valid, which training also looks at, what is tied to test.
    Nothing goes out of test. What is left passes `check_leakage`.
    """
    last: dict[str, int] = {}
    ties = [_ties(row) if row.split is not None else set() for row in rows]
    for row, mine in zip(rows, ties, strict=True):
        for tie in mine:
            last[tie] = max(last.get(tie, 0), _rank(row))
    kept = [row for row, mine in zip(rows, ties, strict=True) if all(last[tie] == _rank(row) for tie in mine)]
    return kept, len(rows) - len(kept)


def contradictions(rows: Sequence[Labelled]) -> str | None:
    """A warning if the same text stands in train with different labels."""
    seen: dict[str, dict[int, Labelled]] = {}
    for row in rows:
        if row.split == "train":
            seen.setdefault(text_key(row.claim.text), {}).setdefault(row.label, row)
    found = [told for told in seen.values() if len(told) > 1]
    if not found:
        return None
    shown = [
        f"{_quoted(next(iter(told.values())))} is "
        + " and ".join(f"{LABELS[label]} ({row.place})" for label, row in told.items())
        for told in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        shown.append(f"and {len(found) - _SHOWN:,} more")
    count = "1 text stands" if len(found) == 1 else f"{len(found):,} texts stand"
    return f"{count} in train with labels that contradict each other: {'; '.join(shown)}"


def split_groups(
    rows: Sequence[Labelled], seed: int, shares: Sequence[float] = SHARES, *, by_time: bool = False
) -> list[Labelled]:
    """Give a split to every row that names none: tied rows the same, and the one that some of them name, if any.

    `shares` are of train, valid and test. A group's split is drawn by a hash of `seed` and its name, so that rows
    which are added move no others, unless they tie two groups together. With `by_time`, train is the earliest days and
    test the last; tied rows go with the latest of them, so that none is learned from before its time. Each split ends
    with both real and fake rows (one with a share of 0 need not). Raises InvalidInput where that is not so, and, by
    time, if a row has no date or names a split already.
    """
    if len(shares) != len(SPLITS) or not (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6):
        raise InvalidInput(f"shares: {tuple(shares)} are not three shares (train, valid, test) that add up to 1")
    names = _group_names(rows)
    if by_time:
        chosen = _by_time(rows, names, shares)
    else:
        chosen = {name: _side(_draw(seed, name), shares) for name in names}
        named: dict[str, int] = {}
        for row, name in zip(rows, names, strict=True):
            if row.split is not None:
                named[name] = max(named.get(name, 0), _rank(row))
        chosen |= {name: SPLITS[rank] for name, rank in named.items()}
    done = [
        row if row.split is not None else replace(row, split=chosen[name])
        for row, name in zip(rows, names, strict=True)
    ]
    _require_both(done, shares)
    return done


def _by_time(rows: Sequence[Labelled], names: Sequence[str], shares: Sequence[float]) -> dict[str, str]:
    dates = [row.claim.date for row in rows if row.claim.date is not None]
    if len(dates) < len(rows):
        first = next(row for row in rows if row.claim.date is None)
        raise InvalidInput(
            f"a split by time needs a `date` in every row; {len(rows) - len(dates):,} of {len(rows):,} have none, "
            f"first {first.place}"
        )
    if fixed := [row for row in rows if row.split is not None]:
        raise InvalidInput(
            f"a split by time is for rows that name none; {len(fixed):,} of {len(rows):,} do, first {fixed[0].place}"
        )
    days: dict[str, int] = {}
    for date, name in zip(dates, names, strict=True):
        days[name] = max(days.get(name, 0), date.toordinal())
    counts = Counter(days[name] for name in names)
    sides: dict[int, str] = {}
    before = 0
    for day in sorted(counts):
        # A day stays whole, and goes where its middle lies.
        sides[day] = _side((before + counts[day] / 2) / len(rows), shares)
        before += counts[day]
    return {name: sides[day] for name, day in days.items()}


def _group_names(rows: Sequence[Labelled]) -> list[str]:
    """For each row, one name for all that ties lead to from it: the first, by the alphabet, of their groups."""
    above: dict[str, str] = {}

    def top(tie: str) -> str:
        while (up := above.setdefault(tie, tie)) != tie:
            above[tie] = above[up]
            tie = up
        return tie

    for row in rows:
        for tie in _ties(row):
            above[top(tie)] = top(row.group)
    first: dict[str, str] = {}
    for row in rows:
        root = top(row.group)
        first[root] = min(first.get(root, row.group), row.group)
    return [first[top(row.group)] for row in rows]


def _ties(row: Labelled) -> set[str]:
    return {row.group, text_key(row.claim.text)}


def _rank(row: Labelled) -> int:
    return SPLITS.index(row.split or "train")


def _draw(seed: int, name: str) -> float:
    """A number in [0, 1) that depends on nothing else."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _side(point: float, shares: Sequence[float]) -> str:
    """Which split a point of [0, 1) falls into."""
    end = 0.0
    for name, share in zip(SPLITS, shares, strict=True):
        end += share
        if share > 0 and point < end:
            return name
    return next(name for name, share in reversed([*zip(SPLITS, shares, strict=True)]) if share > 0)


def _require_both(rows: Sequence[Labelled], shares: Sequence[float]) -> None:
    for name, share in zip(SPLITS, shares, strict=True):
        counts = Counter(row.label for row in rows if row.split == name)
        lacking = [LABELS[label] for label in (0, 1) if not counts[label]]
        if share > 0 and lacking:
            raise InvalidInput(
                f"too little data for a split: {name} has {counts.total():,} rows and none is {' or '.join(lacking)}; "
                "add rows, or name the splits yourself in a column `split`"
            )


def _leak(tie: str, sides: dict[str, Labelled]) -> str:
    row = next(iter(sides.values()))
    where = " and ".join(f"{name} ({sides[name].place})" for name in SPLITS if name in sides)
    what = "one text" if tie == text_key(row.claim.text) else f"group {shorten(tie, 60)!r}"
    return f"{what} is in {where}: {_quoted(row)}"


def _told_by_group(tie: str, sides: dict[str, Labelled]) -> bool:
    """Whether these rows are also of one group, which is named instead."""
    groups = {row.group for row in sides.values()}
    return len(groups) == 1 and tie not in groups


def _quoted(row: Labelled) -> str:
    return repr(shorten(row.claim.text, 60))
