"""From next-token log-probabilities to probabilities over whole answers.

A token counts for an answer when the answer starts with it (leading blanks and letter case aside) or it starts
with the answer. Its probability goes to that answer once no other fits and it ends at a word's end. A token that
fits several answers ("not" for "not proven" and "not guilty"), or stops inside a word ("no" for "not proven", which
may be the word "no"), is a fork: the engine is asked what follows it. Where it cannot be asked, the token's
probability is shared evenly among the answers that fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Top = Sequence[tuple[str, float]]

# A fork less likely than this is shared evenly: asking on would cost a pass and change no verdict.
_WORTH_ASKING = 0.01
_DEEPEST = 8


def weigh_answers(answers: Sequence[str], top: Top, ask: Callable[[str], Top] | None = None) -> tuple[float, ...]:
    """Probabilities summing to 1 over `answers`; empty if no listed token fits any answer.

    `top` are (token text, log-probability) of the likeliest first tokens; `ask(written)` gives them after `written`.
    """
    mass = np.zeros(len(answers))
    _share(answers, list(range(len(answers))), "", top, 1.0, mass, ask, 0)
    if mass.sum() <= 0:
        return ()
    # An answer whose tokens are all beyond the list is no likelier than the least listed, nor than all unlisted ones.
    listed = np.exp([logprob for _, logprob in top])
    mass = np.maximum(mass, min(listed.min(), max(1.0 - listed.sum(), 1e-6), mass[mass > 0].min()))
    mass /= mass.sum()
    return tuple(float(p) for p in mass)


def _share(
    answers: Sequence[str],
    candidates: list[int],
    written: str,
    top: Top,
    weight: float,
    mass: np.ndarray,
    ask: Callable[[str], Top] | None,
    depth: int,
) -> None:
    for token, logprob in top:
        piece = (token if written else token.lstrip()).casefold()
        if not piece.strip():
            continue
        so_far = written.casefold() + piece
        fits = [i for i in candidates if _fits(answers[i].casefold(), so_far)]
        chance = weight * float(np.exp(logprob))
        exact = [i for i in fits if answers[i].casefold() == so_far.strip()]
        open_ended = len(fits) > 1 or any(_inside_word(answers[i], so_far) for i in fits)
        if open_ended and not exact and ask is not None and depth < _DEEPEST and chance > _WORTH_ASKING:
            kept = answers[fits[0]][: len(so_far)]
            _share(answers, fits, kept, ask(kept), chance, mass, ask, depth + 1)
            continue
        fits = exact or fits
        for i in fits:
            mass[i] += chance / len(fits)


def _inside_word(answer: str, text: str) -> bool:
    return text[-1:].isalnum() and answer[len(text) :][:1].isalnum()


def _fits(answer: str, text: str) -> bool:
    return answer.startswith(text) or (text.startswith(answer) and not text[len(answer) :][:1].isalnum())
