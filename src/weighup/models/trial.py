"""Try the models in use: load them, do a little work, say how quickly."""

from __future__ import annotations

import time
from typing import Any

from weighup.errors import InvalidInput
from weighup.models.catalogue import asset
from weighup.models.open import encoder, language_model
from weighup.models.pull import verify
from weighup.models.types import LanguageModel, Prompt
from weighup.settings import Settings, load_settings

_TEXTS = tuple(
    f"Sentence {n}: the minister denied on Monday that the ministry had bought the building." for n in range(64)
)


def trials(name: str | None = None, settings: Settings | None = None) -> list[dict[str, Any]]:
    """One row per model tried: model, load seconds, what it did, rate per second, and its answer's start.

    `name`: `language`, `encoder`, a catalogue name, or None for both models in use. The request cache is not used.
    Raises ModelMissing, ModelUnavailable, or InvalidInput for an unknown name.
    """
    settings = settings or load_settings()
    models = settings.models.model_copy(update={"cache": False})
    if name == "smollm2":
        models = models.model_copy(update={"language": "embedded"})
    elif name == "minilm":
        models = models.model_copy(update={"encoder": "embedded"})
    elif name not in (None, "language", "encoder"):
        known = asset(name)
        verify(known)
        return [_row(name, 0.0, "its file was checked", 0.0, "sha256 is right")]
    settings = settings.model_copy(update={"models": models})
    rows = []
    if name in (None, "language", "smollm2"):
        model = language_model(settings)
        if model is not None:
            rows.append(_language(model))
        elif name is not None:
            raise InvalidInput("setting models.language is none: there is no language model to try")
    if name in (None, "encoder", "minilm"):
        rows.append(_encoder(settings))
    return rows


def _language(model: LanguageModel) -> dict[str, Any]:
    started = time.perf_counter()
    first = model.generate([Prompt("Hi", max_tokens=1)])[0]
    loaded = time.perf_counter() - started
    reply = first if first.error else model.generate([Prompt("Say what a newspaper is.", max_tokens=48)])[0]
    if reply.error is not None:
        raise reply.error
    rate = reply.usage.tokens_out / max(reply.usage.seconds, 1e-9)
    return _row(model.name, loaded, f"wrote {reply.usage.tokens_out} tokens", rate, reply.text[:60])


def _encoder(settings: Settings) -> dict[str, Any]:
    started = time.perf_counter()
    model = encoder(settings)
    model.encode(["Hi"])
    loaded = time.perf_counter() - started
    started = time.perf_counter()
    vectors = model.encode(_TEXTS)
    rate = len(_TEXTS) / (time.perf_counter() - started)
    return _row(model.name, loaded, f"embedded {len(_TEXTS)} sentences", rate, f"{vectors.shape[1]} dimensions")


def _row(model: str, load: float, did: str, rate: float, result: str) -> dict[str, Any]:
    return {
        "model": model,
        "load_seconds": round(load, 3),
        "did": did,
        "per_second": round(rate, 1),
        "result": result.replace("\n", " "),
    }
