"""Weigh up what can be trusted. Start with `from weighup import Verifier; Verifier().check(["…"])`."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# From version 1.29 on, onnxruntime's Linux wheels start an uploader to a vendor's server when imported, unless this is
# set before. Nobody has agreed to that here; and its thread keeps a forked child from ending.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from weighup.errors import WeighupError as WeighupError
    from weighup.retrieve.store import EvidenceStore as EvidenceStore
    from weighup.retrieve.types import Document as Document
    from weighup.settings import Settings as Settings
    from weighup.settings import load_settings as load_settings
    from weighup.verify.contract import Verdict as Verdict
    from weighup.verify.types import Claim as Claim
    from weighup.verify.verifier import Verifier as Verifier

# Names are imported when first used: `import weighup` costs milliseconds, not the models' libraries.
_HOMES = {
    "Claim": "weighup.verify.types",
    "Document": "weighup.retrieve.types",
    "EvidenceStore": "weighup.retrieve.store",
    "Settings": "weighup.settings",
    "Verdict": "weighup.verify.contract",
    "Verifier": "weighup.verify.verifier",
    "WeighupError": "weighup.errors",
    "load_settings": "weighup.settings",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weighup' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
