"""Take out of a page what its reader would not see, before any text is taken from it.

A page can carry text for machines only: orders to a language model in a comment, in an element that is not displayed,
in letters of no size or in white on white (Greshake et al. 2023, arXiv 2302.12173, "hidden injections"). What counts as
unseen is read from attributes, inline styles and the simple class and id rules of the page's own style sheets. Sheets
elsewhere are not fetched, so this lessens the risk and does not end it: `hostile.defuse` sees what is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_NOT_TEXT = frozenset(
    "script style noscript template iframe object embed applet canvas svg math audio video map textarea select option"
    " input button dialog datalist frame frameset noframes noembed portal param source track".split()
)
Chain = tuple[tuple[str, frozenset[str]], ...]
"""A selector's parts, each a tag (`*`: any) with its classes and ids, the outermost first."""

_STAY = frozenset({"html", "head", "body"})
_UNSEEN = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|content-visibility:hidden"
    r"|(?:^|;)opacity:(?:0?\.0\d*|0)(?:%|;|!|$)"
    r"|text-indent:-\d{3,}|(?:^|;)(?:left|top|right|bottom|margin-left|margin-top):-\d{3,}"
    r"|(?:^|;)(?:left|top|right|bottom):-?[1-9]\d{2,}(?:v[wh]|%)"
    r"|clip:rect\(0|clip:rect\(1px|clip-path:(?:inset\((?:50|100)%|circle\(0|polygon\([0,pxtm%]+\))"
    r"|transform:[^;]{0,100}(?:scale\(0(?:\.0+)?\)|rotate[xy]\(90deg|translate[xy3d]{0,2}\([^)]{0,40}?-\d{3,})"
    r"|(?:^|;)zoom:0(?:\.0\d*)?(?:;|!|$)|filter:opacity\(0"
)
_FONT_SIZE = re.compile(r"(?:^|;)font-size:(\d{0,9}\.\d{1,9}|\d{1,9})\d*(px|pt|r?em|%|)(?:;|!|$)")
_PIXELS = {"px": 1.0, "pt": 4 / 3, "em": 16.0, "rem": 16.0, "%": 0.16, "": 0.0}
_SMALLEST = 4.0
"""Pixels; nobody reads smaller letters."""

_NO_SIZE = re.compile(r"(?:^|;)(?:max-)?(?:height|width):(?:0|1px)(?:px|pt|em|rem|%)?(?:;|!|$)")
_COLOUR = re.compile(r"(?:^|;)color:([^;!]+)")
_BACKGROUND = re.compile(r"(?:^|;)background(?:-color)?:([^;!]+)")
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)  # one that is never closed reaches to the end, as in browsers
_SIMPLE = re.compile(r"(?:[a-z][a-z0-9]*)?([.#])([\w-]{1,100})", re.IGNORECASE)
_COMPOUND = re.compile(r"([a-z][a-z0-9-]*|\*)?((?:[.#][\w-]{1,100})*)", re.IGNORECASE)
_MAX_CHAINS = 500
_HEX = re.compile(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})")
_RGB = re.compile(r"rgba?\((\d{1,3}),?(\d{1,3}),?(\d{1,3})(?:[,/](\d{0,3}(?:\.\d{1,9})?)(%?))?\)")
_NAMED = {"white": "#fff", "black": "#000", "transparent": "#0000", "snow": "#fffafa", "ivory": "#fffff0"}
_FAINT = 0.1
_APART = 24
"""Least difference of one of the colours' red, green and blue, of 255, at which letters stand out from their ground."""


def strip_hidden(tree: HtmlElement) -> int:
    """Remove unseen elements, comments and processing instructions in place; what follows them stays. Returns the
    number of *letters* of text that only a machine would have read (scripts and style sheets do not count)."""
    from lxml import etree

    names, chains = _hidden_names(tree)
    grounds: dict[HtmlElement, str | None] = {}
    removed = 0
    for element in list(tree.iter()):
        if element is tree or element.tag in _STAY:
            continue
        if not isinstance(element.tag, str):
            removed += len((element.text or "").strip()) if element.tag is etree.Comment else 0
            _drop(element)
        elif element.tag in _NOT_TEXT:
            _drop(element)
        elif _is_hidden(element, names, grounds) or any(_fits(element, chain) for chain in chains):
            removed += len("".join(element.itertext()).strip())
            _drop(element)
    return removed


def _is_hidden(element: HtmlElement, names: frozenset[str], grounds: dict[HtmlElement, str | None]) -> bool:
    if element.get("hidden") is not None or (element.get("aria-hidden") or "").strip().lower() == "true":
        return True
    if names and (
        f"#{element.get('id')}" in names or any(f".{one}" in names for one in (element.get("class") or "").split())
    ):
        return True
    style = element.get("style")
    if element.tag == "font" and element.get("color"):
        style = f"{style or ''};color:{element.get('color')}"
    return bool(style) and _unseen(_normal(style), element, grounds)


def _unseen(style: str, element: HtmlElement, grounds: dict[HtmlElement, str | None]) -> bool:
    if _UNSEEN.search(style):
        return True
    if "overflow:hidden" in style and _NO_SIZE.search(style):
        return True
    if _no_font(style):
        return True
    colour = _COLOUR.search(style)
    if colour is None:
        return False
    letters = _rgb(colour[1])
    if letters is not None and letters[3] < _FAINT:
        return True
    background = _background(style, element, grounds)
    if background is None and element.get("class"):
        return False
    return _same_colour(colour[1], background or "#fff")  # where nothing says otherwise, the browser's white


def _no_font(style: str) -> bool:
    size = _FONT_SIZE.search(style)
    return size is not None and float(size[1]) * _PIXELS[size[2]] < _SMALLEST


def _background(style: str, element: HtmlElement, grounds: dict[HtmlElement, str | None]) -> str | None:
    """The background this element stands on, as far as inline styles say. `grounds` keeps what was found for its
    ancestors, whose styles may be long and are many elements' to share."""
    own = _BACKGROUND.search(style)
    if own:
        return own[1]
    passed: list[HtmlElement] = []
    ground: str | None = None
    for one in element.iterancestors():
        if one in grounds:
            ground = grounds[one]
            break
        passed.append(one)
        found = _BACKGROUND.search(_normal(one.get("style") or "")) if one.get("style") else None
        ground = found[1] if found else (one.get("bgcolor") or "").strip().lower() or None
        if ground is not None:
            break
    grounds.update(dict.fromkeys(passed, ground))
    return ground


def _same_colour(one: str, other: str) -> bool:
    letters, ground = _rgb(one), _rgb(other)
    if letters is None or ground is None:
        return one == other
    if ground[3] < _FAINT:
        ground = (255, 255, 255, 1.0)
    return max(abs(a - b) for a, b in zip(letters[:3], ground[:3], strict=True)) < _APART


def _rgb(colour: str) -> tuple[int, int, int, float] | None:
    """Red, green and blue, of 255, and opacity, of 1; None for colours that are written otherwise."""
    colour = _NAMED.get(colour, colour)
    if _HEX.fullmatch(colour):
        digits = colour[1:] if len(colour) > 5 else "".join(2 * c for c in colour[1:])
        red, green, blue, *alpha = bytes.fromhex(digits)
        return red, green, blue, alpha[0] / 255 if alpha else 1.0
    found = _RGB.fullmatch(colour)
    if found is None:
        return None
    share = float(found[4] or 0) if found[4] is not None else 1.0
    return int(found[1]), int(found[2]), int(found[3]), share / 100 if found[5] else share


def _hidden_names(tree: HtmlElement) -> tuple[frozenset[str], list[Chain]]:
    """What the page's own style sheets hide, outside of `@media` and other conditions: `.class` and `#id` names, and
    selectors of several parts, the last of which has a class or an id."""
    names: set[str] = set()
    chains: dict[Chain, None] = {}
    for sheet in tree.iter("style"):
        for selectors, style in _rules(_top_level(_COMMENT.sub("", sheet.text or ""))):
            normal = _normal(style)
            if _UNSEEN.search(normal) or _no_font(normal) or ("overflow:hidden" in normal and _NO_SIZE.search(normal)):
                for selector in selectors.split(","):
                    simple = _SIMPLE.fullmatch(selector.strip())
                    if simple:
                        names.add(simple[1] + simple[2])
                    elif len(chains) < _MAX_CHAINS and (chain := _chain(selector)):
                        chains[chain] = None
    return frozenset(names), list(chains)


def _chain(selector: str) -> Chain | None:
    """`main .x > p.y` as its parts; None for what is not made of tags, classes and ids within each other."""
    parts: list[tuple[str, frozenset[str]]] = []
    for one in selector[:300].replace(">", " ").split():
        found = _COMPOUND.fullmatch(one)
        if found is None:
            return None
        parts.append(((found[1] or "*").lower(), frozenset(re.findall(r"[.#][\w-]+", found[2]))))
    return tuple(parts) if parts and parts[-1][1] else None


def _fits(element: HtmlElement, chain: Chain) -> bool:
    """Whether the last part names this element and the others elements around it, from the inside out."""
    if not _named(element, chain[-1]):
        return False
    rest = list(chain[:-1])
    for around in element.iterancestors():
        if rest and _named(around, rest[-1]):
            rest.pop()
    return not rest


def _named(element: HtmlElement, part: tuple[str, frozenset[str]]) -> bool:
    tag, names = part
    if tag not in ("*", element.tag):
        return False
    own = {f".{one}" for one in (element.get("class") or "").split()} | {f"#{element.get('id')}"}
    return names <= own


def _rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Selectors and style of each rule. Linear: the sheet comes from a stranger."""
    for block in sheet.split("}")[:-1]:
        before, brace, style = block.rpartition("{")
        if brace:
            yield before.rpartition("{")[2], style


def _top_level(sheet: str) -> str:
    """A style sheet without its at-rules: `@media print` hides what the reader of the page sees."""
    kept: list[str] = []
    at = 0
    brace = end = -1
    while (start := sheet.find("@", at)) >= 0:
        kept.append(sheet[at:start])
        # Looked for again only when passed, so that a sheet of nothing but "@;" is read once.
        brace = _next(sheet, "{", start) if brace < start else brace
        end = _next(sheet, ";", start) if end < start else end
        if end < brace or brace == len(sheet):
            at = min(end + 1, len(sheet))
            continue
        depth, at = 1, brace + 1
        for mark in re.compile(r"[{}]").finditer(sheet, at):
            depth += 1 if mark[0] == "{" else -1
            at = mark.end()
            if depth == 0:
                break
        if depth:
            at = len(sheet)
    kept.append(sheet[at:])
    return "".join(kept)


def _next(sheet: str, mark: str, start: int) -> int:
    """Where the next such mark is; the sheet's length if there is none."""
    found = sheet.find(mark, start)
    return len(sheet) if found < 0 else found


def _normal(style: str) -> str:
    return re.sub(r"\s+", "", _COMMENT.sub("", style)).lower()


def _drop(element: HtmlElement) -> None:
    """Remove an element but keep the text that follows it, which belongs to its parent."""
    parent = element.getparent()
    if parent is None:
        return
    if element.tail:
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + element.tail
        else:
            before.tail = (before.tail or "") + element.tail
    parent.remove(element)
