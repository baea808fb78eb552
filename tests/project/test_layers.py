"""Imports point one way, and the core runs without the libraries of the extras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = (
    "torch",
    "transformers",
    "peft",
    "sklearn",
    "scipy",
    "ray",
    "fastapi",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "argon2",
)
NEEDING = ("weighup.train.ease.", "weighup.train.stance.", "weighup.serve.", "weighup.moe.")
"""Modules that only commands and servers import which say what to install."""
IMPORT_ALL = f"""
import importlib, pkgutil, sys, weighup
for name in {EXTRAS!r}:
    sys.modules[name] = None  # as if it were not installed
for module in pkgutil.walk_packages(weighup.__path__, "weighup.", onerror=lambda name: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ImportError:
        if not module.name.startswith({NEEDING!r}):
            raise
        print(module.name)
"""


def loaded_by(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_imports_without_the_extras() -> None:
    needing = loaded_by(IMPORT_ALL)
    assert not [name for name in needing if name.startswith("weighup.train.ease.") and name.endswith((".run", ".fit"))]


def test_importing_weighup_loads_no_library_at_all() -> None:
    heavy = {"numpy", "pydantic", "httpx", "onnxruntime", "xllamacpp", "trafilatura", "openai", "anthropic", "rich"}
    assert not loaded_by("import sys, weighup; print(*sys.modules)") & heavy


def test_showing_the_help_loads_no_model_library() -> None:
    code = "import sys, weighup.cli.main; print(*sys.modules)"
    assert not loaded_by(code) & {"numpy", "httpx", "onnxruntime", "xllamacpp", "trafilatura", "openai", "pyarrow"}
