"""MT-Bench judgements as FastChat keeps them (JSONL), and logs of inspect_ai (JSON): read and written.

FastChat: Zheng et al. 2023, arXiv 2306.05685, `fastchat/llm_judge`: files of single scores and of pairs judged in both
orders, whose winners are in the numbering of the row. inspect_ai: UK AI Security Institute, `EvalLog` version 2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput
from weighup.judge.formats import Judged, rows_of, system_of, text_of, write_rows
from weighup.judge.types import Item, Judgement, Response, Winner

_MT_BENCH: dict[str, Winner] = {"model_1": "1", "model_2": "2", "tie": "tie"}
_VALUES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
_NOT_SHOWN = "(not in the file)"


def read_mt_bench(path: Path, questions: Mapping[str, str] | None = None) -> Judged:
    """FastChat's `gpt-4_pair.jsonl` (two judgements a row, one an order) or `gpt-4_single.jsonl` (a score a row).

    `questions`: texts by question id, which these files do not hold. Error verdicts, and scores of −1, are `invalid`.
    Raises InvalidInput naming row and field.
    """
    items: list[Item] = []
    said: list[Judgement] = []
    for number, row in rows_of(path):
        where = f"{path}: row {number}"
        question, turn = str(row.get("question_id", number)), row.get("turn", 1)
        judge = row.get("judge")
        name = " ".join(map(str, judge)) if isinstance(judge, list) else str(judge or "judge")
        pair = "g1_winner" in row
        systems = [text_of(row, key, where) for key in (("model_1", "model_2") if pair else ("model",))]
        item = Item(
            id=f"{question}.{turn}#{':'.join(systems)}",
            prompt=(questions or {}).get(question, _NOT_SHOWN),
            responses=tuple(Response(text=_NOT_SHOWN, system=one) for one in systems),
            meta={"question_id": row.get("question_id", number), "turn": turn},
        )
        if pair:
            for order, game in (("given", "g1"), ("swapped", "g2")):
                told = text_of(row, f"{game}_winner", where)
                if told not in _MT_BENCH and told != "error":
                    raise InvalidInput(f"{where}: {game}_winner: {told!r} is none of {', '.join(_MT_BENCH)}, error")
                status = "invalid" if told == "error" else "ok"
                values = {"winner": _MT_BENCH.get(told), "status": status, "order": order}
                items.append(item.swapped() if order == "swapped" else item)
                rationale = str(row.get(f"{game}_judgment") or "")
                said.append(
                    Judgement.model_validate({"item_id": item.id, "judge": name, "rationale": rationale, **values})
                )
            continue
        score = row.get("score")
        if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
            raise InvalidInput(f"{where}: score: a number is needed, not {score!r}")
        items.append(item)
        base = Judgement(item_id=item.id, judge=name, kind="score", rationale=str(row.get("judgment") or ""))
        update = {"status": "invalid"} if score == -1 else {"scores": (float(score),)}
        said.append(base.model_copy(update=update))
    return Judged(tuple(items), tuple(said))


def write_mt_bench(judged: Judged, path: Path) -> int:
    """As FastChat's JSONL; how many rows. A game, one an order, that was not judged is an `error`.

    Raises InvalidInput for items of more than two responses, or with a nameless system.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    names: dict[str | None, str] = {"1": "model_1", "2": "model_2", "tie": "tie", None: "error"}
    for item, one in zip(judged.items, judged.judgements, strict=True):
        about = {"question_id": item.meta.get("question_id", item.id), "turn": item.meta.get("turn", 1)}
        systems = [system_of(item, response) for response in item.responses]
        judge = one.judge.split(" ", 1)
        if len(systems) == 1:
            score = one.scores[0] if one.usable and one.scores else None
            rows[item.id, one.judge] = {
                **about,
                "model": systems[0],
                "judge": judge,
                "judgment": one.rationale,
                "score": -1 if score is None else score,
            }
        elif len(systems) == 2:
            nothing = {"g1_winner": "error", "g2_winner": "error", "g1_judgment": "", "g2_judgment": ""}
            fresh = {**about, "model_1": systems[0], "model_2": systems[1], "judge": judge, **nothing}
            row = rows.setdefault((item.id, one.judge), fresh)
            game = "g2" if item.order == "swapped" else "g1"
            row[f"{game}_winner"] = names[one.winner if one.usable else None]
            row[f"{game}_judgment"] = one.rationale
        else:
            raise InvalidInput(f"item {item.id}: this format holds single responses and pairs, not {len(systems)}")
    return write_rows(list(rows.values()), path)


def read_inspect(path: Path) -> Judged:
    """An inspect_ai log in JSON: one item and judgement a sample, epoch and scorer. The judge is `task/scorer`.

    Values C, P, I and N are 1, 0.5, 0 and 0, booleans 1 and 0, as inspect_ai has them; of a value that is an object,
    the numbers in [0, 1] become checks. A sample with an error, or without a score, is `invalid`. Raises InvalidInput.
    """
    try:
        log = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path}: cannot be read as JSON (write .eval logs as JSON: inspect log dump): {error}"
        ) from error
    if not isinstance(log, dict) or not isinstance(log.get("eval"), dict):
        raise InvalidInput(f"{path}: eval: is missing; this is no log of inspect_ai")
    samples = log.get("samples")
    if not isinstance(samples, list) or not samples:
        raise InvalidInput(f"{path}: samples: there are none in the log")
    task, model = str(log["eval"].get("task", "task")), str(log["eval"].get("model", ""))
    items: list[Item] = []
    said: list[Judgement] = []
    for number, sample in enumerate(samples, 1):
        where = f"{path}: sample {number}"
        if not isinstance(sample, dict) or "id" not in sample:
            raise InvalidInput(f"{where}: id: is missing")
        item = _sample(sample, model, where)
        scores = sample.get("scores")
        for scorer, score in (scores if isinstance(scores, dict) and scores else {"none": None}).items():
            items.append(item)
            said.append(_scored(item, f"{task}/{scorer}", score))
    return Judged(tuple(items), tuple(said))


def write_inspect(judged: Judged, path: Path, *, task: str, model: str = "weighup/none") -> int:
    """Scores of single responses as an inspect_ai log that its viewer opens; how many samples.

    Raises InvalidInput for items of more than one response.
    """
    samples: dict[tuple[str, int], dict[str, Any]] = {}
    for item, one in zip(judged.items, judged.judgements, strict=True):
        if len(item.responses) != 1:
            raise InvalidInput(f"item {item.id}: this format holds single responses, and it has {len(item.responses)}")
        text = item.responses[0].text
        message = {"role": "assistant", "content": text, "source": "generate"}
        choice = {"message": message, "stop_reason": "stop"}
        sample = samples.setdefault(
            (item.id, item.sample),
            {
                "id": item.id,
                "epoch": item.sample + 1,
                "input": item.prompt,
                "target": item.reference or "",
                "messages": [{"role": "user", "content": item.prompt}, message],
                "output": {"model": item.responses[0].system or model, "choices": [choice], "completion": text},
                "scores": {},
                "metadata": dict(item.meta),
            },
        )
        value = one.scores[0] if one.usable and one.scores else None
        if value is not None:
            told = {"value": value, "answer": text, "explanation": one.rationale or None}
            sample["scores"][one.judge.rpartition("/")[2]] = told
    log = {
        "version": 2,
        "status": "success",
        "eval": {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "task": task,
            "dataset": {"samples": len(samples)},
            "model": model,
            "config": {},
        },
        "samples": list(samples.values()),
    }
    path.write_text(json.dumps(log, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return len(samples)


def _sample(sample: Mapping[str, Any], model: str, where: str) -> Item:
    output = sample.get("output")
    output = output if isinstance(output, dict) else {}
    text = output.get("completion")
    if not isinstance(text, str):
        choices = output.get("choices")
        message = choices[0].get("message", {}) if isinstance(choices, list) and choices else {}
        text = _content(message.get("content", ""))
    target = sample.get("target")
    epoch = sample.get("epoch", 1)
    if not isinstance(epoch, int) or epoch < 1:
        raise InvalidInput(f"{where}: epoch: a number from 1 is needed, not {epoch!r}")
    meta = sample.get("metadata")
    return Item(
        id=str(sample["id"]),
        prompt=_content(sample.get("input", "")),
        responses=(Response(text=text, system=str(output.get("model") or model)),),
        reference="\n".join(map(str, target)) if isinstance(target, list) else (str(target) if target else None),
        meta=meta if isinstance(meta, dict) else {},
        sample=epoch - 1,
    )


def _content(told: object) -> str:
    """Text of a message, or of a list of messages or of parts of one."""
    if isinstance(told, str):
        return told
    if isinstance(told, list):
        return "\n".join(filter(None, map(_content, told)))
    if isinstance(told, dict):
        return _content(told.get("content", told.get("text", "")))
    return ""


def _scored(item: Item, judge: str, score: object) -> Judgement:
    base = Judgement(item_id=item.id, judge=judge, kind="score", sample=item.sample, status="invalid")
    if not isinstance(score, dict):
        return base
    value = score.get("value")
    told = {"rationale": str(score.get("explanation") or ""), "status": "ok"}
    if isinstance(value, dict):
        numbers = {str(name): _number(one) for name, one in value.items()}
        checks = {name: one for name, one in numbers.items() if one is not None and 0 <= one <= 1}
        return base.model_copy(update=told | {"kind": "checklist", "checks": checks}) if checks else base
    number = _number(value)
    return base if number is None else base.model_copy(update=told | {"scores": (number,)})


def _number(value: object) -> float | None:
    """A score's value as a number; None where it is none."""
    if isinstance(value, str):
        if value in _VALUES:
            return _VALUES[value]
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    return None
