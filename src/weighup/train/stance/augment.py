"""The made pairs beside the told ones: edits, a passage's own sentences, wrong pages, several sentences in one."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from weighup.train.stance.data import Pair
from weighup.train.stance.edits import edited, sentences_as_claims
from weighup.train.stance.passages import several, wrong_page

KINDS = ("edits", "dates", "wrong_page", "several")
"""Each can be switched. `edits` makes the sources `edited` and `own_sentence`; `dates`, of dates and names, `dated`."""
_EDITS = ("number", "negation", "opposite", "name", "word")
SEVERAL_CHARACTERS = 500


def augmented(
    told: Sequence[Pair],
    neighbours: Mapping[str, Sequence[str]],
    rng: random.Random,
    kinds: Collection[str] = KINDS,
    among: Collection[str] | None = None,
) -> list[Pair]:
    """The made pairs of those kinds; passages are taken from the sources `among` (None: all).

    Of neutral pairs, one in four is put among several sentences, of the others every one.
    """
    here = [p for p in told if among is None or p.source in among]
    made: list[Pair] = []
    if "edits" in kinds:
        made += edited(told, neighbours, rng, _EDITS) + sentences_as_claims(told, neighbours, rng, _EDITS, among)
    if "dates" in kinds:
        made += edited(told, neighbours, rng, ("date", "entity"), "dated")
    if "wrong_page" in kinds:
        made += wrong_page(here, rng)
    if "several" in kinds:
        made += [p for p in several(here, rng, SEVERAL_CHARACTERS) if p.label < 2 or rng.random() < 0.25]
    return made
