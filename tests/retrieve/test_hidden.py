"""Hostile style sheets: what takes a parser minutes must take moments, and still hide what it hides."""

from __future__ import annotations

import pytest
from lxml import html

from weighup.retrieve.hidden import strip_hidden

SHEETS = {
    "no rule at all": "a" * 2_000_000,
    "rules cut short": ("a" * 1999 + "{" + "b" * 5001) * 300,
    "comments never closed": "/*" * 1_000_000,
    "empty at-rules": "@;" * 1_000_000,
}
ATTRIBUTES = {
    "a number without end": f'<b style="font-size:{"1" * 1_000_000}x">seen</b>',
    "one long style for many": f'<div style="{"a:b;" * 200_000}">{"<b style=color:red>seen</b>" * 2_000}</div>',
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS)
def test_a_style_sheet_is_read_in_one_pass(sheet: str) -> None:
    tree = html.document_fromstring(f"<style>.no {{display:none}} {sheet}</style><p>seen</p><p class=no>unseen</p>")
    strip_hidden(tree)
    assert "seen" in tree.text_content()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("body", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_styles_of_elements_are_read_once_each(body: str) -> None:
    tree = html.document_fromstring(body)
    assert strip_hidden(tree) == 0
    assert "seen" in tree.text_content()


@pytest.mark.parametrize(
    "sheet",
    [
        ".no{display:none}",
        "p{color:red} a.x, .no { font-size : 1.5px }",
        "@media print{.yes{display:none}} @import 'x'; .no{opacity:0}",
        "/* one */ .no{/* two */display:none} /* never closed .yes{display:none}",
        ".yes{} {} .no{display:none}",
    ],
)
def test_what_a_sheet_hides(sheet: str) -> None:
    tree = html.document_fromstring(f"<style>{sheet}</style><p class=yes>this is read</p><p class=no>this is not</p>")
    assert strip_hidden(tree) == len("this is not")
    assert tree.text_content().strip() == "this is read"


def test_a_background_is_looked_for_beyond_ancestors_that_have_none() -> None:
    tree = html.document_fromstring(
        '<div style="background:#123"><div><b style="color:#123">unseen</b><b style="color:#123">too</b></div>'
        '<div bgcolor="#456"><i style="color:#123">seen</i><i style="color:#456">gone</i></div></div>'
    )
    strip_hidden(tree)
    assert tree.text_content() == "seen"


@pytest.mark.parametrize(
    "style",
    [
        "color:rgba(0,0,0,0)",
        "color: #FDFDFD; background: #fff",
        "color:#fdfdfd",
        "color:rgb(8 8 8 / 2%)",
        "color:#1230",
        "color:black;background:rgb(10, 10, 10)",
        "clip-path: polygon(0 0, 0 0, 0px 0%)",
        "position:fixed; left: 200vw",
        "transform: rotateY(90deg)",
        "transform: translateX(-9999px)",
        "zoom: 0",
    ],
)
def test_what_no_eye_can_make_out(style: str) -> None:
    tree = html.document_fromstring(f'<p>seen</p><p style="{style}">unseen</p>')
    assert strip_hidden(tree) == len("unseen")
    assert tree.text_content() == "seen"


@pytest.mark.parametrize(
    "style",
    [
        "color:#777",
        "color:#e0e0e0",
        "color:white;background:navy",
        "color:rgba(0,0,0,.5)",
        "left: 50%",
        "transform: rotate(90deg)",
        "clip-path: polygon(0 0, 100% 0, 100% 100%)",
        "color:hsl(0 0% 50%)",
        "color:#12",
    ],
)
def test_what_can_be_made_out_stays(style: str) -> None:
    tree = html.document_fromstring(f'<p style="{style}">seen</p>')
    assert strip_hidden(tree) == 0


@pytest.mark.parametrize("sheet", ["main .x p.no{display:none}", "#top > .x .no{opacity:0}", "*.no{zoom:0}"])
def test_a_selector_of_several_parts_hides_what_it_names(sheet: str) -> None:
    body = "<main id=top><div class=x><p class=no>unseen</p></div><p class=yes>seen</p></main>"
    tree = html.document_fromstring(f"<style>{sheet} main .y .yes{{display:none}}</style>{body}")
    assert strip_hidden(tree) == len("unseen")
