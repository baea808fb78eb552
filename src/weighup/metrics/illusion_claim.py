"""Does any metric hold everywhere? Eight sets of human scores, 19 dimensions of quality (DATA.md of `judging`).

The sets: SummEval, REALSumm, Newsroom, QAGS-CNN and QAGS-XSum summaries; Topical-Chat dialogue; SFRES and SFHOT
data-to-text. Metrics: lexical ones, lengths and source overlap, and UniEval's values as its authors recorded them.
TER is left out for time; metrics that need a model are not run here. Where there are several references the first is
used. Left out of the human dimensions: those that sum up others (`overall`), and `understandability`, which UniEval's
paper reports apart; that leaves 19.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.metrics.arrays import Floats
from weighup.metrics.illusion import Columns, HumanScores, correlate, ranks_in_columns
from weighup.rowfile import json_rows

SUMMARIES = ("summeval", "realsumm", "newsroom", "qags_cnn", "qags_xsum")
DIALOGUES_AND_DATA = ("topical_chat", "sfres", "sfhot")
NOT_HELD_AGAINST = ("overall", "understandability")
METRICS = (
    "bleu",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
    "meteor",
    "token_f1",
    "length",
    "length_ratio",
    "source_overlap",
    "novel_bigrams",
    "compression",
)
MOST_SHARE, LEAST_SPREAD = 0.5, 0.3
DATA = "judging/summ_human, judging/nlg_human"


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """The two claims, the first read in two ways, since UniEval has values for 8 of the 19 dimensions only.

    The first seed draws the bootstrap. Raises InvalidInput for a data file that cannot be read.
    """
    sets = human_scores(data)
    columns = correlate(METRICS, sets, levels=("segment",), missing="leave out", seed=seeds[0])[0][0]
    n = sum(len(each.hypotheses) for each in sets)
    return [
        _nobody_is_best(columns, n, seeds[0], of_own=False),
        _nobody_is_best(columns, n, seeds[0], of_own=True),
        _everybody_moves(columns, n, seeds[0]),
    ]


def human_scores(data: Path) -> list[HumanScores]:
    """The eight sets, grouped by document. Raises InvalidInput for a file that cannot be read."""
    folder = data / "judging"
    return [_summaries(folder / "summ_human", name) for name in SUMMARIES] + [
        _utterances(folder / "nlg_human", name) for name in DIALOGUES_AND_DATA
    ]


def largest_share(values: Floats, *, of_own: bool) -> Floats:
    """values [..., metrics, columns] -> the largest share, over metrics, of columns where it is first, [...].

    of_own: of the columns where the metric has a value; else of all.
    """
    first = np.sum(ranks_in_columns(values) == 1, axis=-1)
    among = np.sum(np.isfinite(values), axis=-1) if of_own else values.shape[-1]
    shares: Floats = (first / among).max(axis=-1)
    return shares


def least_spread(values: Floats) -> Floats:
    """values [..., metrics, columns] -> the least range, over metrics, of its values across columns, [...]."""
    spreads: Floats = (np.nanmax(values, axis=-1) - np.nanmin(values, axis=-1)).min(axis=-1)
    return spreads


def _nobody_is_best(columns: Columns, n: int, seed: int, *, of_own: bool) -> ClaimResult:
    low, high = np.quantile(MOST_SHARE - largest_share(columns.draws, of_own=of_own), [0.025, 0.975])
    among = "the human dimensions it has values for" if of_own else f"{len(columns.keys)} human dimensions"
    return compare(
        f"no metric is best in more than half of {among}",
        metric="largest share of columns where one metric correlates best",
        values=[float(largest_share(columns.values, of_own=of_own))],
        baseline="half of the columns",
        baseline_values=[MOST_SHARE],
        seeds=[seed],
        n=n,
        data=DATA,
        lower_is_better=True,
        interval=(float(low), float(high)),
    )


def _everybody_moves(columns: Columns, n: int, seed: int) -> ClaimResult:
    low, high = np.quantile(least_spread(columns.draws) - LEAST_SPREAD, [0.025, 0.975])
    return compare(
        f"every one of {len(columns.metrics)} metrics' Spearman differs by 0.3 or more between human dimensions",
        metric="least range of a metric's Spearman across columns",
        values=[float(least_spread(columns.values))],
        baseline="0.3",
        baseline_values=[LEAST_SPREAD],
        seeds=[seed],
        n=n,
        data=DATA,
        interval=(float(low), float(high)),
    )


def _summaries(folder: Path, name: str) -> HumanScores:
    documents = {row["id"]: row for row in json_rows(folder / f"{name}_docs.jsonl.gz")}
    rows = json_rows(folder / f"{name}.jsonl.gz")
    return HumanScores(
        name=name,
        hypotheses=[row["summary"] for row in rows],
        human=_dimensions(rows, "scores"),
        references=[documents[row["doc"]]["references"][0] for row in rows],
        sources=[documents[row["doc"]]["source"] for row in rows],
        systems=[row["system"] for row in rows],
        groups=[row["doc"] for row in rows],
    )


def _utterances(folder: Path, name: str) -> HumanScores:
    rows = json_rows(folder / f"{name}.jsonl.gz")
    dialogue = "context" in rows[0]
    return HumanScores(
        name=name,
        hypotheses=[row["system_output"] for row in rows],
        human=_dimensions(rows, "scores"),
        references=None if dialogue else [row["reference"] for row in rows],
        sources=[row["source"] + ("\n" + row["context"] if dialogue else "") for row in rows],
        systems=[row["system_id"] for row in rows] if dialogue else None,
        groups=[row["source"] for row in rows],
        recorded={"unieval": _dimensions(rows, "predict_scores")},
    )


def _dimensions(rows: Sequence[dict[str, Any]], key: str) -> dict[str, list[float]]:
    return {name: [row[key][name] for row in rows] for name in rows[0][key] if name not in NOT_HELD_AGAINST}
