"""Anthropic's wire format."""

from __future__ import annotations

import pytest
from model_server import Canned, ModelServer, Request, anthropic_text, model_server
from pydantic import BaseModel

from weighup.errors import ModelUnavailable
from weighup.models import Meter, Prompt, Question
from weighup.models.anthropic import AnthropicBackend
from weighup.models.client import Client
from weighup.settings import ModelSettings, Price


class Person(BaseModel):
    name: str


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")


def client_of(server: ModelServer) -> Client:
    models = ModelSettings(base_url=server.url, retries=2)
    return Client(AnthropicBackend.load("claude", models), models, price=Price(input=3, output=15), backoff=0.01)


def test_the_request_is_what_the_api_says_and_usage_is_read() -> None:
    with model_server(anthropic_text("hello", read=100, wrote=10)) as server:
        meter = Meter()
        prompt = Prompt("hi", system="be brief", max_tokens=50, stop=("\n", "END"))
        reply = client_of(server).generate([prompt], meter=meter)[0]
    request = server.requests[0]
    assert reply.text == "hello"
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == "sk-ant-secret"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.body == {
        "model": "claude",
        "max_tokens": 50,
        "temperature": 0.0,
        "system": "be brief",
        "messages": [{"role": "user", "content": "hi"}],
        "stop_sequences": ["END"],
    }
    assert meter.usage.usd == pytest.approx((100 * 3 + 10 * 15) / 1e6)


def test_an_address_that_ends_as_openais_do_means_the_same_server() -> None:
    with model_server(anthropic_text("hello")) as server:
        models = ModelSettings(base_url=f"{server.url}/v1/", retries=0)
        Client(AnthropicBackend.load("claude", models), models, price=Price(input=3, output=15)).generate(
            [Prompt("hi")]
        )
    assert server.requests[0].path == "/v1/messages"


def test_json_is_asked_for_in_words_validated_and_asked_again() -> None:
    with model_server(anthropic_text("{}"), anthropic_text('{"name": "Ann"}')) as server:
        reply = client_of(server).generate([Prompt("who", schema=Person)])[0]
    assert reply.value == Person(name="Ann")
    assert "JSON Schema" in server.requests[0].body["system"]
    assert [m["role"] for m in server.requests[1].body["messages"]] == ["user", "assistant", "user"]


def test_choose_asks_for_probabilities_in_words() -> None:
    said = anthropic_text('{"probabilities": {"real": 20, "fake": 60}}')
    with model_server(said) as server:
        meter = Meter()
        choice = client_of(server).choose([Question("?", ("real", "fake"))], meter=meter)[0]
    assert choice.probabilities == pytest.approx((0.25, 0.75))
    assert meter.usage.calls == 1


def test_overload_is_waited_out() -> None:
    busy = Canned({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, status=529)
    with model_server(busy, anthropic_text("ok")) as server:
        assert client_of(server).generate([Prompt("x")])[0].text == "ok"
    assert len(server.requests) == 2


def test_a_model_without_temperature_is_asked_without_one() -> None:
    def newer(request: Request) -> Canned:
        if "temperature" in request.body:
            error = {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."}
            return Canned({"type": "error", "error": error}, status=400)
        return anthropic_text("ok")

    with model_server(newer) as server:
        replies = client_of(server).generate([Prompt("a")]) + client_of(server).generate([Prompt("b")])
    assert [r.text for r in replies] == ["ok", "ok"]


def test_a_reply_of_another_shape_is_unavailable() -> None:
    with model_server(Canned({"content": "just text"})) as server:
        reply = client_of(server).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert "without content" in str(reply.error)
