"""A model server that misbehaves: what it should have written is missing and said so, the others decide."""

from __future__ import annotations

import json

import pytest
from model_server import Canned, model_server

from conftest import Run

pytestmark = pytest.mark.usefixtures("models_ready")
CLAIM = "The Golden Gate Bridge in San Francisco was opened to traffic in May 1937."


@pytest.mark.parametrize(
    "answer",
    [
        Canned(b"\x00\xff this is not JSON"),
        Canned({"choices": []}),
        Canned({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0"}),
        Canned({"error": {"message": "broken"}}, status=500),
        Canned({"choices": []}, delay=20),
    ],
    ids=["junk", "empty", "429", "500", "hangs"],
)
def test_a_broken_model_server_degrades_the_verdict_and_says_so(weighup: Run, answer: Canned) -> None:
    with model_server(answer) as server:
        env = {
            "WEIGHUP_MODELS__BASE_URL": server.url,
            "WEIGHUP_MODELS__TIMEOUT": "1",
            "WEIGHUP_MODELS__RETRIES": "1",
            "WEIGHUP_MODELS__API_KEY_ENV": "TEST_KEY",
            "TEST_KEY": "not-a-secret",
        }
        done = weighup("check", CLAIM, "--no-search", "--model", "openai:any", "-q", "--format", "json", env=env)
        asked = len(server.requests)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert asked >= 1
    assert told["verdict"] in ("real", "fake", "unknown")
    assert told["expert"] in ("evidence", "reasoning", "sentiment")
    assert told["perspectives"]["reasoning"]["written_by"] is None
    assert not told["perspectives"]["reasoning"]["available"]
    assert any("reasoning was not available" in warning for warning in told["warnings"]), told["warnings"]
