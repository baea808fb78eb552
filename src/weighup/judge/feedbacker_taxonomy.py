"""Feedbacker's taxonomy of queries: placing, refining and pruning them, and making new ones of a kind.

Paper: Wang et al. 2025, arXiv 2505.06698. Faithful: a query goes down the tree layer by layer, into the node where it
belongs or a new one; layers are refined (nodes that mean the same become one) and pruned (nodes of few queries are
dissolved); new queries are made by mixing two real ones of a node, and tagged with their quality. Ours: the tree has a
fixed number of layers, so that every query stands in exactly one leaf; what is pruned goes to the node "other" of its
parent; the wording of prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, Field

from weighup.errors import BudgetExceeded, InvalidInput, JobFailed
from weighup.judge.fence import fenced, shown
from weighup.judge.prompt_files import prompt
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Question

log = logging.getLogger(__name__)

Branch = tuple[str, ...]
_T = TypeVar("_T", bound=BaseModel)
OTHER = "other"
LAYERS = 2
_LONGEST_NAME = 80


class Placer(Protocol):
    """Decides where queries go and which kinds are the same."""

    name: str

    def place(self, query: str, path: Branch, children: Sequence[str]) -> str:
        """One of `children`, or the name of a new node beside them."""
        ...

    def same(self, path: Branch, children: Sequence[str]) -> Sequence[Sequence[str]]:
        """`children` in groups that mean the same, the name to keep first in each."""
        ...


@dataclass(slots=True)
class Node:
    """A kind of query. `queries`: ids of those that stand in it, in leaves only."""

    name: str
    children: dict[str, Node] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        """Ids of the queries in it and below."""
        return [*self.queries, *(id for child in self.children.values() for id in child.all())]

    def walk(self, path: Branch = ()) -> Iterator[tuple[Branch, Node]]:
        """Every node below, with its path, parents first."""
        for child in self.children.values():
            here = (*path, child.name)
            yield here, child
            yield from child.walk(here)


class Taxonomy:
    """A tree of kinds of queries, `layers` deep; every query stands in exactly one leaf of the last layer."""

    def __init__(self, placer: Placer | None = None, *, layers: int = LAYERS) -> None:
        if layers < 1:
            raise InvalidInput(f"layers: one or more is needed, not {layers}")
        self.placer, self.layers = placer, layers
        self.root = Node("all")
        self.texts: dict[str, str] = {}

    @classmethod
    def of(cls, paths: Mapping[str, Branch], texts: Mapping[str, str] | None = None) -> Taxonomy:
        """A tree that is known already: id -> path. Raises InvalidInput for none, or paths of different lengths."""
        depths = {len(path) for path in paths.values()}
        if len(depths) != 1 or 0 in depths:
            raise InvalidInput("paths: one or more are needed, all of the same length")
        made = cls(layers=depths.pop())
        for id, path in paths.items():
            node = made.root
            for name in map(_name, path):
                node = node.children.setdefault(name, Node(name))
            node.queries.append(id)
            made.texts[id] = (texts or {}).get(id, "")
        return made

    def insert(self, query: str, id: str) -> Branch:
        """Place a query; the path of its leaf. Raises InvalidInput for an empty query or an id that is there already,
        JobFailed where the placer fails; the tree is then as it was."""
        if id in self.texts:
            raise InvalidInput(f"query {id}: stands in the tree already")
        if not shown(query).strip():
            raise InvalidInput(f"query {id}: is empty")
        placer = self._placer()
        names: list[str] = []
        children: Mapping[str, Node] = self.root.children
        for _ in range(self.layers):
            name = _spelled(_name(placer.place(query, tuple(names), tuple(children))), children)
            names.append(name)
            children = children[name].children if name in children else {}
        node = self.root
        for name in names:
            node = node.children.setdefault(name, Node(name))
        node.queries.append(id)
        self.texts[id] = query
        return tuple(names)

    def refine(self) -> int:
        """Make nodes that mean the same one, layer by layer from the top; how many went. Raises InvalidInput where the
        placer's groups do not hold each node once."""
        placer = self._placer()
        gone = 0
        layer: list[tuple[Branch, Node]] = [((), self.root)]
        for _ in range(self.layers):
            for path, node in layer:
                if len(node.children) > 1:
                    gone += _merge(node, placer.same(path, tuple(node.children)), path)
            layer = [((*path, child.name), child) for path, node in layer for child in node.children.values()]
        return gone

    def prune(self, least: int = 3) -> int:
        """Dissolve nodes of fewer than `least` queries into their parent's "other", from the top; how many went. It may
        hold fewer itself. Raises InvalidInput for a `least` below 1."""
        if least < 1:
            raise InvalidInput(f"least: one query or more, not {least}")
        gone, layer = 0, [self.root]
        for _ in range(self.layers):
            for node in layer:
                small = [one.name for one in node.children.values() if one.name != OTHER and len(one.all()) < least]
                if small and len(node.children) > 1:
                    rest = node.children.setdefault(OTHER, Node(OTHER))
                    for name in small:
                        _pour(node.children.pop(name), rest)
                    gone += len(small)
            layer = [child for node in layer for child in node.children.values()]
        return gone

    def placements(self) -> dict[str, Branch]:
        """The leaf of every query."""
        return {id: path for path, node in self.root.walk() for id in node.queries}

    def _placer(self) -> Placer:
        if self.placer is None:
            raise InvalidInput("taxonomy: needs a placer for this")
        return self.placer


class ModelPlacer:
    """A language model as placer, by the prompts `feedbacker_place` and `feedbacker_refine`."""

    def __init__(self, model: LanguageModel, *, meter: Meter | None = None) -> None:
        self.name = model.name
        self._model, self._meter = model, meter

    def place(self, query: str, path: Branch, children: Sequence[str]) -> str:
        said = self._ask("feedbacker_place", _Place, path, children, query=fenced(query, name="request"))
        if 1 <= said.number <= len(children):
            return children[said.number - 1]
        if said.number == 0 and said.name.strip():
            return said.name
        raise JobFailed(f"taxonomy: {self.name} named no kind for {shown(query)[:60]!r}")

    def same(self, path: Branch, children: Sequence[str]) -> Sequence[Sequence[str]]:
        said = self._ask("feedbacker_refine", _Groups, path, children)
        if sorted(n for group in said.groups for n in group) != list(range(1, len(children) + 1)):
            raise JobFailed(
                f"taxonomy: {self.name} did not put each kind below {' / '.join(path) or 'all'} in one group"
            )
        return [[children[n - 1] for n in group] for group in said.groups if group]

    def _ask(self, name: str, schema: type[_T], path: Branch, children: Sequence[str], **more: str) -> _T:
        file = prompt(name)
        listed = "\n".join(f"{n}. {fenced(child, name='kind')}" for n, child in enumerate(children, 1)) or "(none yet)"
        user = file.fill(path=" / ".join(("all", *path)), children=listed, **more)
        asked = Prompt(user, file.system, file.max_tokens, schema=schema)
        reply = self._model.generate([asked], meter=self._meter)[0]
        if reply.error is not None:
            raise reply.error
        if not isinstance(reply.value, schema):
            raise JobFailed(f"taxonomy: {self.name} gave no usable reply")
        return reply.value


@dataclass(frozen=True, slots=True)
class MadeQuery:
    """A query mixed of two real ones. `quality`: good, usable or poor, with the probability of that tag."""

    text: str
    leaf: Branch
    seeds: tuple[str, str]
    quality: str
    certainty: float


def synthesise(
    model: LanguageModel, taxonomy: Taxonomy, leaf: Branch, n: int, *, seed: int = 0, meter: Meter | None = None
) -> list[MadeQuery]:
    """n new queries of a leaf, each mixed of two of its real ones. Those that the model did not write are left out (and
    logged). Raises InvalidInput for an unknown leaf, one of fewer than two queries, or n < 1."""
    known = [id for id, path in taxonomy.placements().items() if path == leaf]
    if len(known) < 2 or n < 1:
        raise InvalidInput(f"leaf {' / '.join(leaf)}: two real queries and n of 1 are needed, not {len(known)} and {n}")
    rng = np.random.default_rng(seed)
    pairs = [tuple(rng.choice(known, 2, replace=False).tolist()) for _ in range(n)]
    mix, check, kind = prompt("feedbacker_mix"), prompt("feedbacker_quality"), " / ".join(leaf)
    asked = []
    for turn, (a, b) in enumerate(pairs):
        first, second = (fenced(taxonomy.texts[id], name=f"request_{k}") for k, id in ((1, a), (2, b)))
        user = mix.fill(kind=kind, first=first, second=second)
        asked.append(Prompt(user, mix.system, mix.max_tokens, temperature=1.0, schema=_Mixed, seed=seed + turn))
    replies = model.generate(asked, meter=meter)
    for reply in replies:
        if isinstance(reply.error, BudgetExceeded):
            raise reply.error
    written = [
        (pair, one.value.query) for pair, one in zip(pairs, replies, strict=True) if isinstance(one.value, _Mixed)
    ]
    if len(written) < n:
        log.warning("leaf %s: %d of %d queries were not written", kind, n - len(written), n)
    questions = [
        Question(check.fill(query=fenced(text, name="request"), kind=kind), check.answers, check.system)
        for _, text in written
    ]
    found = []
    for ((a, b), text), choice in zip(written, model.choose(questions, meter=meter), strict=True):
        if choice.error is not None:
            raise choice.error
        best = int(np.argmax(choice.probabilities))
        found.append(MadeQuery(text, leaf, (a, b), check.answers[best], float(choice.probabilities[best])))
    return found


class _Place(BaseModel):
    number: int = Field(ge=0)
    name: str = Field("", max_length=200)


class _Groups(BaseModel):
    groups: list[list[Annotated[int, Field(ge=1)]]]


class _Mixed(BaseModel):
    query: str = Field(min_length=1, max_length=20_000)


def _name(name: str) -> str:
    found = " ".join(shown(name).split())[:_LONGEST_NAME]
    if not found:
        raise JobFailed("taxonomy: a node's name is empty")
    return found


def _spelled(name: str, children: Mapping[str, Node]) -> str:
    """The name as a child has it already, letter case aside."""
    return next((one for one in children if one.casefold() == name.casefold()), name)


def _merge(node: Node, groups: Sequence[Sequence[str]], path: Branch) -> int:
    named = [name for group in groups for name in group]
    if sorted(named) != sorted(node.children):
        raise InvalidInput(f"taxonomy: the groups below {' / '.join(path) or 'all'} are not each of its nodes once")
    for first, *others in (group for group in groups if group):
        for name in others:
            _pour(node.children.pop(name), node.children[first])
    return len(named) - len(node.children)


def _pour(source: Node, into: Node) -> None:
    """Queries and children of one node into another, children of the same name into each other."""
    into.queries += source.queries
    for child in source.children.values():
        if child.name in into.children:
            _pour(child, into.children[child.name])
        else:
            into.children[child.name] = child
