"""RocketEval's claim check: made graders of known faults, and the embedded model on recorded preferences.

Made graders: twelve systems, quality N(0, 1); eight questions, difficulty N(0, 1); true log-odds of a yes
1.5·quality − difficulty; the grader's carry noise of sd 2. The one-shot grader judges quality with the same noise in
the same unit, draws its score half-way to the middle, favours what is shown first (+1 to −1 by place) and writes a
whole number from 1 to 10. All answers go through `RocketEval` itself.

Real: `alpaca_matrix/texts`, the embedded model as grader. No strong author is at hand, so the checklist is made by
rule: two plain questions and two about words that tell the reference answer apart. The sample is small so that the
whole stays within a minute or so on one core.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput, ModelMissing
from weighup.judge.checklist import Regressor
from weighup.judge.fence import fenced
from weighup.judge.prompt_files import prompt
from weighup.judge.rocketeval import RocketEval, unsupervised
from weighup.judge.types import Item, Response, Rubric
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.metrics.ranking import tau_b
from weighup.models.metering import Meter
from weighup.models.types import Choice, LanguageModel, Prompt, Question, Reply
from weighup.rowfile import json_rows
from weighup.texts import STOP_WORDS, words

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
SYSTEMS, QUESTIONS, NOISE, SLOPE = 12, 8, 2.0, 1.5
QUERIES = 100
TRAIN, TEST = 20, 10
REAL_ITEMS, REAL_SYSTEMS = 16, ("claude-2", "gemma-7b-it", "vicuna-7b")
CUT = 300
MADE = "made graders"
REGRESSORS: tuple[Regressor, ...] = ("trees", "linear", "rising")
_PLACE = re.compile(r"response number (\d+)\b.*point (\d+)\?", re.DOTALL)


class MadeGrader:
    """A language model that answers point j of response i with yes at given log-odds [responses, questions]."""

    name, version = "made", "1"

    def __init__(self, log_odds: Floats) -> None:
        self._chance = 1 / (1 + np.exp(-log_odds))

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        return [self._choice(one.user) for one in questions]

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        raise InvalidInput("the made grader only chooses")

    def _choice(self, asked: str) -> Choice:
        found = _PLACE.search(asked)
        if found is None:
            raise InvalidInput("the made grader was asked about nothing it knows")
        yes = float(self._chance[int(found[1]), int(found[2])])
        return Choice((yes, 1 - yes))


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Soft independent answers against hard ones and one shot; reweighting; the embedded model where it is here."""
    made = [one for seed in seeds for one in _rankings(seed)]
    soft, hard, shot = np.array(made).T
    found = [
        _gain("soft answers rank better than hard ones", "hard 0/1 answers", soft, hard, 0.02, seeds),
        _gain("a checklist ranks better than one shot", "one-shot score", soft, shot, 0.05, seeds),
        *_reweighting(seeds),
    ]
    return found + _real(data, seeds)


def _gain(claim: str, baseline: str, ours: Floats, theirs: Floats, margin: float, seeds: Sequence[int]) -> ClaimResult:
    return compare(
        claim,
        metric="mean Kendall tau-b with quality over 12 systems",
        values=_by_seed(ours, seeds),
        baseline=f"{baseline} + {margin:.2f}",
        baseline_values=[one + margin for one in _by_seed(theirs, seeds)],
        seeds=seeds,
        n=QUERIES,
        data=MADE,
        interval=bootstrap(np.mean, ours - theirs - margin, seed=0),
    )


def _by_seed(values: Floats, seeds: Sequence[int]) -> list[float]:
    return [float(one) for one in values.reshape(len(seeds), -1).mean(1)]


def _rankings(seed: int) -> list[tuple[float, float, float]]:
    """For each query: tau of soft answers, of hard ones, and of one shot."""
    rng = np.random.default_rng(seed)
    found = []
    for query in range(QUERIES):
        quality = rng.normal(size=SYSTEMS)
        odds = SLOPE * quality[:, None] - rng.normal(size=QUESTIONS) + rng.normal(0, NOISE, (SYSTEMS, QUESTIONS))
        rubric, answers = _asked(f"q{query}", odds)
        hard = unsupervised(rubric, (answers >= 0.5).astype(float))
        place = rng.permutation(np.linspace(1, -1, SYSTEMS))
        told = 5.5 + 0.5 * 2.25 * (quality + rng.normal(0, NOISE / SLOPE, SYSTEMS)) + place
        shot = np.clip(np.rint(told), 1, 10)
        found.append((_tau(quality, unsupervised(rubric, answers)), _tau(quality, hard), _tau(quality, shot)))
    return found


def _asked(name: str, odds: Floats) -> tuple[Rubric, Floats]:
    """The made grader's answers [systems, questions] to one query, through RocketEval."""
    rubric = Rubric.of(*(f"Does it meet point {j}?" for j in range(odds.shape[1])))
    texts = [Response(text=f"response number {i}", system=f"s{i}") for i in range(len(odds))]
    item = Item(id=name, prompt="a request", responses=tuple(texts))
    graded = RocketEval(None, MadeGrader(odds), rubrics={name: rubric}).grade([item])[0]
    if graded is None:
        raise InvalidInput(f"item {name}: was not graded")
    return rubric, graded.answers


def _reweighting(seeds: Sequence[int]) -> list[ClaimResult]:
    """Six questions of eight follow quality, two are noise; people's scores follow quality, with noise of 0.5."""
    errors = np.array([_errors(seed, query) for seed in seeds for query in range(QUERIES // 2)])
    mean = 0.9 * errors[:, 0]
    return [
        compare(
            f"reweighting ({name}) brings the error down by a tenth where two of eight questions are irrelevant",
            metric="mean absolute error, points of 10",
            values=_by_seed(fitted, seeds),
            baseline="0.9 x error of the plain mean",
            baseline_values=_by_seed(mean, seeds),
            seeds=seeds,
            n=QUERIES // 2,
            data=f"{MADE}; {TRAIN} systems to learn from, {TEST} others to predict",
            lower_is_better=True,
            interval=bootstrap(np.mean, mean - fitted, seed=0),
        )
        for name, fitted in zip(REGRESSORS, errors[:, 1:].T, strict=True)
    ]


def _errors(seed: int, query: int) -> list[float]:
    """Of the plain mean, and of each regressor."""
    rng = np.random.default_rng([seed, query])
    quality = rng.normal(size=TRAIN + TEST)
    odds = SLOPE * quality[:, None] - rng.normal(size=QUESTIONS) + rng.normal(0, NOISE, (len(quality), QUESTIONS))
    odds[:, 6:] = rng.normal(0, np.hypot(SLOPE, NOISE), (len(quality), 2))
    people = np.clip(5.5 + 2.25 * quality + rng.normal(0, 0.5, len(quality)), 1, 10)
    rubric = Rubric.of(*(f"Does it meet point {j}?" for j in range(QUESTIONS)))
    texts = tuple(Response(text=f"response number {i}", system=f"s{i}") for i in range(len(odds)))
    item = Item(id="q", prompt="a request", responses=texts)
    method = RocketEval(None, MadeGrader(odds), rubrics={"q": rubric})
    found = [_error(method.score([item])[0].scores, people[TRAIN:])]
    for regressor in REGRESSORS:
        method.fit([item], {"q": {f"s{i}": float(people[i]) for i in range(TRAIN)}}, regressor=regressor)
        found.append(_error(method.score([item])[0].scores, people[TRAIN:]))
    return found


def _error(scores: Sequence[float | None] | None, held: Floats) -> float:
    return float(np.abs(np.array(scores, float)[TRAIN:] - held).mean())


def _real(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    from weighup.models.open import language_model

    try:
        model = language_model()
    except ModelMissing as error:
        log.warning("rocketeval: the part with a real grader is left out: %s", error)
        return []
    if model is None:
        log.warning("rocketeval: the part with a real grader is left out: models.language is none")
        return []
    rows = _rows(data)
    rocket, shot = _taus(rows, model)
    return [
        compare(
            "the embedded model ranks better by a checklist than by one score",
            metric=f"mean Kendall tau-b with the recorded preference over {len(REAL_SYSTEMS)} systems an instruction",
            values=[float(rocket.mean())],
            baseline="one-shot score 1-9, expected value, same model",
            baseline_values=[float(shot.mean())],
            seeds=list(seeds)[:1],
            n=len(rows),
            data=f"alpaca_matrix/texts, texts cut to {CUT} characters; {model.name}; checklist by rule",
            interval=paired_bootstrap(np.mean, (rocket,), (shot,), seed=0),
        )
    ]


def _rows(data: Path) -> list[dict[str, Any]]:
    """A random sample of instructions on which the recorded judge tells the systems apart, with checklists."""
    path = data / "judging" / "alpaca_matrix" / "texts.jsonl.gz"
    rows = json_rows(path)
    seen = Counter(word for row in rows for word in set(words(row["outputs"]["gpt4_1106_preview"])))
    usable = [
        row
        for row in rows
        if len({row["preference"][one] for one in REAL_SYSTEMS}) == len(REAL_SYSTEMS)
        and all(row["outputs"][one].strip() for one in REAL_SYSTEMS)
        and len(row["instruction"]) <= CUT
    ]
    chosen = np.random.default_rng(0).choice(len(usable), min(REAL_ITEMS, len(usable)), replace=False)
    picked = [usable[place] for place in sorted(chosen)]
    for row in picked:
        row["checklist"] = _checklist(row["outputs"]["gpt4_1106_preview"], row["instruction"], seen, len(rows))
    return picked


def _checklist(reference: str, instruction: str, seen: Counter[str], n: int) -> Rubric:
    """Two plain questions, and one about each of the two words most telling (tf·idf) of the reference answer."""
    own = Counter(word for word in words(reference) if len(word) > 3 and word not in STOP_WORDS)
    known = set(words(instruction))
    telling = sorted((one for one in own if one not in known), key=lambda w: (-own[w] * np.log(n / seen[w]), w))[:2]
    plain = ("Does the answer do what the request asks for?", "Is the answer correct and useful?")
    return Rubric.of(*plain, *(f'Does the answer say something about "{word}"?' for word in telling))


def _taus(rows: Sequence[dict[str, Any]], model: LanguageModel) -> tuple[Floats, Floats]:
    form = prompt("rocketeval_oneshot")
    digits = np.array([float(one) for one in form.answers])
    rocket, shot = [], []
    for row in rows:
        gold = [row["preference"][one] for one in REAL_SYSTEMS]
        texts = [row["outputs"][one][:CUT] for one in REAL_SYSTEMS]
        asked = [form.fill(question=row["instruction"], response=fenced(one, name="response")) for one in texts]
        told = model.choose([Question(one, form.answers, form.system) for one in asked])
        shot.append(_tau(gold, [float(digits @ one.probabilities) if one.probabilities else 5.0 for one in told]))
        responses = tuple(Response(text=text, system=one) for text, one in zip(texts, REAL_SYSTEMS, strict=True))
        item = Item(id=row["id"], prompt=row["instruction"], responses=responses)
        scores = RocketEval(None, model, rubrics={item.id: row["checklist"]}).score([item])[0].scores
        rocket.append(_tau(gold, [5.5 if one is None else one for one in scores or [5.5] * len(texts)]))
    return np.array(rocket), np.array(shot)


def _tau(gold: Sequence[float] | Floats, scores: Sequence[float] | Floats) -> float:
    """Tau-b; 0 where all scores are equal, which order nothing."""
    return 0.0 if np.ptp(np.asarray(scores)) == 0 else tau_b(gold, scores)
