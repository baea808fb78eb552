"""Libraries that measuring and judging need and checking news does not: imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

from weighup.errors import JobFailed


def need(module: str) -> Any:
    """The module, for example "scipy.stats". Raises JobFailed saying what to install where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = module.partition(".")[0]
        raise JobFailed(f"{missing} is not installed; it comes with pip install 'weighup[judge]'") from error
