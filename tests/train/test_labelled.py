"""Labelled rows: every format, our labels and others', and no broken row dropped in silence."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from weighup.errors import InvalidInput
from weighup.train.labelled import Labelled, parse_labels, read_labelled, require_trainable, text_key
from weighup.verify.types import Claim

ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "text": "The bridge was closed.",
        "label": "real",
        "date": "2024-05-31",
        "source": "example.com",
        "lang": "en",
        "evidence": [{"text": "Closed, yes.", "date": "2024-05-30"}],
        "group": "bridge",
        "split": "train",
    },
    {"id": "b", "text": "水在10摄氏度沸腾。", "label": "Fake", "evidence": None, "group": None, "split": "dev"},
    {"id": "c", "text": "Someone said something.", "label": " UNKNOWN ", "split": None},
]
NEWS = ("liar covid_constraint climate_fever covid_fact check_covid ced_weibo healthver fool_me_twice averitec").split()


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def labels_of(path: Path, labels: Mapping[str, str] | None = None) -> list[int]:
    return [row.label for row in read_labelled([path], labels=labels)]


def refusal(path: Path, labels: Mapping[str, str] | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_labelled([path], labels=labels)
    return str(caught.value)


def labelled(counts: dict[int, int]) -> list[Labelled]:
    return [
        Labelled(Claim(text=f"Claim {label} {i}"), label, f"{label} {i}", None, i + 1)
        for label, count in counts.items()
        for i in range(count)
    ]


def test_a_row_is_a_claim_with_its_label_group_split_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    first, second, third = read_labelled([path])
    assert first.claim.id == "a"
    assert first.claim.date == datetime(2024, 5, 31, tzinfo=UTC)
    assert (first.claim.source, first.claim.lang) == ("example.com", "en")
    assert first.claim.evidence is not None
    assert first.claim.evidence[0].text == "Closed, yes."
    assert [row.label for row in (first, second, third)] == [0, 1, 2]
    assert [row.group for row in (first, second, third)] == ["bridge", "水在10摄氏度沸腾", "someone said something"]
    assert [row.split for row in (first, second, third)] == ["train", "valid", None]
    assert [row.line for row in (first, second, third)] == [1, 2, 3]
    assert third.place == f"line 3 of {path}"


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    fields = list(ROWS[0])
    for name, between in (("rows.csv", ","), ("rows.tsv", "\t")):
        table = [fields] + [
            [json.dumps(row[f]) if f == "evidence" and row.get(f) else str(row.get(f) or "") for f in fields]
            for row in ROWS
        ]
        quoted = [between.join('"' + cell.replace('"', '""') + '"' for cell in cells) for cells in table]
        (tmp_path / name).write_text("\n".join(quoted), encoding="utf-8")
    full = [{field: row.get(field) for field in fields} for row in ROWS]
    pyarrow.parquet.write_table(pa.Table.from_pylist(full), tmp_path / "rows.parquet")
    write(tmp_path / "rows.jsonl", ROWS)
    write(tmp_path / "rows.jsonl.gz", ROWS)

    def found(name: str) -> list[tuple[Any, ...]]:
        return [(row.claim, row.label, row.group, row.split) for row in read_labelled([tmp_path / name])]

    plain = found("rows.jsonl")
    assert len(plain) == 3
    for name in ("rows.jsonl.gz", "rows.csv", "rows.tsv", "rows.parquet"):
        assert found(name) == plain


def test_files_are_read_one_after_another(tmp_path: Path) -> None:
    paths = [write(tmp_path / "one.jsonl", ROWS[:2]), write(tmp_path / "two.jsonl", ROWS[2:])]
    assert [(row.claim.id, row.line, Path(row.file).name) for row in read_labelled(paths)] == [
        ("a", 1, "one.jsonl"),
        ("b", 2, "one.jsonl"),
        ("c", 1, "two.jsonl"),
    ]


def test_label3_is_taken_before_label(tmp_path: Path) -> None:
    rows = [
        {"text": "A claim.", "label": "pants-fire", "label3": "fake"},
        {"text": "A claim.", "label": "real", "label3": None},
        {"text": "A claim.", "label3": "unknown"},
    ]
    assert labels_of(write(tmp_path / "rows.jsonl", rows)) == [1, 0, 2]


def test_a_mapping_names_other_labels_and_is_the_users_last_word(tmp_path: Path) -> None:
    rows = [
        {"text": "A claim.", "label": "True"},
        {"text": "A claim.", "label": True},
        {"text": "A claim.", "label": 0},
        {"text": "A claim.", "label": "half-true", "label3": "real"},
        {"text": "A claim.", "label": "fake"},
    ]
    mapping = parse_labels("real=true,fake=0,unknown=half-true")
    assert labels_of(write(tmp_path / "rows.jsonl", rows), mapping) == [0, 0, 1, 2, 1]


def test_numbers_with_holes_are_labels_and_groups_too(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["One.", "Two.", "Three."],
            "label": [0.0, 1.0, 1.0],
            "group": [7.0, None, float("nan")],
            "more": [1, 2, 3],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    rows = read_labelled([tmp_path / "rows.parquet"], labels={"0": "real", "1": "fake"})
    assert [(row.label, row.group) for row in rows] == [(0, "7"), (1, "two"), (1, "three")]


def test_a_label_that_is_not_ours_is_refused_with_the_way_to_map_it(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\nA claim.,real\nA claim.,pants-fire\n", encoding="utf-8")
    assert refusal(path) == (
        f"unknown label 'pants-fire' (line 3 of {path}); map labels with --labels real=true,fake=false"
    )


@pytest.mark.parametrize("label", ["true", "false", True, 1, 0, "1", "refuted", "x" * 500])
def test_what_could_mean_either_is_not_guessed(tmp_path: Path, label: object) -> None:
    told = refusal(write(tmp_path / "rows.jsonl", [{"text": "A claim.", "label": label}]))
    assert told.startswith("unknown label ")
    assert "--labels" in told
    assert len(told) < 300


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"label": "real"}, "text: is missing"),
        ({"text": " ", "label": "real"}, "text: is empty"),
        ({"text": "A claim."}, "label: is missing"),
        ({"text": "A claim.", "label": " "}, "label: is missing"),
        ({"text": "A claim.", "label": ["real"]}, "label: is list, not a word"),
        ({"text": "A claim.", "label": "real", "group": {}}, "group: is dict, not a word"),
        ({"text": "A claim.", "label": "real", "split": "holdout"}, "split: 'holdout' is not one of train, valid"),
        ({"text": "A claim.", "label": "real", "date": "soon"}, "date: 'soon' is not a date"),
        ({"text": "A claim.", "label": "real", "evidence": "none"}, "evidence: "),
    ],
)
def test_a_row_that_cannot_be_used_is_an_error_with_its_line(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS[0], row])
    told = refusal(path)
    assert told.startswith(says)
    assert told.endswith(f"(line 2 of {path})")


def test_ten_problems_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps(ROWS[0])
    unlabelled = '{"text": "A claim."}'
    broken = [f'{{"text": "A claim.", "label": "odd {i}"}}' for i in range(30)]
    path.write_text("\n".join([good, "{oops", *[unlabelled] * 7, *broken]), encoding="utf-8")
    told = refusal(path).splitlines()
    assert told[0] == "38 rows cannot be used:"
    assert told[1].strip().startswith("is not JSON: ")
    assert told[1].endswith(f"(line 2 of {path})")
    assert told[2].strip() == f"label: is missing (lines 3, 4, 5, 6, 7 and 2 more of {path})"
    assert told[3].strip() == f"unknown label 'odd 0' (line 10 of {path})"
    assert told[-2].strip() == "and 22 more rows"
    assert told[-1].strip() == "map labels with --labels real=true,fake=false"
    assert len(told) == 13


def test_problems_of_several_files_are_told_together(tmp_path: Path) -> None:
    bad = [{"text": "A claim.", "label": "a"}, {"text": "A claim.", "label": "a"}]
    paths = [write(tmp_path / "one.jsonl", bad), write(tmp_path / "two.jsonl", bad[:1])]
    with pytest.raises(InvalidInput) as caught:
        read_labelled(paths)
    assert "3 rows cannot be used" in str(caught.value)
    assert f"(lines 1 and 2 of {paths[0]})" in str(caught.value)
    assert f"(line 1 of {paths[1]})" in str(caught.value)


def test_a_file_that_cannot_be_read_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_labelled([tmp_path / "absent.jsonl"])
    (tmp_path / "rows.csv").write_text("claim,label\nx,real\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no column `text`"):
        read_labelled([tmp_path / "rows.csv"])


def test_labels_are_parsed() -> None:
    assert parse_labels("real=true+Mostly-True, fake=false+pants-fire,unknown=not enough evidence") == {
        "true": "real",
        "mostly-true": "real",
        "false": "fake",
        "pants-fire": "fake",
        "not enough evidence": "unknown",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot read ''"),
        ("real", "cannot read 'real'; write them as real=true,fake=false"),
        ("true=real", "cannot read 'true=real'"),
        ("real=true,", "cannot read ''"),
        ("real=true+", "names an empty label"),
        ("real=", "names an empty label"),
        ("real=a,real=b", "real is given twice; join what it stands for with +, as in real=a+b"),
        ("real=a+A", "'a' is given twice"),
        ("real=a,fake=b+a", "'a' is given to both real and fake"),
    ],
)
def test_labels_written_otherwise_are_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_labels(text)
    assert says in str(caught.value)


def test_a_mapping_to_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    assert "'wrong', which is not one of real, fake" in refusal(write(tmp_path / "x.jsonl", ROWS), {"x": "wrong"})


def test_texts_that_differ_by_punctuation_are_one() -> None:
    assert text_key("The “Bridge”  was closed!") == text_key("the bridge was closed") == "the bridge was closed"
    assert text_key("水在100摄氏度沸腾。") == text_key("水在１００摄氏度沸腾")
    assert text_key("水在100摄氏度沸腾。") != text_key("冰在100摄氏度沸腾。")


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({}, "there are no labelled rows"),
        ({1: 120}, "needs both real and fake; all 120 rows are fake"),
        ({2: 30}, "needs both real and fake; all 30 rows are unknown"),
        ({0: 30, 2: 5}, "needs both real and fake; of 35 rows 30 are real and 5 are unknown"),
        ({0: 30, 1: 19}, "needs at least 20 rows each of real and fake; of 49 rows only 19 are fake"),
        ({0: 1, 1: 30}, "needs at least 20 rows each of real and fake; of 31 rows only 1 is real"),
    ],
)
def test_too_little_to_learn_from_is_refused(counts: dict[int, int], says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        require_trainable(labelled(counts))
    assert str(caught.value) == says


def test_twenty_of_each_are_enough() -> None:
    require_trainable(labelled({0: 20, 1: 20}))


@pytest.mark.parametrize("name", NEWS)
def test_the_shared_sets_are_read_whole(tests_data: Path, name: str) -> None:
    files = sorted((tests_data / "news" / name).glob("*.jsonl.gz"))
    assert files
    rows = read_labelled(files)
    raw = [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert [row.label for row in rows] == [["real", "fake", "unknown"].index(row["label3"]) for row in raw]
    assert [row.group for row in rows] == [
        given.get("group") or text_key(row.claim.text) for given, row in zip(raw, rows, strict=True)
    ]
    assert all(row.group for row in rows)
    assert Counter(row.split for row in rows) == Counter(row["split"].replace("dev", "valid") for row in raw)
    require_trainable(rows)
