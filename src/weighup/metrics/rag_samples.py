"""What a RAG system did with one question: the passages it fetched, the answer it wrote, and what is known to be right.

One JSON object a line (`read_samples`) or made in code. Passages stand in the order in which they were fetched; one
given as a plain text gets its place, from "1", as its id, which is what an answer's [1] then cites.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from weighup.errors import InvalidInput
from weighup.rowfile import json_lines


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; some text is needed")
    return text


Written = Annotated[str, AfterValidator(_written)]


@dataclass(frozen=True, slots=True)
class Score:
    """A value of one sample, NaN where it is undefined, and the `n` it was counted over (claims, passages, ...)."""

    value: float
    n: int


UNDEFINED = Score(math.nan, 0)


class Passage(BaseModel):
    """One fetched passage. Answers cite it by its `id`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Written
    text: Written


class RagSample(BaseModel):
    """One question with what was fetched and answered.

    contexts: passages, best first; empty where nothing was found. reference: a right answer. relevant {passage id:
    grade from 0}: which passages of the whole corpus are right, fetched or not. answerable: whether the passages hold
    the answer. noise_of: the id of the sample that asks the same without the noise passages added here. regenerated:
    questions that somebody wrote from the answer alone, for answer relevance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Written
    question: Written
    contexts: tuple[Passage, ...]
    answer: Written
    reference: Written | None = None
    relevant: dict[str, Annotated[int, Field(ge=0)]] | None = None
    answerable: bool | None = None
    noise_of: str | None = None
    regenerated: tuple[Written, ...] = ()

    @field_validator("contexts", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, (list, tuple)):
            return given
        return [{"id": str(n), "text": one} if isinstance(one, str) else one for n, one in enumerate(given, 1)]

    @field_validator("contexts")
    @classmethod
    def _once(cls, passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
        seen: set[str] = set()
        for passage in passages:
            if passage.id in seen:
                raise ValueError(f"passage {passage.id!r} stands there twice; give each passage an id of its own")
            seen.add(passage.id)
        return passages


def read_samples(path: Path) -> list[RagSample]:
    """Samples of a JSONL file, one a line (see `RagSample`). Raises InvalidInput naming file, line and field."""
    samples: list[RagSample] = []
    for number, line in json_lines(path):
        try:
            samples.append(RagSample.model_validate_json(line))
        except ValidationError as error:
            found = error.errors()
            field = ".".join(map(str, found[0]["loc"]))
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            where = f", field {field}" if field else ""
            raise InvalidInput(f"{path}, line {number}{where}: {found[0]['msg']}{more}") from error
    try:
        check_samples(samples)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    return samples


def check_samples(samples: Sequence[RagSample]) -> None:
    """Raises InvalidInput for no samples, an id that stands twice, and a `noise_of` that names no other sample."""
    if not samples:
        raise InvalidInput("samples: there is none; one question with its passages and answer is needed")
    ids: set[str] = set()
    for sample in samples:
        if sample.id in ids:
            raise InvalidInput(f"samples: id {sample.id!r} stands there twice; give each sample an id of its own")
        ids.add(sample.id)
    noisy = {sample.id for sample in samples if sample.noise_of is not None}
    for sample in samples:
        if sample.noise_of is not None and (sample.noise_of not in ids or sample.noise_of in noisy):
            raise InvalidInput(
                f"sample {sample.id!r}, field noise_of: {sample.noise_of!r} is no sample without noise; name one"
            )


def copies(sample: RagSample) -> frozenset[int]:
    """Places, from 0, of the passages whose text stood before, blanks and case aside."""
    seen: set[str] = set()
    found = []
    for place, passage in enumerate(sample.contexts):
        plain = " ".join(passage.text.split()).casefold()
        if plain in seen:
            found.append(place)
        seen.add(plain)
    return frozenset(found)
