"""From settings to models: what answers for `models.language` and `models.encoder`.

Another package adds a kind of language model through the entry point group `weighup.models`: its name is what
stands before the colon in `models.language`, its object a function from (rest, ModelSettings) to a Backend.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from weighup.errors import SettingsError
from weighup.models.backend import Backend
from weighup.models.types import Encoder, LanguageModel
from weighup.settings import ModelSettings, Price, Settings, cache_folder, load_settings

_FREE = Price()


def encoder(settings: Settings | None = None) -> Encoder:
    """The encoder the settings name. Raises ModelMissing if its files are not here."""
    from weighup.models.onnx_encoder import OnnxEncoder

    return OnnxEncoder.load(settings or load_settings())


def language_model(settings: Settings | None = None) -> LanguageModel | None:
    """The language model the settings name, or None for `none`. Raises ModelMissing or SettingsError.

    Opening costs little: the embedded engine loads, and a server is first asked, at first use.
    """
    models = (settings or load_settings()).models
    if models.language == "none":
        return None
    from weighup.models.cache import RequestCache
    from weighup.models.client import Client

    backend, price, keep = _backend(models)
    cache = RequestCache(cache_folder() / "requests", size=models.cache_size) if keep and models.cache else None
    return Client(backend, models, price=price, cache=cache)


def _backend(models: ModelSettings) -> tuple[Backend, Price | None, bool]:
    """The backend, its price (None: unknown), and whether its answers are worth keeping."""
    kind, _, rest = models.language.partition(":")
    if kind == "openai" and rest:
        from weighup.models.openai import OpenAIBackend

        chat = OpenAIBackend.load(rest, models)
        return chat, _price(chat.name, models, local=chat.endpoint.local), True
    if kind == "anthropic" and rest:
        from weighup.models.anthropic import AnthropicBackend

        claude = AnthropicBackend.load(rest, models)
        return claude, _price(claude.name, models, local=claude.endpoint.local), True
    if kind == "recorded" and rest:
        from weighup.models.recorded import RecordedBackend

        return RecordedBackend(Path(rest).expanduser()), _FREE, False
    if kind == "transformers" and rest:
        from weighup.models.torch_backend import TorchBackend

        return TorchBackend.load(rest, models), _FREE, True
    # After the kinds above: servers of llama.cpp call their models by the name of the file.
    if models.language == "embedded" or models.language.lower().endswith(".gguf"):
        from weighup.models.embedded import EmbeddedBackend

        return EmbeddedBackend.load(models), _FREE, True
    for plugin in entry_points(group="weighup.models", name=kind):
        made: Backend = plugin.load()(rest, models)
        return made, _price(made.name, models, local=False), True
    raise SettingsError(
        f"setting models.language: {models.language!r} is not known; write embedded, none, openai:NAME, "
        "anthropic:NAME, recorded:FILE, transformers:FOLDER or the path of a .gguf file"
    )


def _price(name: str, models: ModelSettings, *, local: bool) -> Price | None:
    from weighup.models.prices import price_of

    # A server on this machine sends no bill, unless the settings say so.
    known = price_of(name, models)
    if local:
        return known if name in models.prices or name.partition(":")[2] in models.prices else _FREE
    return known
