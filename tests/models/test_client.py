"""The one client: order, errors per item, concurrency, retries, cache, budgets, secrets. Over a real HTTP server."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from model_server import Answer, Canned, ModelServer, Request, model_server, openai_error, openai_text, wait_until
from pydantic import BaseModel

from weighup.errors import BudgetExceeded, ModelUnavailable
from weighup.models import Budget, Meter, Prompt
from weighup.models.cache import RequestCache
from weighup.models.client import Client
from weighup.models.openai import OpenAIBackend
from weighup.settings import ModelSettings, Price

SECRET = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def client_of(server: ModelServer, *, cache: Path | None = None, price: Price | None = None, **settings: Any) -> Client:
    models = ModelSettings(base_url=server.url + "/v1", **{"timeout": 20.0, "retries": 3, **settings})
    kept = RequestCache(cache, size=10_000_000) if cache else None
    return Client(OpenAIBackend.load("m", models), models, price=price or Price(), cache=kept, backoff=0.01)


def echo(request: Request) -> Canned:
    return openai_text("echo " + request.body["messages"][-1]["content"])


class Person(BaseModel):
    name: str
    age: int


def test_replies_come_in_the_order_of_the_prompts_with_their_usage() -> None:
    with model_server(echo) as server:
        meter = Meter()
        client = client_of(server, price=Price(input=1.0, output=2.0))
        replies = client.generate([Prompt(f"p{n}", system="be brief") for n in range(20)], meter=meter)
    assert [r.text for r in replies] == [f"echo p{n}" for n in range(20)]
    assert all(r.error is None and r.usage.calls == 1 for r in replies)
    assert (meter.usage.calls, meter.usage.tokens_in, meter.usage.tokens_out) == (20, 200, 100)
    assert meter.usage.usd == pytest.approx(20 * (10 * 1.0 + 5 * 2.0) / 1e6)
    assert server.requests[0].body["messages"][0] == {"role": "system", "content": "be brief"}


def test_no_prompts_no_calls() -> None:
    with model_server(echo) as server:
        assert client_of(server).generate([]) == []
    assert server.requests == []


def test_calls_side_by_side_never_exceed_the_limit_even_over_several_batches() -> None:
    with model_server(lambda request: Canned(echo(request).body, delay=0.05)) as server:
        client = client_of(server, concurrency=3)
        batches = [
            threading.Thread(target=client.generate, args=([Prompt(f"{b}{n}") for n in range(8)],)) for b in range(2)
        ]
        for batch in batches:
            batch.start()
        for batch in batches:
            batch.join()
    assert len(server.requests) == 16
    assert server.most_at_once == 3


def test_one_bad_item_leaves_the_others() -> None:
    def some(request: Request) -> Canned:
        bad = request.body["messages"][-1]["content"] == "bad"
        return openai_error(400, "content policy") if bad else echo(request)

    with model_server(some) as server:
        replies = client_of(server).generate([Prompt("a"), Prompt("bad"), Prompt("c")])
    assert [r.text for r in replies] == ["echo a", "", "echo c"]
    assert isinstance(replies[1].error, ModelUnavailable)
    assert "content policy" in str(replies[1].error)
    assert replies[1].value is None


@pytest.mark.parametrize(
    "trouble",
    [
        openai_error(500, "oops"),
        openai_error(503, "overloaded"),
        openai_error(429, "slow down"),
        Canned(b"<html>Bad gateway</html>", status=502),
        Canned(b"\xff\xfe junk"),
        Canned(b'["a list"]'),
        Canned({"choices": []}),
        Canned({"choices": [{"message": {"content": None}}]}),
        Canned(b"{}", headers={"Content-Length": "100", "Connection": "close"}),
    ],
    ids=["500", "503", "429", "html", "binary", "list", "no-choices", "no-text", "cut-off"],
)
def test_what_may_pass_is_asked_again(trouble: Canned) -> None:
    with model_server(trouble, trouble, echo) as server:
        reply = client_of(server, timeout=2.0).generate([Prompt("x")])[0]
    assert reply.text == "echo x"
    assert len(server.requests) == 3
    assert reply.usage.calls == 1


def test_what_will_not_pass_is_given_up_after_the_retries() -> None:
    with model_server(openai_error(500, "still down")) as server:
        reply = client_of(server, retries=2).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert "500: still down" in str(reply.error)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_asked_again(status: int) -> None:
    with model_server(openai_error(status, "no")) as server:
        reply = client_of(server).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert len(server.requests) == 1


def test_an_empty_account_is_not_waited_for() -> None:
    with model_server(openai_error(429, "You exceeded your quota", code="insufficient_quota")) as server:
        reply = client_of(server).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert len(server.requests) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(form: str) -> None:
    asked = "1" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with model_server(Canned(openai_error(429, "wait").body, 429, {"Retry-After": asked}), echo) as server:
        client = client_of(server)
        started = time.monotonic()
        reply = client.generate([Prompt("x")])[0]
        waited = time.monotonic() - started
    assert reply.text == "echo x"
    assert waited >= 0.9  # never sooner than asked; how much later is the machine's business


def test_a_server_that_asks_for_an_hour_is_not_waited_for() -> None:
    with model_server(Canned(openai_error(429, "wait").body, 429, {"Retry-After": "3600"}), echo) as server:
        reply = client_of(server).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert len(server.requests) == 1


@pytest.mark.parametrize("trouble", [Canned(b"{}", delay=30), Canned(b"x" * 1000, drip=0.1)], ids=["hangs", "drips"])
def test_a_hanging_server_is_left_after_the_timeout(trouble: Canned) -> None:
    with model_server(trouble, echo) as server:
        reply = client_of(server, timeout=0.5).generate([Prompt("x")])[0]
    assert reply.text == "echo x"


def test_nothing_listens_there() -> None:
    with model_server(echo) as server:
        pass
    reply = client_of(server, retries=1).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert "cannot reach" in str(reply.error)


def test_what_was_asked_before_costs_nothing(tmp_path: Path) -> None:
    with model_server(echo) as server:
        meter = Meter()
        first = client_of(server, cache=tmp_path).generate([Prompt("x"), Prompt("y")], meter=meter)
        spent = meter.usage
        again = client_of(server, cache=tmp_path).generate([Prompt("y"), Prompt("x")], meter=meter)
    assert [r.text for r in again] == [first[1].text, first[0].text]
    assert len(server.requests) == 2
    assert (meter.usage.calls, meter.usage.cached) == (4, 2)
    assert (meter.usage.tokens_in, meter.usage.usd, meter.usage.seconds) == (
        spent.tokens_in,
        spent.usd,
        spent.seconds,
    )


def test_the_same_prompt_twice_in_a_batch_is_asked_once(tmp_path: Path) -> None:
    with model_server(echo) as server:
        meter = Meter()
        replies = client_of(server, cache=tmp_path).generate([Prompt("x")] * 3, meter=meter)
    assert [r.text for r in replies] == ["echo x"] * 3
    assert len(server.requests) == 1
    assert (meter.usage.calls, meter.usage.cached, meter.usage.tokens_in) == (3, 2, 10)


@pytest.mark.parametrize(
    "other",
    [
        Prompt("x", max_tokens=9),
        Prompt("x", temperature=0.5),
        Prompt("x", seed=1),
        Prompt("x", system="s"),
        Prompt("x", stop=("\n",)),
    ],
)
def test_any_difference_in_the_request_is_another_request(other: Prompt, tmp_path: Path) -> None:
    with model_server(echo) as server:
        client_of(server, cache=tmp_path).generate([Prompt("x"), other])
    assert len(server.requests) == 2


def test_errors_are_not_kept(tmp_path: Path) -> None:
    with model_server(openai_error(403, "not today"), echo) as server:
        client = client_of(server, cache=tmp_path)
        assert client.generate([Prompt("x")])[0].error is not None
        assert client.generate([Prompt("x")])[0].text == "echo x"


def test_a_cache_that_cannot_be_written_is_gone_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with model_server(echo) as server, caplog.at_level(logging.WARNING):
        client = client_of(server, cache=tmp_path / "file" / "requests")
        assert [r.text for r in client.generate([Prompt("x"), Prompt("y")])] == ["echo x", "echo y"]
    assert sum("cannot be used" in r.message for r in caplog.records) == 1


def test_json_is_validated_and_asked_again_with_the_reason() -> None:
    bad = openai_text('Sure! {"name": "Ann", "age": "old"}')
    good = openai_text('```json\n{"name": "Ann", "age": 30}\n```')
    with model_server(bad, good) as server:
        reply = client_of(server).generate([Prompt("Who?", schema=Person)])[0]
    assert reply.value == Person(name="Ann", age=30)
    assert reply.usage.calls == 2
    again = server.requests[1].body["messages"]
    assert again[-2]["role"] == "assistant"
    assert "age" in again[-1]["content"]


def test_json_is_asked_for_at_most_three_times() -> None:
    with model_server(openai_text("I would rather not.")) as server:
        reply = client_of(server).generate([Prompt("Who?", schema=Person)])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert "Person after 3 tries" in str(reply.error)
    assert len(server.requests) == 3
    assert reply.usage.calls == 3


def test_a_token_budget_is_never_overspent_by_calls_side_by_side() -> None:
    big = openai_text("x", read=10, wrote=100)
    with model_server(lambda request: Canned(big.body, delay=0.05)) as server:
        meter = Meter(Budget(tokens=350))
        replies = client_of(server, concurrency=8).generate(
            [Prompt(f"{n}", max_tokens=100) for n in range(8)], meter=meter
        )
    refused = [r for r in replies if isinstance(r.error, BudgetExceeded)]
    assert 0 < len(refused) < 8
    assert len(server.requests) == 8 - len(refused)
    assert meter.usage.tokens_in + meter.usage.tokens_out <= 350


def test_the_runs_budget_binds_the_claims_meter() -> None:
    with model_server(echo) as server:
        run = Meter(Budget(tokens=400))
        client = client_of(server)
        first = client.generate([Prompt("x")], meter=Meter(Budget(tokens=10_000), parent=run))[0]
        second = client.generate([Prompt("y", max_tokens=390)], meter=Meter(parent=run))[0]
    assert first.error is None
    assert isinstance(second.error, BudgetExceeded)
    assert run.usage.calls == 1


def test_a_money_budget_is_kept_and_free_models_pass() -> None:
    with model_server(echo) as server:
        dear = client_of(server, price=Price(input=100, output=100))
        assert isinstance(dear.generate([Prompt("x")], meter=Meter(Budget(usd=0.001)))[0].error, BudgetExceeded)
        assert client_of(server).generate([Prompt("x")], meter=Meter(Budget(usd=0.0)))[0].error is None
    assert len(server.requests) == 1


def test_a_money_budget_refuses_a_model_whose_price_is_not_known() -> None:
    with model_server(echo) as server:
        models = ModelSettings(base_url=server.url)
        client = Client(OpenAIBackend.load("m", models), models, price=None)
        refused = client.generate([Prompt("x")], meter=Meter(Budget(usd=1.0)))[0]
        free = client.generate([Prompt("x")])[0]
    assert isinstance(refused.error, BudgetExceeded)
    assert 'models.prices."openai:m"' in str(refused.error)
    assert free.error is None


def test_a_time_budget_cuts_a_call_under_way() -> None:
    with model_server(Canned(b"{}", delay=30)) as server:
        meter = Meter(Budget(seconds=0.4))
        replies = client_of(server, concurrency=1).generate([Prompt("x"), Prompt("y")], meter=meter)
    assert [type(r.error) for r in replies] == [BudgetExceeded, BudgetExceeded]
    assert len(server.requests) == 1


def test_waiting_for_a_retry_does_not_outlast_the_time_budget() -> None:
    with model_server(Canned(openai_error(503, "later").body, 503, {"Retry-After": "15"})) as server:
        reply = client_of(server).generate([Prompt("x")], meter=Meter(Budget(seconds=10)))[0]
    assert isinstance(reply.error, BudgetExceeded)
    assert "later" in str(reply.error)


@pytest.mark.parametrize(
    "answer",
    [
        openai_error(401, f"Incorrect API key provided: {SECRET}"),
        Canned(f"not json {SECRET}".encode()),
        Canned(SECRET.encode(), status=500),
    ],
)
def test_the_key_is_sent_and_never_shown(answer: Answer, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with model_server(answer) as server, caplog.at_level(logging.DEBUG):
        client = client_of(server, cache=tmp_path, retries=1)
        reply = client.generate([Prompt("x")])[0]
    assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in f"{reply.error!r} {reply.error} {reply.error.__cause__!r} {client.backend.endpoint!r}"  # type: ignore[union-attr,attr-defined]
    assert SECRET not in caplog.text
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_redirect_takes_the_key_nowhere() -> None:
    with model_server(echo) as elsewhere:
        moved = Canned(b"", 307, {"Location": f"{elsewhere.url}/v1/chat/completions"})
        with model_server(moved) as server:
            reply = client_of(server).generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert elsewhere.requests == []


def test_a_fault_of_ours_is_not_hidden_in_a_batch() -> None:
    with model_server(echo) as server:
        client = client_of(server)
        client.backend.write = None  # type: ignore[method-assign,assignment]
        with pytest.raises(TypeError):
            client.generate([Prompt("a"), Prompt("b")])


def test_ctrl_c_ends_the_process_while_calls_hang() -> None:
    script = (
        "import sys\n"
        "from weighup.models import Prompt, language_model\n"
        "from weighup.settings import load_settings\n"
        "s = load_settings({'models': {'language': 'openai:m', 'base_url': sys.argv[1], 'cache': False}})\n"
        "language_model(s).generate([Prompt('a'), Prompt('b')])\n"
    )
    with model_server(Canned(b"{}", delay=120)) as server:
        child = subprocess.Popen([sys.executable, "-c", script, server.url], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(server.requests) == 2, 60)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    assert child.returncode != 0
    assert "KeyboardInterrupt" in errors


def test_kept_answers_are_json(tmp_path: Path) -> None:
    with model_server(echo) as server:
        client_of(server, cache=tmp_path).generate([Prompt("x")])
    import diskcache

    with diskcache.Cache(str(tmp_path)) as kept:
        values = [json.loads(kept[key]) for key in kept]
    assert values == [{"text": "echo x", "tokens_in": 10, "tokens_out": 5}]
