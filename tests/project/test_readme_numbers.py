"""What the README states as measured is what docs/results has: each number is made from it, and none stands apart."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOOKS = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
_MEASURE = re.compile(r"\d+(?:\.\d+)? ?(?:%|ms|s\b|MB|points?\b|claims?\b)|\b0\.\d+|\b(?:half|third|quarter|fifth)\b")


def stale(root: Path) -> bool:
    made: str = HOOKS["readme"](root)
    return made != (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """README and results, to be tampered with."""
    (tmp_path / "docs" / "results").mkdir(parents=True)
    for name in ("README.md", "docs/results/verify.json", "docs/results/check.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_readme_states_what_was_measured() -> None:
    assert not stale(ROOT), "README.md and docs/results differ; run `python docs/hooks.py`"


def test_the_block_is_there_once() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(HOOKS["MEASURED"].findall(text)) == 1
    assert "| EASE | 0." in text


def test_a_number_changed_in_the_readme_is_seen(copy: Path) -> None:
    readme = copy / "README.md"
    text = readme.read_text(encoding="utf-8")
    block = HOOKS["MEASURED"].search(text)
    numbers = [block.start() + match.start() for match in re.finditer(r"\d", block[0])]
    assert len(numbers) > 40
    comment = text.index("-->", block.start())
    for place in (number for number in numbers if number > comment):
        digit = str((int(text[place]) + 1) % 10)
        readme.write_text(text[:place] + digit + text[place + 1 :], encoding="utf-8")
        assert stale(copy), text[place - 20 : place + 10]


@pytest.mark.parametrize("way", ["ease", "content", "evidence"])
@pytest.mark.parametrize("metric", ["macro_f1", "coverage"])
@pytest.mark.parametrize("q", [1.0, 0.25])
def test_a_number_changed_in_the_results_is_seen(copy: Path, way: str, metric: str, q: float) -> None:
    path = copy / "docs" / "results" / "verify.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    cell = next(cell for cell in found["cells"] if (cell["q"], cell["r"]) == (q, 0.0))
    cell["systems"][way][metric]["value"] += 0.06  # of one set: the mean over six moves by 0.01
    path.write_text(json.dumps(found), encoding="utf-8")
    assert stale(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda check, verify: check["latency"].update({"warm process, brief, p50 s": 0.5}),
        lambda check, verify: check["batch"].update({"1000 rows: rows/s": 2.0}),
        lambda check, verify: verify.update({"limit": 7}),
        lambda check, verify: verify["holds"][0].update({"holds": not verify["holds"][0]["holds"]}),
        lambda check, verify: verify["cells"][0]["gains"]["evidence"].update({"low": 0.5, "value": 0.6, "high": 0.7}),
        lambda check, verify: verify["cells"][0]["gains"]["evidence"].update(
            {"low": -0.7, "value": -0.6, "high": -0.5}
        ),
    ],
    ids=["latency", "batch", "limit", "demand", "ahead", "behind"],
)
def test_all_else_that_changes_is_seen(copy: Path, change: Any) -> None:
    results = copy / "docs" / "results"
    check, verify = (json.loads((results / name).read_text("utf-8")) for name in ("check.json", "verify.json"))
    change(check, verify)
    (results / "check.json").write_text(json.dumps(check), encoding="utf-8")
    (results / "verify.json").write_text(json.dumps(verify), encoding="utf-8")
    assert stale(copy)


def test_no_measured_number_stands_outside_the_block() -> None:
    """Blocks of code are left out: what commands print is compared by running them (test_docs.py)."""
    text = HOOKS["MEASURED"].sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    assert not _MEASURE.findall(text), "state it in the block that docs/hooks.py writes"


@pytest.mark.parametrize(
    "told", ["four in five, or 80 %", "AUROC of 0.91", "takes 99 ms", "a third of them", "5 points"]
)
def test_measured_numbers_are_recognised(told: str) -> None:
    assert _MEASURE.search(told)


def test_pages_show_every_result_or_say_that_there_is_none(tmp_path: Path) -> None:
    from types import SimpleNamespace

    (tmp_path / "results").mkdir()
    shutil.copy(ROOT / "docs" / "results" / "verify.json", tmp_path / "results")
    page = SimpleNamespace(file=SimpleNamespace(src_dir=str(tmp_path)))
    source = (ROOT / "docs" / "results" / "verify.md").read_text(encoding="utf-8")
    text = HOOKS["on_page_markdown"](source, page=page)
    assert "<!-- verify" not in text
    assert text.count("<svg") == 4
    assert text.count("*Not measured yet.*") == 4
    assert "*what must hold*" in text
    bare = re.sub(r"`[^`\n]*`|<svg.*?</svg>|```.*?```", "", source, flags=re.DOTALL)
    claimed = [line for line in bare.splitlines() if re.search(r"(?<!q = )\b0\.\d{2,}|\d (?:of|points)\b", line)]
    assert not claimed, "numbers on this page are made from the results"
