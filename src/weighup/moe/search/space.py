"""A small language for spaces of architectures: a module is either one layer or made from other modules.

DeepArchitect (Negrinho and Gordon 2017, arXiv 1704.08792). A space is a tree: what is to be decided
next follows from what was decided before, so a choice that was not taken brings no hyper-parameters with it. Modules
are values: they are never changed, a partly specified architecture is the space and the indices chosen so far (`Path`).

Beside the paper's names: `Sequence` (Concat), `Choice` (Or), `Repeat`, `Optional`, `Residual`, `Hyperparameter`,
`Layer` (a basic module) and `Settings` (UserHyperparams: of the training, no layer).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from weighup.errors import InvalidInput

Path = tuple[int, ...]
"""Indices chosen so far, in the order in which the space asks."""


@dataclass(frozen=True)
class Hyperparameter:
    """Values to choose from. `ordered`: neighbours are alike (widths, rates), so that values can be bisected."""

    values: tuple[Any, ...]
    ordered: bool = True

    def __post_init__(self) -> None:
        if not self.values:
            raise InvalidInput("search space: a hyper-parameter has no values to choose from")
        if len(set(map(repr, self.values))) < len(self.values):
            raise InvalidInput(f"search space: the values {list(self.values)} are not all different")


@dataclass(frozen=True)
class Decision:
    """What the space asks next: `name`, `size` (2 or more options), and whether their order means something."""

    name: str
    size: int
    ordered: bool


@dataclass(frozen=True)
class Node:
    """A specified module: its kind, its hyper-parameters, and for `residual` what it is around."""

    kind: str
    values: tuple[tuple[str, Any], ...] = ()
    inside: tuple[Node, ...] = ()

    def token(self) -> str:
        """Short text of kind and values: the same for equal modules."""
        told = ",".join(f"{name}={value}" for name, value in self.values)
        return f"{self.kind}({told})" if told else self.kind

    def tokens(self) -> tuple[str, ...]:
        """This and what is inside, in order."""
        return (self.token(), *(token for node in self.inside for token in node.tokens()))


Asking = Generator[Decision, int, tuple[Node, ...]]


class Module(Protocol):
    """Anything that can be specified: it asks its decisions one after the other and gives what was specified."""

    def ask(self) -> Asking:
        """Yields decisions, is sent indices, returns nodes."""


@dataclass(frozen=True)
class Layer:
    """A basic module: a kind of layer (`search.build`) and its hyper-parameters, fixed ones or to be chosen."""

    kind: str
    values: tuple[tuple[str, Any], ...] = ()

    def ask(self) -> Asking:
        """One decision for every hyper-parameter, in order."""
        found = []
        for name, value in self.values:
            chosen = value
            if isinstance(value, Hyperparameter):
                index = yield from _asked(f"{self.kind}.{name}", len(value.values), value.ordered)
                chosen = value.values[index]
            found.append((name, chosen))
        return (Node(self.kind, tuple(found)),)


def layer(kind: str, /, **values: Any) -> Layer:
    """`layer("moe", n_experts=Hyperparameter((2, 4, 8)), k=1)`."""
    return Layer(kind, tuple(values.items()))


def settings(**values: Any) -> Layer:
    """Hyper-parameters of the training: they make no layer, the evaluator reads them (`Architecture.settings`)."""
    return layer("settings", **values)


@dataclass(frozen=True)
class Sequence:
    """Modules one after the other."""

    modules: tuple[Module, ...]

    def ask(self) -> Asking:
        """The decisions of each module in turn."""
        found: tuple[Node, ...] = ()
        for module in self.modules:
            found += yield from module.ask()
        return found


@dataclass(frozen=True)
class Choice:
    """One of several modules."""

    modules: tuple[Module, ...]
    name: str = "choice"

    def __post_init__(self) -> None:
        if not self.modules:
            raise InvalidInput(f"search space: {self.name} has no modules to choose from")

    def ask(self) -> Asking:
        """Which, then the decisions of that one."""
        index = yield from _asked(self.name, len(self.modules), False)
        return (yield from self.modules[index].ask())


@dataclass(frozen=True)
class Optional:
    """A module or nothing."""

    module: Module
    name: str = "optional"

    def ask(self) -> Asking:
        """0 leaves it out, 1 puts it in."""
        taken = yield from _asked(self.name, 2, False)
        return (yield from self.module.ask()) if taken else ()


@dataclass(frozen=True)
class Repeat:
    """A module several times over. `tied`: all copies are specified alike, asked once; else each on its own."""

    module: Module
    times: tuple[int, ...]
    tied: bool = False
    name: str = "repeat"

    def __post_init__(self) -> None:
        if not self.times or min(self.times) < 0 or len(set(self.times)) < len(self.times):
            raise InvalidInput(f"search space: {self.name} needs different counts of 0 or more, not {list(self.times)}")

    def ask(self) -> Asking:
        """How often, then the copies' decisions."""
        index = yield from _asked(self.name, len(self.times), list(self.times) == sorted(self.times))
        times = self.times[index]
        if self.tied and times:
            return (yield from self.module.ask()) * times
        found: tuple[Node, ...] = ()
        for _ in range(times):
            found += yield from self.module.ask()
        return found


@dataclass(frozen=True)
class Residual:
    """x + module(x)."""

    module: Module

    def ask(self) -> Asking:
        """The module's decisions."""
        inside = yield from self.module.ask()
        return (Node("residual", inside=inside),)


def _asked(name: str, size: int, ordered: bool) -> Generator[Decision, int, int]:
    """An index. What has one option only is not asked."""
    if size == 1:
        return 0
    index = yield Decision(name, size, ordered)
    if not 0 <= index < size:
        raise InvalidInput(f"search space: {name} has options 0 to {size - 1}, not {index}")
    return index


@dataclass(frozen=True)
class Architecture:
    """A specified space: layers in order, and the settings of the training."""

    layers: tuple[Node, ...]
    settings: Mapping[str, Any]

    def tokens(self) -> tuple[str, ...]:
        """One short text for each module; equal for equal architectures."""
        told = tuple(f"set:{name}={value}" for name, value in self.settings.items())
        return (*told, *(token for node in self.layers for token in node.tokens()))

    def __str__(self) -> str:
        return " ".join(self.tokens())


def follow(space: Module, path: Path) -> Decision | Architecture:
    """What comes after these choices: the next decision, or the architecture when nothing is left to decide.

    Raises InvalidInput for an index that is not there or more choices than the space asks for.
    """
    asking = space.ask()
    try:
        decision = next(asking)
        for index in path:
            decision = asking.send(index)
    except StopIteration as ended:
        return _finished(ended.value, space, path)
    return decision


def specified(space: Module, path: Path) -> Architecture:
    """The architecture of a complete path. Raises InvalidInput for an incomplete one."""
    found = follow(space, path)
    if isinstance(found, Decision):
        raise InvalidInput(f"search space: after the choices {list(path)}, {found.name} is still to be decided")
    return found


def count(space: Module) -> int:
    """How many complete paths there are (all are walked: for small spaces)."""
    return sum(1 for _ in paths(space))


def paths(space: Module, path: Path = ()) -> Generator[Path, None, None]:
    """Every complete path, in order."""
    found = follow(space, path)
    if isinstance(found, Architecture):
        yield path
        return
    for index in range(found.size):
        yield from paths(space, (*path, index))


def _finished(nodes: tuple[Node, ...], space: Module, path: Path) -> Architecture:
    asked = _length(space, path)
    if asked < len(path):
        raise InvalidInput(f"search space: it asks for {asked} choices here, {len(path)} were given: {list(path)}")
    told = {name: value for node in nodes if node.kind == "settings" for name, value in node.values}
    return Architecture(tuple(node for node in nodes if node.kind != "settings"), told)


def _length(space: Module, path: Path) -> int:
    """How many of the path's choices the space takes before it is specified."""
    asking, taken = space.ask(), 0
    try:
        next(asking)
        for index in path:
            taken += 1
            asking.send(index)
    except StopIteration:
        return taken
    return taken
