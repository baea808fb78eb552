"""What is judged and what comes of it: items, rubrics, judgements. Frozen, hashable by id, JSON both ways.

An item knows how it is shown: `order` (its two responses as given, or swapped) and `sample` (which of several draws is
asked for). A judge answers in the item's own numbering, whatever the order: `answered` maps a verdict back. A verdict
that could not be had is None with a status, never a tie.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from weighup.errors import InvalidInput
from weighup.models.metering import Usage

Winner = Literal["1", "2", "tie"]
Kind = Literal["pair", "score", "rank", "checklist"]
Order = Literal["given", "swapped"]
Status = Literal["ok", "invalid", "refused", "abstained", "waiting"]
OTHER: dict[str, Winner] = {"1": "2", "2": "1", "tie": "tie"}


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Response(_Frozen):
    """What a system answered. `sources`: what it cites, in its own numbering."""

    text: str
    system: str = ""
    sources: tuple[str, ...] = ()


class Item(_Frozen):
    """One thing to judge. `responses` in the item's own numbering, from 1; `order`: how the two of a pair are shown."""

    id: str = Field(min_length=1)
    prompt: str
    responses: tuple[Response, ...] = Field(min_length=1)
    reference: str | None = None
    context: str | None = None
    persona: str | None = None
    category: str | None = None
    meta: Mapping[str, JsonValue] = Field(default_factory=dict)
    order: Order = "given"
    sample: int = Field(0, ge=0)

    @classmethod
    def pair(cls, id: str, prompt: str, first: str, second: str, **more: Any) -> Item:
        """An item of two responses."""
        return cls(id=id, prompt=prompt, responses=(Response(text=first), Response(text=second)), **more)

    def swapped(self) -> Item:
        """The same item, its two responses to be shown the other way round. Raises InvalidInput unless it has two."""
        two(self)
        return self.model_copy(update={"order": "given" if self.order == "swapped" else "swapped"})

    def drawn(self, sample: int) -> Item:
        """The same item, for another draw of the judge's chance."""
        return self.model_copy(update={"sample": sample})

    def shown(self) -> tuple[Response, ...]:
        """The responses in the order in which a judge sees them."""
        return self.responses[::-1] if self.order == "swapped" else self.responses

    def pairs(self) -> tuple[Item, ...]:
        """An item for every two of the responses; its id tells which, as `id#1-3`."""
        every = itertools.combinations(range(len(self.responses)), 2)
        return tuple(
            self.model_copy(
                update={"id": f"{self.id}#{i + 1}-{j + 1}", "responses": (self.responses[i], self.responses[j])}
            )
            for i, j in every
        )

    def __hash__(self) -> int:
        return hash((self.id, self.order, self.sample))


class Criterion(_Frozen):
    """One thing to look at. `scale`: least and greatest score; `anchors`: what a score means. `critical`: failing it
    fails the whole; `sequential`: its children count only up to the first that fails."""

    id: str = Field(min_length=1)
    text: str
    weight: float = Field(1.0, ge=0)
    scale: tuple[float, float] = (0.0, 1.0)
    anchors: Mapping[str, str] = Field(default_factory=dict)
    critical: bool = False
    sequential: bool = False
    children: tuple[Criterion, ...] = ()

    @model_validator(mode="after")
    def _has_a_scale(self) -> Criterion:
        if not self.scale[0] < self.scale[1]:
            raise ValueError(f"criterion {self.id}: the scale {self.scale} does not rise")
        return self

    def leaves(self) -> tuple[Criterion, ...]:
        """The criteria that are scored: those without children, in order."""
        if not self.children:
            return (self,)
        return tuple(leaf for child in self.children for leaf in child.leaves())

    def __hash__(self) -> int:
        return hash((self.id, self.text))


class Rubric(_Frozen):
    """What to look at, as a tree; a plain list is a tree of depth 1."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)
    name: str = ""

    @model_validator(mode="after")
    def _has_names(self) -> Rubric:
        ids = [one.id for one in self._every()]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"rubric: criterion ids must differ; there twice: {', '.join(twice)}")
        if not any(leaf.weight > 0 for leaf in self.leaves()):
            raise ValueError("rubric: all weights are 0")
        return self

    @classmethod
    def of(cls, *texts: str, name: str = "", scale: tuple[float, float] = (0.0, 1.0)) -> Rubric:
        """A flat rubric of these texts, named c1, c2, …"""
        return cls(
            criteria=tuple(Criterion(id=f"c{n}", text=text, scale=scale) for n, text in enumerate(texts, 1)), name=name
        )

    def leaves(self) -> tuple[Criterion, ...]:
        """The criteria that are scored, in order."""
        return tuple(leaf for one in self.criteria for leaf in one.leaves())

    def _every(self) -> list[Criterion]:
        found, open_ = [], list(self.criteria)
        while open_:
            one = open_.pop()
            found.append(one)
            open_ += one.children
        return found


class Spent(_Frozen):
    """What a judgement cost: model calls, tokens read and written, seconds, US dollars."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    usd: float = 0.0

    @classmethod
    def of(cls, usage: Usage) -> Spent:
        """A model's usage."""
        return cls(**{name: getattr(usage, name) for name in cls.model_fields})

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in Spent.model_fields})


class Judgement(_Frozen):
    """What a judge said of an item, in the item's own numbering.

    `winner` for pairs; `scores` one number a response, None where there is none; `ranking` response numbers from 1,
    best first; `checks` what each leaf of the rubric got, in [0, 1]; `certainty` in [0, 1], as the judge told it;
    `prompts` name and hash of the prompt files used.
    """

    item_id: str
    judge: str
    kind: Kind = "pair"
    winner: Winner | None = None
    scores: tuple[float | None, ...] | None = None
    ranking: tuple[int, ...] | None = None
    checks: Mapping[str, float | None] = Field(default_factory=dict)
    certainty: float | None = Field(None, ge=0, le=1)
    rationale: str = ""
    order: Order = "given"
    sample: int = Field(0, ge=0)
    status: Status = "ok"
    usage: Spent = Spent()
    prompts: Mapping[str, str] = Field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether it says anything."""
        return self.status == "ok"

    def line(self) -> str:
        """As one line of JSON, without what stands at its default."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)

    def __hash__(self) -> int:
        return hash((self.item_id, self.judge, self.order, self.sample))


@runtime_checkable
class Judge(Protocol):
    """Judges items: one judgement each, in order. What it cannot judge has a status that says so."""

    name: str

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]: ...


def two(item: Item) -> tuple[Response, Response]:
    """The two responses of a pair, as given. Raises InvalidInput naming the item for another number of them."""
    if len(item.responses) != 2:
        raise InvalidInput(f"item {item.id}: has {len(item.responses)} responses where a pair is needed")
    return item.responses[0], item.responses[1]


def answered(item: Item, judge: str, **said: Any) -> Judgement:
    """A judgement of `item` from what was said of it *as shown*: winner, scores and ranking are mapped back."""
    if item.order == "swapped":
        if said.get("winner") is not None:
            said["winner"] = OTHER[said["winner"]]
        if said.get("scores") is not None:
            said["scores"] = tuple(said["scores"])[::-1]
        if said.get("ranking") is not None:
            said["ranking"] = tuple(len(item.responses) + 1 - one for one in said["ranking"])
    return Judgement(item_id=item.id, judge=judge, order=item.order, sample=item.sample, **said)


def by_scores(scores: Sequence[float], *, within: float = 1e-9) -> Winner:
    """Who wins by two scores: the larger; a tie where they differ by at most `within`."""
    first, second = scores
    if math.isclose(first, second, rel_tol=0, abs_tol=within):
        return "tie"
    return "1" if first > second else "2"


def unique(items: Sequence[Item]) -> None:
    """Raises InvalidInput naming an item that stands twice, or if there is none."""
    if not items:
        raise InvalidInput("items: there are none")
    seen: set[tuple[str, str, int]] = set()
    for one in items:
        key = (one.id, one.order, one.sample)
        if key in seen:
            raise InvalidInput(f"item {one.id}: stands there twice")
        seen.add(key)
