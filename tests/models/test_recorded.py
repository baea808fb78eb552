"""Recording what a model answered, and replaying it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_server import model_server, openai_text, openai_top
from pydantic import BaseModel

from weighup.errors import InvalidInput, ModelUnavailable
from weighup.models import LanguageModel, Meter, Prompt, Question, language_model
from weighup.models.recorded import Recorder
from weighup.settings import load_settings


class Person(BaseModel):
    name: str


def opened(language: str, **more: str) -> LanguageModel:
    model = language_model(load_settings({"models": {"language": language, "cache": False, "retries": 0, **more}}))
    assert model is not None
    return model


def test_a_recording_replays_without_the_model(tmp_path: Path, clean_environment: Path) -> None:
    file = tmp_path / "answers.jsonl"
    prompts = [Prompt("who", schema=Person, system="s"), Prompt("what")]
    question = Question("?", ("real", "fake"))
    with model_server(openai_text('{"name": "Ann"}'), openai_text("a thing"), openai_top(("fake", -0.1))) as server:
        recorder = Recorder(opened("openai:m", base_url=server.url), file)
        assert isinstance(recorder, LanguageModel)
        first = [recorder.generate([prompt])[0] for prompt in prompts]
        chosen = recorder.choose([question])[0]

    replay = opened(f"recorded:{file}")
    meter = Meter()
    again = replay.generate(list(reversed(prompts)), meter=meter)
    assert [r.text for r in again] == [first[1].text, first[0].text]
    assert again[1].value == Person(name="Ann")
    assert replay.choose([question], meter=meter)[0].probabilities == chosen.probabilities
    assert meter.usage.calls == 3
    assert meter.usage.tokens_in == sum(r.usage.tokens_in for r in first) + chosen.usage.tokens_in
    assert meter.usage.usd == 0


def test_what_was_not_recorded_is_unavailable_by_item(tmp_path: Path, clean_environment: Path) -> None:
    file = tmp_path / "answers.jsonl"
    with model_server(openai_text("a thing")) as server:
        Recorder(opened("openai:m", base_url=server.url), file).generate([Prompt("what")])
    known, unknown = opened(f"recorded:{file}").generate([Prompt("what"), Prompt("what", max_tokens=3)])
    assert known.text == "a thing"
    assert isinstance(unknown.error, ModelUnavailable)
    assert "no recorded answer to 'what'" in str(unknown.error)


def test_failures_are_not_recorded(tmp_path: Path, clean_environment: Path) -> None:
    file = tmp_path / "answers.jsonl"
    with model_server(openai_text("not json")) as server:
        reply = Recorder(opened("openai:m", base_url=server.url), file).generate([Prompt("who", schema=Person)])[0]
    assert reply.error is not None
    assert not file.exists()


@pytest.mark.parametrize("line", ["{", '{"kind": "write"}', '{"kind": "x", "request": {}, "answer": {}}', "[]"])
def test_a_broken_line_is_named(line: str, tmp_path: Path, clean_environment: Path) -> None:
    good = {"kind": "write", "request": {"user": "u"}, "answer": {"text": "t"}}
    file = tmp_path / "answers.jsonl"
    file.write_text(f"{json.dumps(good)}\n{line}\n")
    with pytest.raises(InvalidInput, match=r"answers\.jsonl:2"):
        opened(f"recorded:{file}")


def test_a_file_that_is_not_there_is_named(clean_environment: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.jsonl"):
        opened("recorded:nowhere.jsonl")


@pytest.mark.parametrize(
    "answer",
    [
        {"probabilities": [1.0]},
        {"probabilities": ["a", "b"]},
        {"probabilities": [2.0, -1.0]},
        {"probabilities": 1},
        {"probabilities": [0.5, 0.5], "tokens_in": -5},
        "probabilities",
    ],
)
def test_probabilities_that_do_not_answer_the_question_are_named(
    answer: object, tmp_path: Path, clean_environment: Path
) -> None:
    line = {"kind": "weigh", "request": {"user": "u", "answers": ["real", "fake"]}, "answer": answer}
    file = tmp_path / "answers.jsonl"
    file.write_text(f"{json.dumps(line)}\n")
    with pytest.raises(InvalidInput, match=r"answers\.jsonl:1"):
        opened(f"recorded:{file}")


def test_bytes_that_are_no_text_are_named(tmp_path: Path, clean_environment: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(b"\n\xff\xfe\x00{}\n")
    with pytest.raises(InvalidInput, match=r"answers\.jsonl:2"):
        opened(f"recorded:{file}")
