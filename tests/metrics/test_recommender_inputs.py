"""Tables of interactions, recommendations and items, read from files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from weighup.errors import InvalidInput
from weighup.metrics.recommenders import (
    evaluate_recommendations,
    read_interactions,
    read_items,
    read_recommendations,
)

ROWS = {"user": ["a", "b"], "item": ["x", "y"], "rating": [4.0, 5.0]}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_tables_are_read_from_files(tmp_path: Path, suffix: str) -> None:
    path, table = tmp_path / f"rows{suffix}", pa.table(ROWS)
    if suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    elif suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        path.write_text("".join(f"{row}\n".replace("'", '"') for row in table.to_pylist()), encoding="utf-8")
    held = read_interactions(path)
    shown = read_recommendations(path, {"score": "rating"})
    assert evaluate_recommendations(held, shown, k=1, metrics="hit")["hit@1"].value == 1


def test_genres_are_read_as_lists_or_split(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item,genres\n1,war|art\n2,art\n", encoding="utf-8")
    (tmp_path / "items.jsonl").write_text(
        '{"item": 1, "genres": ["war", "art"]}\n{"item": 2, "genres": ["art"]}', encoding="utf-8"
    )
    (tmp_path / "plain.csv").write_text("item\n1\n", encoding="utf-8")
    for name in ("items.csv", "items.jsonl"):
        assert read_items(tmp_path / name).features.toarray().tolist() == [[1, 1], [1, 0]]
    assert read_items(tmp_path / "plain.csv").features is None


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("rows.txt", "", "a file ending in"),
        ("none.csv", None, "cannot be read"),
        ("rows.csv", "user,thing\na,x\n", "no column 'item'; it has user, thing"),
        ("rows.csv", "user,item,rating\na,x,\nb,y,3\n", "column 'rating' has 1 empty"),
        ("rows.parquet", "not parquet", "cannot be read"),
        ("rows.jsonl", '{"user":', "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=rf"(?s){name}.*{says}"):
        read_interactions(tmp_path / name)
    with pytest.raises(InvalidInput, match="none of user, item"):
        read_interactions(tmp_path / name, {"viewer": "user"})
