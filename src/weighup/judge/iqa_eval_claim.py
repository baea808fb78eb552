"""The claim check of IQA-EVAL: assistants of known helpfulness, a scripted user, and a simulated crowd.

Texts carry what they are worth: "fact" counts as a piece of what the user needs, and "clarity 0.40" says how good a
reply is in a respect. So nothing here tells how well a language model rates; it tells whether conversations, ratings
and the mix of personas give back what was put in. A rater with a persona puts 0.7 of its weight on what that persona
cares for and 0.1 on each other respect; nobody in particular weighs all four alike.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.judge.converse import Player, ScriptedPlayer, Transcript
from weighup.judge.iqa_agents import PERSONAS, IqaRating, Persona, ScriptedAssistant, ToRate
from weighup.judge.iqa_eval import IqaReport, iqa_eval
from weighup.judge.types import Item, Response
from weighup.metrics.ranking import tau_b
from weighup.models.metering import Meter

QUESTIONS, CROWD = 50, 100
USEFUL = 0.8  # chance that a fact given is one that is needed
NOISE = 0.5  # of one rating, in points
EXPERT, CLEAR = PERSONAS[0], PERSONAS[3]
MIX = {EXPERT.name: 0.4, CLEAR.name: 0.6}
CARES = dict(zip((one.name for one in PERSONAS), ("depth", "evidence", "following", "clarity"), strict=True))
EVASIVE = ("It depends.", "Hard to say.", "Opinions differ.", "One would have to look closer.", "Who knows?")
_TOLD = re.compile(r"(evidence|following|clarity) (\d\.\d+)")


class ScriptedAgent:
    """A user who asks for more until it has the facts it needs, and a rater of known taste. The user takes no notice of
    its persona."""

    def __init__(self, *, seed: int) -> None:
        self.name = "scripted agent"
        self._seed = seed

    def user(self, question: Item, persona: Persona | None) -> Player:
        def script(transcript: Transcript) -> str:
            if _known(transcript, question) == 1.0:
                return f"Answer: {question.reference}"
            return f"About {question.prompt} What else is there, for the {len(transcript.said('user')) + 1}. time?"

        return ScriptedPlayer("scripted user", script)

    def rate(self, asked: Sequence[ToRate], *, meter: Meter | None = None) -> list[IqaRating]:
        return [self._rating(one) for one in asked]

    def answer(self, asked: Sequence[ToRate], *, meter: Meter | None = None) -> list[str | None]:
        return ["yes" if _known(one.transcript, one.question) == 1.0 else "no" for one in asked]

    def _rating(self, one: ToRate) -> IqaRating:
        who = one.persona.name if one.persona else None
        chance = random.Random(f"{self._seed} {one.question.id} {one.transcript.said('assistant')} {who}")
        helpful = _clip(taste(respects(one.transcript, one.question), who) + chance.gauss(0, NOISE))
        return IqaRating(
            talk=one.transcript.id, persona=who, fluency=_clip(3 + chance.gauss(0, NOISE)), helpfulness=helpful
        )


def respects(transcript: Transcript, question: Item) -> dict[str, float]:
    """How good a conversation is in four respects, each in [0, 1]; half where nothing tells."""
    told: dict[str, list[float]] = {}
    for name, value in _TOLD.findall(" ".join(transcript.said("assistant"))):
        told.setdefault(name, []).append(float(value))
    found = {name: float(np.mean(told.get(name, [0.5]))) for name in ("evidence", "following", "clarity")}
    return {"depth": _known(transcript, question), **found}


def taste(found: Mapping[str, float], persona: str | None) -> float:
    """What a persona thinks of it, from 1 to 5, before noise."""
    own = None if persona is None else CARES[persona]
    weight = {name: 0.25 if own is None else 0.7 if name == own else 0.1 for name in found}
    return 1 + 4 * sum(weight[name] * value for name, value in found.items())


def informing(name: str, facts: int, *, seed: int, respects_too: bool = False) -> ScriptedAssistant:
    """Gives `facts` facts a turn, none being evasive; with `respects_too` its replies differ in the other respects."""

    def script(transcript: Transcript) -> str:
        asked = transcript.said("user")[-1]
        chance = random.Random(f"{seed} {name} {asked}")
        turn = len(transcript.said("assistant"))
        useful = sum(chance.random() < USEFUL for _ in range(facts))
        text = f"Reply {turn + 1}: {'fact ' * useful}" if facts else EVASIVE[turn % len(EVASIVE)]
        if respects_too:
            # The same assistant is much alike all through one conversation.
            steady = random.Random(f"{seed} {name} {asked.split('?')[0]}")
            text += " ".join(f"{one} {steady.random():.4f}" for one in ("evidence", "following", "clarity"))
        return text

    return ScriptedAssistant(name, script)


def questions(n: int, *, seed: int) -> list[Item]:
    """Questions that need 2 to 14 facts."""
    chance = random.Random(f"questions {seed}")
    options = (Response(text="yes"), Response(text="no"))
    return [
        Item(id=f"q{i}", prompt=f"Q{i}?", responses=options, reference="yes", meta={"needs": chance.randint(2, 14)})
        for i in range(n)
    ]


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Is the order of assistants got back, and does a mix of personas match its crowd? `data` is not needed."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, value in {**_order(seed), **_personas(seed)}.items():
            found.setdefault(name, []).append(value)
    told = f"scripted assistants and user, {QUESTIONS} questions a seed"

    def result(
        claim: str, metric: str, name: str, baseline: str, against: list[float], lower: bool = False
    ) -> ClaimResult:
        return compare(
            claim,
            metric=metric,
            values=found[name],
            baseline=baseline,
            baseline_values=against,
            seeds=seeds,
            n=QUESTIONS,
            data=told,
            lower_is_better=lower,
        )

    swap = [2 / 3] * len(seeds)
    return [
        result("helpfulness puts four assistants in order", "Kendall tau-b", "helpfulness", "one swap", swap),
        result("accuracy puts four assistants in order", "Kendall tau-b", "accuracy", "one swap", swap),
        result(
            "the conversation is the same whoever rates it",
            "share of conversations that are the same for both personas",
            "same",
            "0.99",
            [0.99] * len(seeds),
        ),
        result(
            "personas rate the same conversation differently",
            "mean difference in helpfulness, points",
            "shift",
            "the same persona, asked again",
            found["again"],
        ),
        result(
            "personas weighed as the crowd is come closer to its mean than nobody in particular",
            "mean absolute error, points",
            "weighed",
            "no persona, as many ratings, less 20 %",
            [0.8 * one for one in found["nobody"]],
            lower=True,
        ),
    ]


def _order(seed: int) -> dict[str, float]:
    assistants = [informing(f"{facts} facts a turn", facts, seed=seed) for facts in range(4)]
    scores = iqa_eval(assistants, questions(QUESTIONS, seed=seed), agent=ScriptedAgent(seed=seed)).scores
    truth = range(4)
    return {
        "helpfulness": tau_b(truth, [one.helpfulness.value for one in scores]),
        "accuracy": tau_b(truth, [one.accuracy.value for one in scores]),
    }


def _personas(seed: int) -> dict[str, float]:
    asked = questions(QUESTIONS, seed=seed)
    assistants = [informing(f"{facts} facts a turn", facts, seed=seed, respects_too=True) for facts in range(4)]

    def held(draw: int, personas: Sequence[Persona], *, shared: bool = True) -> IqaReport:
        agent = ScriptedAgent(seed=10 * seed + draw)
        return iqa_eval(assistants, asked, personas, MIX if personas else None, agent=agent, shared=shared)

    apart = held(0, (EXPERT, CLEAR), shared=False)
    first, second = apart.talks[::2], apart.talks[1::2]
    same = [a.transcript.turns == b.transcript.turns for a, b in zip(first, second, strict=True)]
    expert, clear = _helpful(apart)[::2], _helpful(apart)[1::2]
    nobody = [_helpful(held(draw, ())) for draw in (1, 2)]
    crowd = _crowd([(one.transcript, asked[place % QUESTIONS]) for place, one in enumerate(first)], seed)
    weighed = MIX[EXPERT.name] * expert + MIX[CLEAR.name] * clear
    # As many ratings, mixed alike: else two draws would beat one by their mean alone.
    plain = MIX[EXPERT.name] * nobody[0] + MIX[CLEAR.name] * nobody[1]
    again = _helpful(held(3, (EXPERT, CLEAR)))[::2]
    return {
        "same": float(np.mean(same)),
        "shift": float(np.mean(np.abs(expert - clear))),
        "again": float(np.mean(np.abs(expert - again))),
        "weighed": float(np.mean(np.abs(weighed - crowd))),
        "nobody": float(np.mean(np.abs(plain - crowd))),
    }


def _crowd(talks: Sequence[tuple[Transcript, Item]], seed: int) -> np.ndarray:
    """Mean helpfulness by people of whom MIX has each kind, each with a noise of its own [talks]."""
    rng = np.random.default_rng(seed)
    people = [name for name, part in MIX.items() for _ in range(round(part * CROWD))]
    liked = np.array([[taste(respects(*talk), name) for name in people] for talk in talks])
    return np.asarray(np.clip(liked + rng.normal(0, NOISE, liked.shape), 1, 5).mean(axis=1))


def _helpful(report: IqaReport) -> np.ndarray:
    return np.array([one.helpfulness for one in report.ratings], float)


def _known(transcript: Transcript, question: Item) -> float:
    """Share of the facts needed that the assistant gave."""
    needs = question.meta.get("needs")
    given = " ".join(transcript.said("assistant")).split().count("fact")
    return min(1.0, given / needs) if isinstance(needs, int) else 0.0


def _clip(value: float) -> float:
    return min(5.0, max(1.0, value))
