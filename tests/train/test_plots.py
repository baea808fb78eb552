"""Plots: well-formed, told in words, without a colour that one of the themes swallows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from weighup.train.plots import _COLOURS, HEIGHT, WIDTH, line_plot

SERIES = {
    "EASE": [(1.0, 0.8), (0.5, 0.7), (0.0, 0.6)],
    "content <only> & more": [(1.0, 0.55), (0.0, 0.55)],
    "one": [(0.5, 0.6)],
}
SVG = "{http://www.w3.org/2000/svg}"


def drawn(**options: object) -> str:
    return line_plot("Macro-F1 & q", SERIES, x="q", y="macro-F1", **options)  # type: ignore[arg-type]


def test_it_is_xml_on_no_empty_line_and_told_in_words() -> None:
    svg = drawn(strong="EASE")
    assert "\n\n" not in svg
    root = ElementTree.fromstring(svg)
    title, desc = root.find("title"), root.find("desc")
    assert title is not None
    assert desc is not None
    assert title.text == "Macro-F1 & q"
    assert desc.text is not None
    assert "EASE: 0.80 at 1, 0.70 at 0.5, 0.60 at 0" in desc.text
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    shown = [text.text for text in root.iter("text")]
    assert set(SERIES) | {"q", "macro-F1"} <= set(shown)


def test_everything_is_drawn_inside() -> None:
    svg = line_plot("far", {"a": [(-3.0, 9.0), (5.0, -2.0)]}, x="x", y="y", y_range=(0, 1))
    for x, y in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', svg):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT


def test_lines_differ_without_colour() -> None:
    dashes = re.findall(r'stroke-dasharray="([^"]+)"', drawn())
    assert len(set(dashes)) >= 2
    assert 'stroke-width="3"' in drawn(strong="EASE")


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
    assert (
        drawn(diagonal=True, y_range=(0, 1)).count("stroke-dasharray")
        == drawn(y_range=(0, 1)).count("stroke-dasharray") + 1
    )


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        line_plot("empty", {"a": []}, x="x", y="y")


@pytest.mark.parametrize("values", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.31, 0.87), (0.0, 1.0)])
def test_any_range_of_values_has_room(values: tuple[float, float]) -> None:
    ElementTree.fromstring(line_plot("t", {"a": list(enumerate(values))}, x="x", y="y"))
