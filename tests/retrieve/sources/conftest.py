"""Sources opened on loopback services, with made-up keys in the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from source_services import ANSWERS, Article, Service
from source_worlds import KEYS, OPENERS, SECRET, Open, Opened
from weighup.retrieve.web import WebClient

from weighup.settings import RetrieveSettings


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, SECRET)


@pytest.fixture
def client() -> Iterator[WebClient]:
    settings = RetrieveSettings(allow_loopback=True, timeout=0.7, per_host_per_second=1000)
    opened = WebClient(settings)
    yield opened
    opened.close()


@pytest.fixture
def open_on_loopback(client: WebClient) -> Iterator[Open]:
    """`open_on_loopback(name, articles, **options)` → the source and the service it is aimed at."""
    services: list[Service] = []

    def opened(name: str, articles: list[Article], **options: Any) -> Opened:
        service = Service(ANSWERS[name], articles)
        services.append(service)
        return OPENERS[name](client, service.url, **options), service

    yield opened
    for service in services:
        service.close()
