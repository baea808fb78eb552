"""The method registry: read from source without importing, and every method has its test and its docs row."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from weighup.registry import ROOMS, Method, methods, read_methods

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A method."""

from weighup.registry import Method

import a_library_that_is_not_there

METHOD = Method(name="{name}", room="{room}", paper="On {name}", arxiv=None, command="weighup check")
'''


def package(folder: Path, **files: str) -> Path:
    root = folder / "toy"
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def weighup(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weighup.cli.main", *arguments], capture_output=True, text=True, cwd=cwd, timeout=60
    )


def test_methods_are_read_without_importing_them_ordered_by_room_and_name(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        judge__zeta=SOURCE.format(name="zeta", room="judge"),
        judge__alpha=SOURCE.format(name="alpha", room="judge"),
        verify__omega=SOURCE.format(name="omega", room="verify"),
        verify__plain='"""No method."""\n',
    )
    found = read_methods(root)
    assert [(m.room, m.name, m.module) for m in found] == [
        ("verify", "omega", "toy.verify.omega"),
        ("judge", "alpha", "toy.judge.alpha"),
        ("judge", "zeta", "toy.judge.zeta"),
    ]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (SOURCE.format(name="x", room="attic"), "rooms are"),
        (SOURCE.replace('"On {name}"', "title()").format(name="x", room="judge"), "literal"),
        (SOURCE.replace("arxiv=None, ", "").format(name="x", room="judge"), "arxiv"),
    ],
)
def test_a_method_that_cannot_be_read_names_its_file(tmp_path: Path, source: str, says: str) -> None:
    root = package(tmp_path, judge__broken=source)
    with pytest.raises(ValueError, match=says) as caught:
        read_methods(root)
    assert "broken.py" in str(caught.value)


def test_names_are_unique_in_a_room() -> None:
    names = [(m.room, m.name) for m in methods()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("method", methods(), ids=lambda m: f"{m.room}/{m.name}")
def test_every_method_has_its_test_its_row_and_a_known_status(method: Method) -> None:
    assert (ROOT / "tests" / method.room / f"test_{method.name}.py").is_file(), "its test file is missing"
    page = ROOT / "docs" / "methods" / f"{method.room}.md"
    assert page.is_file(), f"{page.relative_to(ROOT)} is missing"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{method.name}` |")]
    assert len(rows) == 1, f"{page.relative_to(ROOT)} needs one row that starts with | `{method.name}` |"
    assert method.status in ("ready", "partial")
    assert method.status in rows[0]
    if method.arxiv:
        assert method.arxiv in rows[0]


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "methods").glob("*.md")), ids=lambda page: page.stem)
def test_every_row_is_a_method(page: Path) -> None:
    if page.stem not in ROOMS:
        pytest.skip("not a room's page")
    known = {m.name for m in methods() if m.room == page.stem}
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert {row.split("`")[1] for row in rows} == known


@pytest.mark.parametrize("method", [m for m in methods() if m.claim_check], ids=lambda m: f"{m.room}/{m.name}")
def test_every_claim_check_is_where_it_is_said_to_be(method: Method) -> None:
    module, _, function = str(method.claim_check).partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert f"def {function}(" in Path(spec.origin).read_text(encoding="utf-8")


def test_the_command_lists_methods_as_json() -> None:
    done = weighup("methods", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert [row["name"] for row in listed] == [m.name for m in methods()]
    fields = {"name", "room", "paper", "arxiv", "module", "command", "claim_check", "status"}
    assert all(set(row) == fields for row in listed)


def test_a_room_narrows_the_list() -> None:
    listed = json.loads(weighup("methods", "--room", "verify", "--json").stdout)
    assert {row["room"] for row in listed} <= {"verify"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("methods", "--room", "attic"), "verify, retrieve"),
        (("claims", "--room", "attic"), "verify, retrieve"),
        (("claims", "--method", "nothing-like-it"), "known:"),
    ],
)
def test_an_unknown_name_is_refused_with_the_list(arguments: tuple[str, ...], says: str) -> None:
    done = weighup(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
