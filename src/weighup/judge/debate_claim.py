"""The claim check of debate-driven evaluation: debates of scripted debaters whose skill is known.

Every argument says how strong it is, N(skill, 1), plus 0.5 for pro; the judge reads a side's mean strength with noise
of its own. So nothing here tells how well a language model judges; it tells whether the protocol (sides, rounds, double
round robin, ratings) gets back the skills. Each seed holds `TOURNAMENTS` of 8 models and 40 questions, and the same
debates are given to every judge.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.judge.converse import Transcript
from weighup.judge.debate import Debate, Pairing, debates, rejudge
from weighup.judge.debate_players import Case, ScriptedDebater
from weighup.judge.debate_tournament import tournament
from weighup.judge.types import Item, Judgement, Response, Rubric, answered, by_scores
from weighup.metrics.ranking import tau_b

MODELS, ITEMS, TOURNAMENTS = 8, 40, 2
PRO = 0.5  # how much easier the official answer is to defend
LEAST_TAU = {0.5: 0.9, 1.0: 0.9, 2.0: 0.75}  # judge's noise: the rank correlation that is claimed
MEMORISER = 2  # which model by skill, from 0, has learnt the questions by heart
KNOWS, LACKS = 0.3, 0.5  # what that adds to its accuracy, and takes from its skill
_STRENGTH = re.compile(r"strength (-?\d+\.\d+)")


class StrengthJudge:
    """Names the side whose arguments say that they are stronger on average, each mean read with noise N(0, sd)."""

    def __init__(self, noise: float, *, seed: int) -> None:
        self.name = f"strength judge, noise {noise:g}"
        self._noise, self._seed = noise, seed

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        return [answered(item, self.name, **self._one(item)) for item in items]

    def _one(self, item: Item) -> dict[str, object]:
        chance = random.Random(f"{self._seed} {self.name} {item.id} {item.sample}")
        scores = []
        for response in item.shown():
            told = [float(one) for one in _STRENGTH.findall(response.text)]
            scores.append(sum(told) / len(told) + chance.gauss(0.0, self._noise))
        return {"winner": by_scores(scores), "scores": tuple(scores)}


def strong(name: str, skill: float, *, seed: int) -> ScriptedDebater:
    """A debater of known skill. As con it defends the first option that is not the official answer."""

    def script(case: Case, transcript: Transcript) -> str:
        turn = len(transcript.said(case.side))
        chance = random.Random(f"{seed} {transcript.id} {case.side} {turn}")
        strength = chance.gauss(skill, 1.0) + PRO * (case.side == "pro")
        other = next(one.text for one in case.item.responses if one.text != case.official)
        return f"Answer: {case.official if case.side == 'pro' else other}\nstrength {strength:.6f}"

    return ScriptedDebater(name, script)


def questions(n: int) -> list[Item]:
    """Questions of two options, the first right."""
    return [
        Item(
            id=f"q{i}", prompt=f"Question {i}?", responses=(Response(text="yes"), Response(text="no")), reference="yes"
        )
        for i in range(n)
    ]


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Are skills got back, and is a memoriser found out? `data` is not needed."""
    taus: dict[float, list[float]] = {noise: [] for noise in LEAST_TAU}
    falls, firsts, first_by_debate = [], [], []
    for seed in seeds:
        found = [_skilled(1000 * seed + n) for n in range(TOURNAMENTS)]
        for noise in LEAST_TAU:
            taus[noise].append(float(np.mean([one[noise] for one in found])))
        places = np.array([_memoriser(1000 * seed + n) for n in range(TOURNAMENTS)])
        falls.append(float(np.mean(places[:, 1] - places[:, 0])))
        firsts.append(float(np.mean(places[:, 0] == 1)))
        first_by_debate.append(float(np.mean(places[:, 1] == 1)))
    told = f"scripted debaters, {TOURNAMENTS} tournaments of {MODELS} models × {ITEMS} questions a seed"
    results = [
        compare(
            f"debates rank models by skill, judge's noise sd {noise:g}",
            metric="Kendall tau-b with skill",
            values=taus[noise],
            baseline=f"the margin, {least:g}",
            baseline_values=[least] * len(seeds),
            seeds=seeds,
            n=ITEMS,
            data=told,
        )
        for noise, least in LEAST_TAU.items()
    ]
    results.append(
        compare(
            "a model that knows the questions by heart is first by accuracy, not by debate",
            metric="share of tournaments in which it is first",
            values=firsts,
            baseline="by debate + 0.5",
            baseline_values=[one + 0.5 for one in first_by_debate],
            seeds=seeds,
            n=ITEMS,
            data=told,
        )
    )
    results.append(
        compare(
            "a model that knows the questions by heart falls two places or more from accuracy to debate",
            metric="places lost",
            values=falls,
            baseline="2 places",
            baseline_values=[2.0] * len(seeds),
            seeds=seeds,
            n=ITEMS,
            data=told,
        )
    )
    return results


def _skilled(seed: int) -> dict[float, float]:
    """Kendall's τ of ratings with skills, by the judge's noise."""
    skills = dict(zip(_names(), np.linspace(1.0, -1.0, MODELS).tolist(), strict=True))
    held = _hold(skills, seed)
    found = {}
    for noise in LEAST_TAU:
        standings = tournament(rejudge(held, StrengthJudge(noise, seed=seed))).standings
        found[noise] = tau_b([skills[one.model] for one in standings], [one.rating for one in standings])
    return found


def _memoriser(seed: int) -> tuple[int, int]:
    """The memoriser's place by accuracy on the questions, and by debate before a judge of noise 1."""
    names = _names()
    skill = np.linspace(1.0, -1.0, MODELS)
    chance = np.clip(0.5 + 0.15 * skill + KNOWS * (np.arange(MODELS) == MEMORISER), 0, 1)
    right = np.random.default_rng(seed).random((ITEMS, MODELS)) < chance
    accuracy = right.mean(axis=0)
    skill[MEMORISER] -= LACKS
    held = _hold(dict(zip(names, skill.tolist(), strict=True)), seed + 500)
    order = tournament(rejudge(held, StrengthJudge(1.0, seed=seed))).order()
    by_accuracy = 1 + int((np.delete(accuracy, MEMORISER) >= accuracy[MEMORISER]).sum())
    return by_accuracy, 1 + order.index(names[MEMORISER])


def _hold(skills: dict[str, float], seed: int) -> list[Debate]:
    players = [strong(name, skill, seed=seed) for name, skill in skills.items()]
    pairings = [Pairing(item, a, b) for item in questions(ITEMS) for a in players for b in players if a is not b]
    return debates(pairings, StrengthJudge(0.0, seed=seed), early=False, seed=seed)


def _names() -> list[str]:
    return [f"model {place}" for place in range(1, MODELS + 1)]
