"""Did the retriever fetch the right passages, and the best of them first? The retriever's part of `rag`.

By known relevance (`RagSample.relevant`): recall, precision, hit and nDCG at k, MRR and average precision, all by
`ir_measures`. Without it, by reading: context relevance asks a judge about each passage; context precision is
rank-weighted, Σ_k P@k·rel_k / Σ rel (RAGAS: Es et al. 2023, arXiv 2309.15217, and its later releases); context recall
is the share of the reference's claims that a fetched passage supports. All lie in [0, 1], higher is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, probabilities
from weighup.metrics.qrels import topic_scores
from weighup.metrics.rag_samples import UNDEFINED, RagSample, Score, copies

AT_K = {"recall": "R", "precision": "P", "hit": "Success", "ndcg": "nDCG"}
WHOLE = {"mrr": "RR", "ap": "AP"}
RELEVANT = 0.5  # chance from which a passage counts as relevant


class Judges(Protocol):
    """pairs (question, passage) -> float array [n] in [0, 1]: how likely the passage helps to answer the question."""

    def __call__(self, pairs: Sequence[tuple[str, str]], /) -> ArrayLike: ...


def retrieval_names(ks: Sequence[int]) -> dict[str, str]:
    """{our column: `ir_measures`' name}. Raises InvalidInput for a k that is no whole number from 1 on."""
    for k in ks:
        if not isinstance(k, (int, np.integer)) or k < 1:
            raise InvalidInput(f"ks: whole numbers from 1 on are needed, not {k!r}")
    return {f"{name}@{k}": f"{measure}@{k}" for name, measure in AT_K.items() for k in ks} | WHOLE


def retrieval_scores(samples: Sequence[RagSample], ks: Sequence[int]) -> dict[str, list[Score]]:
    """{column: one score a sample}; undefined where no passage is known to be relevant. `n`: passages fetched.

    Where nothing was fetched everything is 0. Grades count in nDCG as they are; elsewhere from 1 on is relevant.
    """
    # Ids are places: what users call their samples may hold blanks, which trec_eval's formats do not take.
    known = {str(place): sample for place, sample in enumerate(samples) if any((sample.relevant or {}).values())}
    run = {
        topic: {passage.id: float(len(sample.contexts) - rank) for rank, passage in enumerate(sample.contexts)}
        for topic, sample in known.items()
    }
    qrels = {topic: sample.relevant or {} for topic, sample in known.items()}
    found: dict[str, list[Score]] = {}
    for name, measure in retrieval_names(ks).items():
        values = topic_scores({"run": run}, qrels, list(known), measure)[0] if known else np.zeros(0)
        column = [UNDEFINED] * len(samples)
        for topic, value in zip(known, values, strict=True):
            column[int(topic)] = Score(float(value), len(known[topic].contexts))
        found[name] = column
    return found


def judged(samples: Sequence[RagSample], judge: Judges) -> list[Floats]:
    """Per sample, how relevant each of its passages is [passages]. Raises InvalidInput for what is no probability."""
    pairs = [(sample.question, passage.text) for sample in samples for passage in sample.contexts]
    distinct = list(dict.fromkeys(pairs))
    values = probabilities("judge", judge(distinct)) if distinct else np.zeros(0)
    if len(values) != len(distinct):
        raise InvalidInput(f"judge: one value a pair is needed: {len(values)} came back for {len(distinct)} pairs")
    by_pair = dict(zip(distinct, values, strict=True))
    return [np.array([by_pair[sample.question, one.text] for one in sample.contexts], float) for sample in samples]


def context_relevance(sample: RagSample, relevance: Floats) -> Score:
    """Mean relevance of the passages; a passage that stood before adds 0. 0 where nothing was fetched."""
    if not len(relevance):
        return Score(0.0, 0)
    return Score(float(_without_copies(sample, relevance).mean()), len(relevance))


def context_precision(sample: RagSample, relevance: Floats) -> Score:
    """`rank_weighted` of the passages at least RELEVANT; a passage that stood before is not relevant again."""
    return Score(rank_weighted(_without_copies(sample, relevance) >= RELEVANT), len(relevance))


def rank_weighted(relevant: NDArray[np.bool_]) -> float:
    """Σ_k P@k·rel_k / Σ rel of the passages in their order [k]; 0 where none is relevant."""
    hits = np.asarray(relevant, float)
    if not hits.any():
        return 0.0
    at_k = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(at_k @ hits / hits.sum())


def _without_copies(sample: RagSample, relevance: Floats) -> Floats:
    kept = np.array(relevance, float)
    kept[sorted(copies(sample))] = 0.0
    return kept
