"""A server's desk over worker processes: jobs are done once each though workers are killed; the app stays the same."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs pip install 'weighup[serve]'")


from weighup.serve.db import Database
from weighup.serve.desk import Asked, Desk
from weighup.serve.scale.checker import RayChecker
from weighup.serve.scale.serve import over_workers
from weighup.serve.scale.worker import Make
from weighup.serve.work.worker import Worker
from weighup.settings import load_settings
from weighup.verify.types import Claim


def test_a_job_is_done_once_over_workers_of_which_one_is_killed(obedient: Callable[..., Make], tmp_path: Path) -> None:
    texts = [f"Claim number {i}." for i in range(24)]
    texts[5], texts[13] = "Once this kills.", "Raise an error."
    with Database.open(tmp_path / "serve.sqlite") as database, RayChecker(obedient(), workers=2) as checker:
        job = database.jobs.submit("", [{"id": i, "text": text} for i, text in enumerate(texts)])
        desk = Desk(checker, database)
        stop = threading.Event()
        threads = [
            threading.Thread(target=Worker(desk, f"worker-{number}", batch=4).run, args=(stop,)) for number in (1, 2)
        ]
        checker.start()
        os.kill(checker.processes[0], signal.SIGKILL)
        for thread in threads:
            thread.start()
        until = time.monotonic() + 120
        while (found := database.jobs.get("", [job.id])[0]) is not None and found.state != "done":
            if found.state in ("failed", "finished", "cancelled") or time.monotonic() > until:
                break
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        lines = database.jobs.lines("", job.id)
    assert [line.position for line in lines] == list(range(24))
    assert [line.position for line in lines if line.error is not None] == [13]
    assert [line.result["claim"] for line in lines if line.result is not None] == texts[:13] + texts[14:]


@pytest.mark.usefixtures("models_ready")
def test_what_the_server_is_given_checks_as_one_process_and_finds_evidence(ray_here: object, tmp_path: Path) -> None:
    settings = load_settings({"verify": {"brief": True}, "models": {"threads": 1}})
    with (
        over_workers(settings, offline=True, workers=2) as served,
        Database.open(tmp_path / "serve.sqlite") as database,
    ):
        assert served.settings.serve.workers == 2
        assert len(served.checker.processes) == 2
        assert served.stores[0].search(["Dover Beach"], limit=1)[0]
        desk = Desk(served.checker, database)
        answer = desk.check([Asked(Claim("Dover Beach is a novel."), "one")])[0]
    from weighup.verify.verifier import Verifier

    with Verifier(settings, offline=True) as here:
        alone = here.check([Claim("Dover Beach is a novel.")])[0]
    assert answer.verdict is not None
    assert answer.verdict.model_dump(exclude={"usage"}) == alone.model_dump(exclude={"usage"})
