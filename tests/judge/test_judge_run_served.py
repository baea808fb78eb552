"""A run over the model client against a server that fails one call in ten: complete, nothing twice, also after SIGKILL
with no answer kept but those in the log."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_MODELS = Path(__file__).resolve().parent.parent / "models"
if str(_MODELS) not in sys.path:  # the loopback servers of another room's tests
    sys.path.append(str(_MODELS))

from model_server import Canned, ModelServer, Request, model_server, openai_error, openai_text  # noqa: E402

from weighup.judge.runs import Log  # noqa: E402

ITEMS = 200
RUN = """
    import sys
    from pathlib import Path
    from weighup.judge.llm import LLMJudge
    from weighup.judge.runs import run
    from weighup.judge.types import Item
    from weighup.models.open import language_model

    client = language_model()
    client.backoff = 0.02
    items = [Item.pair(str(n), f"Explain item {n}.", f"One way, {n}.", f"Another way, {n}.") for n in range(200)]
    result = run(LLMJudge(client), items, Path(sys.argv[1]), batch=8)
    assert result.complete, result
    print(result.judged)
"""
_ITEM = re.compile(r"Explain item (\d+)\.")


class Failing:
    """Says the same of an item whenever it is asked; one request in ten fails, by its number. An item gets no third
    junk answer: after three a judge gives up on it."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.answered: Counter[int] = Counter()
        self.failed = 0
        self._junk: Counter[int] = Counter()
        self._requests = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Canned:
        found = _ITEM.search(request.body["messages"][1]["content"])
        assert found is not None
        item = int(found[1])
        with self._lock:
            self._requests += 1
            fault = hashlib.sha256(b"%d" % self._requests).digest()[0] % 40
            if fault == 3 and self._junk[item] == 2:
                fault = 40
            self._junk[item] += fault == 3
            self.failed += fault < 4
            self.answered[item] += fault >= 4
        if fault == 0:
            return openai_error(429, "too many requests")
        if fault == 1:
            return openai_error(500, "the server had an error")
        if fault == 2:
            return Canned(b"", delay=1.2)  # longer than the client waits
        drawn = hashlib.sha256(b"item %d" % item).digest()[0]
        said = json.dumps({"reasons": f"It is about item {item}.", "verdict": ("1", "2", "tie")[drawn % 3]})
        text = openai_text(said[:20] if fault == 3 else said)
        return Canned(text.body, delay=self.delay)


def start(folder: Path, server: ModelServer, log: Path) -> subprocess.Popen[str]:
    script = folder / "run.py"
    script.write_text(textwrap.dedent(RUN))
    environment = {
        **os.environ,
        "WEIGHUP_MODELS__LANGUAGE": "openai:loopback",
        "WEIGHUP_MODELS__BASE_URL": f"{server.url}/v1",
        "WEIGHUP_MODELS__CONCURRENCY": "16",
        "WEIGHUP_MODELS__TIMEOUT": "1",
        "WEIGHUP_MODELS__CACHE": "false",
    }
    return subprocess.Popen([sys.executable, str(script), str(log)], env=environment, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> int:
    """How many were judged."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return int(out)


def test_a_failing_server_and_a_kill_change_nothing_in_what_is_written(tmp_path: Path) -> None:
    failing = Failing(delay=0.0)
    with model_server(failing) as server:
        assert finish(start(tmp_path, server, tmp_path / "whole.db")) == ITEMS
    assert failing.failed > 10
    assert set(failing.answered) == set(range(ITEMS))

    failing = Failing(delay=0.1)
    killed = tmp_path / "killed.db"
    with model_server(failing) as server:
        process = start(tmp_path, server, killed)
        wait_until(lambda: kept(killed) >= 20, process)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        assert process.stdout is not None
        process.stdout.close()
        there = kept(killed)
        assert 20 <= there < ITEMS
        failing.delay = 0.0
        assert finish(start(tmp_path, server, killed)) == ITEMS - there
    in_the_log = [one.item_id for one in Log(killed).judgements()]
    assert in_the_log == [str(n) for n in range(ITEMS)]
    for name in ("whole", "killed"):
        Log(tmp_path / f"{name}.db").write(tmp_path / f"{name}.jsonl")
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "killed.jsonl").read_bytes()
    assert {one.status for one in Log(killed).judgements()} == {"ok"}


def wait_until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)


def kept(path: Path) -> int:
    if not path.is_file():
        return 0
    base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(base.execute("SELECT count(*) FROM judgements").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0
    finally:
        base.close()
