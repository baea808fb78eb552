"""FairEval: a pairwise judge without its preference for a place ("Large Language Models are not Fair Evaluators", Wang,
Li, Chen, et al. 2023, arXiv 2305.17926).

Faithful: multiple evidence calibration (evidence first, two scores last, k samples at temperature 1, averaged),
balanced position calibration (the same with the answers swapped, averaged over all 2k), the entropy BPDE of the 2k
outcomes, and people's labels for the share β with the highest (section 3).

Ours: samples that cannot be used are dropped, and an item with none left is `invalid`; means equal to 1e-9 tie; a judge
that names winners without scores is averaged over its votes; identical answers tie without being asked about. With one
sample an order and votes alone, balancing leaves the accuracy where it was, a tie counting half: it is the mean of the
two orders by algebra. It gains by scores, by k > 1, or on the items it decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.orders import combine, sample_k
from weighup.judge.selective import send_to_human
from weighup.judge.types import Item, Judge, Judgement, Winner, by_scores, two, unique
from weighup.models.types import LanguageModel
from weighup.registry import Method

METHOD = Method(
    name="faireval",
    room="judge",
    paper="Large Language Models are not Fair Evaluators (Wang et al. 2023)",
    arxiv="2305.17926",
    command="weighup judge run",
    claim_check="weighup.judge.faireval_claim:check",
)
OUTCOMES: tuple[Winner, Winner, Winner] = ("1", "tie", "2")
IDENTICAL = "the two answers are identical; the judge was not asked"
SCALE = (1.0, 10.0)


def evidence_judge(model: LanguageModel) -> Judge:
    """The paper's judge: evidence first, then a score from 1 to 10 for each answer, at temperature 1."""
    from weighup.judge.llm import LLMJudge

    return LLMJudge(model, prompt="faireval_evidence", scale=SCALE, temperature=1.0)


def faireval(
    judge: Judge,
    items: Sequence[Item],
    k: int = 3,
    balance: bool = True,
    human: Mapping[str, Winner] | None = None,
    beta: float = 0.2,
    *,
    scale: tuple[float, float] = SCALE,
    seed: int = 0,
) -> list[Judgement]:
    """One judgement an item, in order, of k samples in each order (in the given one only, without `balance`).

    `scores`: means over the samples; `winner`: the larger; `checks`: share of the samples that say 1, tie and 2;
    `certainty`: the share that say what was decided. With `human` the `beta` most entropic items, rounded up, get the
    label of that mapping, or are `waiting` where it has none; equal entropy is drawn from by `seed`.

    Raises InvalidInput for k < 1, a beta outside [0, 1], an item without two answers or with an empty one, a human
    label other than 1, 2 and tie, and scores outside `scale`.
    """
    if k < 1:
        raise InvalidInput(f"k: one sample or more is needed, not {k}")
    if not 0 <= beta <= 1:
        raise InvalidInput(f"beta: a share of the items in [0, 1] is needed, not {beta}")
    for id, label in (human or {}).items():
        if label not in OUTCOMES:
            raise InvalidInput(f"item {id}: a human label is 1, 2 or tie, not {label!r}")
    unique(items)
    asked = [item for item in items if not _identical(item)]
    name = f"faireval({judge.name})"
    samples = sample_k(judge, asked, k, balance=balance) if asked else []
    made = {item.id: _averaged(some, name, scale) for item, some in zip(asked, samples, strict=True)}
    found = [made.get(item.id) or _tie(item, name) for item in items]
    return found if human is None else send_to_human(found, position_entropy(found), human, beta, seed=seed)


def position_entropy(judgements: Sequence[Judgement]) -> NDArray[np.float64]:
    """BPDE, −Σ p log p over win, tie and lose among the samples of each of FairEval's judgements, in nats [n]; from 0
    to log 3, NaN for what has no samples."""
    shares = np.array([[one.checks.get(side, np.nan) for side in OUTCOMES] for one in judgements], float)
    p = shares.reshape(len(judgements), len(OUTCOMES))
    return np.asarray(np.abs(-(p * np.log(np.where(p > 0, p, 1.0))).sum(1)), np.float64)


def _averaged(samples: Sequence[Judgement], name: str, scale: tuple[float, float]) -> Judgement:
    known = [one for one in samples if one.usable]
    outcomes = [_outcome(one, scale) for one in known]
    told = [one.model_copy(update={"winner": side}) for one, side in zip(known, outcomes, strict=True)]
    scored = all(_scores(one) is not None for one in known)
    rest = [one for one in samples if not one.usable]
    made = combine([*told, *rest], "mean" if scored else "vote", name=name)
    if not known:
        waits = any(one.status == "waiting" for one in samples)
        return made.model_copy(update={"status": "waiting"}) if waits else made
    shares: dict[str, float] = {side: outcomes.count(side) / len(outcomes) for side in OUTCOMES}
    more = {"checks": shares, "certainty": shares[str(made.winner)], "rationale": known[0].rationale, "kind": "pair"}
    return made.model_copy(update=more)


def _outcome(one: Judgement, scale: tuple[float, float]) -> Winner:
    scores = _scores(one)
    if scores is None:
        if one.winner is None:
            raise InvalidInput(f"item {one.item_id}: {one.judge} gave neither two scores nor a winner")
        return one.winner
    low, high = scale
    if not all(low <= score <= high for score in scores):
        raise InvalidInput(
            f"item {one.item_id}: {one.judge} gave scores {scores} outside {low:g} to {high:g}; tell its own scale="
        )
    return by_scores(scores)


def _scores(one: Judgement) -> tuple[float, float] | None:
    if one.scores is None or len(one.scores) != 2:
        return None
    first, second = one.scores
    return None if first is None or second is None else (first, second)


def _identical(item: Item) -> bool:
    first, second = (one.text.strip() for one in two(item))
    if not first or not second:
        raise InvalidInput(f"item {item.id}: response {'2' if first else '1'} is empty; leave the item out")
    return first == second


def _tie(item: Item, name: str) -> Judgement:
    checks = {"1": 0.0, "tie": 1.0, "2": 0.0}
    return Judgement(item_id=item.id, judge=name, winner="tie", certainty=1.0, checks=checks, rationale=IDENTICAL)
