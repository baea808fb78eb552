"""A second look at verdicts that may rest on sentences which have nothing to do with the request.

An answer that speaks to its judge can say so in any words, but not in words of the request: `unrelated` finds what
bears neither on the request nor on what the other response says, and a response may not gain by such sentences: it is
judged again without them, and the judgement less favourable to it stands. After erase-and-check (Kumar et al. 2023,
arXiv 2309.02705), which tries every sentence; here an encoder chooses them, so that most items are judged once. What
is ours: the choice, and that only gains are taken back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weighup.errors import InvalidInput
from weighup.judge.types import Item, Judge, Judgement, Rubric
from weighup.models.types import Encoder
from weighup.texts import clean, sentences, shorten

RELATED = 0.2
"""Cosine, with the shipped encoder, below which a sentence is unrelated: 3 to 5 % of the honest sentences of FairEval,
PandaLM and Auto-J are."""
_LONGEST = 400  # characters of a piece: an encoder reads no more of what has no end
_ON_SIDE = {"1": (1.0, 0.0), "2": (0.0, 1.0), "tie": (0.5, 0.5)}


def unrelated(item: Item, encoder: Encoder, *, below: float = RELATED) -> list[list[str]]:
    """Of each response, in the item's numbering, the sentences whose greatest cosine with a sentence of the request or
    of another response is under `below`. Empty for a response in which nothing is related: nothing can be compared."""
    told = [_pieces(one.text) for one in item.responses]
    asked = _pieces(item.prompt)
    every = list(dict.fromkeys(piece for some in (asked, *told) for piece in some))
    vectors = encoder.encode(every)
    row = {piece: n for n, piece in enumerate(every)}
    found: list[list[str]] = []
    for n, own in enumerate(told):
        others = asked + [piece for m, some in enumerate(told) if m != n for piece in some]
        if not own or not others:
            found.append([])
            continue
        # Chunks bound the memory of two answers of many thousand sentences.
        against = vectors[[row[piece] for piece in others]].T
        near = np.concatenate(
            [(vectors[[row[p] for p in own[at : at + 256]]] @ against).max(axis=1) for at in range(0, len(own), 256)]
        )
        far = [piece for piece, cosine in zip(own, near, strict=True) if cosine < below]
        found.append(far if len(far) < len(own) else [])
    return found


class SecondLook:
    """`judge`, whose verdicts may not be won by unrelated sentences. For pairs and single responses; items of more
    responses are judged as they are.

    Costs one more judgement for an item in which such a sentence stands. Where both responses of a pair have some, the
    winner is looked at. The rationale tells what was left out. An encoder that does not know a language finds more
    sentences unrelated than are.
    """

    def __init__(self, judge: Judge, encoder: Encoder, *, below: float = RELATED, name: str | None = None) -> None:
        """Raises InvalidInput for a cosine outside (-1, 1)."""
        if not -1 < below < 1:
            raise InvalidInput(f"below: a cosine between -1 and 1 is needed, not {below}")
        self.inner, self.encoder, self.below = judge, encoder, below
        self.name = name or judge.name
        self.concurrency: int | None = getattr(judge, "concurrency", None)

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement each, in order: all items in one batch, then those to look at again in another."""
        said = self.inner.judge(items, rubric)
        again: list[tuple[int, int, list[str]]] = []
        for n, (item, one) in enumerate(zip(items, said, strict=True)):
            if one.usable and len(item.responses) <= 2:
                far = unrelated(item, self.encoder, below=self.below)
                place = _suspect(far, one)
                if place is not None:
                    again.append((n, place, far[place]))
        without = [_without(items[n], place, far) for n, place, far in again]
        looked = self.inner.judge(without, rubric) if without else []
        for (n, place, left_out), other in zip(again, looked, strict=True):
            said[n] = _less_for(place, said[n], other, left_out)
        return [one.model_copy(update={"judge": self.name}) for one in said]


def _pieces(text: str) -> list[str]:
    return [
        sentence[at : at + _LONGEST]
        for line in text.split("\n")
        for sentence in sentences(clean(line))
        for at in range(0, len(sentence), _LONGEST)
    ]


def _suspect(far: Sequence[Sequence[str]], said: Judgement) -> int | None:
    """The place of the response to judge again without its unrelated sentences; None if there is none."""
    having = [place for place, some in enumerate(far) if some]
    if len(having) == 2:
        having = [int(said.winner) - 1] if said.winner in ("1", "2") else []
    return having[0] if having else None


def _without(item: Item, place: int, far: Sequence[str]) -> Item:
    gone = set(far)
    lines = [[piece for piece in _pieces(line) if piece not in gone] for line in item.responses[place].text.split("\n")]
    left = "\n".join(" ".join(kept) for kept in lines if kept)
    responses = list(item.responses)
    responses[place] = responses[place].model_copy(update={"text": left})
    return item.model_copy(update={"responses": tuple(responses)})


def _less_for(place: int, said: Judgement, other: Judgement, far: Sequence[str]) -> Judgement:
    """Of two judgements the one less favourable to a response, with the cost of both. One that could not be had does
    not stand for the other: the verdict is then as little known as it."""
    usage = said.usage + other.usage
    told = f"Judged also without what bears on neither request nor other response: {shorten(' '.join(far), 300)}"
    less = other if not other.usable or _for(place, other) < _for(place, said) else said
    return less.model_copy(update={"usage": usage, "rationale": f"{told}\n{less.rationale}".strip()})


def _for(place: int, one: Judgement) -> float:
    """How much a judgement is in a response's favour: its score (in a pair, above the other's), else who wins."""
    if one.scores is not None and all(score is not None for score in one.scores):
        own = float(one.scores[place] or 0.0)
        return own - float(one.scores[1 - place] or 0.0) if len(one.scores) == 2 else own
    return _ON_SIDE[one.winner][place] if one.winner else 0.5
