"""Is the answer true to its passages, to the point, right, and rightly cited? The generator's part of `rag`.

Every value is made of claims: sentences of a text, or what `split` makes of it. A claim is supported where "supports"
is the likeliest of the three verdicts; or, counted as "expected", by its chance, so that a claim of which the model is
half sure counts half: finer where samples are ranked, but a model that is never quite sure then gives no true answer 1.
One source must support a claim by itself: a claim that needs two passages together is missed.

Faithfulness, answer relevance and correctness as in RAGAS (Es et al. 2023, arXiv 2309.15217, and its later releases).
Citations as in ALCE (Gao et al. 2023, arXiv 2305.14627, section 3): recall asks whether the cited passages together
support the statement; a citation is precise if its passage supports the statement alone, or the others do not without
it. Ours: citations by chances where these are counted, and the harmonic mean of claim precision and recall as F1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats
from weighup.metrics.rag_samples import UNDEFINED, RagSample, Score, copies
from weighup.metrics.rag_texts import Cite, CitedText, Split, cited_sentences, declines, refuses

BATCH = 4096  # pairs handed to the entailment function at once
F1_WEIGHT = 0.75  # of claim F1 in answer correctness; the rest is similarity (RAGAS)


class Entails(Protocol):
    """pairs (source, claim) -> float array [n, 3]: chances that the source supports the claim, refutes it, or does
    neither; rows sum to 1."""

    def __call__(self, pairs: Sequence[tuple[str, str]], /) -> ArrayLike: ...


Count = Literal["likeliest", "expected"]
Embed = Callable[[Sequence[str]], ArrayLike]
Ask = Callable[[Sequence[str]], Sequence[Sequence[str]]]


class Support:
    """Whether a source supports a claim, by an entailment function: 0 or 1, or its chance where `count` is "expected".
    Each distinct pair is asked once."""

    def __init__(self, entailment: Entails, count: Count = "likeliest") -> None:
        if count not in ("likeliest", "expected"):
            raise InvalidInput(f'count: "likeliest" or "expected" is needed, not {count!r}')
        self._entailment = entailment
        self._expected = count == "expected"
        self._found: dict[tuple[str, str], tuple[float, bool]] = {}

    def read(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Ask about pairs (source, claim). Raises InvalidInput where what comes back is not [n, 3] of chances."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._found]
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            table = np.asarray(self._entailment(batch), float)
            if table.shape != (len(batch), 3):
                raise InvalidInput(f"entailment: an array of shape ({len(batch)}, 3) is needed, not {table.shape}")
            if not (np.isfinite(table).all() and table.min() >= 0 and np.allclose(table.sum(1), 1, atol=1e-3)):
                raise InvalidInput("entailment: chances in [0, 1] that sum to 1 are needed: supports, refutes, neutral")
            verdicts = table[:, 0] > table[:, 1:].max(axis=1)
            told = zip(table[:, 0].tolist(), verdicts.tolist(), strict=True)
            self._found.update(zip(batch, told, strict=True))

    def __call__(self, source: str, claim: str) -> float:
        chance, verdict = self._found[source, claim]
        return chance if self._expected else float(verdict)

    def likeliest(self, source: str, claim: str) -> bool:
        """Whether "supports" is the likeliest of the three, whatever is counted."""
        return self._found[source, claim][1]

    def best(self, sources: Sequence[str], claim: str) -> float:
        """By the source that supports it most; 0 without a source."""
        return max((self(source, claim) for source in sources), default=0.0)


@dataclass(frozen=True)
class Parsed:
    """A sample as texts to compare: claims of answer and reference, statements with what they cite, passages without
    copies, and what is odd about it."""

    sample: RagSample
    claims: tuple[str, ...]
    reference: tuple[str, ...]
    statements: tuple[CitedText, ...]
    passages: tuple[str, ...]
    plain: str
    refused: bool
    flags: tuple[str, ...]


def parse(sample: RagSample, split: Split, cite: Cite) -> Parsed:
    """Texts of a sample taken apart, and its flags."""
    refused = refuses(sample.answer)
    claims = () if refused else tuple(split(sample.answer))
    statements = () if refused else tuple(one for one in cite(sample.answer) if not declines(one.text))
    there = {passage.id for passage in sample.contexts}
    absent = dict.fromkeys(mark for one in statements for mark in one.marks if mark not in there)
    again = copies(sample)
    flags = {
        "no context": not sample.contexts,
        "refused": refused,
        "no claims in the answer": not claims and not refused,
        f"cites what is not there: {', '.join(absent)}": bool(absent),
        f"passages given twice: {', '.join(sample.contexts[place].id for place in sorted(again))}": bool(again),
    }
    return Parsed(
        sample=sample,
        claims=claims,
        reference=tuple(split(sample.reference)) if sample.reference is not None else (),
        statements=statements,
        passages=tuple(one.text for place, one in enumerate(sample.contexts) if place not in again),
        plain=" ".join(one.text for one in cited_sentences(sample.answer)),
        refused=refused,
        flags=tuple(flag for flag, holds in flags.items() if holds),
    )


def pairs(parsed: Parsed) -> Iterator[tuple[str, str]]:
    """Every (source, claim) that the measures below and those of the retriever ask about."""
    for claim in (*parsed.claims, *parsed.reference):
        yield from ((one.text, claim) for one in parsed.sample.contexts)
    if parsed.sample.reference is not None:
        yield from ((parsed.sample.reference, claim) for claim in parsed.claims)
        yield from ((parsed.plain, claim) for claim in parsed.reference)
    for statement in parsed.statements:
        cited = _cited(parsed.sample, statement)
        yield from ((one, statement.text) for one in cited)
        if len(cited) > 1:
            yield " ".join(cited), statement.text
            yield from ((" ".join(rest), statement.text) for rest in _leaving_one_out(cited))


def faithfulness(parsed: Parsed, support: Support) -> Score:
    """Share of the answer's claims that a passage supports; undefined without claims, 0 without passages."""
    return _mean([support.best(parsed.passages, claim) for claim in parsed.claims])


def context_recall(parsed: Parsed, support: Support) -> Score:
    """Share of the reference's claims that a passage supports."""
    return _mean([support.best(parsed.passages, claim) for claim in parsed.reference])


def useful(parsed: Parsed, support: Support) -> Floats:
    """Per passage 1 where it supports a claim of the reference, else 0 [passages]."""
    every = [[support.likeliest(one.text, claim) for claim in parsed.reference] for one in parsed.sample.contexts]
    return np.array([any(each) for each in every], float)


def claim_scores(parsed: Parsed, support: Support) -> dict[str, Score]:
    """claim_precision: share of the answer's claims that the reference supports, undefined without claims;
    claim_recall: share of the reference's that the answer supports; claim_f1. Undefined where no reference claims."""
    if not parsed.reference or parsed.sample.reference is None:
        return dict.fromkeys(("claim_precision", "claim_recall", "claim_f1"), UNDEFINED)
    source = parsed.sample.reference
    precision = _mean([support(source, claim) for claim in parsed.claims])
    recall = Score(0.0, len(parsed.reference))
    if parsed.claims:
        recall = _mean([support(parsed.plain, claim) for claim in parsed.reference])
    p, r = (precision.value if precision.n else 0.0), recall.value
    f1 = 2 * p * r / (p + r) if p + r else 0.0
    both = len(parsed.claims) + len(parsed.reference)
    return {"claim_precision": precision, "claim_recall": recall, "claim_f1": Score(f1, both)}


def citation_scores(parsed: Parsed, support: Support) -> dict[str, Score]:
    """citation_recall: share of statements that the passages they cite support together, 0 for one that cites nothing;
    citation_precision: share of citations that are precise (top of this file), 0 for an id that is not there. Undefined
    without statements, or citations."""
    recalled, precise = [], []
    for statement in parsed.statements:
        cited = _cited(parsed.sample, statement)
        together = support(" ".join(cited), statement.text) if cited else 0.0
        recalled.append(together)
        precise += [0.0] * (len(statement.marks) - len(cited))
        for alone, rest in zip(cited, _leaving_one_out(cited), strict=True):
            without = support(" ".join(rest), statement.text) if rest else 0.0
            needed = together * (1 - without) if rest else 0.0
            precise.append(max(support(alone, statement.text), needed))
    return {"citation_precision": _mean(precise), "citation_recall": _mean(recalled)}


def answer_relevance(parsed: Sequence[Parsed], embed: Embed, ask: Ask | None) -> list[Score]:
    """Mean cosine of the question with questions written from the answer alone, in [−1, 1]; `n`: those questions.

    The sample's own `regenerated` go before `ask`. A refusal scores 0, or is undefined where the sample is known not to
    be answerable; also undefined: an answer from which no question was written.
    """
    asked: list[Sequence[str]] = [() if one.refused else one.sample.regenerated for one in parsed]
    missing = [place for place, one in enumerate(parsed) if not asked[place] and not one.refused]
    if ask is not None and missing:
        written = ask([parsed[place].plain for place in missing])
        if len(written) != len(missing):
            raise InvalidInput(f"ask: a list of questions an answer is needed: {len(written)} for {len(missing)}")
        for place, several in zip(missing, written, strict=True):
            asked[place] = [question for question in several if question.strip()]
    vectors = embedded([one.sample.question for one in parsed] + [each for several in asked for each in several], embed)
    found, at = [], len(parsed)
    for place, (one, several) in enumerate(zip(parsed, asked, strict=True)):
        cosines = vectors[at : at + len(several)] @ vectors[place]
        at += len(several)
        if one.refused:
            found.append(UNDEFINED if one.sample.answerable is False else Score(0.0, 0))
        else:
            found.append(_mean(cosines.tolist()))
    return found


def answer_similarity(parsed: Sequence[Parsed], embed: Embed) -> list[Score]:
    """Cosine of answer and reference, cut at 0: in [0, 1]. Undefined without a reference; `n` is 1."""
    places = [place for place, one in enumerate(parsed) if one.sample.reference is not None]
    vectors = embedded(
        [parsed[place].plain or parsed[place].sample.answer for place in places]
        + [parsed[place].sample.reference or "" for place in places],
        embed,
    )
    found = [UNDEFINED] * len(parsed)
    for row, place in enumerate(places):
        found[place] = Score(max(0.0, float(vectors[row] @ vectors[len(places) + row])), 1)
    return found


def embedded(texts: Sequence[str], embed: Embed) -> Floats:
    """Texts as vectors of length 1 [n, d] (0 where the vector was 0); each distinct text is asked for once.

    Raises InvalidInput where `embed` gives another shape or what is not finite.
    """
    distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    if not distinct:
        return np.zeros((0, 1))
    table = np.asarray(embed(list(distinct)), float)
    if table.ndim != 2 or len(table) != len(distinct) or not np.isfinite(table).all():
        raise InvalidInput(
            f"embed: finite numbers of shape ({len(distinct)}, d) are needed, not an array of {table.shape}"
        )
    length = np.linalg.norm(table, axis=1, keepdims=True)
    unit: Floats = table / np.where(length > 0, length, 1.0)
    return unit[[distinct[text] for text in texts]]


def _mean(values: Sequence[float]) -> Score:
    return Score(math.fsum(values) / len(values), len(values)) if values else UNDEFINED


def _cited(sample: RagSample, statement: CitedText) -> list[str]:
    """Texts of the passages that a statement cites and that are there."""
    texts = {passage.id: passage.text for passage in sample.contexts}
    return [texts[mark] for mark in statement.marks if mark in texts]


def _leaving_one_out(cited: Sequence[str]) -> list[list[str]]:
    return [[*cited[:place], *cited[place + 1 :]] for place in range(len(cited))]
