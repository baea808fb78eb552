"""The built-in language model on torch: the same answers as llama.cpp's, but many at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from weighup.errors import ModelMissing
from weighup.models import Prompt, Question, language_model
from weighup.settings import load_settings

pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("transformers", reason="the extra `train` is not installed")

CLAIMS = (
    "Water boils at 100 degrees Celsius at sea level.",
    "The moon is made of cheese, say scientists.",
    "It rained.",
)


@pytest.fixture(scope="module")
def batched(models_ready: Path):
    return language_model(load_settings({"models": {"language": "transformers:embedded", "concurrency": 64}}))


def question(claim: str) -> Question:
    return Question(f"Claim: {claim}\nIs it real or fake?\nAnswer:", ("real", "fake"), "You judge short claims.")


def test_it_weighs_as_the_engine_does(batched, models_ready: Path) -> None:
    engine = language_model(load_settings({"models": {"language": "embedded"}}))
    assert engine is not None
    asked = [question(claim) for claim in CLAIMS]
    for mine, theirs in zip(batched.choose(asked), engine.choose(asked), strict=True):
        assert mine.probabilities == pytest.approx(theirs.probabilities, abs=0.1)


def test_a_batch_says_what_each_would_say_alone(batched) -> None:
    prompts = [Prompt(f"Explain in one sentence: {claim}", "You are brief.", max_tokens=12) for claim in CLAIMS]
    together = [reply.text for reply in batched.generate(prompts)]
    assert together == [batched.generate([prompt])[0].text for prompt in prompts]
    assert all(together)


def test_many_are_answered_in_order(batched) -> None:
    asked = [question(f"{claim} {n}") for n in range(4) for claim in CLAIMS]
    together = batched.choose(asked)
    alone = [batched.choose([one])[0] for one in asked[:3]]
    for mine, theirs in zip(together, alone, strict=False):
        assert mine.probabilities == pytest.approx(theirs.probabilities, abs=0.02)


def test_a_stop_ends_the_text(batched) -> None:
    whole = batched.generate([Prompt("Name three fruits.", max_tokens=12)])[0].text
    cut = batched.generate([Prompt("Name three fruits.", max_tokens=12, stop=(whole[5:8],))])[0].text
    assert whole.startswith(cut)
    assert len(cut) < len(whole)


def test_a_folder_that_is_none_is_named() -> None:
    with pytest.raises(ModelMissing, match="transformers:/nowhere"):
        language_model(load_settings({"models": {"language": "transformers:/nowhere"}}))
