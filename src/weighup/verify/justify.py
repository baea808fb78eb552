"""Why a perspective may be relied on or not, quoting what that rests on; and the check that a quotation is one.

A justification shown to a reader quotes the passage, the model's words or the wording of the claim that the assessment
rests on, each between “ and ”. What a model writes is shown only where each of its quotations stands in what it read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from weighup.dates import iso
from weighup.texts import shorten
from weighup.verify import evidence, reasoning
from weighup.verify.tone import CUES, NAMES
from weighup.verify.types import KINDS, Kind, Stanced

if TYPE_CHECKING:
    from weighup.verify.decision import Weighed

VERDICTS = ("real", "fake", "unknown")
QUOTED = 160
"""Characters of a passage that are quoted."""
_WORDS = 3
_LEAST_CUE = 0.25
_MARKS = str.maketrans('“”„«»‘’‚"`', "''''''''''")
_PAIRS = str.maketrans("“”„«»", "‘’‘‘’")
_QUOTATION = re.compile("“([^“”]*)”")
_VERBS = {"supports": "supports", "refutes": "refutes", "neutral": "says nothing either way about"}

Triple = tuple[float, float, float]


def justify(kind: Kind, weighed: Weighed, opinions: Mapping[Kind, Triple], available: Mapping[Kind, bool]) -> str:
    """What the assessment of a perspective rests on, for the reader: a quotation, then how the others stand to it.

    `opinions`: P(real), P(fake), P(unknown) by each perspective; `available`: whether it could be had. The perspective
    of `kind` must be.
    """
    own = verdict_of(opinions[kind])
    if kind == "evidence":
        said = f"{_passages(own, weighed.stanced)}; {evidence.note(weighed.stanced, weighed.evidence_row)}"
    elif kind == "reasoning":
        written = weighed.written
        words = written.explanation if written is not None else None
        said = f"it rests on “{quotable(words)}”, in the words of {weighed.writer}; " if words else ""
        said += reasoning.note(weighed.prior, written.opinion if written is not None else None)
    else:
        said = _wording(weighed.prepared.wording, dict(zip(NAMES, weighed.tones.tolist(), strict=True)))
    others = {k: verdict_of(opinions[k]) for k in KINDS if k != kind and available[k]}
    return f"{said}; {agreement(own, others)}" if others else said


def verdict_of(opinion: Sequence[float]) -> str:
    """The likeliest of real, fake and unknown."""
    return VERDICTS[max(range(3), key=lambda i: opinion[i])]


def agreement(own: str, others: Mapping[Kind, str]) -> str:
    """How the verdicts of the other perspectives stand to one's own."""
    same = [kind for kind, verdict in others.items() if verdict == own]
    told = []
    if same:
        told.append(f"{' and '.join(same)} {'comes' if len(same) == 1 else 'come'} to the same verdict")
    told += [f"{kind} comes to another ({verdict})" for kind, verdict in others.items() if verdict != own]
    return ", ".join(told)


def quotable(text: str, limit: int = QUOTED) -> str:
    """A text on one line, cut at a word, its own quotation marks made single, to stand between “ and ”."""
    return shorten(" ".join(text.split()).translate(_PAIRS), limit)


def quotations(text: str) -> list[str]:
    """What stands between “ and ”."""
    return _QUOTATION.findall(text)


def stands(justification: str, *read: str) -> bool:
    """Whether it quotes something, all its quotation marks pair up, and each quotation stands in one of the texts read.

    Blanks, letter case, kinds of quotation marks and an ellipsis at the end are passed over.
    """
    found = quotations(justification)
    paired = justification.count("“") == justification.count("”") == len(found)
    sources = [_plain(text) for text in read]
    return bool(found) and paired and all(_stands(_plain(quote), sources) for quote in found)


def _stands(quote: str, sources: Sequence[str]) -> bool:
    quote = quote.removesuffix("…").rstrip()
    return any(c.isalnum() for c in quote) and any(quote in source for source in sources)


def _plain(text: str) -> str:
    return " ".join(text.translate(_MARKS).casefold().split())


def _passages(own: str, stanced: Sequence[Stanced]) -> str:
    """The passage that weighs most for the verdict, and the one that weighs most against it, if any takes that side."""
    side = {"real": "supports", "fake": "refutes"}.get(own)
    if side is None:
        clear = max(stanced, key=lambda s: max(s.supports, s.refutes))
        return f"the clearest passage is {_quoted(clear)}"
    against = "refutes" if side == "supports" else "supports"
    text = f"it rests on {_quoted(max(stanced, key=lambda s: float(getattr(s, side))), side)}"
    contrary = [s for s in stanced if s.stance == against]
    if contrary:
        text += f"; against it stands {_quoted(max(contrary, key=lambda s: float(getattr(s, against))), against)}"
    return text


def _quoted(s: Stanced, stance: str | None = None) -> str:
    stance = stance or s.stance
    where = ", ".join(part for part in (s.evidence.title or s.evidence.source, iso(s.evidence.published)) if part)
    told = f"“{quotable(s.evidence.text)}”{f' ({where})' if where else ''}"
    return f"{told}, which {_VERBS[stance]} it at {getattr(s, stance):.2f}"


def _wording(text: str, tones: Mapping[str, float]) -> str:
    """The claim's own words that its tone was told from."""
    marked = sorted((name for name in CUES if tones[name] >= _LEAST_CUE), key=lambda name: -tones[name])
    found = list(dict.fromkeys(word for name in marked for word in _cues(name, text)))[:_WORDS]
    told = "how something is said tells little about whether it is true"
    return f"it rests on {', '.join(f'“{word}”' for word in found)}; {told}" if found else told


def _cues(name: str, text: str) -> Iterator[str]:
    match = CUES[name].search(text[:5000])
    if match is not None and match.group().strip():
        yield quotable(match.group(), 40)
