"""The installed command, run as a user runs it; and helpers of other rooms' tests (loopback servers)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parent.parent
for _room in ("verify", "models", "retrieve"):
    if str(_TESTS / _room) not in sys.path:
        sys.path.append(str(_TESTS / _room))

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="session")
def command() -> str:
    """The installed `weighup`."""
    path = Path(sys.executable).parent / "weighup"
    if not path.exists():
        pytest.skip(f"no command at {path}; run `pip install -e .`")
    return str(path)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No settings but the place of the models; a request cache of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHUP_")}
    if "WEIGHUP_CACHE_DIR" in os.environ:
        kept["WEIGHUP_CACHE_DIR"] = os.environ["WEIGHUP_CACHE_DIR"]
    return kept | {"XDG_CONFIG_HOME": str(tmp_path / "config"), "WEIGHUP_MODELS__CACHE": "false"}


@pytest.fixture
def weighup(command: str, environment: dict[str, str], tmp_path: Path) -> Run:
    """Run the command in an empty folder; it must never print a traceback."""

    def run(*arguments: str, stdin: bytes | str = b"", env: dict[str, str] | None = None, timeout: float = 90) -> Done:
        done = subprocess.run(
            [command, *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            cwd=tmp_path,
            env=environment | (env or {}),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        told = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in told.stderr, told.stderr
        return told

    return run
