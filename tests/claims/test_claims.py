"""The claim-check runner: what an interval says, what is kept, and what is shown."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.claims import (
    ClaimResult,
    as_markdown,
    compare,
    holds,
    results_folder,
    run,
    run_all,
    stored,
    t_interval,
    write,
)
from weighup.errors import InvalidInput, JobFailed
from weighup.registry import Method, methods

CHECKS = """
import os
from weighup.claims import compare

SEEDS = (3, 4)

def rises(data, seeds):
    return compare("beats the baseline", metric="accuracy", values=[0.8 + s / 100 for s in seeds], baseline="majority",
                   baseline_values=[0.5 + s / 100 for s in seeds], seeds=seeds, n=10, data=data.name)

def breaks(data, seeds):
    raise OSError("no such set")

def dies(data, seeds):
    os._exit(9)
"""


def result(**changes: object) -> ClaimResult:
    base = {
        "claim": "beats it",
        "metric": "macro-F1",
        "values": [0.7, 0.72, 0.71],
        "baseline": "content only",
        "baseline_values": [0.6, 0.61, 0.6],
        "seeds": (0, 1, 2),
        "n": 100,
        "data": "toy",
    }
    return compare(**{**base, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interval", "says"),
    [((0.01, 0.2), "true"), ((-0.2, -0.01), "false"), ((-0.1, 0.1), "flat"), ((0.0, 0.1), "flat"), ((0, 0), "flat")],
)
def test_a_claim_holds_only_if_the_whole_interval_is_above_zero(interval: tuple[float, float], says: str) -> None:
    assert holds(interval) == says


def test_the_interval_is_students_over_paired_gains() -> None:
    # Gains .1, .11, .11: mean .106667, standard error .0033333, t(.975, 2) = 4.3027.
    low, high = result().interval
    assert low == pytest.approx(0.106667 - 4.3027 * 0.0033333, abs=1e-4)
    assert high == pytest.approx(0.106667 + 4.3027 * 0.0033333, abs=1e-4)
    assert result().holds == "true"


@pytest.mark.parametrize("count", range(2, 40))
def test_the_interval_agrees_with_scipy(count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    gains = [math.sin(i) for i in range(count)]
    mean = sum(gains) / count
    low, high = stats.t.interval(0.95, count - 1, loc=mean, scale=stats.sem(gains))
    assert t_interval(gains) == pytest.approx((low, high), abs=0.01)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_the_interval_holds_the_mean_and_mirrors(gains: list[float]) -> None:
    low, high = t_interval(gains)
    mean = math.fsum(gains) / len(gains)
    assert low <= mean + 1e-12
    assert high >= mean - 1e-12
    mirrored = t_interval([-gain for gain in gains])
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_lower_is_better_turns_the_gain_round() -> None:
    better = result(metric="Brier", values=[0.1, 0.11], baseline_values=[0.2, 0.21], seeds=(0, 1), lower_is_better=True)
    assert better.holds == "true"
    assert better.interval[0] == pytest.approx(0.1)
    assert (better.value, better.baseline_value) == pytest.approx((0.105, 0.205))


def test_one_seed_needs_an_interval_of_its_own() -> None:
    with pytest.raises(ValueError, match="two seeds"):
        result(values=[1.0], baseline_values=[0.5], seeds=(0,))
    assert result(values=[1.0], baseline_values=[0.5], seeds=(0,), interval=(-0.1, 0.6)).holds == "flat"


def test_values_must_pair_with_seeds() -> None:
    with pytest.raises(ValueError, match="3 seeds"):
        result(values=[0.7, 0.7])


def test_what_is_written_is_read_back_and_shown(tmp_path: Path) -> None:
    kept = result().model_copy(update={"room": "verify", "method": "toy", "date": "2024-05-31"})
    path = write([kept], tmp_path / "claims")
    assert path.name == "verify_toy.json"
    assert stored(tmp_path / "claims") == [kept]
    assert stored(tmp_path / "nowhere") == []
    shown = as_markdown([kept])
    assert "| `verify/toy` | beats it | macro-F1 | 0.710 | content only | 0.603 |" in shown
    assert "**true**" in shown
    assert "No claim check" in as_markdown([])


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "verify_bad.json").write_text('[{"claim": 1}]', encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"verify_bad\.json"):
        stored(tmp_path)


def method(check: str | None) -> Method:
    return Method(name="toy", room="verify", paper="", arxiv=None, command="", claim_check=check)


def test_a_check_is_run_and_stamped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_checks_of_claims.py").write_text(CHECKS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = run(method("toy_checks_of_claims:rises"), tmp_path)
    assert (found.room, found.method, found.holds, found.seeds) == ("verify", "toy", "true", [3, 4])
    assert found.date
    assert run(method("toy_checks_of_claims:rises"), tmp_path, (0, 1, 2))[0].seeds == [0, 1, 2]
    assert found.data == tmp_path.name


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_run_each_is_kept_and_what_went_wrong_is_told(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_checks_of_claims.py").write_text(CHECKS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wanted = [replace(method(f"toy_checks_of_claims:{what}"), name=what) for what in ("rises", "breaks")]
    told = {one.name: wrong for one, wrong in run_all(wanted, tmp_path, tmp_path / "kept", jobs=jobs)}
    assert told == {"rises": None, "breaks": "no such set"}
    assert [one.method for one in stored(tmp_path / "kept")] == ["rises"]
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_a_check_whose_process_dies_is_told_and_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_checks_of_claims.py").write_text(CHECKS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    checks = {"first": "dies", "second": "rises", "third": "dies", "fourth": "rises"}
    wanted = [replace(method(f"toy_checks_of_claims:{what}"), name=name) for name, what in checks.items()]
    told = {one.name: wrong for one, wrong in run_all(wanted, tmp_path, tmp_path / "kept", jobs=2)}
    assert {name for name, wrong in told.items() if wrong is None} == {"second", "fourth"}
    assert all("its process ended" in (told[name] or "") for name in ("first", "third"))


@pytest.mark.parametrize("check", [None, "weighup.nowhere:check", "weighup.claims:nothing"])
def test_a_check_that_cannot_be_loaded_is_a_failed_job(check: str | None, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="verify/toy"):
        run(method(check), tmp_path)


def weighup(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weighup.cli.main", *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_command_shows_kept_results_of_known_methods(tmp_path: Path) -> None:
    if not methods():
        pytest.skip("no method is registered")
    first = methods()[0]
    kept = result().model_copy(update={"room": first.room, "method": first.name})
    stranger = result().model_copy(update={"room": "verify", "method": "stranger"})
    write([kept], tmp_path)
    write([stranger], tmp_path)
    done = weighup(["claims", "--json", "--results", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert [row["method"] for row in json.loads(done.stdout)] == [first.name]
    told = weighup(["claims", "--results", str(tmp_path)])
    assert "beats it" in told.stdout
    assert "claims checked: 1" in told.stdout


def test_running_without_the_data_says_what_to_name(tmp_path: Path) -> None:
    done = weighup(["claims", "--run", "--data", str(tmp_path / "absent"), "--results", str(tmp_path)])
    assert done.returncode == 2
    assert "--data" in done.stderr


def test_kept_results_belong_to_methods_and_agree_with_their_intervals() -> None:
    known = {(m.room, m.name) for m in methods()}
    for kept in stored(results_folder()):
        assert (kept.room, kept.method) in known
        assert kept.holds == holds(kept.interval)
        assert kept.date


@pytest.mark.claim
@pytest.mark.parametrize("checked", [m for m in methods() if m.claim_check], ids=lambda m: f"{m.room}/{m.name}")
def test_a_claim_check_runs(checked: Method, tests_data: Path) -> None:
    assert run(checked, tests_data)
