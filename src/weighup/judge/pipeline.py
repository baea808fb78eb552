"""A judge written as YAML, and read from it: what a run was made with can be kept, sent and made again.

    kind: panel
    how: vote
    judges:
      - {kind: llm, model: "openai:gpt-4o-mini", prompt: pair}
      - {kind: balanced, judge: {kind: recorded, path: verdicts.jsonl}}

Kinds are those of `pipeline_kinds`, and what methods add with `register`; a kind that is not known yet is looked for in
the module `weighup.judge.KIND`, which registers it as it is imported.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny, ValidationError

from weighup.errors import InvalidInput
from weighup.judge.types import Judge
from weighup.metrics.extras import need
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel

_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
MAX_BYTES = 1_000_000
_DEEPEST = 20


class Spec(BaseModel, ABC):
    """What a kind of judge is made of: its keys are the fields. `make` makes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    kind: str

    @abstractmethod
    def make(self, parts: Parts) -> Judge:
        """The judge. `parts`: where files and models come from."""


@dataclass(frozen=True)
class Parts:
    """What judges are made with. `models`: a language model by its name in the settings (None: the one they name);
    `folder`: what paths are relative to; `prompts`: a folder of prompt files; `meter`: what models are metered by."""

    folder: Path = field(default_factory=Path.cwd)
    models: Callable[[str | None], LanguageModel] | None = None
    prompts: Path | None = None
    meter: Meter | None = None

    def model(self, name: str | None) -> LanguageModel:
        """The language model of that name, opened once. Raises InvalidInput if the settings name none."""
        return (self.models or _from_settings)(name)

    def path(self, told: str) -> Path:
        """A path of the file, as it is seen from here."""
        return self.folder / Path(told).expanduser()


KINDS: dict[str, type[Spec]] = {}
S = TypeVar("S", bound=type[Spec])


def register(kind: str) -> Callable[[S], S]:
    """Class decorator: makes a Spec known by its kind. Raises InvalidInput for one that another class has."""

    def known(spec: S) -> S:
        there = KINDS.get(kind)
        if not _KIND.fullmatch(kind) or (there is not None and there.__qualname__ != spec.__qualname__):
            raise InvalidInput(f"judge kind {kind!r}: cannot be registered: it is taken, or not a lower-case name")
        KINDS[kind] = spec
        return spec

    return known


def parse(told: object) -> Spec:
    """A Spec of plain values, as YAML or JSON has them. Raises InvalidInput naming an unknown kind or key."""
    if isinstance(told, Spec):
        return told
    if not isinstance(told, Mapping) or not isinstance(told.get("kind"), str):
        raise InvalidInput("a judge is written as keys and values, `kind` among them, e.g. kind: llm")
    spec = _spec_of(told["kind"])
    if _depth(told) > _DEEPEST:
        raise InvalidInput(f"judge kind {told['kind']}: judges within judges, deeper than {_DEEPEST}")
    try:
        return spec.model_validate(dict(told))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(spec.model_fields)
            raise InvalidInput(
                f"judge kind {told['kind']}: {place}: there is no such key; known are {known}"
            ) from error
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"judge kind {told['kind']}: {place or 'the whole'}: {message}") from error


def _nested(told: object) -> Spec:
    try:
        return parse(told)
    except InvalidInput as error:
        raise ValueError(str(error)) from error


Nested = Annotated[SerializeAsAny[Spec], BeforeValidator(_nested)]
"""The type of a Spec's field that holds another judge."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A judge as it is written. `hash`: first 12 hex digits of the SHA-256 of what it says, whatever its layout."""

    spec: Spec
    folder: Path

    @property
    def hash(self) -> str:
        """Changes with every key that says something else; not with comments or the order of keys."""
        told = json.dumps(self.spec.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    def make(
        self,
        *,
        models: Callable[[str | None], LanguageModel] | None = None,
        prompts: Path | None = None,
        meter: Meter | None = None,
    ) -> Judge:
        """The judge. Raises InvalidInput for a file, prompt or model that is not there."""
        return self.spec.make(Parts(folder=self.folder, models=models, prompts=prompts, meter=meter))


def read_pipeline(path: Path) -> Pipeline:
    """From a YAML file; paths in it are relative to it. Raises InvalidInput naming the file and what is wrong in it."""
    yaml = need("yaml")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path}: is larger than any pipeline ({MAX_BYTES:,} bytes)")
        text = path.read_text(encoding="utf-8")
        # Aliases can say a few lines a million times, and no pipeline needs them.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise InvalidInput(f"{path}: holds YAML aliases (*name); write out what they stand for")
        told = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: is not YAML: {' '.join(str(error).split())[:200]}") from error
    try:
        return Pipeline(parse(told), path.parent)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def write_pipeline(spec: Spec, path: Path) -> None:
    """As YAML, without the keys that stand at their default; read back it is the same."""
    yaml = need("yaml")
    told = _without_defaults(spec)
    path.write_text(yaml.safe_dump(told, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _without_defaults(spec: Spec) -> dict[str, Any]:
    plain = spec.model_dump(mode="json", exclude_defaults=True)
    found: dict[str, Any] = {"kind": spec.kind}
    for name, value in spec:
        if isinstance(value, Spec):
            found[name] = _without_defaults(value)
        elif isinstance(value, tuple) and any(isinstance(one, Spec) for one in value):
            found[name] = [_without_defaults(one) for one in value]
        elif name in plain and name != "kind":
            found[name] = plain[name]
    return found


def _spec_of(kind: str) -> type[Spec]:
    importlib.import_module("weighup.judge.pipeline_kinds")
    if kind not in KINDS and _KIND.fullmatch(kind) and importlib.util.find_spec(f"weighup.judge.{kind}") is not None:
        importlib.import_module(f"weighup.judge.{kind}")
    if kind not in KINDS:
        raise InvalidInput(f"judge kind {kind!r}: is not known; known are {', '.join(sorted(KINDS))}")
    return KINDS[kind]


def _depth(told: object) -> int:
    """How deep values are within values."""
    level, depth = [told], 0
    while level and depth <= _DEEPEST:
        depth += 1
        inner = [
            list(one.values()) if isinstance(one, Mapping) else one for one in level if isinstance(one, Mapping | list)
        ]
        level = [value for values in inner for value in values]
    return depth


@functools.cache
def _from_settings(name: str | None) -> LanguageModel:
    from weighup.models.open import language_model
    from weighup.settings import load_settings

    settings = load_settings({"models": {"language": name}} if name is not None else None)
    model = language_model(settings)
    if model is None:
        raise InvalidInput("judge kind llm: the settings name no language model; set models.language, or give `model`")
    return model
