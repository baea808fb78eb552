"""The HTML report in a real browser: wide and narrow, light and dark; it asks for nothing and fits the screen."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import examples
import pytest
from webserver import LoopbackServer, Response

from weighup.verify.contract import FailedRow
from weighup.verify.report.html import render_html

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# The page's policy forbids scripts, so the measuring script stands in a page around it, of the same origin.
_PROBE = """<!DOCTYPE html><body style="margin:0">
<iframe id=f src=/report width={width} height=900 frameborder=0></iframe>
<script>document.getElementById("f").onload = function () {{
  var d = this.contentDocument, e = d.documentElement, out = [];
  d.querySelectorAll("details").forEach(function (x) {{ x.open = true; }});
  d.querySelectorAll("body *").forEach(function (x) {{
    var b = x.getBoundingClientRect();
    if (b.right > e.clientWidth + 1 && b.width > 1 && !x.closest(".skip, .sr")) out.push(x.tagName + "." + x.className);
  }});
  document.body.setAttribute("data-found", JSON.stringify({{
    scroll: e.scrollWidth, client: e.clientWidth, out: out.slice(0, 5),
    articles: d.querySelectorAll("article").length, requests: this.contentWindow.performance
      .getEntriesByType("resource").map(function (r) {{ return r.name; }}),
    styled: getComputedStyle(d.querySelector(".ruling")).backgroundColor
  }}));
}};</script>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium here; install one (apt-get install chromium) to look at the report")


@pytest.fixture(scope="module")
def report() -> str:
    crowd = [examples.passage(f"Passage {i} " * 9, "supports", date=f"2020-03-{i % 28 + 1:02}") for i in range(40)]
    return render_html(
        [
            examples.verdict(),
            examples.real(),
            examples.without_evidence(),
            examples.not_checkable(),
            examples.hostile(),
            examples.verdict(claim="Unbroken" * 60, evidence=crowd, why="https://a.example/" + "long" * 100),
            FailedRow(id="x" * 200, line=7, error="line 7: is not JSON"),
        ],
        title="verdicts",
    )


def browse(chromium: str, folder: Path, *arguments: str) -> str:
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--hide-scrollbars", "--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize("width", [1200, 390, 320])
def test_the_report_fits_the_screen_and_asks_for_nothing(
    chromium: str, report: str, tmp_path: Path, width: int
) -> None:
    routes = {"/report": Response(report), "/probe": Response(_PROBE.format(width=width))}
    with LoopbackServer(routes) as server:
        dom = browse(
            chromium, tmp_path, "--window-size=1300,1000", "--virtual-time-budget=4000", "--dump-dom",
            f"{server.url}/probe",
        )  # fmt: skip
        asked = [request.path for request in server.requests if request.path != "/favicon.ico"]
    found = re.search(r'data-found="([^"]*)"', dom)
    assert found is not None, dom[:2000]
    told = json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))
    assert told["client"] == width
    assert told["out"] == []
    assert told["scroll"] <= width
    assert told["articles"] == 6
    assert told["requests"] == []
    assert sorted(asked) == ["/probe", "/report"]
    assert told["styled"] not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")  # its policy lets its own style through


def test_screenshots_wide_and_narrow_light_and_dark(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html([examples.verdict()]), encoding="utf-8")
    sizes = {}
    for width in (1200, 600):
        for scheme in ("light", "dark"):
            shot = tmp_path / f"{width}-{scheme}.png"
            dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
            browse(chromium, tmp_path, *dark, f"--window-size={width},1600", f"--screenshot={shot}", page.as_uri())
            data = shot.read_bytes()
            assert struct.unpack(">II", data[16:24])[0] == width
            sizes[width, scheme] = data
    assert len(set(sizes.values())) == 4  # four different pictures
