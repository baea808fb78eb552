"""A specified architecture as a torch module: tokens [T, width] in, class scores [T, classes] out.

Kinds: `dense` (units, activation: relu, gelu or silu), `moe` (n_experts, k, hidden; top-k softmax as everywhere here),
`norm` (layer norm), `dropout` (p), `residual` (around others; a linear map where widths differ). Widths follow from
layer to layer, and a linear map to the classes ends it (DeepArchitect, arXiv 1704.08792).
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.routers.topk import TopK
from weighup.moe.search.space import Architecture, Node

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Built(nn.Module):
    """The compiled architecture. `aux_loss`: what its routers add to the loss, of the last call."""

    def __init__(self, body: nn.Sequential, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Tensor:
        """x [T, width] -> [T, classes]."""
        return self.head(self.body(x))

    @property
    def aux_loss(self) -> Tensor:
        """A scalar."""
        found = [one.aux_loss for one in self.modules() if isinstance(one, _Mixture) and one.aux_loss is not None]
        return torch.stack(found).sum() if found else self.head.weight.new_zeros(())


class _Mixture(nn.Module):
    """A mixture of experts as one layer among others: it keeps its routers' loss aside."""

    def __init__(self, layer: MoELayer) -> None:
        super().__init__()
        self.layer = layer
        self.aux_loss: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y, routing = self.layer(x)
        self.aux_loss = routing.aux_loss
        return y


class _Residual(nn.Module):
    def __init__(self, inner: nn.Module, width: int, out: int) -> None:
        super().__init__()
        self.inner = inner
        self.skip = nn.Identity() if width == out else nn.Linear(width, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.inner(x)


def build(architecture: Architecture, width: int, classes: int, *, seed: int) -> Built:
    """Compile for inputs of a width. Weights are drawn from `seed`; torch's own random state is left as it was.

    Raises InvalidInput for a kind that is not known, a missing or wrong hyper-parameter, or k above the experts.
    """
    if width < 1 or classes < 2:
        raise InvalidInput(f"build: a width of 1 or more and two classes are needed, not {width} and {classes}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body, out = _sequence(architecture.layers, width)
        return Built(body, nn.Linear(out, classes))


def _sequence(nodes: Sequence[Node], width: int) -> tuple[nn.Sequential, int]:
    found: list[nn.Module] = []
    for node in nodes:
        module, width = _one(node, width)
        found.append(module)
    return nn.Sequential(*found), width


def _one(node: Node, width: int) -> tuple[nn.Module, int]:
    """The module and its output's width."""
    values = dict(node.values)
    try:
        if node.kind == "dense":
            units = values["units"]
            return nn.Sequential(nn.Linear(width, units), _ACTIVATIONS[values.get("activation", "relu")]()), units
        if node.kind == "moe":
            router = TopK(width, values["n_experts"], values["k"])
            return _Mixture(
                MoELayer(Experts(values["n_experts"], width, values["hidden"]), router, strategy="dense")
            ), width
        if node.kind == "norm":
            return nn.LayerNorm(width), width
        if node.kind == "dropout":
            return nn.Dropout(values["p"]), width
        if node.kind == "residual":
            inner, out = _sequence(node.inside, width)
            return _Residual(inner, width, out), out
    except (KeyError, ValueError) as error:
        raise InvalidInput(f"build: {node.token()} has a missing or wrong hyper-parameter: {error}") from error
    raise InvalidInput(f"build: a layer of kind {node.kind!r}; known are dense, moe, norm, dropout and residual")
