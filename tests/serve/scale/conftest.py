"""A Ray of two processors, started once for all tests here, and what one process makes of the same rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import scale_samples

from weighup.serve.scale.cluster import Cluster
from weighup.serve.scale.worker import Make
from weighup.settings import Settings, load_settings


@pytest.fixture(scope="session")
def ray_here() -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs pip install 'weighup[ray]'")
    cluster = Cluster(processors=2)
    import ray  # not before: it would listen on every address

    # Workers cannot import what lies beside the tests: it travels with what refers to it.
    ray.cloudpickle.register_pickle_by_value(scale_samples)
    yield cluster
    cluster.close()


@pytest.fixture
def obedient(ray_here: Cluster, tmp_path: Path) -> Callable[..., Make]:
    """Makes checkers that do as a claim says (`scale_samples.Obedient`)."""

    def make(at_start: str = "") -> Make:
        return scale_samples.Obedient(tmp_path, at_start)

    return make


@pytest.fixture(scope="session")
def brief() -> Settings:
    return load_settings({"verify": {"brief": True}, "models": {"threads": 1}})


@pytest.fixture(scope="session")
def alone(models_ready: Path, brief: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rows of which one is broken, and what one process answers, a few at a time."""
    from weighup.verify.batch import run_batch
    from weighup.verify.row_files import read_rows
    from weighup.verify.verifier import Verifier

    folder = tmp_path_factory.mktemp("alone")
    rows = [*scale_samples.claims(20), "{broken", *scale_samples.claims(59)[20:]]
    source = scale_samples.write_rows(folder / "rows.jsonl", rows)
    with Verifier(brief, offline=True, search=False) as verifier:
        outcome = run_batch(verifier, read_rows(source), folder / "alone.jsonl", batch_size=scale_samples.BATCH)
    assert (outcome.added, outcome.failed) == (60, 1)
    return source, folder / "alone.jsonl"
