"""From settings to models, and what the façade costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import weighup.models as room
from weighup.errors import SettingsError
from weighup.models import Prompt, language_model
from weighup.models.prices import price_of
from weighup.settings import ModelSettings, Price, load_settings


def test_every_name_of_the_facade_is_there() -> None:
    for name in room.__all__:
        assert getattr(room, name) is not None
    with pytest.raises(AttributeError):
        room.nonsense  # noqa: B018


def test_none_is_none(clean_environment: Path) -> None:
    assert language_model(load_settings({"models": {"language": "none"}})) is None


@pytest.mark.parametrize("named", ["gpt-4o", "openai:", "anthropic:", "", "embedde", "recorded:"])
def test_a_name_that_cannot_be_opened_is_refused_with_the_ones_that_can(named: str, clean_environment: Path) -> None:
    with pytest.raises(SettingsError, match="anthropic:NAME"):
        language_model(load_settings({"models": {"language": named}}))


def test_a_servers_model_may_be_called_by_its_file(clean_environment: Path) -> None:
    settings = {"language": "openai:SmolLM2.Q4_1.gguf", "base_url": "http://127.0.0.1:9/v1"}
    model = language_model(load_settings({"models": settings}))
    assert model is not None
    assert model.name == "openai:SmolLM2.Q4_1.gguf"


def test_a_plug_in_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> None:
    (tmp_path / "parrot_model.py").write_text(
        "from weighup.models.backend import Wrote, Weighed\n"
        "class Parrot:\n"
        "    constrains = False\n    remote = False\n    concurrency = 1\n    version = '1'\n"
        "    def __init__(self, rest, settings): self.name = f'parrot:{rest}'\n"
        "    def write(self, prompt, messages, *, timeout): return Wrote(prompt.user, 1, 1)\n"
        "    def weigh(self, question, *, timeout): return Weighed((1.0,), 1, 1)\n"
    )
    info = tmp_path / "parrot_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot-model\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[weighup.models]\nparrot = parrot_model:Parrot\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = language_model(load_settings({"models": {"language": "parrot:grey", "cache": False}}))
    assert model is not None
    assert model.name == "parrot:grey"
    assert model.generate([Prompt("hello")])[0].text == "hello"


def test_a_price_is_the_users_or_the_listed_one_or_unknown() -> None:
    own = ModelSettings(prices={"gpt-4o": Price(input=1, output=2), "openai:x": Price(input=3, output=4)})
    assert price_of("openai:gpt-4o", own) == Price(input=1, output=2)
    assert price_of("openai:x", own) == Price(input=3, output=4)
    assert price_of("openai:gpt-4o-mini-2024-07-18", own) == Price(input=0.15, output=0.60)
    assert price_of("openai:gpt-4o-audio-preview", own) is None
    assert price_of("anthropic:gpt-4o-mini", own) is None


def test_the_room_is_light_to_enter() -> None:
    heavy = ["onnxruntime", "xllamacpp", "httpx", "openai", "anthropic", "diskcache", "tokenizers", "tenacity"]
    script = (
        "import sys, weighup.models, weighup.models.open, weighup.models.client, weighup.models.onnx_encoder\n"
        "import weighup.models.embedded, weighup.models.openai, weighup.models.anthropic, weighup.models.pull\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
