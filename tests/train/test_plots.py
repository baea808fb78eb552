"""Figures: well-formed, told in words, without a colour that one of the themes swallows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from weighup.train.plots import _COLOURS, WIDTH, Line, areas, lines

PANELS = {
    "covid & more": {
        "EASE": Line([(0.0, 0.6), (0.5, 0.7), (1.0, 0.8)], [(0.5, 0.7), (0.6, 0.8), (0.7, 0.9)]),
        "content <only>": Line([(0.0, 0.55), (1.0, 0.55)]),
    },
    "climate": {"EASE": Line([(0.5, 0.6)])},
}
SHARES = {"one": {"evidence": [(0.0, 0.0), (1.0, 0.9)], "reasoning": [(0.0, 1.0), (1.0, 0.1)]}}
SVG = "{http://www.w3.org/2000/svg}"


def drawn(**options: object) -> str:
    return lines("Macro-F1 & q", PANELS, x="share, q", y="macro-F1", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("svg", [drawn(strong="EASE"), areas("Who & why", SHARES, x="q", y="share")])
def test_it_is_xml_on_no_empty_line(svg: str) -> None:
    assert "\n\n" not in svg
    root = ElementTree.fromstring(svg)
    title, desc = root.find("title"), root.find("desc")
    assert title is not None
    assert desc is not None
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"


def test_it_is_told_in_words() -> None:
    root = ElementTree.fromstring(drawn(strong="EASE"))
    desc = root.findtext("desc") or ""
    assert "covid & more: EASE 0.60 at 0, 0.70 at 0.5, 0.80 at 1" in desc
    assert "content" not in desc  # the tables have it
    assert "content <only> 0.55 at 0" in (ElementTree.fromstring(drawn()).findtext("desc") or "")
    shown = {text.text for text in root.iter("text")}
    assert {*PANELS, "EASE", "content <only>", "share, q", "macro-F1", "Macro-F1 & q"} <= shown


def test_every_panel_has_the_same_scale() -> None:
    root = ElementTree.fromstring(drawn())
    ticks = [text.text for text in root.iter("text") if text.get("text-anchor") == "end"]
    assert ticks[: len(ticks) // 2] == ticks[len(ticks) // 2 :]
    assert ticks[0] == "0.5"


def test_everything_is_drawn_inside() -> None:
    svg = lines(
        "far", {"one": {"a": Line([(-3.0, 9.0), (5.0, -2.0)], [(-5, 20), (-9, 9)])}}, x="x", y="y", y_range=(0, 1)
    )
    height = float((ElementTree.fromstring(svg).get("viewBox") or "").split()[3])
    places = re.findall(
        r"(-?[\d.]+) (-?[\d.]+)", " ".join(re.findall(r' d="M([^"HVh]+?)Z?"', svg).copy()).replace("L", " ")
    )
    places += re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', svg)
    assert len(places) > 4
    for x, y in places:
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= height


def test_lines_differ_without_colour() -> None:
    many = {"one": {str(i): Line([(0.0, 0.1 * i), (1.0, 0.1 * i)]) for i in range(8)}}
    svg = lines("t", many, x="x", y="y")
    assert len(set(re.findall(r'stroke-dasharray="([^"]+)"', svg))) == 7
    assert 'stroke-width="2.6"' in drawn(strong="EASE")


def test_the_strong_line_looks_the_same_in_every_figure() -> None:
    alone = lines("t", {"one": {"EASE": Line([(0.0, 0.1), (1.0, 0.2)])}}, x="x", y="y", strong="EASE")
    colours = [re.findall(r'stroke="(#\w+)" stroke-width="2.6"', svg) for svg in (alone, drawn(strong="EASE"))]
    assert colours[0][0] == colours[1][0]


def test_intervals_are_bands() -> None:
    assert drawn().count("fill-opacity") == 1
    bare = {"one": {"a": Line([(0.0, 0.1), (1.0, 0.2)])}}
    assert "fill-opacity" not in lines("t", bare, x="x", y="y")


def test_sizes_of_marks_follow_what_they_stand_for() -> None:
    sized = {"one": {"a": Line([(0.1, 0.1), (0.9, 0.9)], sizes=[0.0, 1.0])}}
    small, large = (float(r) for r in re.findall(r'r="([\d.]+)"', lines("t", sized, x="x", y="y")))
    assert small < large


def test_shares_are_stacked_and_named_where_there_is_room() -> None:
    root = ElementTree.fromstring(areas("t", SHARES, x="q", y="share"))
    paths = [path.get("d") or "" for path in root.iter("path") if path.get("fill-opacity")]
    assert len(paths) == 2
    first, second = ([pair.split() for pair in path.strip("MZ").split("L")] for path in paths)
    assert first[:2] == second[:1:-1]  # the upper edge of one is the lower edge of the next
    named = [text for text in root.iter("text") if text.text in ("evidence", "reasoning")]
    assert len(named) == 4  # in the panel and in the legend


def test_shares_need_two_places_that_are_the_same() -> None:
    for points in ([(0.0, 1.0)], [(0.0, 1.0), (0.5, 1.0)]):
        with pytest.raises(ValueError, match="two places"):
            areas("t", {"one": {"a": points, "b": [(0.0, 0.0), (1.0, 0.0)]}}, x="q", y="share")


def test_colours_stand_out_on_light_and_dark() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark = luminance("#1e2129")  # the ground of the dark theme
    for colour in _COLOURS:
        light = luminance(colour)
        assert 1.05 / (light + 0.05) >= 3, colour
        assert (light + 0.05) / (dark + 0.05) >= 3, colour


def test_the_diagonal_is_for_reliability() -> None:
    extra = drawn(diagonal=True, y_range=(0, 1)).count("stroke-dasharray")
    assert extra == drawn(y_range=(0, 1)).count("stroke-dasharray") + len(PANELS)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        lines("empty", {"one": {"a": Line([])}}, x="x", y="y")


@pytest.mark.parametrize("values", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.31, 0.87), (0.0, 1.0)])
def test_any_range_of_values_has_room(values: tuple[float, float]) -> None:
    ElementTree.fromstring(lines("t", {"one": {"a": Line(list(enumerate(values)))}}, x="x", y="y"))
