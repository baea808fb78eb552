"""What the house asks of every file, and what README, changelog and command say of each other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import weighup

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
WRITTEN = [
    *(p for d in ("src", "tests", "docs", "examples", "benchmarks", "weights") for p in sorted((ROOT / d).rglob("*"))),
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("*.toml")),
    ROOT / "Makefile",
    ROOT / ".ci" / "run",
]
TEXTS = [p for p in WRITTEN if p.suffix in (".py", ".md", ".toml", ".sh", ".yml", ".html", ".txt", "") and p.is_file()]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_source_file_is_over_400_lines() -> None:
    long = {name(p): n for p in SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long, f"split them: {long}"


def test_every_source_file_opens_with_what_it_is() -> None:
    silent = [name(p) for p in SOURCES if p.read_text(encoding="utf-8") and not docstring(p)]
    assert not silent, f"say at the top what they are: {silent}"


def docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    place = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/")
    found = [name(p) for p in TEXTS if p != Path(__file__) and place.search(p.read_text(encoding="utf-8"))]
    assert not found, f"paths of one machine in {found}"


def test_no_file_leaves_work_for_later() -> None:
    later = re.compile(r"\b(?:TODO|FIXME|XXX)\b|raise NotImplementedError")
    found = [name(p) for p in TEXTS if p != Path(__file__) and later.search(p.read_text(encoding="utf-8"))]
    assert not found, f"unfinished: {found}"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["version"]["path"] == "src/weighup/__init__.py"
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == weighup.__version__
    assert command("--version").strip() == f"weighup {weighup.__version__}"


def test_the_extras_are_those_promised_and_the_core_needs_none() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"train", "serve", "ray", "postgres", "docs", "dev"} <= set(project["optional-dependencies"])
    # A bare `torch` requirement would pull gigabytes of CUDA.
    assert "torch==2.13.0" in project["optional-dependencies"]["train"]
    assert not [need for need in project["dependencies"] if re.match(r"torch|transformers|scikit|ray|fastapi", need)]


def command(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "weighup.cli.main", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def subcommands() -> list[tuple[str, ...]]:
    from typer.main import get_group

    from weighup.cli.main import app

    found: list[tuple[str, ...]] = []
    for outer, entry in get_group(app).commands.items():
        inner = getattr(entry, "commands", None)
        found += [(outer, one) for one in inner] if inner else [(outer,)]
    return found


def test_help_lists_every_command() -> None:
    listed = command("--help")
    assert all(path[0] in listed for path in subcommands())
    assert "Example:" in listed


@pytest.mark.parametrize("path", subcommands(), ids=" ".join)
def test_every_command_has_an_example_in_its_help(path: tuple[str, ...]) -> None:
    from typer.testing import CliRunner

    from weighup.cli.main import app

    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert re.search(rf"Examples?:\s+.*weighup {' '.join(path)}", shown.output, re.DOTALL), shown.output


def test_readme_names_every_command_and_only_those() -> None:
    table = re.findall(r"^\| `weighup (\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(table) == sorted({path[0] for path in subcommands()})


def test_make_targets_that_are_spoken_of_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / ".ci" / "run"]:
        text = page.read_text(encoding="utf-8")
        spoken = set(re.findall(r"`make ([a-z]+)|^\s*make ([a-z]+)", text, re.MULTILINE))
        unknown = {a or b for a, b in spoken} - targets
        assert not unknown, f"{name(page)} speaks of make {unknown}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_every_benchmark_is_listed() -> None:
    told = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    files = [path.name for path in (ROOT / "benchmarks").glob("*.py") if path.name != "run_all.py"]
    assert not [file for file in files if not file.startswith("_") and f"({file})" not in told]
