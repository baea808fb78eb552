"""No key, password or token in an error or a log, whatever the server sends back or the user writes where."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from model_server import Answer, Canned, model_server, openai_error, openai_text

from weighup.errors import SettingsError, WeighupError
from weighup.models import Prompt, Question
from weighup.models.anthropic import AnthropicBackend
from weighup.models.client import Client
from weighup.models.openai import OpenAIBackend
from weighup.settings import ModelSettings, Price, load_settings

SECRET = "sk-very-secret-0123456789"
HEADERS = {"headers": {"authorization": f"Bearer {SECRET}"}}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)


def shown(error: BaseException | None) -> str:
    """An error and all that led to it, as a traceback would show them."""
    told = []
    while error is not None:
        told.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    return " ".join(told)


@pytest.mark.parametrize(
    "answer",
    [
        Canned(HEADERS),
        Canned({"choices": [{"message": HEADERS}]}),
        Canned(f"{'x' * 70}{SECRET}".encode()),
        Canned(f"{'x' * 290}{SECRET}".encode(), status=403),
        openai_error(400, f"logprobs are not for {SECRET}"),
    ],
    ids=["no-choices", "no-text", "cut-at-80", "cut-at-300", "refusal"],
)
@pytest.mark.parametrize("backend", [OpenAIBackend, AnthropicBackend])
def test_a_key_that_the_server_sends_back_is_not_shown(
    answer: Answer, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with model_server(answer) as server, caplog.at_level(logging.DEBUG):
        models = ModelSettings(base_url=server.url, retries=0)
        client = Client(backend.load("m", models), models, price=Price(), backoff=0.01)
        failed = [client.generate([Prompt("x")])[0].error, client.choose([Question("x", ("real", "fake"))])[0].error]
    assert all(isinstance(error, WeighupError) for error in failed)
    assert "sk-very" not in " ".join(map(shown, failed)) + caplog.text


def test_what_the_model_writes_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "ollama")
    with model_server(openai_text("ollama is a program")) as server:
        models = ModelSettings(base_url=server.url)
        reply = Client(OpenAIBackend.load("m", models), models, price=Price()).generate([Prompt("x")])[0]
    assert reply.text == "ollama is a program"


@pytest.mark.parametrize("key", [f"{SECRET}\nsecond line", f"{SECRET}…"])
def test_a_key_that_no_header_can_carry_is_refused_at_the_door(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(SettingsError, match="OPENAI_API_KEY") as caught:
        OpenAIBackend.load("m", ModelSettings())
    assert SECRET not in shown(caught.value)


def test_a_key_written_where_its_variable_is_to_be_named_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="api_key_env") as caught:
        OpenAIBackend.load("m", ModelSettings(api_key_env=SECRET))
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_key_written_into_the_settings_is_not_shown(
    place: str, monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    if place == "file":
        (clean_environment / "weighup.toml").write_text(f'[models]\napi_key = "{SECRET}"\n')
    else:
        monkeypatch.setenv("WEIGHUP_MODELS__API_KEY", SECRET)
    with pytest.raises(SettingsError, match=r"models\.api_key: there is no such setting") as caught:
        load_settings()
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize(
    "url", ["http://[::1/v1", "http://host:port/v1", "http://127.0.0.1/v1?key=s3cret", "http://a b/"]
)
def test_an_address_that_is_none_is_refused_at_the_door(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url") as caught:
        OpenAIBackend.load("m", ModelSettings(base_url=url))
    assert "s3cret" not in str(caught.value)
