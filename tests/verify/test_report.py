"""Reports: they say the same, and hostile text stays text in each of them."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import examples
import pytest

from weighup.verify.contract import FailedRow, Verdict
from weighup.verify.report.html import FULL_SECTIONS, OVERVIEW_ROWS, render_html, stream_html
from weighup.verify.report.markdown import escape, render_markdown
from weighup.verify.report.phrases import percent, plain, safe_link
from weighup.verify.report.text import render_text

ALL = [
    examples.verdict(),
    examples.real(),
    examples.without_evidence(),
    examples.not_checkable(),
    examples.hostile(),
]


class Page(HTMLParser):
    """What a browser would make of a page: its elements, links and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(*verdicts: Verdict | FailedRow) -> Page:
    return Page(render_html(list(verdicts)))


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("shown", ALL, ids=lambda v: v.verdict + str(v.id)[:3])
def test_every_report_says_claim_verdict_why_and_cost(shown: Verdict) -> None:
    headline = {"real": "likely real", "fake": "likely fake", "unknown": "too early to say"}
    headline["not_checkable"] = "not a checkable claim"
    for report in (render_text(shown), render_markdown([shown]).replace("\\", ""), page(shown).text):
        report = squeezed(report)
        assert plain(shown.claim) in report
        assert headline[shown.verdict] in report.lower()
        assert plain(shown.why) in report
        assert f"{shown.usage.seconds:.2f} s" in report
        for warning in shown.warnings:
            assert plain(warning) in report
        for item in shown.evidence:
            assert plain(item.text)[:60] in report


def test_the_probability_its_interval_and_the_expert_are_shown() -> None:
    shown = examples.verdict()
    for report in (render_text(shown), render_markdown([shown]), page(shown).text):
        assert "91 %" in report
        assert "78–97 %" in report
        assert re.search(r"decided", report)
        assert "undated" in report.lower()


def test_explain_adds_queries_and_versions() -> None:
    shown = examples.verdict()
    assert "disinfectant treatment" not in render_text(shown)
    for report in (render_text(shown, explain=True), render_markdown([shown], explain=True)):
        assert "disinfectant treatment" in report
        assert "minilm" in report
    full = render_text(examples.without_evidence(), explain=True)
    assert "Unavailable" in full


def test_what_a_model_wrote_is_marked_as_opinion() -> None:
    shown = examples.verdict()
    for report in (render_text(shown), render_markdown([shown]), page(shown).text):
        assert "an opinion" in squeezed(report)


def test_the_terminal_gets_no_escapes_from_outside() -> None:
    report = render_text(examples.hostile(), explain=True)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", report)
    assert "[31m" not in report
    assert "[bold red]x[/]" in report  # rich's markup is text too


def test_markdown_from_outside_is_escaped() -> None:
    report = render_markdown([examples.hostile()], explain=True)
    unescaped = re.sub(r"\\.", "", report)
    assert "<script" not in unescaped
    assert "](javascript" not in unescaped
    assert "**b**" not in report
    assert escape("- a | b\n# c\n1. d https://x.example") == r"\- a \| b \# c 1. d https\://x.example"
    assert escape("1. d") == r"1\. d"


def test_markdown_is_one_document_with_the_links_of_verdicts() -> None:
    report = render_markdown(ALL)
    assert report.count("# weighup report\n") == 1
    assert "(<https://blog.example.com/wonder-cure>)" in report


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        'https://x.example/" onclick="x',
        "https://x.example/<b>",
        "https://x.example/a b",
        "//x.example",
        None,
    ],
)
def test_only_plain_http_addresses_become_links(url: str | None) -> None:
    assert safe_link(url) is None
    assert safe_link("https://x.example/a?b=c&d#e") == "https://x.example/a?b=c&d#e"


def test_the_page_is_well_formed_and_its_own_policy_allows_its_style_only() -> None:
    html = render_html(ALL)
    parsed = Page(html)
    assert {"html", "head", "body", "main", "header", "footer", "article", "svg"} <= {tag for tag, _ in parsed.elements}
    policy = next(m["content"] for m in parsed.every("meta") if m.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_nothing_from_outside_becomes_an_element_a_handler_or_a_request() -> None:
    parsed = page(*ALL)
    assert not {"script", "img", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in parsed.elements}
    for tag, attributes in parsed.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")], tag
    targets = {str(attributes["href"]) for tag, attributes in parsed.elements if tag in ("a", "link")}
    assert all(target.startswith(("#", "https://", "data:,")) for target in targets)
    for attributes in parsed.every("a"):
        if str(attributes["href"]).startswith("http"):
            assert {"noopener", "noreferrer"} <= set(str(attributes["rel"]).split())


def test_links_within_the_page_lead_somewhere_and_ids_are_unique() -> None:
    parsed = page(*ALL, FailedRow(id=1, line=6, error="line 6: is not JSON"))
    names = [attributes["id"] for _, attributes in parsed.elements if attributes.get("id")]
    assert len(names) == len(set(names))
    for attributes in parsed.every("a"):
        target = str(attributes["href"])
        if target.startswith("#"):
            assert target[1:] in names


def test_the_page_can_be_read_without_seeing_it() -> None:
    parsed = page(*ALL)
    assert parsed.every("html")[0]["lang"] == "en"
    for attributes in parsed.every("svg"):
        named = attributes.get("role") in ("img", "group") and attributes.get("aria-label")
        inside = attributes.get("x") is not None  # a part of a drawing that is named
        assert named or inside or attributes.get("aria-hidden") == "true"
    assert sum(tag == "h1" for tag, _ in parsed.elements) == 1
    assert any(a.get("lang") == "zh" for a in parsed.every("h2"))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_colour_can_be_read_on_what_it_stands_on(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", render_html([examples.verdict()]), re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    for tone in ("real", "fake", "unknown", "none"):
        for ground in ("card", f"{tone}-tint"):
            assert contrast(colours[tone], colours[ground]) >= 4.5, (tone, ground)
            assert contrast(colours["ink"], colours[ground]) >= 4.5
            assert contrast(colours["soft"], colours[ground]) >= 4.5, ground
        assert contrast(colours["on"], colours[tone]) >= 4.5
    for ground in ("card", "paper"):
        assert contrast(colours["link"], colours[ground]) >= 4.5
        assert contrast(colours["soft"], colours[ground]) >= 4.5


def test_undated_evidence_stands_apart_from_the_timeline() -> None:
    parsed = page(examples.verdict())
    marks = [a for a in parsed.every("a") if str(a.get("aria-label", "")).startswith("Passage")]
    assert [a["href"] for a in marks] == ["#v1-e1", "#v1-e2", "#v1-e3"]
    assert "Undated, so not on the line: 4" in squeezed(parsed.text)


def test_many_passages_of_one_day_do_not_leave_the_drawing() -> None:
    crowd = [examples.passage(f"Passage {i}.", "supports", date="2020-04-01") for i in range(60)]
    parsed = page(examples.verdict(evidence=crowd))
    for attributes in parsed.every("svg"):
        if attributes.get("x"):
            assert 0 <= float(str(attributes["x"]).rstrip("%")) <= 100
            assert float(str(attributes["y"])) > 0


def test_a_large_batch_is_bounded() -> None:
    one = examples.not_checkable()
    total = OVERVIEW_ROWS + 10
    html = "".join(stream_html(lambda: (one for _ in range(total)), title="rows"))
    parsed = Page(html)
    assert len(parsed.every("article")) == FULL_SECTIONS
    assert len(parsed.every("tr")) == OVERVIEW_ROWS + 1
    assert "10 more rows are in the JSON lines" in parsed.text
    assert f"report on {total} claims" in parsed.text


def test_an_empty_batch_and_a_lone_failure_still_make_a_page() -> None:
    assert "report on 0 claims" in page().text
    assert "line 1: is not JSON" in page(FailedRow(id=None, line=1, error="line 1: is not JSON")).text


def test_percentages_never_claim_certainty_by_rounding() -> None:
    assert [percent(p) for p in (0.0, 0.001, 0.5, 0.999, 1.0)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]
