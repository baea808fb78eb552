"""Workers under Ray: the rows of one process, whoever is killed; errors that say whose they are; loopback only."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from scale_samples import BATCH, answers, claims, write_rows

from weighup.errors import InvalidInput, ModelMissing
from weighup.serve.checkers import Way
from weighup.serve.scale import checker as scale
from weighup.serve.scale.ahead import Ahead
from weighup.serve.scale.checker import RayChecker, WorkersDied, shared
from weighup.serve.scale.cluster import Cluster, EngineLost
from weighup.serve.scale.worker import Make
from weighup.settings import Settings, load_settings
from weighup.verify.batch import run_batch
from weighup.verify.row_files import read_rows

Makes = Callable[..., Make]


def test_all_that_ray_opens_listens_on_loopback_and_its_files_are_private(ray_here: Cluster) -> None:
    here = psutil.Process()
    listening: set[tuple[str, str]] = set()
    for process in [here, *here.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # Ray starts and ends small ones as it likes
            name = process.name()
            found = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
            listening |= {(name, one.laddr.ip) for one in found}
    assert {name for name, _ in listening} >= {"gcs_server", "raylet"}
    assert {ip for _, ip in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert ray_here._folder is not None
    assert stat.S_IMODE(ray_here._folder.stat().st_mode) == 0o700


def test_who_does_not_know_the_token_is_turned_away(ray_here: Cluster) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    ask = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(ray.nodes())"
    quick = {"RAY_gcs_rpc_server_connect_timeout_s": "2", "RAY_NUM_REDIS_GET_RETRIES": "1"}

    def come(token: dict[str, str]) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **quick, **token}
        command = [sys.executable, "-c", ask, address]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert "NodeID" in come({}).stdout
    stranger = come({"RAY_AUTH_TOKEN": "guessed"})
    assert stranger.returncode != 0
    assert "NodeID" not in stranger.stdout
    assert "InvalidAuthToken" in stranger.stderr


@pytest.mark.usefixtures("ray_here")
def test_two_workers_write_the_rows_of_one_process_though_each_is_killed(
    alone: tuple[Path, Path], brief: Settings, tmp_path: Path
) -> None:
    source, expected = alone
    output, killed = tmp_path / "o.jsonl", list[int]()
    with RayChecker.open(brief, offline=True, search=False, workers=2) as checker:
        checker.start()
        first = set(checker.processes)
        assert len(first) == 2
        ahead = scale_ahead(checker, source)

        def kill_one(done: int, failed: int) -> None:
            # Called between two batches, while the others that were handed out are being checked.
            if left := sorted(first - set(killed)):
                os.kill(left[0], signal.SIGKILL)
                killed.append(left[0])

        outcome = run_batch(ahead, ahead, output, batch_size=BATCH, report=kill_one)
        assert not first & set(checker.processes)
    assert len(killed) == 2
    assert (outcome.added, outcome.failed) == (60, 1)
    assert answers(output) == answers(expected)


def scale_ahead(checker: RayChecker, source: Path) -> Ahead:
    return Ahead(checker, read_rows(source), batch_size=BATCH, batches=4)


def test_a_row_that_kills_workers_costs_only_itself(
    obedient: Makes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "TRIES", 2)
    rows = claims(10)
    rows[2]["text"] = "Once this kills."
    rows[7]["text"] = "Deadly each time."
    rows[8]["text"] = "Raise an error."
    source, output = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "o.jsonl"
    with RayChecker(obedient(), workers=2) as checker:
        ahead = scale_ahead(checker, source)
        outcome = run_batch(ahead, ahead, output, batch_size=BATCH)
    lines = answers(output)
    assert (outcome.added, outcome.failed) == (10, 2)
    assert [line["id"] for line in lines] == list(range(10))
    assert lines[7]["error"].startswith("line 8: 2 worker processes died on it")
    assert lines[8]["error"] == "line 9: unexpected ValueError: a row that breaks the engine"


def test_errors_are_those_that_were_raised_in_the_worker(obedient: Makes, caplog: pytest.LogCaptureFixture) -> None:
    with RayChecker(obedient(), workers=1) as checker:
        with pytest.raises(InvalidInput, match=r"^claim: cannot be used$"):
            checker.check(["Refuse this."])
        with pytest.raises(WorkersDied, match="died on a batch of 2"):
            checker.check(["Fine.", "Deadly."])
        assert [verdict.claim for verdict in checker.check(["Warn of this.", "Fine."])] == ["Warn of this.", "Fine."]
        assert "seen by a worker: Warn of this." in caplog.messages
    with pytest.raises(EngineLost, match="have been ended"):
        checker.check(["Too late."])


def test_what_no_worker_can_do_is_no_rows_fault(obedient: Makes, tmp_path: Path) -> None:
    source, output = write_rows(tmp_path / "rows.jsonl", claims(4)), tmp_path / "o.jsonl"
    for at_start, error in (("miss", ModelMissing), ("die", EngineLost)):
        with RayChecker(obedient(at_start), workers=1) as checker:
            ahead = scale_ahead(checker, source)
            with pytest.raises(error):
                run_batch(ahead, ahead, output, batch_size=BATCH)
        assert output.read_bytes() == b""


def test_it_gives_up_when_workers_only_die(obedient: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "GIVE_UP", 2)
    with RayChecker(obedient(), workers=1) as checker, pytest.raises(EngineLost, match="2 worker processes died"):
        checker.check(["Deadly."])


def test_more_workers_than_processors_are_refused(obedient: Makes) -> None:
    with (
        RayChecker(obedient(), workers=3) as checker,
        pytest.raises(EngineLost, match="--workers 3: the cluster has 2 processor cores"),
    ):
        checker.check(["Fine."])


@pytest.mark.usefixtures("ray_here", "models_ready")
def test_a_request_may_be_checked_otherwise_than_the_others(brief: Settings) -> None:
    with RayChecker.open(brief, offline=True, search=True, workers=1) as checker:
        wide = checker.check(["Dover Beach is a novel."])[0]
        narrow = checker.narrowed(Way(search=False)).check(["Dover Beach is a novel."])[0]
        assert wide.evidence
        assert not narrow.evidence
        assert checker.versions() == wide.model_versions
        assert checker.narrowed(Way()) is checker


def test_workers_together_use_what_one_process_would() -> None:
    settings = load_settings({"models": {"concurrency": 8}, "retrieve": {"per_host_per_second": 2.0}})
    each = shared(settings, 4, local=True)
    assert (each.models.concurrency, each.retrieve.per_host_per_second) == (2, 0.5)
    assert each.models.threads == max(1, (os.cpu_count() or 1) // 4) or hasattr(os, "sched_getaffinity")
    assert shared(settings, 4, local=False).models.threads == 1
    assert shared(load_settings({"models": {"threads": 3}}), 4, local=True).models.threads == 3
    with pytest.raises(InvalidInput, match="budget of the whole run"):
        shared(load_settings({"verify": {"run_tokens": 9}}), 2, local=True)


def test_what_cannot_be_meant_is_refused_before_ray_starts(brief: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="say with --workers"):
        RayChecker.open(brief, address="127.0.0.1:6379")
    with pytest.raises(InvalidInput, match="at least one"):
        RayChecker.open(brief, workers=0)
    for address in ("ray://127.0.0.1:10001", "auto", "node:x"):
        with pytest.raises(InvalidInput, match="as host:port"):
            RayChecker.open(brief, workers=2, address=address)
    with pytest.raises(EngineLost, match="nothing answers there"):
        Cluster("127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInput, match=r"pip install 'weighup\[ray\]'"):
        RayChecker.open(brief, workers=2)
