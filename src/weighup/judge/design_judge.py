"""A judge whose prompt is designed by three agents: one selects examples, one evaluates, one rewrites.

Paper: Multi-Agent LLM Judge: automatic personalized LLM judge design for evaluating natural language generation
applications (Cao et al. 2025, arXiv 2504.02867).
Faithful: sample selection picks few diverse, informative scored examples (one of each cluster, and the worst
residuals); evaluation scores all examples with the prompt at hand and measures agreement with people; rewriting, by a
stronger model, sees prompt, errors and examples and proposes a new prompt; the loop ends when agreement rises no more.
Ours: the wording of prompts; the rewriter may see one half of the examples (`shown`), agreement is measured on the
other (`measured`) only; each rewrite starts from the best prompt so far; residuals are differences of places in the
order, so that labels may be on any scale; clusters are k-means on the encoder's vectors, or on TF-IDF without one.

Examples are items of one response with one number each, as people gave it; agreement lies in [-1, 1] (AUC: [0, 1]).
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from weighup.errors import BudgetExceeded, InvalidInput, JobFailed
from weighup.judge.converse import spent as spent_on
from weighup.judge.fence import fenced, shown
from weighup.judge.llm import By, LLMJudge
from weighup.judge.prompt_files import PromptFile, prompt
from weighup.judge.types import Item, Judgement, Rubric, Spent, unique
from weighup.metrics.arrays import Floats, Ints, binary, numbers
from weighup.metrics.classification import auroc
from weighup.metrics.estimate import Estimate, estimated
from weighup.metrics.extras import need
from weighup.metrics.ranking import pearson, spearman
from weighup.models.metering import Meter
from weighup.models.types import Encoder, LanguageModel, Prompt
from weighup.registry import Method

METHOD = Method(
    name="design_judge",
    room="judge",
    paper="Multi-Agent LLM Judge: automatic personalized LLM judge design (Cao et al. 2025)",
    arxiv="2504.02867",
    command="weighup judge run",
    claim_check="weighup.judge.design_judge_claim:check",
)
log = logging.getLogger(__name__)

Agreement = Literal["spearman", "pearson", "auc"]
Outcome = Literal["start", "kept", "no better", "same prompt", "unusable prompt", "no reply", "unusable scores"]
LEAST = 20
EPSILON = 0.005
USABLE = 0.9
"""What counts as an improvement of agreement; a prompt under which a smaller share of scores is usable is not kept."""
CLUSTERS, WORST = 4, 4
_REJECTED = ("same prompt", "unusable prompt", "no reply")
_NEEDED, _ALLOWED = {"question", "response"}, {"question", "response", "low", "high"}
_MEASURES = {"spearman": spearman, "pearson": pearson, "auc": auroc}
_NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True, slots=True)
class Example:
    """An item of one response and the score that people gave it."""

    item: Item
    score: float


@dataclass(frozen=True, slots=True)
class Round:
    """One prompt that was tried, and what became of it. `agreement` with people on the measured half (NaN where none
    could be had), `usable` share of its scores, `diagnosis`: what the rewriter found wrong with the one before."""

    number: int
    prompt: str
    outcome: Outcome
    agreement: Estimate = _NOTHING
    usable: float = math.nan
    diagnosis: str = ""


class DesignedJudge:
    """A judge with the best prompt of a design.

    `history`: all rounds, the start first; `stopped`: agreement rose no more (`patience`), or no `rounds` were left;
    `usage`: what the design cost; `shown`, `measured`: ids of the examples of the two halves.
    """

    def __init__(
        self,
        judge: LLMJudge,
        history: Sequence[Round],
        *,
        stopped: Literal["patience", "rounds"],
        usage: Spent,
        shown: Sequence[str],
        measured: Sequence[str],
    ) -> None:
        self._judge = judge
        self.name = judge.name
        self.history = tuple(history)
        self.stopped, self.usage = stopped, usage
        self.shown, self.measured = tuple(shown), tuple(measured)

    @property
    def file(self) -> PromptFile:
        """The best prompt; `write` makes a file of it."""
        return self._judge.file

    @property
    def agreement(self) -> Estimate:
        """The best prompt's, on the half by which it was chosen, which flatters it: measure again on other items."""
        return next(one.agreement for one in reversed(self.history) if one.outcome in ("kept", "start"))

    @property
    def rejected(self) -> int:
        """How many proposals were no usable new prompt."""
        return sum(one.outcome in _REJECTED for one in self.history)

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Scores of each response. Raises InvalidInput as `LLMJudge`."""
        return self._judge.judge(items, rubric)

    def write(self, path: Path) -> None:
        """The best prompt as a .toml file that `LLMJudge` and pipelines take."""
        path.write_text(_toml(self.file.user, self._judge.form), encoding="utf-8")


def design_judge(
    task: str,
    examples: Sequence[Example],
    model: LanguageModel,
    rewriter: LanguageModel,
    rounds: int = 5,
    patience: int = 2,
    *,
    start: str | None = None,
    agreement: Agreement = "spearman",
    scale: tuple[float, float] = (1.0, 10.0),
    by: By = "json",
    encoder: Encoder | None = None,
    temperature: float = 0.7,
    seed: int = 0,
    draws: int = 1000,
    meter: Meter | None = None,
) -> DesignedJudge:
    """Design the prompt by which `model` scores responses.

    task: what is to be graded, in words; start: the first prompt, with places $question and $response (None: a plain
    one with the task in it); by: how the model is asked, as in `LLMJudge`; temperature: the rewriter's; draws: of the
    bootstrap of agreement. Ends after `patience` rounds in a row that raised agreement by less than 0.005, or after
    `rounds`.

    Raises InvalidInput for fewer than 20 examples, labels that are all the same (also within a half) or not finite (for
    AUC: not 0 and 1), an item there twice or without exactly one response, and a start without its places; JobFailed
    where the scores under the start cannot be used.
    """
    if not task.strip():
        raise InvalidInput("task: say in words what is to be graded")
    if rounds < 1 or patience < 1:
        raise InvalidInput(f"rounds and patience are 1 or more, not {rounds} and {patience}")
    labels = _labels(examples, agreement)
    visible, measured = _halves(labels, seed)
    items = [one.item for one in examples]
    evaluation = _Evaluation(items, labels, measured, model, agreement, scale, by, seed, draws, meter)
    text = shown(_begin(task, by) if start is None else start)
    if fault := unusable(text):
        raise InvalidInput(f"start: {fault}")
    best = evaluation.of(Round(0, text, "start"))
    if best.round.outcome != "start":
        raise JobFailed(
            f"design: {best.round.usable:.0%} of the scores under the start are usable, or all are the same"
        )
    tried, spent, idle = [best.round], best.usage, 0
    while idle < patience and len(tried) <= rounds:
        chosen = select_examples(items, visible, residuals(labels, best.scores), encoder=encoder, seed=seed)
        asked = _request(task, best, tried, examples, chosen, temperature, seed + len(tried))
        reply = rewriter.generate([asked], meter=meter)[0]
        if isinstance(reply.error, BudgetExceeded):
            raise reply.error
        candidate = evaluation.of(_proposed(reply.value, tried), best)
        tried.append(candidate.round)
        spent = spent + spent_on(reply.usage) + candidate.usage
        rise = 0.0
        if candidate.round.outcome == "kept":
            rise = candidate.round.agreement.value - best.round.agreement.value
            best = candidate
        idle = 0 if rise >= EPSILON else idle + 1
        log.info("design: round %d: %s, %s", len(tried) - 1, tried[-1].outcome, tried[-1].agreement)
    return DesignedJudge(
        evaluation.judge(best.round.prompt),
        tried,
        stopped="patience" if idle == patience else "rounds",
        usage=spent,
        shown=[items[n].id for n in visible],
        measured=[items[n].id for n in measured],
    )


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
    if lacking := sorted(_NEEDED - set(names)):
        return f"has no place for {', '.join(f'${one}' for one in lacking)}"
    if strange := sorted(set(names) - _ALLOWED):
        return f"has places that nothing is put in: {', '.join(f'${one}' for one in strange)}"
    return None


class _Rewrite(BaseModel):
    diagnosis: str = Field(max_length=20_000)
    prompt: str = Field(max_length=20_000)


@dataclass(frozen=True, slots=True)
class _Scored:
    """A round with its scores [examples], NaN where there is none."""

    round: Round
    scores: Floats
    usage: Spent


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The evaluation agent: scores all examples with a prompt, and measures agreement on the measured half."""

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

    def of(self, proposed: Round, best: _Scored | None = None) -> _Scored:
        """A proposed round with what became of it; one that is rejected already is not evaluated."""
        if proposed.outcome in _REJECTED:
            return _Scored(proposed, np.full(len(self.items), np.nan), Spent())
        said = self.judge(proposed.prompt).judge(self.items)
        scores = np.array([one.scores[0] if one.usable and one.scores else None for one in said], float)
        usage = sum((one.usage for one in said), Spent())
        here, truth = scores[self.measured], self.labels[self.measured]
        there = ~np.isnan(here)
        usable = float((~np.isnan(scores)).mean())
        found = replace(proposed, usable=usable)
        flat = any(not there.any() or np.ptp(values[there]) == 0 for values in (here, truth))
        if usable < USABLE or flat:
            return _Scored(replace(found, outcome="unusable scores"), scores, usage)
        measure = _MEASURES[self.agreement]
        found = replace(
            found, agreement=estimated(measure, truth[there], here[there], seed=self.seed, draws=self.draws)
        )
        if best is not None and not found.agreement.value > best.round.agreement.value:
            found = replace(found, outcome="no better")
        return _Scored(found, scores, usage)

    def judge(self, text: str) -> LLMJudge:
        """The judge with this prompt."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "designed.toml"
            path.write_text(_toml(text, "score" if self.by == "json" else "score_choice"), encoding="utf-8")
            return LLMJudge(self.model, prompt=path, scale=self.scale, meter=self.meter)


def _proposed(said: object, tried: Sequence[Round]) -> Round:
    """What the rewriter proposed: to be kept unless something is wrong with it."""
    number = len(tried)
    if not isinstance(said, _Rewrite):
        return Round(number, "", "no reply")
    text = shown(said.prompt)
    outcome: Outcome = "kept"
    if unusable(text):
        outcome = "unusable prompt"
    elif any(" ".join(text.split()) == " ".join(one.prompt.split()) for one in tried):
        outcome = "same prompt"
    return Round(number, text, outcome, diagnosis=said.diagnosis)


def _request(
    task: str,
    best: _Scored,
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
    return Prompt(user, file.system, file.max_tokens, temperature, _Rewrite, seed=seed)


def _shown(example: Example, told: str) -> str:
    item = example.item
    texts = fenced(item.prompt, name="request"), fenced(item.responses[0].text, name="response")
    return "\n".join([*texts, f"People gave {example.score:g}. {told}".strip()])


def _labels(examples: Sequence[Example], agreement: str) -> Floats:
    if agreement not in _MEASURES:
        raise InvalidInput(f"agreement: {', '.join(_MEASURES)}, not {agreement!r}")
    if len(examples) < LEAST:
        raise InvalidInput(f"examples: {LEAST} with labels or more are needed, not {len(examples)}")
    unique([one.item for one in examples])
    for one in examples:
        if len(one.item.responses) != 1:
            raise InvalidInput(f"item {one.item.id}: has {len(one.item.responses)} responses where one is needed")
    found = (binary if agreement == "auc" else numbers)("labels", [one.score for one in examples])
    if np.ptp(found) == 0:
        raise InvalidInput(f"labels: all are {found[0]:g}; nothing can be learnt from them")
    return found


def _halves(labels: Floats, seed: int) -> tuple[Ints, Ints]:
    """Places of the half that the rewriter may see and of the one on which agreement is measured, both over the whole
    range of labels: of every two neighbours in their order, one falls to each."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    first = rng.random(len(labels) // 2) < 0.5
    flip = np.concatenate([np.stack([first, ~first], axis=1).ravel(), np.zeros(len(labels) % 2, bool)])
    visible, measured = np.sort(order[flip]), np.sort(order[~flip])
    for name, some in (("shown", visible), ("measured", measured)):
        if np.ptp(labels[some]) == 0:
            raise InvalidInput(f"labels: all of the {name} half are {labels[some][0]:g}; more that differ are needed")
    return visible, measured


def _toml(user: str, form: str) -> str:
    """A prompt file. JSON's strings are TOML's."""
    file = prompt("design_start")  # for its system message
    lines = {"version": file.version, "form": form, "system": file.system, "user": user}
    written = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in lines.items())
    return f"{written}max_tokens = {file.max_tokens}\n"


def _begin(task: str, by: By) -> str:
    file = prompt("design_start" if by == "json" else "design_start_choice")
    return file.fill(task=task.replace("$", "$$"), **{name: f"${name}" for name in _ALLOWED})
