"""Who can write, score and embed text for us: `LanguageModel`, `Encoder`, `Usage`.

`language_model(settings)` and `encoder(settings)` open what the settings name; nothing heavy loads before first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighup.models.metering import Budget as Budget
    from weighup.models.metering import Meter as Meter
    from weighup.models.metering import Usage as Usage
    from weighup.models.open import encoder as encoder
    from weighup.models.open import language_model as language_model
    from weighup.models.types import Choice as Choice
    from weighup.models.types import Encoder as Encoder
    from weighup.models.types import LanguageModel as LanguageModel
    from weighup.models.types import Prompt as Prompt
    from weighup.models.types import Question as Question
    from weighup.models.types import Reply as Reply
    from weighup.models.types import TokenStates as TokenStates

_HOMES = {
    "Budget": "weighup.models.metering",
    "Choice": "weighup.models.types",
    "Encoder": "weighup.models.types",
    "LanguageModel": "weighup.models.types",
    "Meter": "weighup.models.metering",
    "Prompt": "weighup.models.types",
    "Question": "weighup.models.types",
    "Reply": "weighup.models.types",
    "TokenStates": "weighup.models.types",
    "Usage": "weighup.models.metering",
    "encoder": "weighup.models.open",
    "language_model": "weighup.models.open",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weighup.models' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
