"""`weighup metrics`: texts, metrics against people, search, recommendations, sessions and RAG, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from weighup.cli.main import app
from weighup.errors import InvalidInput

TEXTS: list[dict[str, Any]] = [
    {"hypothesis": "the cat sat", "reference": "the cat sat down", "human.quality": 4, "human.brevity": 4},
    {"hypothesis": "a dog", "reference": ["the dog", "a dog ran"], "human.quality": 3, "human.brevity": 5},
    {"hypothesis": "nothing here at all", "reference": "birds fly", "human.quality": 1, "human.brevity": 1},
    {"hypothesis": "birds fly", "reference": "birds fly", "human.quality": 5, "human.brevity": 5},
]


def weighup(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["metrics", *(str(one) for one in arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def told(*arguments: object) -> Any:
    return json.loads(weighup(*arguments, "--format", "json").stdout)


def jsonl(folder: Path, rows: Iterable[object], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return jsonl(tmp_path, TEXTS)


def test_means_with_intervals_and_n(texts: Path) -> None:
    found = {row["metric"]: row for row in told("score", texts, "--metric", "length", "--metric", "exact_match")}
    assert list(found) == ["length", "exact_match"]
    # "a dog" is "the dog": articles do not count.
    assert (found["length"]["mean"], found["exact_match"]["mean"]) == (2.75, 0.5)
    assert found["length"]["low"] < 2.75 < found["length"]["high"]
    assert found["length"]["n"] == 4


def test_what_is_scored_unless_told(texts: Path) -> None:
    assert [row["metric"] for row in told("score", texts)] == ["rouge1", "rougeL", "bleu", "chrf", "length"]


def test_a_file_of_scores_has_one_row_a_text(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    weighup("score", texts, "--metric", "rougeL", "--out", out)
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    # Two thirds of three words and three quarters of four; the better of two references.
    assert [float(row["rougeL"]) for row in rows] == pytest.approx([6 / 7, 0.8, 0, 1])
    weighup("score", texts, "--metric", "rougeL", "--out", tmp_path / "scores.json")
    assert len(json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))) == 4


def test_every_form(texts: Path, tmp_path: Path) -> None:
    one = ("score", texts, "--metric", "length")
    assert weighup(*one, "--format", "markdown").stdout.splitlines()[0] == "| metric | mean | low | high | n |"
    (row,) = csv.DictReader(io.StringIO(weighup(*one, "--format", "csv").stdout))
    assert (row["metric"], float(row["mean"])) == ("length", 2.75)
    assert "length" in weighup(*one).stdout
    weighup(*one, "--out", tmp_path / "means.md")
    assert (tmp_path / "means.md").read_text(encoding="utf-8").startswith("| metric |")
    with pytest.raises(InvalidInput, match="nothing to draw"):
        weighup(*one, "--out", tmp_path / "means.svg")
    with pytest.raises(InvalidInput, match="must end with"):
        weighup(*one, "--out", tmp_path / "means.txt")
    with pytest.raises(InvalidInput, match="--format xml"):
        weighup(*one, "--format", "xml")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"text": "x"}], r"row 1: hypothesis: a text is needed"),
        ([{"hypothesis": "x", "reference": "y"}, {"hypothesis": "z"}], r"row 2: reference: is missing"),
        ([{"hypothesis": "x"}], "reference"),
        ([], "holds no texts"),
    ],
)
def test_texts_that_cannot_be_scored(tmp_path: Path, rows: list[object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        weighup("score", jsonl(tmp_path, rows), "--metric", "rouge1")


def test_an_unknown_metric_is_refused_with_the_list(texts: Path) -> None:
    for command in (("score", texts), ("compare", texts), ("cards",)):
        with pytest.raises(InvalidInput, match="no metric is called 'rouge9'; there are bleu, chrf"):
            weighup(*command, "--metric", "rouge9")


def test_a_metric_that_asks_a_model_needs_one_in_the_settings(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHUP_MODELS__LANGUAGE", "none")
    with pytest.raises(InvalidInput, match="llm_score: needs a language model"):
        weighup("score", texts, "--metric", "llm_score", "--rubric", "It is true.")


def test_metrics_against_people_by_question(texts: Path, tmp_path: Path) -> None:
    both = ("compare", texts, "--metric", "rouge1", "--metric", "length", "--draws", 20)
    found = {(row["metric"], row["dimension"]): row for row in told(*both)}
    assert found["rouge1", "quality"]["value"] == pytest.approx(1.0)
    assert found["length", "brevity"]["value"] == pytest.approx(-1.0, abs=0.06)
    assert {row["level"] for row in found.values()} == {"segment"}
    assert "how stable each metric is" in weighup(*both).stdout
    out = tmp_path / "cells.svg"
    weighup(*both, "--out", out)
    assert "rouge1: rows, quality" in out.read_text(encoding="utf-8")


def test_peoples_scores_in_csv_and_as_an_object(texts: Path, tmp_path: Path) -> None:
    lines = [f"{row['hypothesis']},{row['human.quality']}" for row in TEXTS]
    table = file(tmp_path, "rows.csv", "hypothesis,human.quality\n" + "\n".join(lines) + "\n")
    nested = jsonl(
        tmp_path,
        [{"hypothesis": row["hypothesis"], "human": {"quality": row["human.quality"]}} for row in TEXTS],
        "nested.jsonl",
    )
    one = ("--metric", "length", "--draws", 20)
    (a,), (b,) = told("compare", table, *one), told("compare", nested, *one)
    assert a["value"] == b["value"] == pytest.approx(-0.632, abs=0.001)


def test_systems_are_compared_by_their_means(tmp_path: Path) -> None:
    words = {"x": 1, "y": 2, "z": 3}
    rows = [
        {"hypothesis": " ".join(["word"] * (count + n)), "human.quality": count, "system": name}
        for name, count in words.items()
        for n in (0, 1, 0)
    ]
    few = ("--metric", "length", "--draws", 20, "--coefficient", "kendall")
    found = told("compare", jsonl(tmp_path, rows), *few, "--level", "system", "--level", "segment")
    assert {row["level"]: row["n"] for row in found} == {"system": 3, "segment": 9}
    assert next(row["value"] for row in found if row["level"] == "system") == pytest.approx(1.0)
    two = [row for row in rows if row["system"] != "z"]
    with pytest.raises(InvalidInput, match=r"nothing can be correlated: .* needs 3 systems, not 2"):
        weighup("compare", jsonl(tmp_path, two), *few, "--level", "system")


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({}, ("--coefficient", "pearson"), "is spearman or kendall"),
        ({}, ("--level", "word"), "is segment or system"),
        ({"human.quality": "good"}, (), r"row 1: human.quality: a number is needed, not 'good'"),
        ({"human.quality": None}, (), r"row 1: human.quality: a number is needed"),
        ({"human.new": 1}, (), r"row 2: human.new: is missing"),
    ],
)
def test_comparisons_that_cannot_be_made(
    tmp_path: Path, change: dict[str, object], options: tuple[str, ...], says: str
) -> None:
    path = jsonl(tmp_path, [{**TEXTS[0], **change}, *TEXTS[1:]])
    with pytest.raises(InvalidInput, match=says):
        weighup("compare", path, "--metric", "length", *options)


def test_rows_without_peoples_scores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no people's scores: columns human"):
        weighup("compare", jsonl(tmp_path, [{"hypothesis": "x"}] * 4), "--metric", "length")
    with pytest.raises(InvalidInput, match="holds no texts"):
        weighup("compare", jsonl(tmp_path, []), "--metric", "length")


def test_cards_say_where_a_metric_fails() -> None:
    one = weighup("cards", "--metric", "rougeL").stdout
    assert "| rougeL | |" in one
    assert "known to fail" in one
    every = weighup("cards").stdout
    assert "| chrf | |" in every
    assert "| bert_score | |" in every


@pytest.fixture
def search(tmp_path: Path) -> list[object]:
    """Three systems, of which the first is the best by people and by a model that agrees with them."""
    runs = []
    for name, right in (("best", 1), ("middle", 2), ("worst", 3)):
        lines = [f"q{q} Q0 d{(d - right) % 4} {d + 1} {4 - d}.0 {name}" for q in range(6) for d in range(4 if q else 3)]
        runs.append(file(tmp_path, f"{name}.run", "\n".join(lines) + "\n"))
    grades = "\n".join(f"q{q} 0 d{d} {int(d == 3)}" for q in range(6) for d in range(4)) + "\n"
    human, model = file(tmp_path, "human.qrels", grades), file(tmp_path, "model.qrels", grades)
    return [*runs, "--human", human, "--model", model]


def test_a_model_that_judges_as_people_do_keeps_the_order_of_systems(search: list[object], tmp_path: Path) -> None:
    found = json.loads(weighup("qrels", *search, "--top", 2, "--json").stdout)
    assert found["systems"] == ["best", "middle", "worst"]
    assert found["overall"]["tau"] == found["top"]["2"]["tau"] == 1.0
    assert "| all | 3 | 1.000" in weighup("qrels", *search).stdout
    # A model that takes another document for right puts the worst system first.
    file(tmp_path, "model.qrels", "".join(f"q{q} 0 d{d} {int(d == 1)}\n" for q in range(6) for d in range(4)))
    assert json.loads(weighup("qrels", *search, "--json").stdout)["overall"]["tau"] == pytest.approx(-1 / 3)
    twin = tmp_path / "other"
    twin.mkdir()
    with pytest.raises(InvalidInput, match="two files have the same name"):
        weighup("qrels", file(twin, "best.run", "q0 Q0 d0 1 1.0 x\n"), *search)


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--measure", "nosuch@3"), "ir_measures cannot compute"), (("--top", 9), "top: 9 of 3 systems")],
)
def test_what_qrels_cannot_measure(search: list[object], options: tuple[object, ...], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        weighup("qrels", *search, *options)


def test_qrels_with_a_document_twice(search: list[object], tmp_path: Path) -> None:
    file(tmp_path, "model.qrels", "q0 0 d1 1\nq0 0 d1 0\n")
    with pytest.raises(InvalidInput, match=r"model.qrels, line 2: topic q0 has document d1 already"):
        weighup("qrels", *search)


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    held = file(tmp_path, "held.csv", "user,item\n1,10\n1,11\n2,12\n")
    return held, file(tmp_path, "lists.csv", "user,item,rank\n1,10,1\n1,12,2\n2,11,1\n2,13,2\n")


def test_recommendations_are_measured_at_each_length(lists: tuple[Path, Path], tmp_path: Path) -> None:
    found = {row["metric"]: row for row in told("recsys", *lists, "--k", 1, "--k", 2)}
    assert found["recall@2"]["value"] == 0.25
    assert found["hit@1"]["value"] == 0.5
    assert found["hit@1"]["low"] is None
    assert "novelty@2" not in found
    train = file(tmp_path, "train.csv", "user,item\n1,13\n2,10\n")
    done = weighup("recsys", *lists, "--k", 2, "--train", train, "--format", "csv")
    assert "novelty@2,1.0" in done.stdout
    assert "revenue: not measured: recommendations.revenue is not given" in done.stderr


def test_one_measure_with_its_interval(lists: tuple[Path, Path]) -> None:
    (row,) = told("recsys", *lists, "--k", 2, "--metric", "hit", "--interval")
    assert (row["metric"], row["value"], row["n"], row["of"]) == ("hit@2", 0.5, 2, "users")
    assert row["low"] <= 0.5 <= row["high"]


def test_recommendations_that_cannot_be_measured(lists: tuple[Path, Path], tmp_path: Path) -> None:
    held, given = lists
    with pytest.raises(InvalidInput, match="'good' is none of candidates, ranking"):
        weighup("recsys", held, given, "--k", 2, "--metric", "good")
    with pytest.raises(InvalidInput, match="metrics: revenue: "):
        weighup("recsys", held, given, "--k", 2, "--metric", "revenue")
    with pytest.raises(InvalidInput, match="more than the 4 items"):
        weighup("recsys", held, given)
    with pytest.raises(InvalidInput, match="no column 'item'; it has user, product"):
        weighup("recsys", file(tmp_path, "wrong.csv", "user,product\n1,10\n"), given, "--k", 2)
    twice = file(tmp_path, "twice.csv", "user,item,rank\n1,10,1\n1,10,2\n")
    with pytest.raises(InvalidInput, match="item 10 is twice in the list of user 1"):
        weighup("recsys", held, twice, "--k", 2)


def session(*clicks: bool) -> dict[str, Any]:
    results = [{"id": f"d{n}", "clicked": clicked, "length": 1000} for n, clicked in enumerate(clicks)]
    return {"queries": [{"text": "q", "time": 0, "results": results}]}


def test_sessions_are_scored_one_by_one(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{**session(True, False), "id": "first"}, session(False, True), session(False, False)])
    found = told("session", path)
    assert [row["session"] for row in found] == ["first", 2, 3]
    assert found[0]["num"] == 1.0
    assert 0 < found[1]["num"] < 1
    assert (found[2]["num"], found[2]["note"]) == (0.0, "nothing was clicked")
    assert "mean 0." in weighup("session", path).stderr


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([session(True)], ("--labels", "stars"), '"clicks" or "qrels" is needed'),
        ([session(True)], ("--labels", "qrels"), "needs `relevance`"),
        ([session(True)], ("--decay", 0), "decay: a number of characters over 0"),
        ([{"queries": []}], (), "line 1: not a session"),
        ([], (), "no session in it"),
    ],
)
def test_sessions_that_cannot_be_scored(
    tmp_path: Path, rows: list[object], options: tuple[object, ...], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        weighup("session", jsonl(tmp_path, rows), *options)


def sample(id: str, **more: object) -> dict[str, Any]:
    return {"id": id, "question": "Who barks?", "contexts": ["Cats sleep.", "Dogs bark."], "answer": "Dogs [2]."} | more


def test_retrieval_is_measured_without_any_model(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [sample("1", relevant={"2": 1}), sample("2", relevant={"1": 1}, answerable=True)])
    found = {row["measure"]: row for row in told("rag", path, "--lexical")}
    assert found["mrr"]["value"] == 0.75
    assert found["hit@1"]["value"] == 0.5
    assert found["faithfulness"]["n"] == 0
    out = tmp_path / "rag.svg"
    done = weighup("rag", path, "--lexical", "--out", out)
    assert "faithfulness: not measured: no entailment was given" in done.stderr
    assert "mrr" in out.read_text(encoding="utf-8")


def test_samples_of_which_nothing_can_be_measured_are_told_not_drawn(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [sample("1")])
    assert all(row["value"] is None for row in told("rag", path, "--lexical"))
    with pytest.raises(InvalidInput, match="nothing to draw"):
        weighup("rag", path, "--lexical", "--out", tmp_path / "rag.svg")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([sample("1"), sample("1")], "id '1' stands there twice"),
        ([{"id": "1", "question": "Who?"}], r"line 1, field contexts: Field required"),
        ([], "there is none"),
    ],
)
def test_samples_that_cannot_be_measured(tmp_path: Path, rows: list[object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        weighup("rag", jsonl(tmp_path, rows), "--lexical")
