"""The forms in which a language model's verdict is asked for: schemas with the reasons first and the verdict last, and
the values that a prompt's placeholders are filled with.

Reasons before verdicts: MEC of FairEval (Wang et al. 2023, arXiv 2305.17926, section 3.1).
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model, field_validator

from weighup.errors import InvalidInput
from weighup.judge.fence import fenced, shown
from weighup.judge.prompt_files import PromptFile
from weighup.judge.types import Criterion, Item, Rubric

FORMS = ("pair", "pair_scores", "pair_choice", "score", "score_choice", "rank")
NEEDS = {
    "pair": {"question", "first", "second"},
    "pair_scores": {"question", "first", "second"},
    "pair_choice": {"question", "first", "second"},
    "score": {"question", "response"},
    "score_choice": {"question", "response"},
    "rank": {"question", "responses"},
}
"""Placeholders that a prompt of a form must have: without them it would not show what is judged."""
_NONE = "(none)"
_Reasons = Annotated[str, Field(description="what speaks for and against, in a few sentences", max_length=20_000)]


class PairVerdict(BaseModel):
    """Which of two responses is better."""

    reasons: _Reasons
    verdict: Literal["1", "2", "tie"]


class DecidedVerdict(BaseModel):
    """Which of two responses is better; one is."""

    reasons: _Reasons
    verdict: Literal["1", "2"]


@functools.cache
def scores_schema(count: int, low: float, high: float) -> type[BaseModel]:
    """Reasons, then `score` or, for more than one, `score_1`, `score_2` …, each from `low` to `high`."""
    number = Annotated[float, Field(ge=low, le=high)]
    names = ["score"] if count == 1 else [f"score_{n + 1}" for n in range(count)]
    fields: dict[str, Any] = {"reasons": (_Reasons, ...), **dict.fromkeys(names, (number, ...))}
    made: type[BaseModel] = create_model("Scores", **fields)
    return made


@functools.cache
def ranking_schema(count: int) -> type[BaseModel]:
    """Reasons, then `ranking`: the numbers 1 to `count`, each once."""

    class Ranking(BaseModel):
        reasons: _Reasons
        ranking: list[Annotated[int, Field(ge=1, le=count)]] = Field(min_length=count, max_length=count)

        @field_validator("ranking")
        @classmethod
        def _each_once(cls, found: list[int]) -> list[int]:
            if len(set(found)) != len(found):
                raise ValueError(f"each of the numbers 1 to {count} must stand there once")
            return found

    return Ranking


def levels(scale: tuple[float, float]) -> tuple[str, ...]:
    """The whole numbers of a scale. Raises InvalidInput unless there are 2 to 20 of them."""
    low, high = scale
    if low != int(low) or high != int(high) or not 1 <= high - low <= 19:
        raise InvalidInput(f"scale: probabilities need 2 to 20 whole-number levels, not {low:g} to {high:g}")
    return tuple(str(n) for n in range(int(low), int(high) + 1))


def filled(
    file: PromptFile, form: str, item: Item, rubric: Rubric | None, *, fence: bool = True, **more: str
) -> list[str]:
    """The user messages for an item: one, or one a response where responses are scored alone, in shown order. Without
    `fence`, judged text stands there as it is.

    Raises InvalidInput naming an item with an empty prompt or an empty response.
    """
    if not shown(item.prompt).strip():
        raise InvalidInput(f"item {item.id}: its prompt is empty")
    texts = [one.text for one in item.shown()]
    for place, text in enumerate(texts):
        if not shown(text).strip():
            number = len(texts) - place if item.order == "swapped" else place + 1
            raise InvalidInput(f"item {item.id}: response {number} is empty")
    mark = fenced if fence else _as_it_is

    def optional(text: str | None, name: str) -> str:
        return mark(text, name=name) if text is not None and text.strip() else _NONE

    given = {
        "question": mark(item.prompt, name="request"),
        "context": optional(item.context, "background"),
        "reference": optional(item.reference, "reference"),
        "persona": optional(item.persona, "persona"),
        "rubric": in_words(rubric),
        **more,
    }
    if form.startswith("score"):
        return [file.fill(**given, response=mark(text, name="response")) for text in texts]
    marked = [mark(text, name=f"response_{n}") for n, text in enumerate(texts, 1)]
    if form == "rank":
        listed = "\n\n".join(f"Response {n}:\n{text}" for n, text in enumerate(marked, 1))
        return [file.fill(**given, responses=listed, count=str(len(marked)))]
    return [file.fill(**given, first=marked[0], second=marked[1])]


def in_words(rubric: Rubric | None) -> str:
    """A rubric as an indented list, for a prompt; "(none)" without one."""
    if rubric is None:
        return _NONE
    return "\n".join(line for one in rubric.criteria for line in _lines(one, 0))


def _lines(one: Criterion, depth: int) -> list[str]:
    about = []
    if not one.children and one.scale != (0.0, 1.0):
        about.append(f"{one.scale[0]:g} to {one.scale[1]:g}")
    if one.weight != 1:
        about.append(f"weight {one.weight:g}")
    if one.critical:
        about.append("must be met")
    tail = f" ({', '.join(about)})" if about else ""
    blank = "  " * depth
    own = [f"{blank}- {one.text}{tail}", *(f"{blank}  {score}: {text}" for score, text in one.anchors.items())]
    return own + [line for child in one.children for line in _lines(child, depth + 1)]


def _as_it_is(text: str, *, name: str) -> str:
    return shown(text)
