"""Every shell and Python example in the documentation is run, page by page, in a fresh folder, offline.

Blocks of a page share the folder and run in order. In a block with `$ ` lines those are the commands and what follows
each is its output, compared line by line; `…` stands for anything. A comment just before a block changes how it is
taken: `<!-- not run: reason -->` leaves it out, `<!-- exits: 2 -->` expects that exit code.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("shell", "console", "sh", "bash")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(
    r"(?P<marks>(?:^[ ]*<!--[^\n]*-->[ ]*\n\s*)*)"
    r"^(?P<indent>[ ]*)```(?P<lang>\w+)[^\n]*\n(?P<body>.*?)^(?P=indent)```[ ]*$",
    re.DOTALL | re.MULTILINE,
)
_NOT_RUN = re.compile(r"<!--\s*not run:\s*(.*?)\s*-->")
_EXITS = re.compile(r"<!--\s*exits:\s*(\d+)\s*-->")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced example. `left_out` is the reason it is not run, None if it is."""

    page: Path
    line: int
    language: str
    body: str
    left_out: str | None
    exits: int

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, list[str] | None]]:
        """Commands with the output shown for each (None: none is compared)."""
        lines = self.body.splitlines()
        if not any(line.startswith("$ ") for line in lines):
            return [(self.body, None)]
        found: list[tuple[str, list[str]]] = []
        open_command = False
        for line in lines:
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif open_command:
                found[-1] = (f"{found[-1][0]}\n{line}", [])
            elif found:
                found[-1][1].append(line)
            open_command = line.endswith("\\")
        # A command that shows no output says nothing about it.
        return [(command, shown or None) for command, shown in found]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        if match["lang"] not in (*SHELLS, "python"):
            continue
        reason, exits = _NOT_RUN.search(match["marks"]), _EXITS.search(match["marks"])
        line = text.count("\n", 0, match.start("lang")) + 1
        found.append(
            Block(
                page,
                line,
                match["lang"],
                textwrap.dedent(match["body"]),
                reason[1] if reason else None,
                int(exits[1]) if exits else 0,
            )
        )
    return found


RUN = {page: [block for block in blocks(page) if block.left_out is None] for page in PAGES}
LEFT_OUT = [block for page in PAGES for block in blocks(page) if block.left_out is not None]


def environment(home: Path) -> dict[str, str]:
    """The installed command first on the path, no settings of the user's, no online source, no way out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHUP_")}
    for name in ("WEIGHUP_CACHE_DIR", "WEIGHUP_DATA"):
        if name in os.environ:
            kept[name] = os.environ[name]
    kept["WEIGHUP_RETRIEVE__SOURCES"] = "[]"
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**kept, **nowhere, "PATH": path, "XDG_CONFIG_HOME": str(home), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}


def run(block: Block, folder: Path) -> None:
    if block.language == "python":
        steps: list[tuple[list[str], list[str] | None]] = [([sys.executable, "-c", block.body], None)]
    else:
        steps = [(["bash", "-euo", "pipefail", "-c", command], shown) for command, shown in block.commands]
    for number, (command, shown) in enumerate(steps, start=1):
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(folder / ".config"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        expected = block.exits if number == len(steps) else 0
        assert done.returncode == expected, (
            f"{block.place}: ended with {done.returncode}, not {expected}\n{command[-1]}\n{done.stdout}{done.stderr}"
        )
        if shown is not None:
            assert matches(shown, done.stdout), f"{block.place}: shown\n{chr(10).join(shown)}\nbut got\n{done.stdout}"


NUMBER = r"(\d+(?:\.\d+)?)"
SHARE = re.compile(r"(?<![\d.])\d+(?=(?:–\d+)?(?:\u00a0| )?%)|(?<![\d.])[01]\.\d{1,4}(?!\d|\.\d)")
BAR = re.compile(r"├[─▒█ ]+┤")


def matches(shown: list[str], printed: str) -> bool:
    """Whether output is as shown; `…` in what is shown stands for any text, line breaks included.

    Models in 8-bit integers round differently from one kind of processor to another: shares may differ by 2 points, and
    the place of a bar on its line by as much. Every other number is the same.
    """
    wanted = BAR.sub("├…┤", "\n".join(shown).strip())
    numbers = list(SHARE.finditer(wanted))
    pattern = SHARE.sub("\0", wanted)
    pattern = re.escape(pattern).replace(re.escape("…"), ".*?").replace("\0", NUMBER)
    got = BAR.sub("├…┤", "\n".join(line.rstrip() for line in printed.strip().splitlines()))
    found = re.fullmatch(pattern, got, re.DOTALL)
    return found is not None and all(
        abs(float(a.group()) - float(b)) <= (2.001 if float(a.group()) > 1 else 0.021)
        for a, b in zip(numbers, found.groups(), strict=True)
    )


def test_shares_may_differ_a_little_and_nothing_else() -> None:
    shown = ["Dam 3 broke: 71 % fake (69–75 %), 0.82 … s", "real ├──▒█──┤ fake"]
    assert matches(shown, "Dam 3 broke: 72 % fake (69–74 %), 0.81 in 2 s\nreal ├─▒█───┤ fake")
    assert not matches(shown, "Dam 3 broke: 78 % fake (69–75 %), 0.82 in 2 s\nreal ├──▒█──┤ fake")
    assert not matches(shown, "Dam 4 broke: 71 % fake (69–75 %), 0.82 in 2 s\nreal ├──▒█──┤ fake")


@pytest.mark.parametrize("page", [page for page in PAGES if RUN[page]], ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run_as_shown(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if any(re.search(r"weighup check|Verifier|models test|Encoder", block.body) for block in RUN[page]):
        request.getfixturevalue("models_ready")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for block in RUN[page]:
        run(block, tmp_path)


@pytest.mark.parametrize("block", LEFT_OUT, ids=lambda block: block.place)
def test_what_is_not_run_says_why_and_still_parses(block: Block) -> None:
    assert len(block.left_out or "") > 10, f"{block.place}: give a reason"
    if block.language == "python":
        compile(block.body, block.place, "exec")
        return
    for command, _ in block.commands:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{block.place}: {done.stderr}"


def test_most_examples_are_run() -> None:
    ran = sum(len(found) for found in RUN.values())
    assert ran > len(LEFT_OUT), f"{ran} examples are run, {len(LEFT_OUT)} are not: {[b.place for b in LEFT_OUT]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a", "b"], "a\nb\n", True),
        (["a …", "c"], "a long\nb\nc\n", True),
        (["a"], "a\nb\n", False),
        (["a.c"], "abc\n", False),
    ],
)
def test_shown_output_is_compared(shown: list[str], printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


def test_marks_and_commands_are_read(tmp_path: Path) -> None:
    page = ROOT / "docs" / "unwritten.md"
    console = "<!-- exits: 3 -->\n```console\n$ echo a \\\n  b\na b\n$ true\n```\n"
    text = f"{console}\n<!-- not run: needs a key -->\n```sh\nx\n```\n"
    file = tmp_path / "page.md"
    file.write_text(text, encoding="utf-8")
    first, second = blocks(file)
    assert (first.exits, first.left_out) == (3, None)
    assert first.commands == [("echo a \\\n  b", ["a b"]), ("true", None)]
    assert second.left_out == "needs a key"
    assert Block(page, 1, "sh", "", None, 0).place == "docs/unwritten.md:1"
