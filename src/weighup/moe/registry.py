"""Routers by name: how each becomes a layer of a model of given sizes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from weighup.errors import InvalidInput

if TYPE_CHECKING:
    from weighup.moe.layer import MoELayer
    from weighup.moe.tiny import TinyConfig

# Each names a function (config, layer, shared) -> MoELayer in its method's file; `shared` is one dict a model, for
# what the layers' routers have in common.
ROUTERS = {
    "topk": "weighup.moe.routers.topk:layer",
    "topp": "weighup.moe.routers.topp:layer",
    "deepseek": "weighup.moe.routers.deepseek:layer",
    "rmoe": "weighup.moe.routers.rmoe:layer",
    "coe": "weighup.moe.routers.coe:layer",
    "similarity": "weighup.moe.routers.graph_of_tokens:similarity_layer",
    "attention": "weighup.moe.routers.graph_of_tokens:attention_layer",
    "smoe_dropout": "weighup.moe.routers.smoe_dropout:layer",
    "uoe": "weighup.moe.routers.uoe:layer",
    "comet": "weighup.moe.routers.comet:layer",
    "hash": "weighup.moe.routers.baselines:hash_layer",
    "dselect_k": "weighup.moe.routers.baselines:dselect_k_layer",
}


def make_layer(config: TinyConfig, layer: int, shared: dict[str, Any]) -> MoELayer:
    """The layer of the router that a config names. Raises InvalidInput for a name or an option that is not known."""
    if config.router not in ROUTERS:
        raise InvalidInput(f"router: {config.router!r} is not known; there are {', '.join(ROUTERS)}")
    module, _, name = ROUTERS[config.router].partition(":")
    make: Callable[..., MoELayer] = getattr(importlib.import_module(module), name)
    try:
        return make(config, layer, shared, **config.options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise InvalidInput(f"router {config.router}: {error}") from error
