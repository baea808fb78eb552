"""Rankings of several systems from files, for K-Sort Arena and Plackett–Luce.

Three forms, told apart by the columns of the file's rows (JSON lines, CSV or Parquet, by its ending):

- `ranking`: a list, best first; an entry that is a list of names is a tie: {"ranking": ["a", ["b", "c"], "d"]}.
- `rank_1`, `rank_2`, …: one name (or, but for CSV, a list of tied names) in each, best first, without gaps; rows may
  be of different lengths.
- `vote`, `system`, `rank`: one row a system; of one vote, the least rank is the best and equal ranks are ties.

Rows are counted from 1, without the header of a CSV file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from weighup.arena.types import Ranking, levels, some
from weighup.errors import InvalidInput
from weighup.rowfile import Row, read_rows

_PLACE = re.compile(r"rank_(\d+)")
_LONG = ("vote", "system", "rank")


def read_rankings(path: Path | str, *, systems: Sequence[str] | None = None) -> list[Ranking]:
    """All votes of a file, in the order in which each begins.

    systems: who may be ranked (None: anyone). Raises InvalidInput naming file, row and field for what cannot be used:
    no such columns, fewer than two systems in a vote, one named twice or unknown, an empty name, a gap, a rank that is
    no number; and for a file without votes.
    """
    path = Path(path)
    rows = list(read_rows(path))
    if not rows:
        raise InvalidInput(f"{path}: holds no rankings")
    columns = {name for _, row in rows for name in row}
    reader: Callable[[Path, Sequence[Row], Sequence[str] | None], list[Ranking]]
    if "ranking" in columns:
        reader = _listed
    elif any(_PLACE.fullmatch(name) for name in columns):
        reader = _wide
    elif columns.issuperset(_LONG):
        reader = _long
    else:
        raise InvalidInput(
            f"{path}: has no column ranking, nor rank_1, rank_2, …, nor all of {', '.join(_LONG)} "
            f"(it has: {some(columns) or 'none'})"
        )
    return reader(path, rows, systems)


def _listed(path: Path, rows: Sequence[Row], systems: Sequence[str] | None) -> list[Ranking]:
    votes = []
    for number, row in rows:
        told = row.get("ranking")
        if not isinstance(told, list):
            _refuse(path, number, "ranking", f"a list of names, best first, is needed, not {_shown(told)}")
        votes.append(_ranked(path, number, "ranking", [_group(path, number, "ranking", one) for one in told], systems))
    return votes


def _wide(path: Path, rows: Sequence[Row], systems: Sequence[str] | None) -> list[Ranking]:
    votes = []
    for number, row in rows:
        given = {int(found[1]): row[name] for name in row if (found := _PLACE.fullmatch(name))}
        if gap := next((place for place in range(1, max(given, default=1) + 1) if place not in given), None):
            _refuse(path, number, f"rank_{gap}", "is empty; ranks go from rank_1 on without gaps")
        groups = [_group(path, number, f"rank_{place}", given[place]) for place in sorted(given)]
        votes.append(_ranked(path, number, "rank_1, rank_2, …", groups, systems))
    return votes


def _long(path: Path, rows: Sequence[Row], systems: Sequence[str] | None) -> list[Ranking]:
    votes: dict[str, list[tuple[float, str]]] = {}
    begins: dict[str, int] = {}
    for number, row in rows:
        vote = _text(path, number, row, "vote")
        name = _text(path, number, row, "system")
        begins.setdefault(vote, number)
        votes.setdefault(vote, []).append((_number(path, number, row.get("rank")), name))
    found = []
    for vote, placed in votes.items():
        groups = [tuple(name for at, name in placed if at == rank) for rank in sorted({at for at, _ in placed})]
        found.append(_ranked(path, begins[vote], f"vote {vote}", groups, systems))
    return found


def _ranked(
    path: Path, number: int, field: str, groups: Sequence[tuple[str, ...]], systems: Sequence[str] | None
) -> Ranking:
    told = levels(groups, systems, where=f"{path}: row {number}, {field}")
    return tuple(group[0] if len(group) == 1 else group for group in told)


def _group(path: Path, number: int, field: str, told: object) -> tuple[str, ...]:
    names: list[Any] = told if isinstance(told, list) else [told]
    for name in names:
        if not isinstance(name, str) or not name.strip():
            _refuse(path, number, field, f"a system's name, or a list of tied ones, is needed, not {_shown(name)}")
    return tuple(name.strip() for name in names)


def _text(path: Path, number: int, row: Mapping[str, Any], field: str) -> str:
    told = row.get(field)
    if told is None or isinstance(told, (dict, list, bool)) or not str(told).strip():
        _refuse(path, number, field, f"a name is needed, not {_shown(told)}")
    return str(told).strip()


def _number(path: Path, number: int, told: object) -> float:
    try:
        rank = float(told) if isinstance(told, (str, int, float)) and not isinstance(told, bool) else math.nan
    except (ValueError, OverflowError):
        rank = math.nan
    if not math.isfinite(rank):
        _refuse(path, number, "rank", f"a finite number is needed, not {_shown(told)}")
    return rank


def _shown(told: object) -> str:
    return "nothing" if told is None else repr(told)[:60]


def _refuse(path: Path, number: int, field: str, why: str) -> NoReturn:
    raise InvalidInput(f"{path}: row {number}, {field}: {why}")
