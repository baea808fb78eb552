"""The embedded language model, with the real SmolLM2 on the real engine."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from weighup.errors import BudgetExceeded, ModelMissing, ModelUnavailable
from weighup.models import Budget, LanguageModel, Meter, Prompt, Question, language_model
from weighup.models.embedded import EmbeddedBackend
from weighup.models.engine import Completion, ContextExceeded
from weighup.settings import load_settings


class City(BaseModel):
    name: str = Field(max_length=40)
    million_people: float


def opened(**models: object) -> LanguageModel:
    model = language_model(load_settings({"models": {"language": "embedded", "cache": False, "threads": 1, **models}}))
    assert model is not None
    return model


@pytest.fixture(scope="module")
def smollm2(models_ready: Path) -> LanguageModel:
    return opened(context=512, timeout=120)


def test_it_writes_the_same_text_each_time_and_counts_tokens(smollm2: LanguageModel) -> None:
    meter = Meter()
    prompt = Prompt("What is a newspaper?", max_tokens=12)
    first, second = (smollm2.generate([prompt], meter=meter)[0] for _ in range(2))
    assert first.error is None
    assert first.text == second.text != ""
    assert 0 < first.usage.tokens_out <= 12
    assert first.usage.tokens_in > 5
    assert meter.usage.calls == 2
    assert meter.usage.usd == 0


def test_a_batch_keeps_its_order(smollm2: LanguageModel) -> None:
    prompts = [Prompt(f"Repeat the number {n}.", max_tokens=n) for n in (1, 2, 3, 4)]
    assert [r.usage.tokens_out for r in smollm2.generate(prompts)] == [1, 2, 3, 4]


def test_json_always_has_the_right_form(smollm2: LanguageModel) -> None:
    reply = smollm2.generate([Prompt("Describe Paris.", schema=City, max_tokens=100)])[0]
    assert isinstance(reply.value, City)
    assert reply.usage.calls == 1


def test_json_cut_short_is_asked_for_again_and_then_given_up(smollm2: LanguageModel) -> None:
    reply = smollm2.generate([Prompt("Describe Paris.", schema=City, max_tokens=3)])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert reply.usage.calls == 3


def test_choose_is_one_metered_call_with_a_distribution(smollm2: LanguageModel) -> None:
    meter = Meter()
    questions = [
        Question("Is water wet? Answer yes or no.", ("yes", "no")),
        Question("Guilty? Answer: not proven, not guilty or guilty.", ("not proven", "not guilty", "guilty")),
    ]
    choices = smollm2.choose(questions, meter=meter)
    assert [len(c.probabilities) for c in choices] == [2, 3]
    assert all(sum(c.probabilities) == pytest.approx(1) and min(c.probabilities) > 0 for c in choices)
    assert choices[1].probabilities[0] != choices[1].probabilities[1]
    assert meter.usage.calls == 2


def test_the_order_of_answers_does_not_change_their_chances(smollm2: LanguageModel) -> None:
    one, other = smollm2.choose([Question("Wet?", ("yes", "no", "maybe")), Question("Wet?", ("maybe", "no", "yes"))])
    assert one.probabilities == pytest.approx(tuple(reversed(other.probabilities)), abs=1e-3)


def test_a_prompt_beyond_the_context_loses_its_middle(smollm2: LanguageModel) -> None:
    reply = smollm2.generate([Prompt("First words. " + "many words " * 3000 + "Say OK.", max_tokens=8)])[0]
    assert reply.error is None
    assert 256 < reply.usage.tokens_in <= 512 - 8


def test_a_time_budget_stops_it_writing(smollm2: LanguageModel) -> None:
    smollm2.generate([Prompt("Hi", max_tokens=1)])
    reply = smollm2.generate(
        [Prompt("Write a very long story.", max_tokens=400, temperature=1.0)], meter=Meter(Budget(seconds=0.3))
    )[0]
    assert isinstance(reply.error, BudgetExceeded)
    assert smollm2.generate([Prompt("Hi", max_tokens=1)])[0].error is None


def test_many_threads_share_one_engine(smollm2: LanguageModel) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(smollm2.generate([Prompt("Hello", max_tokens=4)])[0].text))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 4
    assert len(set(texts)) == 1


IN_A_PROCESS_OF_ITS_OWN = """
import os, signal, sys
import psutil
from weighup.models import Prompt, language_model
from weighup.settings import load_settings
s = load_settings({"models": {"language": "embedded", "cache": False, "threads": 1, "context": 512}})
model = language_model(s)
before = signal.getsignal(signal.SIGTERM)
text = model.generate([Prompt("Hello", max_tokens=4)])[0].text
sockets = psutil.Process().net_connections("all")
print("inet", [c for c in sockets if c.family.name != "AF_UNIX"])
print("files", [c.laddr for c in sockets if os.path.exists(str(c.laddr))])
child = os.fork()
if child == 0:
    sys.exit(7 if model.generate([Prompt("Hello", max_tokens=4)])[0].text == text else 8)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("parent", model.generate([Prompt("Hello", max_tokens=4)])[0].text == text)
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_no_port_opens_nothing_is_printed_a_fork_works_and_signals_stay_ours(models_ready: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-u", "-c", IN_A_PROCESS_OF_ITS_OWN], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.stdout.splitlines() == ["inet []", "files []", "child 7", "parent True", "interrupted"]
    assert ran.stderr == ""
    assert ran.returncode == -signal.SIGTERM


def test_another_gguf_file_by_its_path(models_ready: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").symlink_to(models_ready / "SmolLM2-135M-Instruct.Q4_1.gguf")
    model = opened(language=str(tmp_path / "mine.gguf"), context=512)
    assert model.name == "mine"
    assert model.generate([Prompt("Hi", max_tokens=1)])[0].error is None


def test_a_file_that_is_no_model_is_unavailable_by_item(tmp_path: Path) -> None:
    (tmp_path / "junk.gguf").write_bytes(b"GGUF junk")
    replies = opened(language=str(tmp_path / "junk.gguf"), context=512).generate([Prompt("a"), Prompt("b")])
    assert all(isinstance(r.error, ModelUnavailable) and "junk.gguf" in str(r.error) for r in replies)


def test_what_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path))
    with pytest.raises(ModelMissing, match="weighup models pull smollm2"):
        opened()
    with pytest.raises(ModelMissing, match=r"none\.gguf"):
        opened(language=str(tmp_path / "none.gguf"))


FORK_WHILE_LOADING = """
import os, signal, threading
import xllamacpp
from weighup.models import Prompt, language_model
from weighup.settings import load_settings

server, loading, forked = xllamacpp.Server, threading.Event(), threading.Event()

def slow(params):
    loading.set()
    forked.wait(60)
    return server(params)

def write():
    settings = load_settings({"models": {"cache": False, "threads": 1, "context": 512}})
    return language_model(settings).generate([Prompt("Hi", max_tokens=2)])[0]

xllamacpp.Server = slow
parent = threading.Thread(target=write)
parent.start()
loading.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(60)
    xllamacpp.Server = server
    os._exit(0 if write().error is None else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
forked.set()
parent.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_the_engine_loads_loads_its_own(models_ready: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", FORK_WHILE_LOADING], capture_output=True, text=True, timeout=150)
    assert (ran.stdout.strip(), ran.returncode) == ("0", 0), ran.stderr


def test_a_long_way_to_the_folder_for_temporary_files(
    models_ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert opened(context=600).generate([Prompt("Hi", max_tokens=2)])[0].error is None


def test_all_that_one_call_asks_of_the_engine_ends_by_its_deadline(
    smollm2: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[float] = []

    class Full:
        def chat(self, body: dict[str, object], *, timeout: float) -> Completion:
            allowed.append(timeout)
            raise ContextExceeded(5000, 512)

    monkeypatch.setattr(EmbeddedBackend, "_engine", lambda self: Full())
    reply = smollm2.generate([Prompt("x" * 9000)])[0]
    assert "cannot be cut" in str(reply.error)
    assert len(allowed) > 2
    assert all(later < earlier for earlier, later in itertools.pairwise(allowed))


def test_another_context_is_another_model_to_the_cache(models_ready: Path) -> None:
    assert opened(context=512).version != opened(context=1024).version
    assert opened(context=4096).version == opened().version


def test_half_a_character_in_a_prompt(smollm2: LanguageModel) -> None:
    assert smollm2.generate([Prompt("Hi \ud800", max_tokens=2)])[0].error is None
