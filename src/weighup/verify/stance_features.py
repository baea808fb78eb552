"""What a small encoder misses about a claim and a passage: numbers, negations, names, opposites, direction.

The groups of features follow the error analyses of natural-language inference: word overlap and its traps (McCoy,
Pavlick & Linzen 2019, arXiv 1902.01007), negation and numerical reasoning as stress tests (Naik et al. 2018,
arXiv 1806.00692), and opposites (Glockner, Shwartz & Goldberg 2018, arXiv 1805.02266). Ours: the word lists and the
choice of counts. Every feature is a plain count or ratio in [0, 1] or [-1, 1]; nothing here is learned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FEATURES = (
    "overlap",
    "overlap_stem",
    "overlap_long",
    "overlap_bigram",
    "overlap_order",
    "passage_covered",
    "missing_words",
    "one_word_missing",
    "numbers_in_claim",
    "numbers_agree",
    "numbers_differ",
    "numbers_absent",
    "negation_claim",
    "negation_passage",
    "negation_mismatch",
    "negation_near",
    "opposites",
    "direction_claim",
    "direction_passage",
    "direction_agree",
    "direction_differ",
    "comparative_claim",
    "comparative_shared",
    "names_in_claim",
    "names_found",
    "names_missing",
    "hedge_claim",
    "hedge_passage",
    "doubt_passage",
    "absolute_claim",
    "absolute_only_claim",
    "length_claim",
    "length_passage",
    "question",
)

_TOKEN = re.compile(r"[A-Za-z]+(?:['’]t\b)?|\d[\d,]*(?:\.\d+)?")
_NAME = re.compile(r"(?<=[a-z0-9,;:'\")] )[A-Z][A-Za-z]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = _words(
    "a an the of to in on at by for from with as and or but if than then that this these those it its is "
    "are was were be been being has have had do does did will would can could may might shall should not "
    "no nor so such there their they them he she his her we our you your i my me us who whom which what "
    "when where why how also into about over under after before between during through up down out off "
    "again more most some any each other own same too very s t just because while both only"
)
NEGATIONS = _words(
    "not no never none nor neither nobody nothing nowhere without cannot lack lacks lacked lacking fail "
    "fails failed failing deny denies denied absence absent unable refuse refused hardly barely rarely "
    "unlikely"
)
UP = _words(
    "increase increases increased increasing rise rises rose rising risen raise raises raised raising "
    "higher high more greater grow grows grew growing gain gains larger elevated enhance enhances "
    "enhanced boost boosts improve improves improved above exceed exceeds exceeded accelerate accelerates "
    "accelerated accelerating warm warming warmer worsen worsens worsened severe promote promotes cause "
    "causes caused causing upregulated positive"
)
DOWN = _words(
    "decrease decreases decreased decreasing fall falls fell falling fallen drop drops dropped lower "
    "lowers lowered low less fewer reduce reduces reduced reducing reduction decline declines declined "
    "declining shrink shrinks smaller diminish diminished inhibit inhibits inhibited suppress suppresses "
    "suppressed below prevent prevents prevented slow slows slowed slowing cool cooling cooler mild "
    "weaken weakened protect protects downregulated negative"
)
COMPARATIVE = _words(
    "more less fewer higher lower greater larger smaller longer shorter older younger better worse faster "
    "slower most least best worst highest lowest largest smallest longest shortest oldest youngest first "
    "last earlier later than"
)
HEDGE = _words(
    "may might could possibly probably perhaps likely suggest suggests suggested potential potentially appears"
)
DOUBT = _words(
    "unclear unknown uncertain inconclusive controversial insufficient limited however although despite "
    "contrary false myth hoax misleading incorrect wrong debunked disputed rejected rather instead"
)
ABSOLUTE = _words("all every always only never none no entirely completely first most best sole exactly must")

_OPPOSITES = (
    "increase decrease|higher lower|more less|more fewer|before after|first last|always never|many few|rise fall|"
    "warm cool|warming cooling|hot cold|positive negative|better worse|best worst|effective ineffective|safe dangerous|"
    "likely unlikely|with without|cause prevent|improve worsen|larger smaller|longer shorter|older younger|male female|"
    "men women|man woman|father mother|son daughter|husband wife|brother sister|early late|earlier later|start end|"
    "began ended|win lose|won lost|success failure|strong weak|stronger weaker|faster slower|above below|north south|"
    "northern southern|east west|eastern western|alive dead|born died|accept reject|same different|common rare|"
    "gain loss|major minor|majority minority|maximum minimum|help harm|susceptible resistant|symptomatic asymptomatic|"
    "acute chronic|mild severe|adults children|public private|rich poor|include exclude|natural artificial|"
    "increase reduce|promote inhibit|true false|significant insignificant|enhance inhibit|cause protect|"
    "highest lowest|most least|raise lower|expand shrink|beneficial harmful|support oppose|high low"
)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A crude stem: common English endings off, at least three letters left."""
    for end in (
        "ational",
        "ations",
        "ation",
        "ingly",
        "edly",
        "ments",
        "ment",
        "ings",
        "ing",
        "ies",
        "ied",
        "es",
        "ed",
        "ly",
        "s",
    ):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return word[: -len(end)]
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def _opposites() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for pair in _OPPOSITES.split("|"):
        a, b = (stem(w) for w in pair.split())
        table.setdefault(a, set()).add(b)
        table.setdefault(b, set()).add(a)
    return {k: frozenset(v) for k, v in table.items()}


OPPOSITES = _opposites()


class _Text:
    """The token views of one text that every feature reads."""

    __slots__ = ("bigrams", "content", "lower", "names", "numbers", "order", "stems", "words")

    def __init__(self, text: str) -> None:
        tokens = _TOKEN.findall(text)
        self.lower = [t.lower() for t in tokens]
        self.words = frozenset(self.lower)
        self.order = [w for w in self.lower if w not in STOP and not w[0].isdigit()]
        self.content = frozenset(self.order)
        self.stems = frozenset(map(stem, self.content))
        self.numbers = frozenset(w.replace(",", "").rstrip(".") for w in self.lower if w[0].isdigit())
        self.bigrams = frozenset(zip(self.lower, self.lower[1:], strict=False))
        self.names = frozenset(m.lower() for m in _NAME.findall(text))

    def count(self, listed: frozenset[str]) -> int:
        return len(self.words & listed)

    def negations(self) -> int:
        return sum(w in NEGATIONS or w.endswith(("'t", "’t")) for w in self.lower)


def features(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
    """Features of (claim, passage) pairs: float array [n_pairs, len(FEATURES)], in input order."""
    views: dict[str, _Text] = {}
    out = np.zeros((len(pairs), len(FEATURES)), dtype=np.float32)
    for row, (claim, passage) in enumerate(pairs):
        for text in (claim, passage):
            if text not in views:
                views[text] = _Text(text)
        out[row] = _pair(claim, views[claim], views[passage])
    return out


def _pair(claim: str, c: _Text, p: _Text) -> list[float]:
    shared, shared_stems = c.content & p.content, c.stems & p.stems
    missing = c.stems - p.stems
    long = {s for s in c.stems if len(s) >= 6}
    agree = c.numbers & p.numbers
    neg_c, neg_p = c.negations(), p.negations()
    up_c, up_p = c.count(UP) - c.count(DOWN), p.count(UP) - p.count(DOWN)
    dir_c, dir_p = float(np.sign(up_c)), float(np.sign(up_p))
    opposed = sum(1 for s in missing if not OPPOSITES.get(s, frozenset()).isdisjoint(p.stems))
    compared = c.words & COMPARATIVE
    found = c.names & p.words
    absolute = c.words & ABSOLUTE
    return [
        _ratio(len(shared), len(c.content)),
        _ratio(len(shared_stems), len(c.stems)),
        _ratio(len(long & p.stems), len(long)),
        _ratio(len(c.bigrams & p.bigrams), len(c.bigrams)),
        _ratio(_in_order(c.order, p.order), len(c.order)),
        _ratio(len(shared_stems), len(p.stems)),
        min(len(missing), 10) / 10,
        float(len(missing) == 1),
        min(len(c.numbers), 3) / 3,
        _ratio(len(agree), len(c.numbers)),
        float(bool(c.numbers - p.numbers) and bool(p.numbers - c.numbers)),
        float(bool(c.numbers) and not p.numbers),
        min(neg_c, 2) / 2,
        min(neg_p, 3) / 3,
        float((neg_c > 0) != (neg_p > 0)),
        float(_negated_near(c, p)),
        min(opposed, 2) / 2,
        dir_c,
        dir_p,
        float(dir_c != 0 and dir_c == dir_p),
        float(dir_c * dir_p < 0),
        float(bool(compared)),
        _ratio(len(compared & p.words), len(compared)),
        min(len(c.names), 4) / 4,
        _ratio(len(found), len(c.names)),
        min(len(c.names) - len(found), 3) / 3,
        float(c.count(HEDGE) > 0),
        float(p.count(HEDGE) > 0),
        min(p.count(DOUBT), 2) / 2,
        float(bool(absolute)),
        _ratio(len(absolute - p.words), len(absolute)),
        min(len(c.lower), 60) / 60,
        min(len(p.lower), 200) / 200,
        float(claim.rstrip().endswith("?")),
    ]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _in_order(claim: list[str], passage: list[str]) -> int:
    """Claim words met in one left-to-right pass over the passage (a greedy common subsequence)."""
    place, met = 0, 0
    where: dict[str, list[int]] = {}
    for i, word in enumerate(passage):
        where.setdefault(word, []).append(i)
    for word in claim:
        later = [i for i in where.get(word, ()) if i >= place]
        if later:
            place, met = later[0] + 1, met + 1
    return met


def _negated_near(c: _Text, p: _Text) -> bool:
    """True where the passage negates within four tokens before a claim word, and the claim does not, or the reverse."""
    return _negates(p.lower, c.content) != _negates(c.lower, p.content)


def _negates(tokens: list[str], targets: frozenset[str]) -> bool:
    return any(
        (word in NEGATIONS or word.endswith(("'t", "’t"))) and not targets.isdisjoint(tokens[i + 1 : i + 5])
        for i, word in enumerate(tokens)
    )
