"""From settings to models: which class answers for `models.language` and `models.encoder`."""

from __future__ import annotations

from weighup.errors import SettingsError
from weighup.models.types import Encoder, LanguageModel
from weighup.settings import Settings, load_settings


def encoder(settings: Settings | None = None) -> Encoder:
    """The encoder the settings name. Raises ModelMissing if its files are not here."""
    from weighup.models.encoder import OnnxEncoder

    return OnnxEncoder.load(settings or load_settings())


def language_model(settings: Settings | None = None) -> LanguageModel | None:
    """The language model the settings name, or None for `none`. Raises ModelMissing or SettingsError."""
    named = (settings or load_settings()).models.language
    if named == "none":
        return None
    raise SettingsError(f"setting models.language: {named!r} is not known; write `embedded` or `none`")
