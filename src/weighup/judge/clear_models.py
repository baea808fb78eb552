"""What extracts and matches for CLEAR: a language model, or for matching words alone.

Paper: ExpertLongBench (Ruan et al. 2025, arXiv 2506.01241). Ours: the wording of the prompts; the lexical matcher;
documents over 5,000 tokens are extracted in windows and what each says is joined.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from weighup.errors import BudgetExceeded, InvalidInput
from weighup.judge.choice import p_yes
from weighup.judge.claim_texts import SUPPORTS, lexical_entails, split_claims
from weighup.judge.clear import Extracted, or_none
from weighup.judge.fence import fenced
from weighup.judge.prompt_files import prompt
from weighup.judge.types import Criterion, Rubric
from weighup.models.types import LanguageModel, Prompt
from weighup.texts import sentences

log = logging.getLogger(__name__)

WINDOW = 5000
"""Tokens, at four characters each, that are extracted from at once."""
_PER_TOKEN = 4
_RE_ASKED = 2
_AGAIN = "Your last answer did not have every id of the checklist once and no others."


class _Piece(BaseModel):
    id: str
    text: str


class _Pieces(BaseModel):
    items: list[_Piece]


class ModelExtractor:
    """An Extractor by a language model. A reply with an id missing, twice or invented is asked for again, at most
    twice; then the extraction has failed. Texts over `window` tokens are read in parts, and what they say is joined."""

    def __init__(self, model: LanguageModel, *, window: int = WINDOW) -> None:
        if window < 1:
            raise InvalidInput(f"window: one token or more is needed, not {window}")
        self.model = model
        self.window = window

    @property
    def prompts(self) -> Mapping[str, str]:
        """Name and hash of the prompt file it asks with."""
        return prompt("clear_extract").told

    def __call__(self, text: str, rubric: Rubric, /) -> Extracted | None:
        """What the text says on each item. Raises BudgetExceeded."""
        parts = windows(text, self.window * _PER_TOKEN)
        done: dict[int, Extracted] = {}
        for turn in range(1 + _RE_ASKED):
            open_ = [n for n in range(len(parts)) if n not in done]
            asked = [_asked(parts[n], rubric, _AGAIN if turn else "") for n in open_]
            for n, reply in zip(open_, self.model.generate(asked) if asked else [], strict=True):
                if isinstance(reply.error, BudgetExceeded):
                    raise reply.error
                found = _whole(reply.value, rubric)
                if found is not None:
                    done[n] = found
        if len(done) < len(parts):
            log.warning("clear: %d of %d parts could not be extracted", len(parts) - len(done), len(parts))
            return None
        return {leaf.id: _joined([done[n][leaf.id] for n in range(len(parts))]) for leaf in rubric.leaves()}


class ModelMatcher:
    """A Matcher by a language model: 1 where yes is more likely than no."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    @property
    def prompts(self) -> Mapping[str, str]:
        """Name and hash of the prompt file it asks with."""
        return prompt("clear_match").told

    def __call__(self, asked: Sequence[tuple[Criterion, str, str]], /) -> NDArray[np.float64]:
        """As Matcher. Raises BudgetExceeded."""
        form = prompt("clear_match")
        users = [
            form.fill(criterion=one.text, content=fenced(content, name="note"), text=fenced(text, name="note"))
            for one, content, text in asked
        ]
        chance = p_yes(self.model, users, system=form.system)
        return np.where(np.isnan(chance), np.nan, (chance > 0.5).astype(float))


def lexical_matcher(asked: Sequence[tuple[Criterion, str, str]], /) -> NDArray[np.float64]:
    """A Matcher by words alone: 1 where each claim of the content is more likely than not supported by the text
    (`claim_texts.lexical_entails`)."""
    pairs, owner = [], []
    for number, (_, content, text) in enumerate(asked):
        claims = split_claims(content) or [content]
        pairs += [(text, claim) for claim in claims]
        owner += [number] * len(claims)
    found = np.ones(len(asked))
    np.minimum.at(found, owner, (lexical_entails(pairs)[:, SUPPORTS] > 0.5).astype(float))
    return found


def windows(text: str, characters: int) -> list[str]:
    """The text in parts of at most so many characters, parted between sentences where they fit."""
    if len(text) <= characters:
        return [text]
    parts: list[str] = []
    room = ""
    for sentence in sentences(text):
        for start in range(0, len(sentence), characters):
            piece = sentence[start : start + characters]
            if room and len(room) + 1 + len(piece) > characters:
                parts.append(room)
                room = ""
            room = f"{room}\n{piece}" if room else piece
    return [*parts, room] if room else parts


def _asked(part: str, rubric: Rubric, again: str) -> Prompt:
    form = prompt("clear_extract")
    listed = "\n".join(f"{leaf.id}: {leaf.text}" for leaf in rubric.leaves())
    user = form.fill(rubric=listed, document=fenced(part, name="document"), again=again)
    return Prompt(user, form.system, max_tokens=form.max_tokens, schema=_Pieces)


def _whole(value: object, rubric: Rubric) -> Extracted | None:
    """What was extracted, if it has every item once and no others."""
    if not isinstance(value, _Pieces):
        return None
    found = {one.id.strip(): or_none(one.text) for one in value.items}
    return found if len(value.items) == len(found) and set(found) == {leaf.id for leaf in rubric.leaves()} else None


def _joined(texts: Sequence[str | None]) -> str | None:
    said = list(dict.fromkeys(one for one in texts if one is not None))
    return "\n".join(said) if said else None
