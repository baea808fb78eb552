"""Does each measure of an answer react to its own defect, and to no other? A hundred contexts with planted defects.

From the test split of FoolMeTwice (Eisenschlos et al. 2021), on which the entailment model was not trained: a context
is a page with two claims that people wrote and the Wikipedia sentences that support each (its passages), and, below
them, the passages of another page. The clean answer is the claims, each with its citation. People wrote the claims to
be hard to check, so this is a hard test of a reader. Planted, one at a time:

- unsupported: a made-up sentence about the subject, without a citation -> faithfulness;
- missing: a claim is left out -> claim recall;
- off topic: the claims about the other page, rightly cited -> answer relevance;
- wrong citation: one claim cites a passage of the other page -> citation precision;
- shuffled: the passages in an order that is not all of the subject's first -> context precision.

For each measure: AUROC of clean against its own defect, and the mean size of its change under the other four. Once with
a scripted reader, which knows what was planted, and once with the entailment model and the encoder of this repository.
With the models, what hangs on claims is counted both ways (`count` of `rag_report`): by verdict and by chance.
Questions are written back by rule, from the names in a claim, not by a language model. An off-topic answer also lacks
every claim of the reference: claim recall must react to it, and is shown with and without it.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats
from weighup.metrics.classification import auroc
from weighup.metrics.intervals import bootstrap
from weighup.metrics.rag import rag_report
from weighup.metrics.rag_generation import Ask, Count, Embed, Entails
from weighup.metrics.rag_samples import Passage, RagSample
from weighup.metrics.rag_texts import split_sentences
from weighup.rowfile import json_rows
from weighup.texts import STOP_WORDS, words

OWN = {
    "unsupported": "faithfulness",
    "missing": "claim_recall",
    "off topic": "answer_relevance",
    "wrong citation": "citation_precision",
    "shuffled": "context_precision",
}
DEFECTS = tuple(OWN)
BY_CLAIMS = ("unsupported", "missing", "wrong citation")  # what hangs on how supported claims are counted
CONTEXTS, CLAIMS = 100, 2
DATA = "news/fool_me_twice, test"
_MADE_UP = (
    "A museum in {place} keeps {number} letters on {title}.",
    "A school in {place} gave a prize of {number} dollars for essays on {title}.",
    "A survey in {place} asked {number} people about {title}.",
)
_PLACES = ("Tallinn", "Montevideo", "Kumasi", "Hobart", "Trondheim", "Arequipa", "Surabaya", "Plovdiv")
_NAME = re.compile(r"\b[A-Z0-9][\w'’.-]*(?:\s+(?:(?:of|the|and|in|de)\s+)*[A-Z0-9][\w'’.-]*)*")


@dataclass(frozen=True)
class Page:
    """A subject, claims about it, and the passage that supports each."""

    title: str
    claims: tuple[str, ...]
    passages: tuple[str, ...]


@dataclass(frozen=True)
class Reader:
    """What reads for the measures, by name; and the AUROC that is claimed with it."""

    name: str
    entails: Entails
    embed: Embed
    ask: Ask
    margin: float


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """AUROC and cross-reaction of each measure: with the scripted reader on all seeds, with the models on the first.

    Raises InvalidInput for data that cannot be read, WeightsError or ModelMissing where a model is not there.
    """
    pages = read_pages(data)
    exact, real, first = scripted(pages), models(), list(seeds)[:1]
    results = _claims(exact, np.stack([measured(pages, exact, seed) for seed in seeds], axis=-1), list(seeds))
    results += _claims(real, measured(pages, real, first[0])[..., None], first)
    expected = measured(pages, real, first[0], "expected")[..., None]
    by_chance = dataclasses.replace(real, name=f"{real.name}, by chance")
    return results + [_own(by_chance, expected, first, defect) for defect in BY_CLAIMS]


def read_pages(data: Path) -> list[Page]:
    """The CONTEXTS pages with most supported claims, each claim one sentence with a passage of its own."""
    path = data / "news" / "fool_me_twice" / "test.jsonl.gz"
    rows = json_rows(path)
    by_page: dict[str, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        claim = row["text"].strip().rstrip(".") + "."
        gold = " ".join(dict.fromkeys(one["text"].strip() for one in row["evidence"] if one["gold"]))
        held = by_page.setdefault(row["group"], {})
        # A claim that ends with an abbreviation or a quotation would run into the next one.
        twice = [f"{claim} {claim}", _answer([claim, claim], ["1", "1"])]
        alone = all(split_sentences(text) == [claim, claim] for text in twice)
        if row["label"] == "SUPPORTS" and gold and gold not in held and alone:
            held[gold] = claim
    pages = [
        Page(re.sub(r"\s*\(.*\)$", "", title), tuple(held.values())[:CLAIMS], tuple(held)[:CLAIMS])
        for title, held in by_page.items()
        if len(held) > 1
    ]
    pages.sort(key=lambda page: (-len(page.claims), page.title))
    if len(pages) < CONTEXTS:
        raise InvalidInput(f"{path}: {len(pages)} pages have two supported claims; {CONTEXTS} are needed")
    return pages[:CONTEXTS]


def planted(pages: Sequence[Page], seed: int) -> list[RagSample]:
    """Per page the clean sample and one a defect, in the order of DEFECTS."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pages))
    other = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return [sample for place in range(len(pages)) for sample in _six(pages[place], pages[other[place]], place, rng)]


def _six(page: Page, off: Page, place: int, rng: np.random.Generator) -> list[RagSample]:
    own = [str(number) for number in range(1, len(page.passages) + 1)]
    others = [str(number) for number in range(len(own) + 1, len(own) + len(off.passages) + 1)]
    passages = [
        Passage(id=name, text=text) for name, text in zip([*own, *others], [*page.passages, *off.passages], strict=True)
    ]
    form, where = _MADE_UP[rng.integers(len(_MADE_UP))], _PLACES[rng.integers(len(_PLACES))]
    made_up = form.format(place=where, number=int(rng.integers(11, 990)), title=page.title)
    gone = int(rng.integers(len(own)))
    wrong = list(own)
    wrong[int(rng.integers(len(own)))] = others[int(rng.integers(len(others)))]
    shuffled = passages
    while all(one.id in own for one in shuffled[: len(own)]):
        shuffled = [passages[number] for number in rng.permutation(len(passages))]
    clean = _answer(page.claims, own)
    left = [number for number in range(len(own)) if number != gone]
    answers = {
        "clean": clean,
        "unsupported": f"{clean} {made_up}",
        "missing": _answer([page.claims[number] for number in left], [own[number] for number in left]),
        "off topic": _answer(off.claims, others),
        "wrong citation": _answer(page.claims, wrong),
        "shuffled": clean,
    }
    return [
        RagSample(
            id=f"{place} {kind}",
            question=_question(page.title),
            contexts=tuple(shuffled if kind == "shuffled" else passages),
            answer=answer,
            reference=" ".join(page.claims),
        )
        for kind, answer in answers.items()
    ]


def measured(pages: Sequence[Page], reader: Reader, seed: int, count: Count = "likeliest") -> Floats:
    """[pages, 1 + defects (clean first), measures in the order of OWN]."""
    samples = planted(pages, seed)
    report = rag_report(samples, entailment=reader.entails, embed=reader.embed, ask=reader.ask, count=count, draws=1)
    table = np.stack([report.column(name) for name in OWN.values()], axis=1)
    if np.isnan(table).any():
        raise InvalidInput(f"{DATA}: a measure is undefined on a planted sample; are the rows complete?")
    return table.reshape(len(pages), 1 + len(DEFECTS), len(OWN))


def scripted(pages: Sequence[Page]) -> Reader:
    """Knows which passage supports which claim, and what each claim is about."""
    passage = {claim: text for page in pages for claim, text in zip(page.claims, page.passages, strict=True)}
    title = {claim: page.title for page in pages for claim in page.claims}
    titles = sorted({page.title for page in pages}, key=len, reverse=True)

    def subject(sentence: str) -> str:
        # A made-up sentence ends with its subject.
        return title.get(sentence) or next(one for one in titles if sentence.endswith(f" {one}."))

    def entails(pairs: Sequence[tuple[str, str]]) -> Floats:
        sure = [claim in source or (claim in passage and passage[claim] in source) for source, claim in pairs]
        found: Floats = np.where(np.array(sure, bool)[:, None], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
        return found

    def ask(answers: Sequence[str]) -> list[list[str]]:
        return [[_question(subject(one)) for one in split_sentences(answer)] for answer in answers]

    return Reader("scripted reader", entails, _word_counts, ask, 0.98)


def models() -> Reader:
    """The entailment model and the encoder that come with weighup."""
    # Measuring stands below verifying and may not know of it; only this check of a claim looks up, when it is run.
    stance = importlib.import_module("weighup.verify.stance").StanceModel.load(threads=1)
    encoder = importlib.import_module("weighup.models.open").encoder()
    known: dict[tuple[str, str], Any] = {}
    vectors: dict[str, Any] = {}

    # Both are asked the same twice, since claims are counted two ways.
    def entails(pairs: Sequence[tuple[str, str]]) -> Any:
        new = [pair for pair in pairs if pair not in known]
        known.update(zip(new, stance.score([(claim, source) for source, claim in new]), strict=True))
        found = np.array([known[pair] for pair in pairs], float)
        return found / found.sum(axis=1, keepdims=True)

    def embed(texts: Sequence[str]) -> Any:
        new = [text for text in texts if text not in vectors]
        vectors.update(zip(new, encoder.encode(new), strict=True))
        return np.array([vectors[text] for text in texts], float)

    return Reader("stance model and encoder", entails, embed, ask_by_names, 0.85)


def ask_by_names(answers: Sequence[str]) -> list[list[str]]:
    """A question about the names in each sentence of an answer; about the sentence where it has none."""
    found = []
    for answer in answers:
        several = []
        for sentence in split_sentences(answer):
            names = [name for name in _NAME.findall(sentence) if name.lower() not in STOP_WORDS]
            several.append(_question(", ".join(dict.fromkeys(names)) or sentence.rstrip(".")))
        found.append(several)
    return found


def _claims(reader: Reader, table: Floats, seeds: Sequence[int]) -> list[ClaimResult]:
    """table [pages, 1 + defects, measures, seeds]."""
    results = []
    for defect, name in OWN.items():
        results += [_own(reader, table, seeds, defect), _cross(reader, table, seeds, defect)]
        if name == "claim_recall":
            results.append(_cross(reader, table, seeds, defect, but="off topic"))
    return results


def _own(reader: Reader, table: Floats, seeds: Sequence[int], defect: str) -> ClaimResult:
    column = DEFECTS.index(defect)
    own = -table[:, [0, 1 + column], column]  # [pages, clean and defect, seeds]
    low, high = bootstrap(_mean_auroc, own, seed=seeds[0])
    return compare(
        f"{OWN[defect]} finds its own defect, {defect} ({reader.name})",
        metric=f"AUROC of {OWN[defect]}, clean against {defect}",
        values=[_auroc(own[..., each]) for each in range(len(seeds))],
        baseline=f"{reader.margin}",
        baseline_values=[reader.margin] * len(seeds),
        interval=(low - reader.margin, high - reader.margin),
        seeds=seeds,
        n=len(table),
        data=DATA,
    )


def _cross(reader: Reader, table: Floats, seeds: Sequence[int], defect: str, but: str = "") -> ClaimResult:
    column = DEFECTS.index(defect)
    places = [1 + place for place, other in enumerate(DEFECTS) if other not in (defect, but)]
    moved = np.abs(table[:, places, column] - table[:, :1, column]).mean(axis=1)  # [pages, seeds]
    low, high = bootstrap(np.mean, moved, seed=seeds[0])
    others = f"the other defects but {but}" if but else "the other defects"
    return compare(
        f"{OWN[defect]} hardly reacts to {others} ({reader.name})",
        metric=f"mean size of the change of {OWN[defect]}",
        values=moved.mean(axis=0).tolist(),
        baseline="0.1",
        baseline_values=[0.1] * len(seeds),
        interval=(0.1 - high, 0.1 - low),
        lower_is_better=True,
        seeds=seeds,
        n=len(table),
        data=DATA,
    )


def _auroc(own: Floats) -> float:
    """own [pages, clean and defect], higher where the defect is suspected."""
    return auroc(np.repeat([0, 1], len(own)), own.T.ravel())


def _mean_auroc(own: Floats) -> float:
    return float(np.mean([_auroc(own[..., each]) for each in range(own.shape[-1])]))


def _word_counts(texts: Sequence[str]) -> Floats:
    """Texts as counts of their words [n, words]."""
    place: dict[str, int] = {}
    rows = [[place.setdefault(word, len(place)) for word in words(text)] for text in texts]
    counts = np.zeros((len(rows), max(1, len(place))))
    for number, row in enumerate(rows):
        np.add.at(counts[number], row, 1.0)
    return counts


def _question(subject: str) -> str:
    return f"What is known about {subject}?"


def _answer(claims: Sequence[str], cited: Sequence[str]) -> str:
    return " ".join(f"{claim.rstrip('.')} [{name}]." for claim, name in zip(claims, cited, strict=True))
