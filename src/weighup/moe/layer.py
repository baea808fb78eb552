"""One mixture-of-experts layer: a router, its experts, and experts that are always on."""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts, Strategy
from weighup.moe.types import Context, Router, Routing


class MoELayer(nn.Module):
    """`y = Σ_e w_e E_e(x) + shared(x)`, with the weights and the choice of the router.

    `shared`: any module [T, d] -> [T, d], added for every token. `strategy`: how tokens get to their experts.
    """

    def __init__(
        self, experts: Experts, router: Router, shared: nn.Module | None = None, *, strategy: Strategy = "auto"
    ) -> None:
        """Raises InvalidInput where router and experts do not fit."""
        super().__init__()
        if router.n_experts != experts.n or router.width != experts.width:
            raise InvalidInput(
                f"layer: the router chooses among {router.n_experts} experts of width {router.width}, there are "
                f"{experts.n} of width {experts.width}"
            )
        self.experts, self.router, self.shared, self.strategy = experts, router, shared, strategy

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Routing]:
        """x [T, d], or [batch, length, d] -> the same shape, and what was chosen for the T tokens."""
        flat = x.reshape(-1, x.shape[-1])
        if context is None:
            context = Context(*x.shape[:2]) if x.dim() == 3 else Context(1, len(flat))
        routing = self.router(flat, context)
        y = self.experts(flat, routing, self.strategy)
        if self.shared is not None:
            y = y + self.shared(flat)
        return y.view(x.shape), routing
