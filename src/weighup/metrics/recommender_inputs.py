"""What the recommender measures take: columns of interactions, recommendations and items, checked and numbered.

Memory is linear in the rows given. Users and items may be whole numbers or text, of one kind in all tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints, numbers
from weighup.metrics.extras import need


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """One row an interaction. user, item [n]; rating [n] ≥ 0; timestamp [n] in any unit; prediction [n]: the rating a
    model foretold for this very pair, for the predictive measures."""

    user: ArrayLike
    item: ArrayLike
    rating: ArrayLike | None = None
    timestamp: ArrayLike | None = None
    prediction: ArrayLike | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Recommendations:
    """One row an item recommended. user, item [n]; rank [n] (lowest first) or score [n] (highest first; equal ones stay
    in the order given). What became of it, for the business measures: clicked and bought [n] of 0 and 1, revenue
    [n] ≥ 0 in money."""

    user: ArrayLike
    item: ArrayLike
    rank: ArrayLike | None = None
    score: ArrayLike | None = None
    clicked: ArrayLike | None = None
    bought: ArrayLike | None = None
    revenue: ArrayLike | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """The catalogue. item [n], each once; features [n, f]: dense or SciPy sparse, ≥ 0 where they are to be shares of
    genres (calibration), any numbers for diversity."""

    item: ArrayLike
    features: Any = None


COLUMNS: dict[type, tuple[str, ...]] = {
    Interactions: ("user", "item", "rating", "timestamp", "prediction"),
    Recommendations: ("user", "item", "rank", "score", "clicked", "bought", "revenue"),
}


def read_interactions(path: Path, columns: Mapping[str, str] | None = None) -> Interactions:
    """Interactions of a CSV, JSONL or Parquet file (by its suffix), read by pyarrow.

    columns: what the file calls our columns, for example {"user": "userId"}. `user` and `item` must be there. Raises
    InvalidInput naming the file for one that cannot be read, a missing column or an empty cell.
    """
    return Interactions(**_columns(path, COLUMNS[Interactions], columns or {}))


def read_recommendations(path: Path, columns: Mapping[str, str] | None = None) -> Recommendations:
    """Recommendations of a file, as `read_interactions`."""
    return Recommendations(**_columns(path, COLUMNS[Recommendations], columns or {}))


def read_items(path: Path, columns: Mapping[str, str] | None = None) -> Items:
    """A catalogue of a file, as `read_interactions`: `item`, and `genres`, a list of text or text split at "|".

    Features are 1 for each genre an item has [n, genres in order of name], sparse.
    """
    found = _columns(path, ("item", "genres"), columns or {}, needed=("item",))
    if "genres" not in found:
        return Items(found["item"])
    sparse = need("scipy.sparse")
    lists = [cell.split("|") if isinstance(cell, str) else list(cell) for cell in found["genres"]]
    place = {name: number for number, name in enumerate(sorted({name for cell in lists for name in cell if name}))}
    pairs = sorted({(row, place[name]) for row, cell in enumerate(lists) for name in cell if name})
    rows, genres = np.array(pairs, np.int64).reshape(-1, 2).T
    return Items(found["item"], sparse.csr_matrix((np.ones(len(rows)), (rows, genres)), (len(lists), len(place))))


def _columns(
    path: Path, known: Sequence[str], renamed: Mapping[str, str], needed: Sequence[str] = ("user", "item")
) -> dict[str, Any]:
    if unknown := set(renamed) - set(known):
        raise InvalidInput(f"columns: {sorted(unknown)} is none of {', '.join(known)}")
    table = _table(path)
    found: dict[str, Any] = {}
    for name in known:
        called = renamed.get(name, name)
        if called not in table.column_names:
            if name in needed or name in renamed:
                raise InvalidInput(f"{path}: no column {called!r}; it has {', '.join(table.column_names)}")
            continue
        column = table.column(called)
        if column.null_count:
            raise InvalidInput(f"{path}: column {called!r} has {column.null_count} empty cells")
        found[name] = column.to_numpy()
    return found


def _table(path: Path) -> Any:
    arrow = need("pyarrow")
    kinds = {
        ".csv": lambda: need("pyarrow.csv").read_csv(path),
        ".jsonl": lambda: need("pyarrow.json").read_json(path),
        ".parquet": lambda: need("pyarrow.parquet").read_table(path),
    }
    if path.suffix not in kinds:
        raise InvalidInput(f"{path}: a file ending in {', '.join(kinds)} is needed")
    try:
        return kinds[path.suffix]()
    except (OSError, arrow.ArrowInvalid) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """All tables with users numbered 0 … n_users − 1 and items 0 … n_items − 1.

    held_*: each held-out pair once, sorted by user then item; train_*: likewise. *_row_user: the user of each row as
    given. top [n_users, K]: items recommended, best first, −1 where a list is shorter; row [n_users, K]: the
    recommendation's row, −1 likewise. The catalogue is `items`.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    held_user: Ints
    held_item: Ints
    rating: Floats | None
    train_user: Ints
    train_item: Ints
    held_row_user: Ints
    train_row_user: Ints
    top: Ints
    row: Ints

    def pairs(self, user: Ints, item: Ints) -> Ints:
        return user * len(self.items) + item


def code(
    held: Interactions, recommended: Recommendations, train: Interactions | None, items: Items | None, k: int
) -> Coded:
    """Check all tables and number them. `k`: how much of each list is kept. Raises InvalidInput (see the façade)."""
    tables: list[tuple[str, Any]] = [("interactions", held), ("recommendations", recommended)]
    if train is not None:
        tables.append(("train", train))
    lengths = [_lengths(name, table) for name, table in tables]
    user_codes, users = _coded("user", [(f"{name}.user", table.user) for name, table in tables])
    named = [(f"{name}.item", table.item) for name, table in tables]
    item_codes, labels = _coded("item", [("items.item", items.item), *named] if items is not None else named)
    if items is not None:
        own, item_codes = item_codes[0], item_codes[1:]
        if not len(own):
            raise InvalidInput("items: the catalogue is empty")
        if own.max() < len(own) - 1:
            raise InvalidInput("items: an item stands twice in the catalogue")
        for (name, _), codes in zip(tables, item_codes, strict=True):
            if codes.max() >= len(own):  # the catalogue was numbered first
                raise InvalidInput(f"{name}: item {label(labels, int(codes.max()))} is not in the catalogue (`items`)")
    if k > len(labels):
        raise InvalidInput(f"k: {k} is more than the {len(labels)} items of the catalogue")
    top, row = _lists(recommended, user_codes[1], item_codes[1], users, labels, lengths[1], k)
    rating = None if held.rating is None else ratings("interactions.rating", held.rating)
    held_user, held_item, rating = _once(user_codes[0], item_codes[0], rating, users, labels)
    none = np.empty(0, np.int64)
    train_row_user, train_row_item = (user_codes[2], item_codes[2]) if train is not None else (none, none)
    if train is not None and train.rating is not None:
        ratings("train.rating", train.rating)
    train_pair = distinct(train_row_user * len(labels) + train_row_item)
    return Coded(
        users=users,
        items=labels,
        held_user=held_user,
        held_item=held_item,
        rating=rating,
        train_user=train_pair // len(labels),
        train_item=train_pair % len(labels),
        held_row_user=user_codes[0],
        train_row_user=train_row_user,
        top=top,
        row=row,
    )


def label(labels: NDArray[Any], at: int) -> str:
    """A user or item as it was given, for messages."""
    return repr(labels[at : at + 1].tolist()[0])


def distinct(values: Ints) -> Ints:
    """The different values [m], rising. By sorting: NumPy's own hashes, which pairs numbered in order collide in."""
    ordered = np.sort(values)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def ratings(name: str, values: ArrayLike) -> Floats:
    """values [n] ≥ 0. Raises InvalidInput otherwise."""
    found = numbers(name, values)
    if found.min() < 0:
        at = int(found.argmin())
        raise InvalidInput(f"{name}: row {at} is {found[at]:g}; ratings are gains, so shift the scale to start at 0")
    return found


def _lengths(name: str, table: Any) -> int:
    sizes = {c: len(np.asarray(v)) for c in COLUMNS[type(table)] if (v := getattr(table, c)) is not None}
    if len(set(sizes.values())) > 1:
        raise InvalidInput(f"{name}: one value a row is needed in each column: {sizes}")
    if not sizes["user"]:
        raise InvalidInput(f"{name}: no rows")
    for column in set(sizes) - {"user", "item"}:
        numbers(f"{name}.{column}", getattr(table, column))
    return sizes["user"]


def _coded(what: str, columns: Sequence[tuple[str, ArrayLike]]) -> tuple[list[Ints], NDArray[Any]]:
    """Numbers in order of first appearance, for each column, and the label of each number."""
    arrow = need("pyarrow")
    arrays = []
    for name, values in columns:
        found = np.asarray(values)
        if found.ndim != 1 or found.dtype.kind not in "iuUO":
            raise InvalidInput(f"{name}: whole numbers or text are needed, not {found.dtype} of shape {found.shape}")
        try:
            array = arrow.array(found, type=arrow.int64() if found.dtype.kind in "iu" else arrow.string())
        except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
            raise InvalidInput(f"{name}: whole numbers or text are needed: {error}") from error
        if array.null_count:
            raise InvalidInput(f"{name}: {array.null_count} rows name no {what}")
        arrays.append(array)
    if len({array.type for array in arrays}) > 1:
        kinds = ", ".join(f"{name} {array.type}" for (name, _), array in zip(columns, arrays, strict=True))
        raise InvalidInput(f"{what}: numbers in one table and text in another never match: {kinds}")
    joined = arrow.concat_arrays(arrays).dictionary_encode()
    codes = joined.indices.to_numpy().astype(np.int64)
    cuts = np.cumsum([len(array) for array in arrays])[:-1]
    return np.split(codes, cuts), joined.dictionary.to_numpy(zero_copy_only=False)


def _lists(
    table: Recommendations, user: Ints, item: Ints, users: NDArray[Any], items: NDArray[Any], n: int, k: int
) -> tuple[Ints, Ints]:
    if (table.rank is None) == (table.score is None):
        raise InvalidInput("recommendations: either `rank` or `score` is needed, not both and not neither")
    pair = np.sort(user * len(items) + item)
    if len(again := pair[1:][pair[1:] == pair[:-1]]):
        twice = again[0]
        raise InvalidInput(
            f"recommendations: item {label(items, twice % len(items))} is twice in the list of user "
            f"{label(users, twice // len(items))}"
        )
    key = np.asarray(table.rank, np.float64) if table.rank is not None else -np.asarray(table.score, np.float64)
    order = np.lexsort((key, user))
    start = np.searchsorted(user[order], np.arange(len(users)))
    place = np.arange(n) - start[user[order]]
    kept = order[place < k]
    top, row = np.full((2, len(users), k), -1, np.int64)
    top[user[kept], place[place < k]], row[user[kept], place[place < k]] = item[kept], kept
    return top, row


def _once(
    user: Ints, item: Ints, rating: Floats | None, users: NDArray[Any], items: NDArray[Any]
) -> tuple[Ints, Ints, Floats | None]:
    """Each held-out pair once, sorted by user then item. Repeats count once; two ratings of one pair are refused."""
    pair = user * len(items) + item
    order = np.argsort(pair, kind="stable")
    first = np.diff(pair[order], prepend=-1) > 0
    if rating is not None:
        sorted_rating = rating[order]
        differs = ~first & (sorted_rating != np.roll(sorted_rating, 1))
        if differs.any():
            at = order[differs][0]
            raise InvalidInput(
                f"interactions: user {label(users, user[at])} rates item {label(items, item[at])} twice, unlike"
            )
        rating = sorted_rating[first]
    return user[order][first], item[order][first], rating
