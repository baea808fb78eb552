"""Reference metrics of our own making, on words: what texts are let in, METEOR-like, token F1, lengths, source overlap.

Each takes (hypotheses, references, sources=None) and gives a float array [n], one value a hypothesis. Words are those
of `weighup.texts.words` (lower case, single Han characters), but for `token_f1` and `exact_match`, which read texts as
SQuAD does. An empty hypothesis gets 0, the least value, from each.

METEOR (Banerjee and Lavie 2005; parameters of Lavie and Agarwal 2007 as NLTK has them). Faithful: exact matches, then
Porter stems, F-mean with alpha .9, penalty .5·(chunks / matches)³. Left out: WordNet synonyms and paraphrases; the
alignment is NLTK's greedy one, not the one of fewest chunks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats
from weighup.metrics.extras import need
from weighup.texts import words

Texts = Sequence[str]
References = Sequence[str | Sequence[str]]
ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5  # METEOR's weight of recall, power and weight of the penalty
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def checked_texts(name: str, texts: Texts | None, n: int | None = None) -> list[str]:
    """The texts as a list. Raises InvalidInput for None, one string, an item that is no text, or a length not n."""
    if texts is None:
        raise InvalidInput(f"{name}: a list of texts is needed; this metric cannot do without")
    if isinstance(texts, str):
        raise InvalidInput(f"{name}: a list of texts is needed, not one text; write [text]")
    found = list(texts)
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise InvalidInput(f"{name}: item {place} is {type(text).__name__}, not text; write '' for an empty one")
    if n is not None and len(found) != n:
        raise InvalidInput(f"{name}: {len(found)} texts for {n} hypotheses; give one for each, in the same order")
    return found


def checked_references(references: References | None, n: int) -> list[list[str]]:
    """One or more references for each of n hypotheses. Raises InvalidInput as `checked_texts`, and for none at all."""
    if references is None:
        raise InvalidInput("references: this metric needs one or more a hypothesis; none are given")
    if isinstance(references, str):
        raise InvalidInput("references: a list with one text, or one list of texts, a hypothesis is needed")
    found: list[list[str]] = []
    for place, entry in enumerate(references):
        if entry is None:
            raise InvalidInput(f"references: item {place} is None; give a text or a list of texts")
        several = [entry] if isinstance(entry, str) else checked_texts(f"references: item {place}", entry)
        if not several:
            raise InvalidInput(f"references: item {place} has no reference; give one or more, or leave the item out")
        found.append(several)
    if len(found) != n:
        raise InvalidInput(f"references: {len(found)} entries for {n} hypotheses; give one for each, in the same order")
    return found


def best_of(value: Callable[[str, str], float], hypotheses: Texts, references: References | None) -> Floats:
    """Per hypothesis, the best `value(hypothesis, reference)` over its references; [n]."""
    texts = checked_texts("hypotheses", hypotheses)
    several = checked_references(references, len(texts))
    best = [max(value(text, each) for each in refs) for text, refs in zip(texts, several, strict=True)]
    return np.array(best, dtype=np.float64)


def meteor(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """METEOR-like score in [0, 1], the best over references; see the top of this file for what is left out."""
    stems: dict[str, str] = {}
    stem = need("nltk.stem.porter").PorterStemmer().stem

    def stemmed(word: str) -> str:
        if word not in stems:
            stems[word] = stem(word)
        return stems[word]

    return best_of(lambda text, ref: meteor_of_words(words(text), words(ref), stemmed), hypotheses, references)


def meteor_of_words(hypothesis: list[str], reference: list[str], stem: Callable[[str], str]) -> float:
    """METEOR-like score of two lists of words, in [0, 1]."""
    pairs: list[tuple[int, int]] = []
    ours, theirs = list(enumerate(hypothesis)), list(enumerate(reference))
    for key in (str, stem):
        found = _aligned([(i, key(w)) for i, w in ours], [(j, key(w)) for j, w in theirs])
        pairs += found
        taken, used = {i for i, _ in found}, {j for _, j in found}
        ours = [(i, w) for i, w in ours if i not in taken]
        theirs = [(j, w) for j, w in theirs if j not in used]
    if not pairs:
        return 0.0
    pairs.sort()
    breaks = sum(i + 1 != k or j + 1 != m for (i, j), (k, m) in pairwise(pairs))
    precision, recall = len(pairs) / len(hypothesis), len(pairs) / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return float(mean * (1 - GAMMA * ((breaks + 1) / len(pairs)) ** BETA))


def _aligned(ours: list[tuple[int, str]], theirs: list[tuple[int, str]]) -> list[tuple[int, int]]:
    """Pairs of places with equal words; from the last word back, each takes the last equal one still free."""
    free: dict[str, list[int]] = {}
    for place, word in theirs:
        free.setdefault(word, []).append(place)
    return [(place, free[word].pop()) for place, word in reversed(ours) if free.get(word)]


def token_f1(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """SQuAD's F1 of shared tokens in [0, 1] (Rajpurkar et al. 2016, arXiv 1606.05250), the best over references."""
    return best_of(_token_f1, hypotheses, references)


def exact_match(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """1 where the text equals a reference but for case, punctuation, articles and blanks (SQuAD), else 0."""
    return best_of(lambda a, b: float(bool(a.strip()) and squad_tokens(a) == squad_tokens(b)), hypotheses, references)


def squad_tokens(text: str) -> list[str]:
    """Lower case, no ASCII punctuation, no articles, split at blanks."""
    return _ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())).split()


def _token_f1(hypothesis: str, reference: str) -> float:
    ours, theirs = squad_tokens(hypothesis), squad_tokens(reference)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def length(hypotheses: Texts, references: References | None = None, sources: Texts | None = None) -> Floats:
    """Words in the hypothesis, ≥ 0: the baseline that every metric should beat."""
    return _lengths(checked_texts("hypotheses", hypotheses))


def length_ratio(hypotheses: Texts, references: References | None, sources: Texts | None = None) -> Floats:
    """Words in the hypothesis over words in the reference closest to it in length (the shorter of two), ≥ 0."""
    ours = length(hypotheses)
    several = [[len(words(ref)) for ref in refs] for refs in checked_references(references, len(ours))]
    closest = [min(refs, key=lambda m: (abs(m - n), m)) for n, refs in zip(ours, several, strict=True)]
    return ours / np.maximum(np.array(closest, dtype=np.float64), 1.0)


def source_overlap(hypotheses: Texts, references: References | None = None, sources: Texts | None = None) -> Floats:
    """Share of the hypothesis's words that stand in its source, in [0, 1]."""
    return _share_in_source(hypotheses, sources, 1)


def novel_bigrams(hypotheses: Texts, references: References | None = None, sources: Texts | None = None) -> Floats:
    """Share of the hypothesis's word pairs that do not stand in its source, in [0, 1] (See et al. 2017, section 7.2).

    0 where it has no word pair.
    """
    shares = _share_in_source(hypotheses, sources, 2)
    return np.where(length(hypotheses) >= 2, 1.0 - shares, 0.0)


def compression(hypotheses: Texts, references: References | None = None, sources: Texts | None = None) -> Floats:
    """Words of the source a word of the hypothesis, ≥ 0 (Grusky et al. 2018, arXiv 1804.11283); 0 for an empty one."""
    ours = length(hypotheses)
    theirs = _lengths(checked_texts("sources", sources, len(ours)))
    return np.where(ours > 0, theirs / np.maximum(ours, 1.0), 0.0)


def _lengths(texts: list[str]) -> Floats:
    return np.array([len(words(text)) for text in texts], dtype=np.float64)


def _share_in_source(hypotheses: Texts, sources: Texts | None, n: int) -> Floats:
    """Share of n-grams of words found in the source; 0 where there is none. A source seen again is not read again."""
    texts = checked_texts("hypotheses", hypotheses)
    seen: dict[str, set[tuple[str, ...]]] = {}
    shares = []
    for text, source in zip(texts, checked_texts("sources", sources, len(texts)), strict=True):
        if source not in seen:
            seen[source] = set(_grams(source, n))
        grams = _grams(text, n)
        shares.append(sum(gram in seen[source] for gram in grams) / max(1, len(grams)))
    return np.array(shares, dtype=np.float64)


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    found = words(text)
    return list(zip(*(found[start:] for start in range(n)), strict=False))
