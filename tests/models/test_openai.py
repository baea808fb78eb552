"""OpenAI's wire format, and the many servers that speak most of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from model_server import Canned, ModelServer, Request, model_server, openai_error, openai_text, openai_top
from pydantic import BaseModel

from weighup.errors import ModelUnavailable, SettingsError
from weighup.models import Meter, Prompt, Question, language_model
from weighup.models.client import Client
from weighup.models.openai import OpenAIBackend
from weighup.settings import ModelSettings, Price, load_settings

ASK = Question("Is it real, fake or unknown?", ("real", "fake", "unknown"), system="Judge.")


class Person(BaseModel):
    name: str


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def client_of(server: ModelServer) -> Client:
    models = ModelSettings(base_url=server.url + "/v1/", retries=1)
    return Client(OpenAIBackend.load("m", models), models, price=Price(), backoff=0.01)


def test_the_request_is_what_the_protocol_says() -> None:
    with model_server(openai_text("ok")) as server:
        client_of(server).generate([Prompt("hello", system="s", max_tokens=7, temperature=0.3, stop=("END",), seed=4)])
    request = server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert "authorization" not in request.headers  # no key is needed on loopback
    assert request.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}],
        "max_tokens": 7,
        "temperature": 0.3,
        "seed": 4,
        "stop": ["END"],
    }


def test_choose_reads_the_log_probabilities_in_one_call() -> None:
    top = openai_top(("Fake", math.log(0.5)), (" real", math.log(0.2)), ("fa", math.log(0.1)), ("The", math.log(0.1)))
    with model_server(top) as server:
        meter = Meter()
        choice = client_of(server).choose([ASK], meter=meter)[0]
    body = server.requests[0].body
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 20, 1)
    assert sum(choice.probabilities) == pytest.approx(1)
    real, fake, unknown = choice.probabilities
    assert fake / real == pytest.approx(3, rel=0.01)
    assert 0 < unknown < real
    assert (meter.usage.calls, meter.usage.tokens_in) == (1, 20)


@pytest.mark.parametrize(
    "first",
    [
        openai_error(400, "logprobs are not supported by this model", param="logprobs"),
        openai_text("fake"),
        openai_top(("Well", -0.1), ("Hm", -3.0)),
    ],
    ids=["refused", "left-out", "none-fits"],
)
def test_choose_asks_in_words_where_log_probabilities_are_not_told(first: Canned) -> None:
    said = openai_text('{"probabilities": {"real": 0.1, "Fake": 0.6, "unknown": 0.3}}')
    with model_server(first, said) as server:
        choice = client_of(server).choose([ASK])[0]
    assert choice.probabilities == pytest.approx((0.1, 0.6, 0.3), abs=0.02)
    assert "unknown" in server.requests[1].body["messages"][-1]["content"]


def test_a_server_that_refused_log_probabilities_is_not_asked_for_them_again() -> None:
    said = openai_text('{"probabilities": {"real": 1, "fake": 0, "unknown": 0}}')
    with model_server(openai_error(400, "logprobs: unknown field"), said) as server:
        choices = [client.choose([ASK])[0] for client in [client_of(server)] for _ in range(2)]
    assert all(c.error is None and min(c.probabilities) > 0 for c in choices)
    assert len(server.requests) == 3


def test_a_server_that_states_nothing_usable_is_unavailable() -> None:
    with model_server(openai_text('{"probabilities": {"perhaps": 1}}')) as server:
        choice = client_of(server).choose([ASK])[0]
    assert isinstance(choice.error, ModelUnavailable)
    assert choice.probabilities == ()


def picky(refused: str, then: str) -> Any:
    def answer(request: Request) -> Canned:
        value: Any = request.body
        for name in refused.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None and then not in str(value):
            return openai_error(400, f"Unsupported parameter: '{refused.split('.')[0]}'. Use {then}.", param=refused)
        return openai_text('{"name": "Ann"}')

    return answer


def test_json_schema_then_json_mode_then_words() -> None:
    def plain_only(request: Request) -> Canned:
        if "response_format" in request.body:
            return openai_error(400, "I do not know that")
        return openai_text('Here: {"name": "Ann"}')

    with model_server(plain_only) as server:
        client = client_of(server)
        assert client.generate([Prompt("who", schema=Person)])[0].value == Person(name="Ann")
        assert client.generate([Prompt("who else", schema=Person)])[0].value == Person(name="Ann")
    formats = [r.body.get("response_format", {}).get("type") for r in server.requests]
    assert formats == ["json_schema", "json_object", None, None]
    assert server.requests[0].body["response_format"]["json_schema"]["schema"]["required"] == ["name"]
    assert "JSON Schema" in server.requests[-1].body["messages"][0]["content"]


@pytest.mark.parametrize("refused", ["temperature", "seed", "stop"])
def test_a_refused_option_is_left_out_from_then_on(refused: str) -> None:
    with model_server(picky(refused, "nothing")) as server:
        client = client_of(server)
        replies = client.generate([Prompt("a", stop=("X",))]) + client.generate([Prompt("b", stop=("X",))])
    assert all(r.error is None for r in replies)
    assert [refused in r.body for r in server.requests] == [True, False, False]


def test_max_tokens_is_renamed_where_the_server_wants_it() -> None:
    with model_server(picky("max_tokens", "max_completion_tokens")) as server:
        assert client_of(server).generate([Prompt("a", max_tokens=9)])[0].error is None
    assert server.requests[1].body["max_completion_tokens"] == 9


def test_tokens_are_estimated_where_the_server_does_not_count() -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "twelve bytes"}}]}
    with model_server(Canned(body)) as server:
        reply = client_of(server).generate([Prompt("x" * 400)])[0]
    assert (reply.usage.tokens_in, reply.usage.tokens_out) == (101, 4)


def test_a_key_is_wanted_unless_the_server_is_here(clean_environment: Path) -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        language_model(load_settings({"models": {"language": "openai:gpt-4o-mini"}}))
    with pytest.raises(SettingsError, match="MY_KEY"):
        language_model(load_settings({"models": {"language": "openai:m", "api_key_env": "MY_KEY"}}))


@pytest.mark.parametrize("url", ["ftp://x/", "file:///etc/passwd", "nonsense", "http://user:pass@127.0.0.1/v1"])
def test_an_address_that_cannot_be_used_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url") as caught:
        OpenAIBackend.load("m", ModelSettings(base_url=url))
    assert "pass@" not in str(caught.value)
