"""The rows of the recorded judging sets as they stand in their files, checked while they are read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from weighup.errors import InvalidInput
from weighup.judge.types import Winner

_R = TypeVar("_R", bound=BaseModel)


class Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)
    id: str = Field(min_length=1)


class Ordered(Row):
    winner: JsonValue
    winner_swapped: JsonValue
    ratings: tuple[str, str] | None = None
    id: str = "-"


class Llmbar(Row):
    input: str
    output_1: str
    output_2: str
    label: Literal["1", "2"]
    subset: str
    recorded: Mapping[str, Ordered]


class FairEval(Row):
    question: str
    category: str
    answers: Mapping[str, str]
    human: Literal["gpt35", "vicuna-13b", "tie"]


class PandaLM(Row):
    instruction: str
    input: str
    output_1: str
    output_2: str
    models: tuple[str, str]
    human: tuple[Winner, Winner, Winner]
    recorded: Mapping[str, JsonValue]


class Twice(Row):
    first: JsonValue
    second: JsonValue
    scores: tuple[float, float] | None = None
    id: str = "-"


class JudgeBench(Row):
    question: str
    output_1: str
    output_2: str
    label: Literal["1", "2"]
    source: str
    response_model: str
    recorded: Mapping[str, Twice]


class Cobbler(Row):
    instruction: str
    reference: str | None = None
    responses: Mapping[str, str]
    human_ranks: tuple[tuple[str, ...], ...]
    judge_wins: Mapping[str, Mapping[str, float]]


class Asked(Row):
    answer: JsonValue
    certainty: JsonValue
    gold: Literal["A", "B", "C"]
    id: str = "-"


class Personal(Row):
    person: str
    user_info: str | None = None
    question: str | None = None
    asst_A: str | None = None
    asst_B: str | None = None
    pair_A: str | None = None
    pair_B: str | None = None
    recorded: Mapping[str, Asked | tuple[Asked, ...]]


class AutoJ(Row):
    prompt: str
    output_1: str
    output_2: str
    scenario: str
    human: Winner


class Hhh(Row):
    prompt: str
    chosen: str
    rejected: str
    subset: str


def rows(path: Path, kind: type[_R]) -> Iterator[_R]:
    """Every row of a gzipped JSONL file. Raises InvalidInput naming the file, and the line and field that are wrong."""
    number = 0
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                number += 1
                yield kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the line"
        raise InvalidInput(f"{path}: line {number}: {place}: {first['msg']}") from error
    except (OSError, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{path}: cannot be read: {told}; the folder that holds `judging` is needed") from error
    if not number:
        raise InvalidInput(f"{path}: there are no rows in it")
