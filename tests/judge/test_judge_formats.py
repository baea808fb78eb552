"""Others' formats: rows as they are published read right, what is written reads back, what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weighup.errors import InvalidInput
from weighup.judge.formats import Judged, read_alpaca, read_arena, write_alpaca, write_arena
from weighup.judge.formats_logs import read_inspect, read_mt_bench, write_inspect, write_mt_bench
from weighup.judge.types import Item, Judgement, Response


def lines(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def whole(folder: Path, rows: Any) -> Path:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def turns(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


BATTLES = [
    {
        "question_id": "58210e",
        "model_a": "chatglm-6b",
        "model_b": "koala-13b",
        "winner": winner,
        "judge": "arena_user_973",
        "conversation_a": turns("Who?", "A"),
        "conversation_b": turns("Who?", "B"),
        "turn": 1,
        "anony": True,
        "language": "English",
        "tstamp": 1682351591.1322,
    }
    for winner in ("model_a", "model_b", "tie", "tie (bothbad)")
]


@pytest.mark.parametrize("as_lines", [True, False])
def test_arena_battles(tmp_path: Path, as_lines: bool) -> None:
    judged = read_arena(lines(tmp_path, *BATTLES) if as_lines else whole(tmp_path, BATTLES))
    assert [one.winner for one in judged.judgements] == ["1", "2", "tie", "tie"]
    item = judged.items[0]
    assert (item.prompt, [r.text for r in item.responses]) == ("Who?", ["A", "B"])
    assert [r.system for r in item.responses] == ["chatglm-6b", "koala-13b"]
    assert judged.judgements[0].judge == "arena_user_973"
    assert len({item.id for item in judged.items}) == 4
    assert write_arena(judged, tmp_path / "out.jsonl") == 4
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == BATTLES
    assert read_arena(tmp_path / "out.jsonl") == judged


def test_battles_without_conversations(tmp_path: Path) -> None:
    judged = read_arena(lines(tmp_path, {"model_a": "a", "model_b": "b", "winner": "tie"}))
    assert judged.judgements[0].winner == "tie"
    assert judged.items[0].prompt == "(not in the file)"


ANNOTATIONS = [
    {
        "instruction": "Say hi",
        "output_1": "hi",
        "generator_1": "davinci",
        "output_2": "hello",
        "generator_2": "gpt4",
        "dataset": "helpful_base",
        "annotator": "weighted_alpaca_eval_gpt4_turbo",
        "preference": preference,
        "raw_completion": None,
    }
    for preference in (1.0, 2.0, 1.5, 1.9, None)
]


def test_alpaca_annotations(tmp_path: Path) -> None:
    judged = read_alpaca(whole(tmp_path, [*ANNOTATIONS, {**ANNOTATIONS[0], "preference": 0}]))
    assert [one.winner for one in judged.judgements] == ["1", "2", "tie", "2", None, "tie"]
    assert [one.certainty for one in judged.judgements[:4]] == [1.0, 1.0, None, pytest.approx(0.9)]
    assert judged.judgements[4].status == "invalid"
    assert write_alpaca(judged, tmp_path / "out.json") == 6
    written = json.loads((tmp_path / "out.json").read_text())
    assert [row["preference"] for row in written] == pytest.approx([1.0, 2.0, 1.5, 1.9, None, 1.5])
    assert written[0] == ANNOTATIONS[0]
    assert read_alpaca(tmp_path / "out.json").items == judged.items


def test_scores_that_are_no_probabilities_are_not_preferences(tmp_path: Path) -> None:
    item = Item.pair("a", "q", "x", "y")
    judged = Judged((item,), (Judgement(item_id="a", judge="j", winner="2", scores=(3.0, 8.0)),))
    write_alpaca(judged, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())[0]["preference"] == 2.0


PAIR = {
    "question_id": 81,
    "model_1": "alpaca-13b",
    "model_2": "vicuna-13b",
    "g1_winner": "model_2",
    "g2_winner": "error",
    "judge": ["gpt-4", "pair-v2"],
    "g1_user_prompt": "…",
    "g1_judgment": "B is better. [[B]]",
    "g2_user_prompt": "…",
    "g2_judgment": "",
    "turn": 1,
    "tstamp": 1687222030.0,
}
SINGLE = {"question_id": 81, "model": "alpaca-13b", "judge": ["gpt-4", "single-v1"], "judgment": "[[7]]", "turn": 2}


def test_mt_bench_pairs(tmp_path: Path) -> None:
    judged = read_mt_bench(lines(tmp_path, PAIR), {"81": "Write a blog post"})
    first, second = judged.judgements
    assert (first.winner, first.order, first.status, first.judge) == ("2", "given", "ok", "gpt-4 pair-v2")
    assert (second.winner, second.order, second.status) == (None, "swapped", "invalid")
    assert [item.order for item in judged.items] == ["given", "swapped"]
    assert judged.items[0].prompt == "Write a blog post"
    assert write_mt_bench(judged, tmp_path / "out.jsonl") == 1
    kept = {key: value for key, value in PAIR.items() if "user_prompt" not in key and key != "tstamp"}
    assert json.loads((tmp_path / "out.jsonl").read_text()) == kept
    once = Judged(judged.items[:1], judged.judgements[:1])
    write_mt_bench(once, tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["g2_winner"] == "error"


def test_mt_bench_scores(tmp_path: Path) -> None:
    judged = read_mt_bench(lines(tmp_path, {**SINGLE, "score": 7}, {**SINGLE, "score": -1, "turn": 1}))
    assert [one.scores for one in judged.judgements] == [(7.0,), None]
    assert [one.status for one in judged.judgements] == ["ok", "invalid"]
    assert write_mt_bench(judged, tmp_path / "out.jsonl") == 2
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written == [{**SINGLE, "score": 7}, {**SINGLE, "score": -1, "turn": 1}]


def inspect_log(*samples: dict[str, Any]) -> dict[str, Any]:
    return {"version": 2, "status": "success", "eval": {"task": "maths", "model": "openai/m"}, "samples": samples}


def sample(number: int, **scores: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"type": "text", "text": f"said {number}"}]}
    told = {name: {"value": value, "explanation": "because"} for name, value in scores.items()}
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
    output = {"model": "m", "choices": [{"message": message, "stop_reason": "stop"}]}
    return {"id": number, "epoch": 1, "input": asked, "target": ["4", "four"], "output": output, "scores": told}


def test_inspect_logs(tmp_path: Path) -> None:
    log = inspect_log(
        sample(1, match="C", grade=0.25),
        sample(2, match="I"),
        sample(3, match="P"),
        sample(4, match=True),
        sample(5, match={"right": "C", "short": 0.5, "words": 12}),
        sample(6, match="no idea"),
        {**sample(7), "epoch": 2},
    )
    judged = read_inspect(whole(tmp_path, log))
    said = judged.judgements
    assert [one.scores for one in said] == [(1.0,), (0.25,), (0.0,), (0.5,), (1.0,), None, None, None]
    assert [one.judge for one in said[:2]] == ["maths/match", "maths/grade"]
    assert (said[5].kind, said[5].checks) == ("checklist", {"right": 1.0, "short": 0.5})
    assert [one.status for one in said] == ["ok"] * 6 + ["invalid"] * 2
    item = judged.items[0]
    assert (item.prompt, item.reference, item.responses) == (
        "Be brief.\n2+2?",
        "4\nfour",
        (Response(text="said 1", system="m"),),
    )
    assert judged.items[-1].sample == 1


def test_inspect_there_and_back(tmp_path: Path) -> None:
    items = [
        Item(id=str(n), prompt="q", responses=(Response(text="x", system="m"),), reference="r", meta={"n": n})
        for n in range(3)
    ]
    said = [Judgement(item_id=str(n), judge="task/j", kind="score", scores=(n / 2,), rationale="r") for n in range(3)]
    said[1] = Judgement(item_id="1", judge="task/j", kind="score", status="invalid")
    assert write_inspect(Judged(tuple(items), tuple(said)), tmp_path / "log.json", task="task") == 3
    again = read_inspect(tmp_path / "log.json")
    assert again.items == tuple(items)
    assert [one.scores for one in again.judgements] == [(0.0,), None, (1.0,)]
    assert again.judgements[0] == said[0]


@pytest.mark.parametrize(
    ("reader", "row", "message"),
    [
        (read_arena, {"model_a": "a", "winner": "tie"}, "row 1: model_b: is missing"),
        (read_arena, {"model_a": "a", "model_b": "b", "winner": "both"}, "row 1: winner: 'both' is none of"),
        (read_arena, {**BATTLES[0], "conversation_a": "hi"}, "row 1: conversation_a or _b"),
        (read_alpaca, {**ANNOTATIONS[0], "preference": 3}, "row 1: preference: a number from 1 to 2"),
        (read_alpaca, {**ANNOTATIONS[0], "output_2": 5}, "row 1: output_2: is not text"),
        (read_mt_bench, {**PAIR, "g2_winner": "A"}, "row 1: g2_winner: 'A' is none of"),
        (read_mt_bench, {**SINGLE, "score": "7"}, "row 1: score: a number is needed"),
        (read_mt_bench, {"question_id": 1, "score": 7}, "row 1: model: is missing"),
        (read_arena, [1], "cannot be read|is not a JSON object"),
        (read_inspect, {"eval": {}}, "samples: there are none"),
        (read_inspect, {"samples": []}, "eval: is missing"),
        (read_inspect, inspect_log({"input": "x"}), "sample 1: id: is missing"),
        (read_inspect, inspect_log({"id": 1, "epoch": 0}), "sample 1: epoch"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, reader: Any, row: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        reader(lines(tmp_path, row))
    assert "rows.jsonl" in str(caught.value)


def test_files_that_are_no_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"model_a": "a"}\n{')
    with pytest.raises(InvalidInput, match="row 1"):
        read_arena(path)
    path.write_text("{\n")
    for reader in (read_arena, read_alpaca, read_mt_bench, read_inspect):
        with pytest.raises(InvalidInput, match="JSON"):
            reader(path)
        with pytest.raises(InvalidInput, match="cannot be read as JSON"):
            reader(tmp_path / "none.json")


def test_items_that_a_format_cannot_hold(tmp_path: Path) -> None:
    three = Item(id="t", prompt="q", responses=tuple(Response(text=t, system=t) for t in "abc"))
    judged = Judged((three,), (Judgement(item_id="t", judge="j", winner="1"),))
    for write in (write_arena, write_alpaca, write_mt_bench):
        with pytest.raises(InvalidInput, match="item t: this format holds"):
            write(judged, tmp_path / "out")
    with pytest.raises(InvalidInput, match="item t: this format holds single responses"):
        write_inspect(judged, tmp_path / "out", task="t")
    nameless = Judged((Item.pair("n", "q", "x", "y"),), (Judgement(item_id="n", judge="j", winner="1"),))
    with pytest.raises(InvalidInput, match="item n: this format names the system"):
        write_arena(nameless, tmp_path / "out")
