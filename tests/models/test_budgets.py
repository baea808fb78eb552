"""Hard budgets through the client: what is paid is counted, and what fits is let through."""

from __future__ import annotations

import json

import pytest
from model_server import Canned, ModelServer, Request, model_server, openai_text, openai_top
from pydantic import BaseModel, Field

from weighup.errors import BudgetExceeded, ModelUnavailable
from weighup.models import Budget, Meter, Prompt, Question
from weighup.models.client import Client
from weighup.models.openai import OpenAIBackend
from weighup.settings import ModelSettings, Price

PRICE = Price(input=1, output=1)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")


def client_of(server: ModelServer, retries: int = 3) -> Client:
    models = ModelSettings(base_url=server.url, retries=retries)
    return Client(OpenAIBackend.load("m", models), models, price=PRICE, backoff=0.01)


def thought_only(read: int, wrote: int) -> Canned:
    """A reply that spent all its tokens on thinking: paid for, and without text."""
    choice = {"message": {"role": "assistant", "content": None}, "finish_reason": "length"}
    return Canned({"choices": [choice], "usage": {"prompt_tokens": read, "completion_tokens": wrote}})


@pytest.mark.parametrize("budget", [Budget(tokens=264), Budget(usd=264e-6)])
def test_a_call_that_just_fits_the_budget_is_made(budget: Budget) -> None:
    with model_server(openai_text("ok")) as server:
        reply = client_of(server).generate([Prompt("x", max_tokens=256)], meter=Meter(budget))[0]
    assert reply.error is None


def test_tries_that_came_to_nothing_are_paid_for() -> None:
    with model_server(thought_only(10, 200), openai_text("ok", read=10, wrote=5)) as server:
        meter = Meter()
        reply = client_of(server).generate([Prompt("x")], meter=meter)[0]
    assert reply.text == "ok"
    assert reply.usage == meter.usage
    assert (meter.usage.calls, meter.usage.tokens_in, meter.usage.tokens_out) == (1, 20, 205)
    assert meter.usage.usd == pytest.approx(225e-6)


def test_tries_that_are_paid_for_end_with_the_budget() -> None:
    with model_server(thought_only(10, 200)) as server:
        meter = Meter(Budget(tokens=500))
        reply = client_of(server, retries=9).generate([Prompt("x", max_tokens=200)], meter=meter)[0]
    assert isinstance(reply.error, BudgetExceeded)
    assert len(server.requests) == 2
    assert meter.usage.tokens_in + meter.usage.tokens_out <= 500


def test_a_look_at_log_probabilities_that_told_nothing_is_paid_for() -> None:
    said = openai_text('{"probabilities": {"real": 1, "fake": 0}}', read=50, wrote=8)
    with model_server(openai_top(("Well", -0.1)), said) as server:
        meter = Meter()
        choice = client_of(server).choose([Question("x", ("real", "fake"))], meter=meter)[0]
    assert choice.usage == meter.usage
    assert (meter.usage.calls, meter.usage.tokens_in, meter.usage.tokens_out) == (1, 70, 9)
    assert meter.usage.usd == pytest.approx(79e-6)


def test_a_schema_is_set_aside_for_as_it_is_read_too() -> None:
    class Long(BaseModel):
        name: str = Field(description="word " * 400)

    with model_server(openai_text('{"name": "Ann"}')) as server:
        meter = Meter(Budget(tokens=400))
        reply = client_of(server).generate([Prompt("x", schema=Long, max_tokens=50)], meter=meter)[0]
    assert isinstance(reply.error, BudgetExceeded)
    assert server.requests == []


@pytest.mark.parametrize("seconds", [1e12, float("inf")])
def test_a_time_limit_without_end(seconds: float) -> None:
    with model_server(openai_text("ok")) as server:
        assert client_of(server).generate([Prompt("x")], meter=Meter(Budget(seconds=seconds)))[0].text == "ok"


def test_a_place_that_does_not_come_free_in_time() -> None:
    def slow(request: Request) -> Canned:
        return Canned(openai_text(json.dumps(len(request.body))).body, delay=1.0)

    with model_server(slow) as server:
        models = ModelSettings(base_url=server.url, retries=0, concurrency=1)
        client = Client(OpenAIBackend.load("m", models), models, price=PRICE)
        replies = client.generate([Prompt("x"), Prompt("y")], meter=Meter(Budget(seconds=0.2)))
    assert all(isinstance(reply.error, BudgetExceeded | ModelUnavailable) for reply in replies)
