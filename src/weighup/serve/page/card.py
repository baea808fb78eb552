"""The model card: which weights decide here, what they were fitted on, and how well they did where it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from weighup import registry
from weighup.claims import ClaimResult
from weighup.errors import WeighupError
from weighup.settings import Settings
from weighup.verify import weights
from weighup.verify.ease import Ease
from weighup.verify.report.phrases import percent

_JOBS: dict[str, str] = {
    "ease": "Judges how far each perspective can be relied on, and decides",
    "calibration": "Makes probabilities mean what they say, and keeps the risk",
    "content": "Reads wording and tone",
    "stance": "Reads whether a passage supports or refutes a claim",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One set of weights."""

    name: str
    job: str
    version: str
    made: str
    licence: str
    sets: tuple[str, ...]
    excluded: str
    limits: tuple[str, ...]
    intended: str


@dataclass(frozen=True, slots=True)
class Card:
    """All that the model page shows. `floors`: least confidence by expert, as text."""

    parts: tuple[Part, ...]
    risk: str | None
    floors: Mapping[str, str]
    brief: bool
    language: str
    sources: tuple[str, ...]
    methods: tuple[registry.Method, ...]
    results: tuple[ClaimResult, ...]
    problem: str | None


def card(settings: Settings) -> Card:
    """The card of the weights that `settings` name. Blocking: reads files."""
    folder, problem = settings.verify.weights, None
    parts: list[Part] = []
    risk: str | None = None
    floors: Mapping[str, str] = {}
    try:
        parts = [_part(name, weights.card(name, folder)) for name in ("ease", "calibration", "content", "stance")]
        ease = Ease.load(folder, settings.verify.risk)
        risk = None if ease.risk is None else percent(ease.risk)
        floors = {kind: "never" if at > 1 else percent(at) for kind, at in ease.threshold.items()}
    except WeighupError as error:
        problem = str(error)
    return Card(
        parts=tuple(parts),
        risk=risk,
        floors=floors,
        brief=settings.verify.brief,
        language=str(settings.models.language),
        sources=tuple(settings.retrieve.sources),
        methods=registry.methods(),
        results=tuple(_results()),
        problem=problem,
    )


def _part(name: str, told: dict[str, Any]) -> Part:
    data = told.get("data") or told.get("config", {}).get("data") or {}
    sets = sorted({PurePosixPath(path).parent.name for path in data} - {""})
    limits = told.get("limits") or ()
    return Part(
        name=name,
        job=_JOBS[name],
        version=str(told.get("version", "")),
        made=str(told.get("made") or told.get("date") or ""),
        licence=str(told.get("licence", "")),
        sets=tuple(sets),
        excluded=_text(told.get("excluded") or told.get("config", {}).get("excluded") or ""),
        limits=(limits,) if isinstance(limits, str) else tuple(str(one) for one in limits),
        intended=_text(told.get("intended_use") or ""),
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {said}" for name, said in value.items())
    return "; ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _results() -> Sequence[ClaimResult]:
    """What was measured of the method that decides; empty where the results were not installed."""
    from weighup import claims

    found = claims.stored(claims.results_folder())
    return [one for one in found if one.room == "verify"]
