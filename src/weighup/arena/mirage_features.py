"""The features of MIRAGE-Bench (Thakur et al. 2024, arXiv 2410.13716) of a cited answer: eleven, of which none needs
the expensive judge.

Share of the answer in the target language and in English, MAP@10 and recall@10 of its citations, BLEU and ROUGE-L with
a reference, how far the cited passages entail its statements or are neutral, and the scores of a reranker, of an
overlap judge and of a fluency judge. Ours: languages are told by script and, for those in Latin letters, by their most
common words, sentence by sentence; ROUGE-L sees words of Latin letters only, as its usual tokenizer does; the last
three are functions that are given, and features without one are left out.

Shapes: answers [n] -> float64 [n, features].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weighup.arena.types import Floats
from weighup.errors import InvalidInput
from weighup.judge.claim_texts import Entails, checked, cited_spans
from weighup.metrics.text import METRICS
from weighup.texts import sentences

DEPTH = 10
SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "ar": ("ARABIC",),
    "bn": ("BENGALI",),
    "fa": ("ARABIC",),
    "hi": ("DEVANAGARI",),
    "ja": ("HIRAGANA", "KATAKANA", "CJK"),
    "ko": ("HANGUL",),
    "ru": ("CYRILLIC",),
    "te": ("TELUGU",),
    "th": ("THAI",),
    "zh": ("CJK",),
}
"""Of the benchmark's languages that are not written in Latin letters."""
COMMON: Mapping[str, frozenset[str]] = {
    "de": frozenset("der die das und ist nicht ein eine mit von auf für den dem zu sich wurde im".split()),
    "en": frozenset("the of and is to in that was for with are by on as it from which this were".split()),
    "es": frozenset("el la los las de y que es en un una por con del se para como fue su".split()),
    "fi": frozenset("ja on ei että se oli hän joka ovat mutta myös kuin sen tai hänen olla vuonna sekä".split()),
    "fr": frozenset("le la les des et est une un dans que pour qui sur au du par avec pas ce".split()),
    "id": frozenset("yang dan di dari adalah untuk dengan pada ini itu tidak dalam oleh sebagai ke juga atau".split()),
    "sw": frozenset("ya na wa kwa ni katika za la cha kama hii kuwa yake huo alikuwa pia au hiyo".split()),
    "yo": frozenset("ni ti ati awọn tí ní àti àwọn sí fún jẹ́ kan lati wọn pẹlu ó náà ṣe".split()),
}
"""Common words of those that are."""
LANGUAGES = tuple(sorted({*SCRIPTS, *COMMON}))
Score = Callable[[Sequence["Answer"]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One system's answer to one query. passages: those it was given, by the mark with which it cites them; relevant:
    marks of those that help; reference: an answer to compare with."""

    text: str
    language: str
    passages: Mapping[str, str]
    relevant: frozenset[str]
    reference: str


def heuristics(
    answers: Sequence[Answer],
    *,
    entails: Entails | None = None,
    reranker: Score | None = None,
    overlap: Score | None = None,
    fluency: Score | None = None,
) -> tuple[tuple[str, ...], Floats]:
    """Names of the features and their values [n, features], in the paper's order.

    entails: adds `support_entailment` and `support_neutral`, means over statements that cite, 0 where none does;
    reranker, overlap, fluency: answers -> one number each. Raises InvalidInput for no answers, an unknown language, or
    a function that returns other than one finite number an answer.
    """
    if not answers:
        raise InvalidInput("answers: one or more is needed")
    for number, one in enumerate(answers, 1):
        if one.language not in LANGUAGES:
            raise InvalidInput(
                f"answers: row {number}: unknown language {one.language!r}; known: {', '.join(LANGUAGES)}"
            )
    shares = [language_shares(one.text) for one in answers]
    cited = [_cited(one) for one in answers]
    texts, references = [one.text for one in answers], [one.reference for one in answers]
    columns: dict[str, Sequence[float] | Floats] = {
        "target_language": [_of(one.language, found) for one, found in zip(answers, shares, strict=True)],
        "english_language": [found.get("en", 0.0) for found in shares],
        "citation_MAP@10": [average_precision(c, one.relevant) for c, one in zip(cited, answers, strict=True)],
        "citation_Recall@10": [_recall(c, one.relevant) for c, one in zip(cited, answers, strict=True)],
        "answer_bleu": METRICS["bleu"](texts, references),
        "answer_rougeL": METRICS["rougeL"](texts, references),
    }
    if entails is not None:
        support = np.array([_support(one, entails) for one in answers]).reshape(-1, 2)
        columns["support_entailment"], columns["support_neutral"] = support.T
    given = {"reranker_score": reranker, "answer_overlap_score": overlap, "fluency_score": fluency}
    columns |= {name: _scored(name, score, answers) for name, score in given.items() if score is not None}
    return tuple(columns), np.stack([np.asarray(column, dtype=np.float64) for column in columns.values()], axis=1)


def language_shares(text: str) -> dict[str, float]:
    """Share of a text's letters in sentences of each language or, where several share a script, of each of those; they
    may sum to less than 1."""
    weight: dict[str, float] = {}
    total = 0
    for sentence in sentences(text):
        letters = [c for c in sentence if c.isalpha()]
        total += len(letters)
        for language in _languages(sentence, letters):
            weight[language] = weight.get(language, 0.0) + len(letters)
    return {language: found / total for language, found in weight.items()}


def average_precision(cited: Sequence[str], relevant: frozenset[str]) -> float:
    """Of the first ten citations, in the order of first use; 0 where nothing is relevant."""
    hits, total = 0, 0.0
    for place, mark in enumerate(cited[:DEPTH], 1):
        if mark in relevant:
            hits += 1
            total += hits / place
    return total / min(len(relevant), DEPTH) if relevant else 0.0


def _languages(sentence: str, letters: Sequence[str]) -> list[str]:
    scripts = [unicodedata.name(c, "").split(" ")[0].split("-")[0] for c in letters]
    counts = {script: scripts.count(script) for script in set(scripts)}
    if not counts:
        return []
    most = max(counts, key=lambda script: (counts[script], script))
    if most in ("HIRAGANA", "KATAKANA") or (most == "CJK" and counts.keys() & {"HIRAGANA", "KATAKANA"}):
        return ["ja"]
    if most == "CJK":
        return ["zh"]
    if most != "LATIN":
        return [language for language, names in SCRIPTS.items() if most in names]
    told = [word.strip(".,;:!?()[]\"'«»„“”") for word in sentence.lower().split()]
    hits = {language: sum(word in common for word in told) for language, common in COMMON.items()}
    best = max(hits.values())
    return [language for language, found in hits.items() if found == best] if best else []


def _of(language: str, shares: Mapping[str, float]) -> float:
    return shares.get(language, 0.0)


def _cited(answer: Answer) -> list[str]:
    """Marks of passages, in the order of first use; marks of none are left out."""
    marks = [mark for span in cited_spans(answer.text) for mark in span.marks if mark in answer.passages]
    return list(dict.fromkeys(marks))


def _recall(cited: Sequence[str], relevant: frozenset[str]) -> float:
    return len(relevant.intersection(cited[:DEPTH])) / len(relevant) if relevant else 0.0


def _support(answer: Answer, entails: Entails) -> tuple[float, float]:
    pairs = [
        (answer.passages[mark], span.text)
        for span in cited_spans(answer.text)
        for mark in span.marks
        if mark in answer.passages
    ]
    if not pairs:
        return 0.0, 0.0
    found = checked(entails(pairs), len(pairs)).mean(axis=0)
    return float(found[0]), float(found[2])


def _scored(name: str, score: Score, answers: Sequence[Answer]) -> Floats:
    found = np.asarray(score(answers), dtype=np.float64)
    if found.shape != (len(answers),) or not np.isfinite(found).all():
        raise InvalidInput(f"{name}: one finite number an answer is needed, {len(answers)} in all")
    return found
