"""The three agents of `design_judge`: which examples to show, how well a prompt agrees with people, what to try next.

Paper and what is ours: see `design_judge` (Cao et al. 2025, arXiv 2504.02867).
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from weighup.judge.fence import fenced, shown
from weighup.judge.llm import By, LLMJudge
from weighup.judge.prompt_files import prompt
from weighup.judge.types import Item, Spent
from weighup.metrics.arrays import Floats, Ints
from weighup.metrics.classification import auroc
from weighup.metrics.estimate import Estimate, estimated
from weighup.metrics.extras import need
from weighup.metrics.ranking import pearson, spearman
from weighup.models.metering import Meter
from weighup.models.types import Encoder, LanguageModel, Prompt

Agreement = Literal["spearman", "pearson", "auc"]
Outcome = Literal["start", "kept", "no better", "same prompt", "unusable prompt", "no reply", "unusable scores"]
REJECTED = ("same prompt", "unusable prompt", "no reply")
USABLE = 0.9
"""A prompt under which a smaller share of the scores is usable is not kept."""
CLUSTERS, WORST = 4, 4
NEEDED, ALLOWED = {"question", "response"}, {"question", "response", "low", "high"}
"""Places that a prompt must have, and those that it may have."""
MEASURES = {"spearman": spearman, "pearson": pearson, "auc": auroc}
_NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True, slots=True)
class Example:
    """An item of one response and the score that people gave it."""

    item: Item
    score: float


@dataclass(frozen=True, slots=True)
class Round:
    """One prompt that was tried, and what became of it. `agreement` with people on the measured part (NaN where none
    could be had), `usable` share of its scores, `diagnosis`: what the rewriter found wrong with the one before."""

    number: int
    prompt: str
    outcome: Outcome
    agreement: Estimate = _NOTHING
    usable: float = math.nan
    diagnosis: str = ""


def select_examples(
    items: Sequence[Item],
    among: Sequence[int] | Ints,
    errors: Floats,
    *,
    clusters: int = CLUSTERS,
    worst: int = WORST,
    encoder: Encoder | None = None,
    seed: int = 0,
) -> tuple[list[int], list[int]]:
    """Places of examples to show, of those in `among`: the one nearest to the centre of each cluster of texts, and of
    the others the `worst` by size of their errors [items] (NaN: not scored, never chosen), worst first."""
    places = np.array(among)
    texts = [f"{items[n].prompt}\n{items[n].responses[0].text}" for n in places]
    if encoder is not None:
        vectors = encoder.encode(texts)
    else:
        vectors = need("sklearn.feature_extraction.text").TfidfVectorizer(token_pattern=r"\S+").fit_transform(texts)
    fitted = need("sklearn.cluster").KMeans(min(clusters, len(set(texts))), n_init=3, random_state=seed).fit(vectors)
    distance = fitted.transform(vectors).min(axis=1)
    typical = [
        int(places[fitted.labels_ == one][np.argmin(distance[fitted.labels_ == one])])
        for one in range(fitted.n_clusters)
    ]
    rest = [int(n) for n in places if n not in typical and not math.isnan(errors[n])]
    return typical, sorted(rest, key=lambda n: -abs(errors[n]))[:worst]


def residuals(labels: Floats, scores: Floats) -> Floats:
    """Place of each score in the order of scores less its place by label, each from 0 to 1, ties sharing their mean
    place [n]: above 0 the judge is too kind. NaN where there is no score."""
    found = np.full(len(labels), np.nan)
    there = ~np.isnan(scores)
    rank = need("scipy.stats").rankdata
    found[there] = (rank(scores[there]) - rank(labels[there])) / max(1, int(there.sum()) - 1)
    return found


def unusable(text: str) -> str | None:
    """Why a text is no prompt for a judge; None if it is one."""
    template = Template(text)
    if not template.is_valid():
        return "a $ in it begins no place; write $$ for the sign itself"
    names = template.get_identifiers()
    if lacking := sorted(NEEDED - set(names)):
        return f"has no place for {', '.join(f'${one}' for one in lacking)}"
    if strange := sorted(set(names) - ALLOWED):
        return f"has places that nothing is put in: {', '.join(f'${one}' for one in strange)}"
    return None


class Rewrite(BaseModel):
    diagnosis: str = Field(max_length=20_000)
    prompt: str = Field(max_length=20_000)


@dataclass(frozen=True, slots=True)
class Scored:
    """A round with its scores [examples], NaN where there is none."""

    round: Round
    scores: Floats
    usage: Spent


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation agent: scores all examples with a prompt, and measures agreement on the measured part."""

    items: Sequence[Item]
    labels: Floats
    measured: Ints
    model: LanguageModel
    agreement: Agreement
    scale: tuple[float, float]
    by: By
    seed: int
    draws: int
    meter: Meter | None

    def of(self, proposed: Round, best: Scored | None = None) -> Scored:
        """A proposed round with what became of it; one that is rejected already is not evaluated."""
        if proposed.outcome in REJECTED:
            return Scored(proposed, np.full(len(self.items), np.nan), Spent())
        said = self.judge(proposed.prompt).judge(self.items)
        scores = np.array([one.scores[0] if one.usable and one.scores else None for one in said], float)
        usage = sum((one.usage for one in said), Spent())
        here, truth = scores[self.measured], self.labels[self.measured]
        there = ~np.isnan(here)
        usable = float((~np.isnan(scores)).mean())
        found = replace(proposed, usable=usable)
        flat = any(not there.any() or np.ptp(values[there]) == 0 for values in (here, truth))
        if usable < USABLE or flat:
            return Scored(replace(found, outcome="unusable scores"), scores, usage)
        measure = MEASURES[self.agreement]
        found = replace(
            found, agreement=estimated(measure, truth[there], here[there], seed=self.seed, draws=self.draws)
        )
        if best is not None and not found.agreement.value > best.round.agreement.value:
            found = replace(found, outcome="no better")
        return Scored(found, scores, usage)

    def judge(self, text: str) -> LLMJudge:
        """The judge with this prompt."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "designed.toml"
            path.write_text(as_toml(text, "score" if self.by == "json" else "score_choice"), encoding="utf-8")
            return LLMJudge(self.model, prompt=path, scale=self.scale, meter=self.meter)


def proposal(said: object, tried: Sequence[Round]) -> Round:
    """What the rewriter proposed: to be kept unless something is wrong with it."""
    number = len(tried)
    if not isinstance(said, Rewrite):
        return Round(number, "", "no reply")
    text = shown(said.prompt)
    outcome: Outcome = "kept"
    if unusable(text):
        outcome = "unusable prompt"
    elif any(" ".join(text.split()) == " ".join(one.prompt.split()) for one in tried):
        outcome = "same prompt"
    return Round(number, text, outcome, diagnosis=said.diagnosis)


def request(
    task: str,
    best: Scored,
    tried: Sequence[Round],
    examples: Sequence[Example],
    chosen: tuple[Sequence[int], Sequence[int]],
    temperature: float,
    seed: int,
) -> Prompt:
    """What the rewriter is asked. It sees the chosen examples and no other label."""
    file = prompt("design_rewrite")
    typical, worst = chosen
    errors = residuals(np.array([one.score for one in examples]), best.scores)
    kind = [f"The grader is too {'kind' if errors[n] > 0 else 'harsh'} by {abs(errors[n]):.2f}." for n in worst]
    user = file.fill(
        task=task,
        prompt=fenced(best.round.prompt, name="instructions"),
        agreement=f"{best.round.agreement.value:.3f}",
        history="\n".join(f"{one.number}: {one.outcome}, {one.agreement.value:.3f}" for one in tried),
        examples="\n\n".join(_shown(examples[n], "") for n in typical),
        errors="\n\n".join(_shown(examples[n], told) for n, told in zip(worst, kind, strict=True)) or "(none)",
    )
    return Prompt(user, file.system, file.max_tokens, temperature, Rewrite, seed=seed)


def _shown(example: Example, told: str) -> str:
    item = example.item
    texts = fenced(item.prompt, name="request"), fenced(item.responses[0].text, name="response")
    return "\n".join([*texts, f"People gave {example.score:g}. {told}".strip()])


def as_toml(user: str, form: str) -> str:
    """A prompt file. JSON's strings are TOML's."""
    file = prompt("design_start")  # for its system message
    lines = {"version": file.version, "form": form, "system": file.system, "user": user}
    written = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in lines.items())
    return f"{written}max_tokens = {file.max_tokens}\n"
