"""Servers that answer with junk, callers that ask with it: an error or a value per item, never a crash of the batch."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from model_server import Canned, ModelServer, model_server, openai_error, openai_text, openai_top
from pydantic import BaseModel

from weighup.errors import InvalidInput, ModelUnavailable
from weighup.models import Prompt, Question
from weighup.models.anthropic import AnthropicBackend
from weighup.models.client import Client
from weighup.models.openai import OpenAIBackend
from weighup.models.retries import retry_after
from weighup.settings import ModelSettings, Price


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")


def client_of(server: ModelServer, backend: Any = OpenAIBackend, **settings: Any) -> Client:
    models = ModelSettings(base_url=server.url, **{"retries": 0, **settings})
    return Client(backend.load("m", models), models, price=Price(input=1, output=1), backoff=0.01)


@pytest.mark.parametrize("message", ["hi", ["hi"], 7, None])
def test_a_message_that_is_no_message(message: Any) -> None:
    with model_server(Canned({"choices": [{"message": message}]})) as server:
        reply = client_of(server).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)


def test_half_characters_in_a_reply_and_in_a_prompt() -> None:
    with model_server(Canned(b'{"choices":[{"message":{"content":"a\\ud800b"}}]}')) as server:
        reply = client_of(server).generate([Prompt("x\ud800", system="\udfff")])[0]
    assert reply.text == "a?b"
    assert [m["content"] for m in server.requests[0].body["messages"]] == ["?", "x?"]


@pytest.mark.parametrize("logprob", [float("nan"), float("inf"), 800.0, float("-inf")])
def test_log_probabilities_that_are_none(logprob: float) -> None:
    said = openai_text('{"probabilities": {"real": 0.5, "fake": 0.5}}')
    with model_server(openai_top(("real", logprob), ("fake", -1.0)), said) as server:
        choice = client_of(server).choose([Question("x", ("real", "fake"))])[0]
    assert choice.error is None
    assert np.isfinite(choice.probabilities).all()
    assert sum(choice.probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("backend", "body"),
    [
        (OpenAIBackend, openai_text("x", read=-1_000_000).body),
        (AnthropicBackend, {"content": [{"type": "text", "text": "x"}], "usage": {"output_tokens": -9}}),
        (
            AnthropicBackend,
            {"content": [{"type": "text", "text": "x"}], "usage": {"input_tokens": -9, "output_tokens": 1}},
        ),
    ],
)
def test_a_server_that_counts_below_nothing_gives_no_budget_back(backend: Any, body: Any) -> None:
    with model_server(Canned(body)) as server:
        usage = client_of(server, backend).generate([Prompt("x")])[0].usage
    assert usage.tokens_in >= 0
    assert usage.tokens_out > 0
    assert usage.usd > 0


@pytest.mark.parametrize("status", [505, 521, 523, 530])
def test_any_failure_of_the_server_is_asked_again(status: int) -> None:
    with model_server(openai_error(status, "down"), openai_text("ok")) as server:
        assert client_of(server, retries=1).generate([Prompt("x")])[0].text == "ok"


@pytest.mark.parametrize("value", ["Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "Mon,", "soon", "nan"])
def test_a_retry_after_that_cannot_be_read_is_none(value: str) -> None:
    assert retry_after(value) is None


def test_a_strict_schema_is_validated_as_json() -> None:
    class Event(BaseModel, strict=True):
        day: datetime.date
        places: tuple[str, ...]

    with model_server(openai_text('{"day": "2024-05-01", "places": ["a"]}')) as server:
        reply = client_of(server).generate([Prompt("when?", schema=Event)])[0]
    assert reply.value == Event(day=datetime.date(2024, 5, 1), places=("a",))


@pytest.mark.parametrize("answers", [(), ("yes",), ("yes", "Yes "), ("yes", "")])
def test_a_question_needs_answers_that_differ(answers: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="differ"):
        Question("x", answers)


@pytest.mark.parametrize("most", [0, -1])
def test_a_prompt_needs_a_length(most: int) -> None:
    with pytest.raises(InvalidInput, match="max_tokens"):
        Prompt("x", max_tokens=most)
