"""Retrieval-augmented generation, measured part by part: what was fetched, and what was made of it.

"Retrieval Augmented Generation Evaluation in the Era of Large Language Models: A Comprehensive Survey" (Gan et al.
2025, arXiv 2504.20119) sorts 63 evaluations by what they look at: retrieval, generation, and the system around them.
Faithful: its parts and their usual measures. Ours: one report of them all, in which each column is undefined, and says
so, where it cannot be known; nothing is filled in. The measures stand in `rag_retrieval` and `rag_generation`, those of
an index in `rag_index`, the writing of questions in `rag_questions`.

Whatever reads texts is handed over: a judge of relevance, an entailment model, a writer of questions, an encoder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics import rag_generation as generation
from weighup.metrics import rag_retrieval as retrieval
from weighup.metrics.arrays import Floats
from weighup.metrics.estimate import Estimate, estimated, share
from weighup.metrics.rag_generation import Ask, Count, Embed, Entails, Parsed, Support
from weighup.metrics.rag_retrieval import Judges
from weighup.metrics.rag_samples import UNDEFINED, RagSample, Score, check_samples, read_samples
from weighup.metrics.rag_texts import Cite, Split, cited_sentences, split_sentences
from weighup.registry import Method

__all__ = ["METHOD", "RagReport", "SampleScores", "rag_report", "read_samples"]

METHOD = Method(
    name="rag",
    room="metrics",
    paper="Retrieval Augmented Generation Evaluation in the Era of Large Language Models (Gan et al. 2025)",
    arxiv="2504.20119",
    command="weighup metrics rag",
    claim_check="weighup.metrics.rag_claim:check",
)
KS = (1, 5, 10)
READ = ("context_relevance", "context_precision", "context_recall")  # the retriever's, by reading
SHARES = ("refused_unanswerable", "refused_answerable")
GENERATOR = (
    "faithfulness",
    "answer_relevance",
    "claim_precision",
    "claim_recall",
    "claim_f1",
    "answer_similarity",
    "answer_correctness",
    "citation_precision",
    "citation_recall",
    "noise_robustness",
    *SHARES,
)


@dataclass(frozen=True)
class SampleScores:
    """One sample's scores by column, each with its own n, NaN where undefined, and `flags`: what is odd about it."""

    id: str
    scores: Mapping[str, Score]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class RagReport:
    """parts {"retriever", "generator": their columns}; totals {column: mean over the samples that have it, with its
    95 % interval and their number}; left_out {column: why nothing could be said}."""

    samples: tuple[SampleScores, ...]
    parts: Mapping[str, tuple[str, ...]]
    totals: Mapping[str, Estimate]
    left_out: Mapping[str, str]

    def column(self, name: str) -> Floats:
        """One value a sample [samples], NaN where undefined. Raises InvalidInput for an unknown column."""
        if name not in self.totals:
            why = f": {self.left_out[name]}" if name in self.left_out else ""
            raise InvalidInput(f"rag: there is no column {name!r}{why}; there are {', '.join(self.totals)}")
        return np.array([sample.scores[name].value for sample in self.samples])

    def rows(self) -> list[dict[str, Any]]:
        """The totals as rows: part, measure, value, low, high, n; and, with n 0 and why, what was left out."""
        found: list[dict[str, Any]] = []
        for part, names in self.parts.items():
            for name in names:
                total = self.totals.get(name, Estimate(math.nan, math.nan, math.nan, 0))
                numbers = {"value": total.value, "low": total.low, "high": total.high, "n": total.n}
                found.append({"part": part, "measure": name, **numbers, "note": self.left_out.get(name, "")})
        return found

    def sample_rows(self) -> list[dict[str, Any]]:
        """One row a sample: id, every column, its flags."""
        return [
            {"id": each.id, **{name: each.scores[name].value for name in self.totals}, "flags": "; ".join(each.flags)}
            for each in self.samples
        ]


def rag_report(
    samples: Sequence[RagSample],
    judge: Judges | None = None,
    entailment: Entails | None = None,
    split: Split | None = None,
    embed: Embed | None = None,
    *,
    ask: Ask | None = None,
    cite: Cite | None = None,
    count: Count = "likeliest",
    ks: Sequence[int] = KS,
    draws: int = 1000,
    seed: int = 0,
) -> RagReport:
    """Measure samples, each by itself and all together.

    judge: pairs (question, passage) -> chance [n] that the passage helps; for context relevance, and for context
    precision where there is no entailment or no reference. entailment: pairs (source, claim) -> [n, 3] supports,
    refutes, neutral. split: text -> its claims; None: its sentences. embed: texts -> vectors [n, d]. ask: answers ->
    questions that each answers. cite: text -> statements with the ids they cite; None: markers such as [1].
    count: a claim is supported where "supports" is the "likeliest" verdict, or by its chance ("expected").
    Intervals are bootstraps over questions (a sample and its `noise_of` together), Wilson's for the two shares of
    refusals. The other columns are listed in the docs of `rag_retrieval` and `rag_generation`; beside them:

    - answer_correctness: 0.75 claim F1 + 0.25 similarity to the reference; noise_robustness, of samples with
      `noise_of`: 1 − what claim F1 they lost beside that sample, 1 where nothing was lost;
    - refused_unanswerable (higher is better), refused_answerable (lower is better): by the samples' `answerable`.

    Raises InvalidInput for no samples, ids that stand twice, a k below 1, and for what a function handed over gives
    back in another shape or out of range.
    """
    check_samples(samples)
    if draws < 1:
        raise InvalidInput(f"draws: 1 or more resamples are needed, not {draws}")
    parsed = [generation.parse(sample, split or split_sentences, cite or cited_sentences) for sample in samples]
    columns: dict[str, list[Score]] = dict(retrieval.retrieval_scores(samples, ks))
    support = None if entailment is None else Support(entailment, count)
    relevance = None if judge is None else retrieval.judged(samples, judge)
    if support is not None:
        support.read([pair for one in parsed for pair in generation.pairs(one)])
        columns |= _by_claims(parsed, support)
    columns |= _by_reading(parsed, support, relevance)
    if embed is not None:
        columns["answer_relevance"] = generation.answer_relevance(parsed, embed, ask)
        columns["answer_similarity"] = generation.answer_similarity(parsed, embed)
    columns |= _blends(samples, columns)
    for name, answerable in zip(SHARES, (False, True), strict=True):
        columns[name] = [
            Score(float(one.refused), 1) if one.sample.answerable is answerable else UNDEFINED for one in parsed
        ]
    parts = {"retriever": (*retrieval.retrieval_names(ks), *READ), "generator": GENERATOR}
    kept = {n: columns[n] for part in parts.values() for n in part if n in columns and _known(columns[n]).any()}
    groups = np.array([sample.noise_of or sample.id for sample in samples])
    have = {"judge": judge, "entailment": entailment, "embed": embed}
    lacking = frozenset(name for name, given in have.items() if given is None)
    return RagReport(
        samples=tuple(
            SampleScores(one.sample.id, {name: scores[place] for name, scores in kept.items()}, one.flags)
            for place, one in enumerate(parsed)
        ),
        parts=parts,
        totals={name: _total(name, scores, groups, draws, seed) for name, scores in kept.items()},
        left_out={name: _why(name, lacking) for part in parts.values() for name in part if name not in kept},
    )


def _by_claims(parsed: Sequence[Parsed], support: Support) -> dict[str, list[Score]]:
    columns: dict[str, list[Score]] = {
        "faithfulness": [generation.faithfulness(one, support) for one in parsed],
        "context_recall": [generation.context_recall(one, support) for one in parsed],
    }
    several: list[Callable[[Parsed, Support], dict[str, Score]]] = [generation.claim_scores]
    # Where no answer cites anything the system was not asked to: a column of zeros would say that it cites badly.
    if any(statement.marks for one in parsed for statement in one.statements):
        several.append(generation.citation_scores)
    for measure in several:
        found = [measure(one, support) for one in parsed]
        columns |= {name: [each[name] for each in found] for name in found[0]}
    return columns


def _by_reading(
    parsed: Sequence[Parsed], support: Support | None, relevance: Sequence[Floats] | None
) -> dict[str, list[Score]]:
    """Context relevance by the judge; context precision by the reference's claims, else by the judge."""
    columns: dict[str, list[Score]] = {}
    if relevance is not None:
        columns["context_relevance"] = [
            retrieval.context_relevance(one.sample, values) for one, values in zip(parsed, relevance, strict=True)
        ]
    by_claims = support is not None and any(one.reference for one in parsed)
    if not by_claims and relevance is None:
        return columns
    found = []
    for place, one in enumerate(parsed):
        if by_claims and support is not None:
            known = bool(one.reference)
            values = generation.useful(one, support) if known else np.zeros(0)
        else:
            known = True
            values = relevance[place] if relevance is not None else np.zeros(0)
        found.append(retrieval.context_precision(one.sample, values) if known else UNDEFINED)
    return columns | {"context_precision": found}


def _blends(samples: Sequence[RagSample], columns: Mapping[str, Sequence[Score]]) -> dict[str, list[Score]]:
    """What is made of other columns: answer correctness and robustness to noise."""
    if "claim_f1" not in columns:
        return {}
    f1 = columns["claim_f1"]
    place = {sample.id: number for number, sample in enumerate(samples)}
    robust = []
    for number, sample in enumerate(samples):
        before = f1[place[sample.noise_of]].value if sample.noise_of is not None else math.nan
        lost = before - f1[number].value
        robust.append(UNDEFINED if math.isnan(lost) else Score(1 - max(0.0, lost), 1))
    found = {"noise_robustness": robust}
    if "answer_similarity" in columns:
        weight = generation.F1_WEIGHT
        found["answer_correctness"] = [
            Score(weight * claims.value + (1 - weight) * like.value, claims.n) if claims.n else UNDEFINED
            for claims, like in zip(f1, columns["answer_similarity"], strict=True)
        ]
    return found


def _total(name: str, scores: Sequence[Score], groups: Any, draws: int, seed: int) -> Estimate:
    known = _known(scores)
    values = np.array([score.value for score in scores])[known]
    if name in SHARES:
        return share(values == 1)
    return estimated(_average, values, seed=seed, draws=draws, groups=groups[known])


def _average(values: Floats) -> float:
    return float(values.mean())


def _known(scores: Sequence[Score]) -> Any:
    return ~np.isnan([score.value for score in scores])


@functools.cache
def _why(name: str, lacking: frozenset[str]) -> str:
    """Why a column has nothing: the first of what it takes that is lacking."""
    by_reference = "no sample has a reference that claims something"
    takes = {
        "context_relevance": ("judge", "no sample"),
        "context_precision": ("entailment", by_reference),
        "context_recall": ("entailment", by_reference),
        "faithfulness": ("entailment", "no answer claims anything"),
        "answer_relevance": ("embed", "no questions: give `ask`, or `regenerated` in the samples"),
        "answer_similarity": ("embed", "no sample has a reference"),
        "answer_correctness": ("embed" if "entailment" not in lacking else "entailment", by_reference),
        "citation_precision": ("entailment", "no answer cites anything"),
        "citation_recall": ("entailment", "no answer cites anything"),
        "noise_robustness": ("entailment", "no sample has `noise_of` and a reference"),
        "refused_unanswerable": ("", "no sample is marked `answerable` false"),
        "refused_answerable": ("", "no sample is marked `answerable` true"),
    }
    claims = ("entailment", by_reference)
    no_relevance = ("", "no sample says which passages are relevant")
    needs, otherwise = takes.get(name, claims if name.startswith("claim_") else no_relevance)
    if needs not in lacking:
        return otherwise
    other = " or judge" if name == "context_precision" and "judge" in lacking else ""
    return f"no {needs}{other} was given"
