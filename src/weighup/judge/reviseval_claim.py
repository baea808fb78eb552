"""RevisEval's claim check: does a metric see more beside a reference made from the response than beside a fixed one?

Scripted: good texts are people's summaries of four sentences or more (`summ_human/summeval`), with 0 to 5 defects of
known place; the reviser repairs each with chance 0.9; the fixed reference is another person's summary of the same
article. A metric's Kendall tau-b with the number of defects is taken within the versions of a text, 0 where all score
the same.

Real: `summ_human/newsroom` with the embedded model as reviser, which sees the beginning of the article but no
reference. Summaries whose revision cannot be used are left out, for all that is compared.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.errors import ModelMissing
from weighup.judge.corrupt import Corrupted, corrupt, repair
from weighup.judge.reviseval import ReferenceJudge
from weighup.judge.reviseval_reviser import Draft, ModelReviser, Task
from weighup.judge.types import Item, Response, Rubric
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.metrics.ranking import spearman, tau_b
from weighup.metrics.text import score
from weighup.models.types import LanguageModel
from weighup.rowfile import json_rows
from weighup.texts import sentences

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
METRICS = ("bleu", "rouge1")
DEFECTS = ("dropped", "contradiction", "ungrammatical", "unsupported", "padded")
SENTENCES, RATE, MARGIN = 4, 0.9, 0.10
REAL_ITEMS, REAL_TOKENS, REAL_CONTEXT = 24, 80, 700


class ScriptedReviser:
    """Repairs each planted defect of the texts it knows with chance `rate`, drawn by `seed` and text."""

    name, instructions = "scripted", ""
    prompts: Mapping[str, str] = {}

    def __init__(self, known: Sequence[Corrupted], *, rate: float, seed: int) -> None:
        self._known = {one.text: one for one in known}
        self._rate, self._seed = rate, seed

    def revise(self, tasks: Sequence[Task], rubric: Rubric | None = None) -> list[Draft]:
        """The texts with the defects that were not repaired. Raises KeyError for a text it does not know."""
        return [Draft(self._repaired(self._known[task.response])) for task in tasks]

    def _repaired(self, one: Corrupted) -> str:
        # By what was planted: adding a defect does not change which of the others are repaired.
        left = [np.random.default_rng([self._seed, *defect.what.encode()]).random() for defect in one.planted]
        done = tuple(defect for defect, chance in zip(one.planted, left, strict=True) if chance < self._rate)
        return " ".join(repair(replace(one, planted=done)))


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """BLEU and ROUGE-1 with a scripted reviser; ROUGE-1 with the embedded model where it is here."""
    texts = _texts(data)
    found = [_scripted(metric, texts, seeds) for metric in METRICS]
    return found + _real(data, seeds)


def _texts(data: Path) -> list[tuple[str, str]]:
    """For each article: a summary with enough sentences, and the longest other one."""
    found = []
    for row in json_rows(data / "judging" / "summ_human" / "summeval_docs.jsonl.gz"):
        longest = sorted(row["references"], key=lambda text: (-len(sentences(text)), text))
        if len(sentences(longest[0])) >= SENTENCES:
            found.append((longest[0], max(longest[1:], key=len)))
    return found


def _scripted(metric: str, texts: Sequence[tuple[str, str]], seeds: Sequence[int]) -> ClaimResult:
    taus = np.array([_taus(metric, texts, seed) for seed in seeds])
    adapted, fixed = taus[:, :, 0], taus[:, :, 1]
    return compare(
        f"{metric} beside an adapted reference follows the number of defects better than beside a fixed one",
        metric=f"mean Kendall tau-b with minus the number of defects, {len(DEFECTS) + 1} versions a text",
        values=[float(one) for one in adapted.mean(1)],
        baseline=f"another person's summary as reference + {MARGIN:.2f}",
        baseline_values=[float(one) + MARGIN for one in fixed.mean(1)],
        seeds=seeds,
        n=len(texts),
        data=f"summ_human/summeval references, scripted reviser that repairs {RATE:.0%} of the defects",
        interval=bootstrap(np.mean, (adapted - fixed).mean(0) - MARGIN, seed=seeds[0]),
    )


def _taus(metric: str, texts: Sequence[tuple[str, str]], seed: int) -> list[tuple[float, float]]:
    """By text: tau with an adapted and with a fixed reference."""
    chance = np.random.default_rng(seed)
    made, items = [], []
    for number, (text, other) in enumerate(texts):
        order = [DEFECTS[place] for place in chance.permutation(len(DEFECTS))]
        for j in range(len(DEFECTS) + 1):
            made.append(corrupt(text, order[:j], seed=seed) if j else Corrupted(text, (), tuple(sentences(text))))
            told = (Response(text=made[-1].text),)
            items.append(Item(id=f"{number}-{j}", prompt="Summarise the article.", responses=told, reference=other))
    reviser = ScriptedReviser(made, rate=RATE, seed=seed)
    adapted = _scores(ReferenceJudge(metric, "adapted", reviser=reviser), items).reshape(len(texts), -1)
    fixed = _scores(ReferenceJudge(metric, "fixed"), items).reshape(len(texts), -1)
    worth = -np.arange(len(DEFECTS) + 1)
    return [(_tau(worth, a), _tau(worth, f)) for a, f in zip(adapted, fixed, strict=True)]


def _scores(judge: ReferenceJudge, items: Sequence[Item]) -> Floats:
    """One score an item; NaN where there is none."""
    return np.array([one.scores[0] if one.scores else None for one in judge.judge(items)], float)


def _tau(worth: NDArray[np.int64], scores: Floats) -> float:
    return 0.0 if np.ptp(scores) == 0 else tau_b(worth, scores)


def _real(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    from weighup.models.open import language_model

    try:
        model = language_model()
    except ModelMissing as error:
        log.warning("reviseval: the part with a real reviser is left out: %s", error)
        return []
    if model is None:
        log.warning("reviseval: the part with a real reviser is left out: models.language is none")
        return []
    return _newsroom(data, model, seeds)


def _newsroom(data: Path, model: LanguageModel, seeds: Sequence[int]) -> list[ClaimResult]:
    folder = data / "judging" / "summ_human"
    docs = {row["id"]: row for row in json_rows(folder / "newsroom_docs.jsonl.gz")}
    rows = [row for row in json_rows(folder / "newsroom.jsonl.gz") if row["summary"].strip()]
    fixed, length, gold = _fixed(rows, docs), _length(rows), _gold(rows)
    told = f"on all {len(rows)}: fixed {spearman(fixed, gold):.3f}, length {spearman(length, gold):.3f}"
    places = np.random.default_rng(0).choice(len(rows), REAL_ITEMS, replace=False)
    items = [_item(rows[place], docs) for place in places]
    reviser = ModelReviser(model, prompt="reviseval_brief", max_tokens=REAL_TOKENS, trim=True)
    adapted = _scores(ReferenceJudge("rouge1", "adapted", reviser=reviser), items)
    usable = ~np.isnan(adapted)
    if usable.sum() < REAL_ITEMS / 2:
        log.warning("reviseval: %s: only %d of %d revisions can be used", model.name, usable.sum(), REAL_ITEMS)
        return []
    kept = places[usable]
    told = f"summ_human/newsroom, {usable.sum()} of {REAL_ITEMS} drawn summaries ({told}); reviser {model.name}"
    return [
        compare(
            f"ROUGE-1 beside a revision by the embedded model follows relevance better than {name}",
            metric="Spearman with mean human relevance",
            values=[spearman(adapted[usable], gold[kept])],
            baseline=baseline,
            baseline_values=[spearman(other[kept], gold[kept])],
            seeds=list(seeds)[:1],
            n=int(usable.sum()),
            data=told,
            interval=paired_bootstrap(
                spearman, (adapted[usable], gold[kept]), (other[kept], gold[kept]), seed=seeds[0]
            ),
        )
        for name, baseline, other in (
            ("beside the fixed reference", "ROUGE-1 with the fixed reference", fixed),
            ("length alone", "number of words", length),
        )
    ]


def _item(row: Mapping[str, Any], docs: Mapping[str, Mapping[str, Any]]) -> Item:
    context = docs[row["doc"]]["source"][:REAL_CONTEXT]
    told = (Response(text=row["summary"]),)
    return Item(id=row["id"], prompt="A summary of this article:", responses=told, context=context)


def _fixed(rows: Sequence[Mapping[str, Any]], docs: Mapping[str, Mapping[str, Any]]) -> Floats:
    return score("rouge1", [row["summary"] for row in rows], [docs[row["doc"]]["references"] for row in rows])


def _length(rows: Sequence[Mapping[str, Any]]) -> Floats:
    return score("length", [row["summary"] for row in rows])


def _gold(rows: Sequence[Mapping[str, Any]]) -> Floats:
    return np.array([row["scores"]["relevance"] for row in rows])
