"""Settings, in rising order of authority: defaults, `weighup.toml`, environment (`WEIGHUP_…`), flags.

`weighup.toml` is looked for in the working folder, then in the user's configuration folder; `WEIGHUP_CONFIG`
names another. Nested names in the environment are joined by two underscores: `WEIGHUP_MODELS__LANGUAGE=…`.
Secrets are read from the environment variable a setting *names* (`api_key_env`), never from the file itself.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as Unreadable

from weighup.errors import InvalidInput, SettingsError

# Names in the environment that are ours and no settings.
_OTHER_NAMES = {"WEIGHUP_CACHE_DIR", "WEIGHUP_CONFIG", "WEIGHUP_DATA", "WEIGHUP_DATABASE"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Price(_Section):
    """US dollars for a million tokens."""

    input: float = Field(0.0, ge=0)
    output: float = Field(0.0, ge=0)


class ModelSettings(_Section):
    """Which models write, score and embed. `language` is `embedded`, `none`, `openai:NAME`, `anthropic:NAME`,
    `recorded:FILE`, `transformers:FOLDER` or a path to a GGUF file; `encoder`
    is `embedded` or a folder with model.onnx and tokenizer.json."""

    language: str = "embedded"
    encoder: str = "embedded"
    base_url: str | None = None
    api_key_env: str | None = None
    concurrency: int = Field(4, ge=1, le=256)
    timeout: float = Field(60.0, gt=0, le=86_400, description="seconds for one request")
    retries: int = Field(4, ge=0, le=20)
    cache: bool = True
    cache_size: int = Field(2_000_000_000, ge=0, description="bytes on disk")
    context: int = Field(4096, ge=512, description="tokens of context of the embedded language model")
    threads: int = Field(0, ge=0, description="0: all cores")
    prices: dict[str, Price] = Field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether asking the language model stays on this machine. Of a plug-in's model nobody here can say so."""
        kind, colon, _ = self.language.partition(":")
        if kind in ("recorded", "transformers") or not colon:
            return True
        if self.language.lower().endswith(".gguf") and kind not in ("openai", "anthropic"):
            return True
        try:
            host = urlsplit(self.base_url or "").hostname
        except ValueError:
            return False
        return host in ("localhost", "127.0.0.1", "::1")


class RetrieveSettings(_Section):
    """Where evidence comes from. `sources` are names known to `weighup store sources`, asked side by side."""

    store: Path | None = None
    starter_pack: bool = True
    sources: tuple[str, ...] = ("wikipedia", "gdelt")
    feeds: tuple[str, ...] = ()
    searxng_url: str | None = None
    credibility: Path | None = None
    timeout: float = Field(10.0, gt=0, description="seconds for one request")
    max_page_bytes: int = Field(5_000_000, gt=0)
    max_redirects: int = Field(5, ge=0)
    per_host_per_second: float = Field(2.0, gt=0)
    allow_loopback: bool = False
    user_agent: str = "weighup/0.1 (+https://github.com/weighup/weighup)"


class VerifySettings(_Section):
    """How a claim is checked. Budgets are hard, per claim and (`run_…`) for all of a run; None means unlimited."""

    passages: int = Field(5, ge=1, le=50, description="evidence passages a claim is judged on")
    brief: bool = False
    budget_tokens: int | None = Field(None, gt=0)
    budget_seconds: float | None = Field(None, gt=0)
    budget_usd: float | None = Field(None, ge=0)
    run_tokens: int | None = Field(None, gt=0)
    run_seconds: float | None = Field(None, gt=0)
    run_usd: float | None = Field(None, ge=0)
    summarise: Literal["auto", "always", "never"] = Field(
        "auto", description="whether the language model sums up the evidence; auto: unless it is the built-in one"
    )
    evaluator: Literal["heads", "language_model"] = Field(
        "heads", description="who assesses reliability; the language model needs its part `evaluator` in `weights`"
    )
    prompts: Path | None = Field(None, description="folder of prompt files that replace the shipped ones")
    weights: Path | None = Field(None, description="folder of trained parts that replace the shipped ones")
    risk: float | None = Field(
        None, gt=0, lt=1, description="share of wrong calls to keep to; None: what the weights were calibrated for"
    )


class WatchSettings(_Section):
    """What is watched and who is told. Secrets are read from the environment variables named here."""

    every: float = Field(900.0, ge=10, le=86_400, description="seconds between polls of a feed that says nothing")
    threshold: float = Field(0.2, gt=0, le=1, description="least change of P(fake) since the last alert that alerts")
    settle_days: float = Field(14.0, gt=0, description="days after which a verdict is no longer checked again")
    webhook: str | None = None
    webhook_secret_env: str = "WATCH_WEBHOOK_SECRET"
    email_to: tuple[str, ...] = ()
    email_from: str | None = None
    smtp: str | None = Field(None, description="smtp://user@host:587 or smtps://user@host:465")
    smtp_password_env: str = "WATCH_SMTP_PASSWORD"
    console: bool = True


class ServeSettings(_Section):
    """The server. Limits are for each API key unless the key says otherwise."""

    host: str = "127.0.0.1"
    port: int = Field(8642, ge=0, le=65_535)
    workers: int = Field(1, ge=0, le=64, description="threads that work on jobs; 0: other processes do")
    max_body_bytes: int = Field(2_000_000, gt=0)
    request_seconds: float = Field(60.0, gt=0, description="for one request; jobs take as long as they need")
    per_minute: int = Field(120, gt=0)
    per_day: int | None = Field(None, gt=0)
    waiting: int = Field(64, ge=1, description="checks that may wait; more are told to come again later")
    trusted_proxies: tuple[str, ...] = Field((), description="addresses whose X-Forwarded-For is believed")
    public_url: str | None = Field(None, description="where others reach this server, for links in what it writes")


class Settings(BaseSettings):
    """Everything that can be set. Unknown names are refused, so that a misspelt one cannot pass unseen."""

    model_config = SettingsConfigDict(
        env_prefix="WEIGHUP_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )
    models: ModelSettings = ModelSettings()
    retrieve: RetrieveSettings = RetrieveSettings()
    verify: VerifySettings = VerifySettings()
    watch: WatchSettings = WatchSettings()
    serve: ServeSettings = ServeSettings()
    log: Literal["error", "warning", "info", "debug"] = "warning"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _TomlSource(settings_cls)


class _TomlSource(PydanticBaseSettingsSource):
    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = config_file()
        if path is None:
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path}: cannot be read as TOML: {error}") from error


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Read all layers. `flags` is nested like the file: `{"verify": {"brief": True}}`. Raises SettingsError."""
    _refuse_unknown_names()
    try:
        return Settings(**(flags or {}))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":  # a key, perhaps, where none belongs: its value is not shown
            raise SettingsError(f"setting {name}: there is no such setting") from error
        raise SettingsError(f"setting {name}: {first['msg']} (got {str(first['input'])[:60]!r})") from error
    except Unreadable as error:
        raise SettingsError(
            f"environment: {error}; lists and sections are written as JSON, as in "
            """WEIGHUP_RETRIEVE__SOURCES='["wikipedia"]'"""
        ) from error


def _refuse_unknown_names() -> None:
    for name in os.environ:
        section = name.upper().removeprefix("WEIGHUP_").partition("__")[0].lower()
        if name.upper().startswith("WEIGHUP_") and name not in _OTHER_NAMES and section not in Settings.model_fields:
            raise SettingsError(
                f"environment variable {name}: there is no such setting; names are nested by two underscores, as in "
                "WEIGHUP_MODELS__LANGUAGE"
            )


def use_config(path: Path | None) -> None:
    """Let this process, and what it starts, read its settings from this file: a command's `--config`; None changes
    nothing. Raises InvalidInput if it is not there."""
    if path is None:
        return
    if not path.is_file():
        raise InvalidInput(f"--config {path} is not a file")
    os.environ["WEIGHUP_CONFIG"] = str(path)


def config_file() -> Path | None:
    """The weighup.toml in force, or None. Raises SettingsError if WEIGHUP_CONFIG names a file that is not there."""
    named = os.environ.get("WEIGHUP_CONFIG")
    if named:
        if not Path(named).is_file():
            raise SettingsError(f"WEIGHUP_CONFIG names {named}, which is not a file")
        return Path(named)
    for folder in (Path.cwd(), Path(platformdirs.user_config_dir("weighup"))):
        if (folder / "weighup.toml").is_file():
            return folder / "weighup.toml"
    return None


def cache_folder() -> Path:
    """Where models and the request cache live: `WEIGHUP_CACHE_DIR`, else the user's cache folder. Not created."""
    return Path(os.environ.get("WEIGHUP_CACHE_DIR") or platformdirs.user_cache_dir("weighup"))
