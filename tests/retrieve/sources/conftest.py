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


def web_client(timeout: float) -> WebClient:
    return WebClient(RetrieveSettings(allow_loopback=True, timeout=timeout, per_host_per_second=1000))


@pytest.fixture
def client() -> Iterator[WebClient]:
    with web_client(timeout=5) as opened:
        yield opened


@pytest.fixture
def open_on_loopback(client: WebClient) -> Iterator[Open]:
    """`open_on_loopback(name, articles, **options)` → the source and the service it is aimed at. An `impatient` one
    gives up after half a second."""
    services: list[Service] = []
    with web_client(timeout=0.5) as impatient_client:

        def opened(name: str, articles: list[Article], *, impatient: bool = False, **options: Any) -> Opened:
            service = Service(ANSWERS[name], articles)
            services.append(service)
            return OPENERS[name](impatient_client if impatient else client, service.url, **options), service

        yield opened
        for service in services:
            service.close()
