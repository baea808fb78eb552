"""The claim check of PREFDISCO: scripted assistants whose way of asking is known.

A response says which value it has of which attribute ("[tone=formal]"); the judge gives 5 for the preferred value, 3
where nothing is said and 1 for another, with noise. So nothing here tells how well a language model grades; it tells
whether the modes, the alignment and its normalisation put assistants in the order in which they serve their users.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

from weighup.claims import ClaimResult, compare
from weighup.judge.prefdisco import PrefReport, prefdisco
from weighup.judge.prefdisco_players import SCALE, Attribute, ScriptedAssistant, Told, make_personas
from weighup.judge.types import Criterion, Item, Judgement, Response, Rubric, answered

ATTRIBUTES, VALUES, RELEVANT = 12, 3, 8
ITEMS, PERSONAS, SPARSITY = 20, 10, 0.5
NOISE = 0.5  # of one grade, in points
MARGIN = 10.0  # points of the normalised alignment
_MARK = re.compile(r"\[(\w+)=(\w+)\]")
_TOLD = re.compile(r"As to (\w+): (\w+)\.")


class MarkJudge:
    """Grades a response for one attribute by the marks in it, with noise N(0, NOISE), cut to the scale."""

    def __init__(self, *, seed: int) -> None:
        self.name = "mark judge"
        self._seed = seed

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        id = rubric.leaves()[0].id if rubric is not None else ""
        return [answered(item, self.name, kind="score", scores=(self._grade(item, id),)) for item in items]

    def _grade(self, item: Item, id: str) -> float:
        has = dict(_MARK.findall(item.responses[0].text)).get(id)
        wanted = (item.persona or "").rpartition(" ")[2]
        grade = 3.0 if has is None else 5.0 if has == wanted else 1.0
        noise = random.Random(f"{self._seed} {item.id}").gauss(0, NOISE)
        return min(SCALE[1], max(SCALE[0], grade + noise))


def attributes() -> list[Attribute]:
    """Twelve attributes of three values."""
    return [
        Attribute(
            id=f"attribute{i}",
            text=f"attribute{i}",
            values=tuple(f"value{i}{letter}" for letter in "abc"[:VALUES]),
            rubric=Criterion(id=f"attribute{i}", text=f"It has the preferred attribute{i}.", scale=SCALE),
        )
        for i in range(ATTRIBUTES)
    ]


def tasks(*, seed: int) -> list[Item]:
    """Tasks to each of which eight attributes matter."""
    chance = random.Random(f"tasks {seed}")
    ids = [one.id for one in attributes()]
    return [
        Item(
            id=f"t{i}",
            prompt=f"Task {i}",
            responses=(Response(text=""),),
            meta={"attributes": chance.sample(ids, RELEVANT)},
        )
        for i in range(ITEMS)
    ]


def assistants(*, seed: int) -> list[ScriptedAssistant]:
    """One that asks about what matters to the task, one about what does not, one that asks nothing, and one that asks
    nothing and guesses."""

    def right(item: Item) -> list[str]:
        return [f"What {id} would you like?" for id in _matters(item)]

    def wrong(item: Item) -> list[str]:
        return [f"What {one.id} would you like?" for one in attributes() if one.id not in _matters(item)]

    def as_told(told: Told) -> str:
        if told.preferences is not None:
            return _marked({id: liked.value for id, liked in told.preferences.items()})
        said = told.transcript.said("user") if told.transcript is not None else ()
        return _marked({id: value for text in said for id, value in _TOLD.findall(text)})

    def guessing(told: Told) -> str:
        if told.transcript is None:
            return as_told(told)
        chance = random.Random(f"{seed} {told.transcript.id}")
        values = {one.id: one.values for one in attributes()}
        return _marked({id: chance.choice(values[id]) for id in _matters(told.item)})

    return [
        ScriptedAssistant("asks right", right, as_told),
        ScriptedAssistant("asks wrong", wrong, as_told),
        ScriptedAssistant("never asks", lambda item: [], as_told),
        ScriptedAssistant("guesses", lambda item: [], guessing),
    ]


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Are assistants put in the order in which they serve users? `data` is not needed."""
    by_seed = [_measured(seed) for seed in seeds]
    found = {name: [one[name].normalised.value for one in by_seed] for name in by_seed[0]}
    below = [one["guesses"].below.value for one in by_seed]
    told = f"scripted assistants, {ITEMS} tasks × {PERSONAS} personas a seed"

    def above(claim: str, values: list[float], baseline: str, against: list[float]) -> ClaimResult:
        return compare(
            claim,
            metric="normalised preference alignment",
            values=values,
            baseline=f"{baseline} + {MARGIN:g} points",
            baseline_values=[one + MARGIN for one in against],
            seeds=seeds,
            n=ITEMS * PERSONAS,
            data=told,
        )

    return [
        above("being told all beats asking what matters", [100.0] * len(seeds), "asks right", found["asks right"]),
        above("asking what matters beats never asking", found["asks right"], "never asks", found["never asks"]),
        above("asking what matters beats asking what does not", found["asks right"], "asks wrong", found["asks wrong"]),
        above("never asking beats guessing", found["never asks"], "guesses", found["guesses"]),
        compare(
            "guessing is worse than the generic response in a quarter of instances",
            metric="share of instances below baseline",
            values=below,
            baseline="0.25",
            baseline_values=[0.25] * len(seeds),
            seeds=seeds,
            n=ITEMS * PERSONAS,
            data=told,
        ),
    ]


def _measured(seed: int) -> dict[str, PrefReport]:
    personas = make_personas(attributes(), PERSONAS, SPARSITY, seed)
    items, judge = tasks(seed=seed), MarkJudge(seed=seed)
    return {one.name: prefdisco(one, items, personas, attributes(), judge, seed=seed) for one in assistants(seed=seed)}


def _matters(item: Item) -> list[str]:
    told = item.meta["attributes"]
    return [str(one) for one in told] if isinstance(told, list | tuple) else []


def _marked(values: dict[str, str]) -> str:
    return " ".join(["A response.", *(f"[{id}={value}]" for id, value in values.items())])
