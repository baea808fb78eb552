"""Who was compared with whom: win matrix and connected components.

Bradley–Terry strengths that are finite and unique exist exactly when, however the systems are cut in two, some system
of each side has beaten one of the other (Ford 1957, "Solution of a ranking problem from binary comparisons"): when the
graph with an edge from each winner to its loser is strongly connected. A tie is an edge both ways. Where the graph is
not even weakly connected, systems of different components were never compared, and no method can order them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.arena.types import Floats, Match, Matches
from weighup.errors import InvalidInput
from weighup.metrics.extras import need

Kind = Literal["strong", "weak"]
Disconnected = Literal["error", "rank_each"]
Components = tuple[tuple[str, ...], ...]


def win_matrix(matches: Matches | Iterable[Match]) -> Floats:
    """[m, m]: weight of the matches that the row's system won against the column's; a tie is half to each."""
    taken = Matches.of(matches)
    m = len(taken.systems)
    share = taken.weight * taken.outcome
    forward = np.bincount(taken.a.astype(np.int64) * m + taken.b, share, m * m)
    backward = np.bincount(taken.b.astype(np.int64) * m + taken.a, taken.weight - share, m * m)
    return np.asarray(forward + backward, dtype=np.float64).reshape(m, m)


def components(matches: Matches | Iterable[Match], kind: Kind = "strong") -> Components:
    """Strongly connected components of the graph of who beat whom, or its weakly connected ones; the largest first,
    equal ones by name. Matches of weight 0 do not count."""
    taken = Matches.of(matches)
    return grouped(taken.systems, linked(win_matrix(taken), kind))


def linked(wins: Floats, kind: Kind) -> NDArray[np.int64]:
    """The component of each system [m], of a win matrix [m, m]."""
    if kind not in ("strong", "weak"):
        raise InvalidInput(f"kind: strong or weak, not {kind!r}")
    sparse, graphs = need("scipy.sparse"), need("scipy.sparse.csgraph")
    _, label = graphs.connected_components(sparse.csr_array(wins > 0), connection=kind)
    return np.asarray(label, dtype=np.int64)


def grouped(systems: Sequence[str], label: NDArray[np.int64]) -> Components:
    """The systems by component, the largest component first, equal ones by name."""
    groups: dict[int, list[str]] = {}
    for name, number in zip(systems, label.tolist(), strict=True):
        groups.setdefault(number, []).append(name)
    return tuple(sorted((tuple(sorted(names)) for names in groups.values()), key=lambda g: (-len(g), g)))


def compared(systems: Sequence[str], wins: Floats, disconnected: Disconnected) -> Components:
    """The weakly connected components. Raises InvalidInput naming them when there are several, unless `disconnected`
    is "rank_each"."""
    if disconnected not in ("error", "rank_each"):
        raise InvalidInput(f"disconnected: error or rank_each, not {disconnected!r}")
    found = grouped(systems, linked(wins, "weak"))
    if len(found) > 1 and disconnected == "error":
        raise InvalidInput(
            f"matches: {len(found)} groups of systems were never compared with each other: {told(found)}; add matches "
            'between them, or rank each by itself with disconnected="rank_each"'
        )
    return found


def told(found: Components) -> str:
    """Components for a message: at most five of them, at most six names each."""
    shown = []
    for names in found[:5]:
        rest = "" if len(names) <= 6 else f", … {len(names) - 6} more"
        shown.append("{" + ", ".join(names[:6]) + rest + "}")
    return ", ".join(shown) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
