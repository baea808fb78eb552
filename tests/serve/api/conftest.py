"""A server on loopback for the tests of the API."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs pip install 'weighup[serve]'")

from api_samples import Served, serving, settings_of


@pytest.fixture(scope="session", autouse=True)
def hashes_that_cost_little() -> Iterator[None]:
    """argon2 as it is, with as little memory as it takes: these tests show hundreds of wrong keys."""
    from argon2 import PasswordHasher

    from weighup.serve.db import access

    with pytest.MonkeyPatch.context() as patched:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patched.setattr(access, "_hasher", lambda: cheap)
        access._nobodys_hash.cache_clear()
        yield
    access._nobodys_hash.cache_clear()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for a file of tests, with a worker; it has keys, so that nobody gets in without one."""
    with serving(tmp_path_factory.mktemp("api"), settings=settings_of(workers=1)) as running:
        running.key("read", tenant="nobody")
        yield running


@pytest.fixture
def client(served: Served, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Who may do everything, in a tenant of the test's own."""
    with served.client(served.key(tenant=request.node.name, per_minute=100_000)) as one:
        yield one
