"""Do lenient relevance judgements keep the order of systems but not of the best, and make up differences? On Cranfield.

Forty systems: BM25 (three settings), Dirichlet (three) and Jelinek–Mercer language models (two), each on four indexes
(Porter stems or not, stop words or not), which is 32, and eight copies of one BM25 run with noise on its scores.
Made judgements, by seed. Lenient: a document that is not relevant but among the 50 nearest by tf-idf cosine becomes
relevant with probability .15; a relevant one is lost with probability .1. Uniform: relevant ones are lost likewise, and
as many others become relevant as in the lenient set, topic by topic, but anywhere in the pool (the union of the
systems' first 50). These are made, not a language model's: they show what such noise does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats
from weighup.metrics.extras import need
from weighup.metrics.qrels import qrels_reliability
from weighup.metrics.qrels_report import ReliabilityReport
from weighup.metrics.trec import Qrels, Run
from weighup.rowfile import json_rows
from weighup.texts import STOP_WORDS

BM25 = ((0.9, 0.4), (1.2, 0.75), (2.0, 0.9))
DIRICHLET = (100.0, 500.0, 2000.0)
JELINEK_MERCER = (0.1, 0.7)
NOISE = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)  # of the standard deviation of a topic's scores
GAINED, LOST, NEAREST, DEPTH = 0.15, 0.1, 50, 50
TOP = 10
DATA = "selection/cranfield"
_TOKEN = re.compile(r"[a-z0-9]+")


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """The four claims, one value a seed of the made judgements. Raises InvalidInput for data that cannot be read."""
    documents = {row["id"]: row["text"] for row in json_rows(data / "selection" / "cranfield_docs.jsonl.gz")}
    queries = json_rows(data / "selection" / "cranfield_queries.jsonl.gz")
    topics = {row["id"]: row["text"] for row in queries}
    human = {row["id"]: row["qrels"] for row in queries}
    runs, nearest = systems(documents, topics)
    lenient, uniform = [], []
    for seed in seeds:
        first, second = made_qrels(human, runs, nearest, seed)
        lenient.append(_report(runs, human, first, seed))
        uniform.append(_report(runs, human, second, seed))
    return _claims(lenient, uniform, seeds, len(topics))


def _report(runs: dict[str, Run], human: Qrels, model: Qrels, seed: int) -> ReliabilityReport:
    # The claims read no interval over topics: that over seeds says how much the made noise moves a value.
    return qrels_reliability(runs, human, model, top=(TOP,), draws=20, permutations=10_000, seed=seed)


def _claims(
    lenient: Sequence[ReliabilityReport], uniform: Sequence[ReliabilityReport], seeds: Sequence[int], n: int
) -> list[ClaimResult]:
    overall = [_known(report.overall.tau) for report in lenient]
    best = [_known(report.top[TOP].tau) for report in lenient]
    made_up = [_known(report.pairs.false_positive_rate) for report in lenient]
    fair = [_known(report.pairs.false_positive_rate) for report in uniform]

    def claim(
        text: str, metric: str, ours: list[float], baseline: str, theirs: list[float], lower: bool
    ) -> ClaimResult:
        return compare(
            text,
            metric=metric,
            values=ours,
            baseline=baseline,
            baseline_values=theirs,
            seeds=seeds,
            n=n,
            data=DATA,
            lower_is_better=lower,
        )

    rate = "share of the model's significant differences that people's judgements do not show"
    return [
        claim("lenient judgements keep the order of 40 systems", "τ-b", overall, "0.85", [0.85] * len(seeds), False),
        claim(
            f"they keep the order of the {TOP} best much less",
            "τ-b of all systems",
            overall,
            f"τ-b of the {TOP} best + 0.15",
            [tau + 0.15 for tau in best],
            False,
        ),
        claim("they make up differences", rate, made_up, "0.10", [0.1] * len(seeds), False),
        claim(
            "uniform noise of the same rate makes up at most half as many",
            rate,
            fair,
            "half of that under lenient judgements",
            [value / 2 for value in made_up],
            True,
        ),
    ]


def _known(value: float | None) -> float:
    if value is None:
        raise InvalidInput("cranfield: a correlation or rate is undefined; are queries and documents complete?")
    return value


def systems(documents: dict[str, str], topics: dict[str, str]) -> tuple[dict[str, Run], dict[str, list[str]]]:
    """The forty runs, and {topic: its nearest documents by tf-idf cosine, nearest first}."""
    runs: dict[str, Run] = {}
    ids = list(documents)
    stems: dict[str, str] = {}
    for stem in (False, True):
        for stop in (False, True):
            index = _Index(list(documents.values()), list(topics.values()), stem, stop, stems)
            kind = f"{'stem' if stem else 'plain'}-{'stop' if stop else 'all'}"
            for k1, b in BM25:
                runs[f"bm25-{k1:g}-{b:g}-{kind}"] = _run(index.bm25(k1, b), ids, list(topics))
            for mu in DIRICHLET:
                runs[f"dirichlet-{mu:g}-{kind}"] = _run(index.dirichlet(mu), ids, list(topics))
            for weight in JELINEK_MERCER:
                runs[f"jm-{weight:g}-{kind}"] = _run(index.jelinek_mercer(weight), ids, list(topics))
    base = index.bm25(*BM25[1])
    rng = np.random.default_rng(0)
    for level in NOISE:
        noisy = base + rng.normal(size=base.shape) * level * base.std(axis=1, keepdims=True)
        runs[f"noise-{level:g}"] = _run(noisy, ids, list(topics))
    near = np.argsort(-index.cosine(), axis=1, kind="stable")[:, :NEAREST]
    return runs, {topic: [ids[place] for place in row] for topic, row in zip(topics, near, strict=True)}


def made_qrels(
    human: Qrels, runs: dict[str, Run], nearest: dict[str, list[str]], seed: int
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """(lenient, uniform) judgements, as the top of this file says."""
    rng = np.random.default_rng(seed)
    lenient: dict[str, dict[str, int]] = {}
    uniform: dict[str, dict[str, int]] = {}
    for topic, grades in human.items():
        relevant = [document for document, grade in grades.items() if grade > 0]
        kept = dict(grades) | {document: 0 for document in relevant if rng.random() < LOST}
        gained = [d for d in nearest[topic] if grades.get(d, 0) <= 0 and rng.random() < GAINED]
        pool = sorted({d for run in runs.values() for d in run[topic]} - set(relevant))
        drawn = rng.choice(len(pool), size=min(len(gained), len(pool)), replace=False)
        lenient[topic] = kept | dict.fromkeys(gained, 1)
        uniform[topic] = kept | {pool[place]: 1 for place in drawn}
    return lenient, uniform


class _Index:
    """Term counts of documents and queries; every score is [queries, documents], higher first."""

    def __init__(self, documents: list[str], queries: list[str], stem: bool, stop: bool, stems: dict[str, str]) -> None:
        stemmer = need("nltk.stem.porter").PorterStemmer()

        def terms(text: str) -> list[str]:
            found = [word for word in _TOKEN.findall(text.lower()) if not (stop and word in STOP_WORDS)]
            for word in found if stem else ():
                if word not in stems:
                    stems[word] = stemmer.stem(word)
            return [stems[word] for word in found] if stem else found

        vocabulary: dict[str, int] = {}
        self.counts = _matrix([terms(text) for text in documents], vocabulary)
        asked = [[word for word in terms(text) if word in vocabulary] for text in queries]
        self.asked = _matrix(asked, vocabulary)
        self.counts = self.counts.tocsc()
        self.length = np.maximum(np.asarray(self.counts.sum(axis=1)).ravel(), 1.0)
        self.holding = np.diff(self.counts.indptr)
        self.collection = np.asarray(self.counts.sum(axis=0)).ravel() / self.length.sum()

    def _weighed(self, data: Floats) -> Floats:
        weighted = self.counts.copy()
        weighted.data = data
        scores: Floats = (self.asked @ weighted.T.tocsr()).toarray()
        return scores

    def _term(self) -> Any:
        return np.repeat(np.arange(self.counts.shape[1]), self.holding)

    def bm25(self, k1: float, b: float) -> Floats:
        """Robertson et al. 1995, with Lucene's idf, which is never negative."""
        n = self.counts.shape[0]
        idf = np.log(1 + (n - self.holding + 0.5) / (self.holding + 0.5))
        tf = self.counts.data
        norm = k1 * (1 - b + b * self.length / self.length.mean())
        return self._weighed(idf[self._term()] * tf * (k1 + 1) / (tf + norm[self.counts.indices]))

    def dirichlet(self, mu: float) -> Floats:
        """Query likelihood, Dirichlet smoothing (Zhai and Lafferty 2001)."""
        gain = np.log1p(self.counts.data / (mu * self.collection[self._term()]))
        asked = np.asarray(self.asked.sum(axis=1))
        scores: Floats = self._weighed(gain) + asked * np.log(mu / (self.length + mu))
        return scores

    def jelinek_mercer(self, weight: float) -> Floats:
        """Query likelihood, `weight` on the collection (Zhai and Lafferty 2001)."""
        inside = self.counts.data / self.length[self.counts.indices]
        return self._weighed(np.log1p((1 - weight) * inside / (weight * self.collection[self._term()])))

    def cosine(self) -> Floats:
        """tf-idf with log tf; documents scaled to length 1, queries as they are."""
        idf = np.log(self.counts.shape[0] / np.maximum(self.holding, 1))[self._term()]
        data = (1 + np.log(self.counts.data)) * idf
        norm = np.sqrt(np.bincount(self.counts.indices, data**2, minlength=self.counts.shape[0]))
        return self._weighed(data * idf / np.maximum(norm, 1e-12)[self.counts.indices])


def _matrix(texts: list[list[str]], vocabulary: dict[str, int]) -> Any:
    """Counts [texts, words] as a sparse matrix; new words join the vocabulary."""
    rows = [row for row, text in enumerate(texts) for _ in text]
    columns = [vocabulary.setdefault(word, len(vocabulary)) for text in texts for word in text]
    shape = (len(texts), len(vocabulary))
    return need("scipy.sparse").csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def _run(scores: Floats, documents: list[str], topics: list[str]) -> dict[str, dict[str, float]]:
    """The best DEPTH documents of each topic."""
    best = np.argpartition(-scores, DEPTH, axis=1)[:, :DEPTH]
    return {
        topic: {documents[place]: float(scores[row, place]) for place in best[row]} for row, topic in enumerate(topics)
    }
