"""Which experts inside the model should fire: routers, control while a model is used, compression, on our layers and
on Hugging Face's. Needs `weighup[train]`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighup.moe.calibration import Calibration as Calibration
    from weighup.moe.calibration import calibrate as calibrate
    from weighup.moe.cost import CostModel as CostModel
    from weighup.moe.cost import cost as cost
    from weighup.moe.experts import Experts as Experts
    from weighup.moe.layer import MoELayer as MoELayer
    from weighup.moe.policy import Policy as Policy
    from weighup.moe.tiny import TinyConfig as TinyConfig
    from weighup.moe.tiny import TinyMoELM as TinyMoELM
    from weighup.moe.trace import RoutingTrace as RoutingTrace
    from weighup.moe.trace import tracing as tracing
    from weighup.moe.types import Router as Router
    from weighup.moe.types import Routing as Routing

_WHERE = {
    "Calibration": "calibration",
    "calibrate": "calibration",
    "CostModel": "cost",
    "cost": "cost",
    "Experts": "experts",
    "MoELayer": "layer",
    "Policy": "policy",
    "TinyConfig": "tiny",
    "TinyMoELM": "tiny",
    "RoutingTrace": "trace",
    "tracing": "trace",
    "Router": "types",
    "Routing": "types",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"weighup.moe.{_WHERE[name]}")
    except ImportError as error:
        from weighup.errors import JobFailed

        if (error.name or "").partition(".")[0] == "weighup":
            raise
        raise JobFailed(f"weighup.moe needs {error.name}; it comes with pip install 'weighup[train]'") from error
    return getattr(module, name)
