"""Other spellings in which orders to a model are hidden: what a sentence reads as once its disguise is taken off.

Full-width and mathematical letters (Unicode NFKC), letters of other scripts that look like Latin ones (the part of
https://www.unicode.org/Public/security/latest/confusables.txt that Cyrillic and Greek give), figures for letters,
rot13. Each is for looking only. Long runs of base64, hexadecimal or letters set apart are no reader's text at all.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator

# Base64 of a sentence has capitals, small letters and figures in one unbroken run; a hash or a key has too, and neither
# says anything about a claim. Addresses are left alone: they have dots, and slashes after a colon.
ENCODED = re.compile(
    r"(?<![\w/+=.:-])(?:"
    r"(?=[a-z/+]{0,64}[A-Z0-9])(?=[A-Z0-9/+]{0,64}[a-z])(?=[A-Za-z/+]{0,200}[0-9])[A-Za-z0-9+/]{32,}={0,2}"
    r"|(?:[0-9a-f]{2}[ :]?){24,}|(?:[0-9A-F]{2}[ :]?){24,})(?![\w/+=])"
    r"|(?:\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|&#\d{2,5};){8,}"
    r"|(?<!\w)(?:[A-Za-z] {1,4}){10,}[A-Za-z](?!\w)"
)

_LOOKALIKE = str.maketrans(
    "аеорсхуіјѕԁһӏАЕОРСТНКМВХІЈЅҮαοερικντυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcxyijsdhlAEOPCTHKMBXIJSYaoepikvtuABEZHIKMNOPTYX",
)
_LEET = str.maketrans("4310578@$", "aeiostbas")
_MIXED = re.compile(r"\b(?=[a-z]*[0-9@$])(?=[0-9@$]*[a-z])[a-z0-9@$]{3,}\b", re.IGNORECASE)
_LATIN = re.compile(r"[A-Za-z]")


def unmasked(text: str) -> Iterator[str]:
    """Other readings of `text`, those that differ from it. Linear in length."""
    plain = unicodedata.normalize("NFKC", text)
    if not plain.isascii() and _LATIN.search(plain):
        plain = plain.translate(_LOOKALIKE)
    if plain != text:
        yield plain
    if _MIXED.search(plain):
        yield _MIXED.sub(lambda match: match[0].translate(_LEET), plain)
    if plain.isascii() and not _ENGLISH.search(plain):
        yield codecs.decode(plain, "rot13")


_ENGLISH = re.compile(r"\b(?:the|of|and|in|to|is|was|that|for|on|with|by|as|at|from|are)\b", re.IGNORECASE)
"""A sentence with one of these is not taken for rot13."""
