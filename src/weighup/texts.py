"""Plain text: sentences, words, language, and what hostile or broken input must be cleaned of."""

from __future__ import annotations

import re
import unicodedata

_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|Gen|Gov|Sen|Rep|Lt|Col|vs|etc|e\.g|i\.e|al|Fig|No|Inc|Ltd|Co|Corp"
    r"|U\.S|U\.K|U\.N|a\.m|p\.m|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)|\b[A-Z])\.$"
)
_BREAK = re.compile(
    r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9\u00c0-\u00de\u4e00-\u9fff])|(?<=[。！？])|\n{2,}|\n(?=[-*•])"
)
_WORD = re.compile(r"\d+(?:[.,]\d+)*%?|[^\W\d_\u3400-\u9fff]+(?:['’-][^\W\d_\u3400-\u9fff]+)*|[\u3400-\u9fff]")
# C0/C1 controls, zero-width characters, soft hyphens, the marks that change writing direction, and the tag characters
# and variation selectors in which unseen words can be written, and lone surrogates, which cannot be written as UTF-8:
# none is text.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069"
    r"\ud800-\udfff\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")

STOP_WORDS = frozenset(
    "the a an of to in on at by for with from and or but is are was were be been it its this that these those as has "
    "have had he she they we i you his her their our will would can could may might who which what when than then "
    "there also more most other some such into over after before about up out if so do does did said says"
    " not no".split()
)
"""English words too common to tell texts apart."""


def clean(text: str) -> str:
    """Normalise (NFC), drop control, zero-width and direction-changing characters, squeeze blanks."""
    text = _CONTROL.sub("", unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n"))
    text = re.sub(r"[ \t\u00a0\u3000]+", " ", text)
    return re.sub(r" *\n *", "\n", re.sub(r"\n{3,}", "\n\n", text)).strip()


def whole(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which no UTF-8 and no engine can carry."""
    return text.encode("utf-8", "replace").decode()


def sentences(text: str) -> list[str]:
    """Split into sentences, English or Chinese; abbreviations and initials do not end one. Linear in length."""
    found: list[str] = []
    for piece in _BREAK.split(text):
        piece = piece.strip()
        if not piece:
            continue
        if found and _ABBREVIATION.search(found[-1][-12:]):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    return found


def words(text: str) -> list[str]:
    """Lower-cased words, numbers (with their decimals and per cent) and single Han characters, in order."""
    return _WORD.findall(text.lower())


def language(text: str) -> str:
    """`en`, `zh`, `mixed` (much of both) or `other`: by script, which is all that routing to models needs."""
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    letters = sum(1 for c in text if c.isalpha())
    if not letters:
        return "other"
    if han + latin < 0.6 * letters:
        return "other"
    # One Han character carries about what an English word of three to four letters does.
    share = han * 3.5 / (han * 3.5 + latin)
    if share > 0.8:
        return "zh"
    if share > 0.2:
        return "mixed"
    return "en"


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut at a word, with an ellipsis when anything was cut."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[limit // 2 :] else cut).rstrip() + "…"
