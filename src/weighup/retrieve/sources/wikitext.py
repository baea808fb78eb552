"""Wikitext to plain text: one pass for nested markup, then line rules. Linear in the page's length.

Why not the rendered page: rendering an old revision fills it with today's templates, and today's news with them.
Templates, tables, files, references and comments go; the few templates that carry running words keep them.
Markup: https://www.mediawiki.org/wiki/Help:Formatting, https://www.mediawiki.org/wiki/Help:Links
"""

from __future__ import annotations

import html
import re

from weighup.texts import clean

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Elements whose content is not the article's prose. Self-closing references are matched first.
_DROPPED = "ref|math|gallery|timeline|syntaxhighlight|source|imagemap|templatestyles|references|score|mapframe|chem"
_CLOSED = re.compile(rf"<(?:{_DROPPED})\b[^<>]*/>", re.IGNORECASE)
_ELEMENT = re.compile(rf"<(/?)({_DROPPED})\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}")
_EXTERNAL = re.compile(r"\[(?:https?:)?//[^\s\[\]]+(?:[ \t]+([^\[\]\n]*))?\]")
_HEADING = re.compile(r"^={1,6}\s*(.*?)\s*={1,6}\s*$")
_BEHAVIOUR = re.compile(r"__[A-Z]+__|-\{(?:[^{}|]*\|)?([^{}]*)\}-")
_VARIANT = re.compile(r"(?:^|;)\s*zh-(?:hans|cn)\s*:([^;]*)|(?:^|;)\s*zh-?\w*\s*:([^;]*)")
_QUOTES = re.compile(r"'{2,5}")
_NAMESPACE = re.compile(
    r"\s*:?\s*(?:file|image|media|category|文件|檔案|档案|图像|圖像|分类|分類|[a-z]{2,3}(?:-[a-z]+)*)\s*:",
    re.IGNORECASE,
)
# Sections that list pages, not statements; the article's prose ends where they begin.
_LISTS = frozenset(
    "see also|references|external links|further reading|notes|bibliography|sources|citations|参考文献|參考文獻|外部链接"
    "|外部連結|参见|參見|参考资料|參考資料|注释|註釋|延伸阅读".split("|")
)
# Markup nested deeper than this is nobody's article; not following it keeps hostile pages linear.
_DEEPEST = 40
# Templates that stand for words in a sentence: which of their parameters is shown (-1: the last).
_WORDED = {
    "lang": -1, "nowrap": 0, "nobr": 0, "small": 0, "transl": -1, "abbr": 0, "nihongo": 0, "ill": 0, "link-en": 0,
    "le": 0, "lang-en": 0, "sic": 0, "as of": 0, "bd": 0, "not a typo": 0, "tq": 0, "quote": 0, "blockquote": 0,
}  # fmt: skip


def plain_text(wikitext: str, limit: int = 30_000) -> str:
    """The article's prose, paragraphs apart, at most about `limit` characters (cut at a paragraph)."""
    text = _without_elements(_CLOSED.sub("", _COMMENT.sub("", wikitext)))
    text = _EXTERNAL.sub(lambda match: match[1] or "", _unnested(text))
    text = html.unescape(_TAG.sub("", _QUOTES.sub("", _BEHAVIOUR.sub(_variant, text))))
    kept: list[str] = []
    size = 0
    for line in clean(text).split("\n"):
        heading = _HEADING.match(line)
        if heading:
            if heading[1].lower() in _LISTS:
                break
            continue
        line = line.lstrip("*#:; ").strip()
        # A lone bar or brace is what is left of broken tables; a line without letters says nothing.
        if line.startswith(("|", "!", "{", "}")) or not any(c.isalpha() for c in line):
            continue
        if size + len(line) > limit and kept:
            break
        kept.append(line[:limit])
        size += len(line)
    # Dropped templates leave their punctuation behind: "Paris ( ; born", "word ."
    text = re.sub(r"([(（]) ?[,;，；] ?", r"\1", "\n".join(kept))
    return re.sub(r" +([,.;:)])", r"\1", re.sub(r" ?[(（] ?[)）]", "", text))


def is_redirect(wikitext: str) -> bool:
    """Whether the revision only points to another page."""
    return re.match(r"\s*#\s*(?:redirect|重定向)", wikitext[:80], re.IGNORECASE) is not None


def _without_elements(text: str) -> str:
    """Drop the elements that hold no prose, nested ones included; one never closed ends with its line."""
    out: list[str] = []
    depth, at = 0, 0
    open_at = 0
    for match in _ELEMENT.finditer(text):
        if not match[1]:
            if depth == 0:
                out.append(text[at : match.start()])
                open_at = match.end()
            depth += 1
        elif depth:
            depth -= 1
            at = match.end()
    if depth:
        line_end = text.find("\n", open_at)
        at = len(text) if line_end < 0 else max(line_end, at)
    out.append(text[at:])
    return "".join(out)


def _unnested(text: str) -> str:
    """Replace templates, links and tables, innermost first, by what a reader sees of them."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    at = 0
    for match in _TOKEN.finditer(text):
        if match.start() < at:
            continue
        stack[-1][1].append(text[at : match.start()])
        at = match.end()
        token = match[0]
        if token in ("{{", "[[", "{|"):
            if len(stack) < _DEEPEST:
                stack.append((token, []))
            continue
        opener = {"}}": "{{", "]]": "[[", "|}": "{|"}[token]
        if token == "|}" and stack[-1][0] == "{{" and text[at : at + 1] == "}":
            # `|}}` closes a template whose last parameter is empty.
            stack[-1][1].append("|")
            at += 1
            opener = "{{"
        if all(kind != opener for kind, _ in stack):
            continue  # closes nothing that is open: broken markup, dropped
        while stack[-1][0] != opener:
            _, inner = stack.pop()
            stack[-1][1].extend(inner)
        _, inner = stack.pop()
        stack[-1][1].append(_shown(opener, "".join(inner)))
    stack[-1][1].append(text[at:])
    # What was never closed is broken markup; a template or table left open has no prose in it until a blank line.
    out = stack[0][1]
    for kind, inner in stack[1:]:
        rest = "".join(inner)
        out.append(rest if kind == "[[" else rest.partition("\n\n")[2])
    return "".join(out)


def _variant(match: re.Match[str]) -> str:
    """A choice between written forms of Chinese, `-{zh-hans:…;zh-hant:…}-`: the simplified one, else the first."""
    inner = match[1] or ""
    found = _VARIANT.search(inner)
    return inner if found is None else (found[1] or found[2] or "").strip()


def _shown(opener: str, inner: str) -> str:
    if opener == "{|":
        return ""
    if opener == "[[":
        if _NAMESPACE.match(inner):
            return inner.lstrip(" :").rpartition("|")[2] if inner.lstrip().startswith(":") else ""
        return inner.rpartition("|")[2]
    name, *parameters = (part.strip() for part in inner.split("|"))
    name = name.lower().replace("_", " ")
    shown = [part for part in parameters if not re.match(r"[\w -]{1,20}=", part)]
    if not shown:
        return ""
    if name in ("convert", "cvt"):
        return " ".join(shown[:2])
    return shown[_WORDED[name]] if name in _WORDED else ""
