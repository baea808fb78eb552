"""A judge whose prompt is designed by three agents: one selects examples, one evaluates, one rewrites.

Paper: Multi-Agent LLM Judge: automatic personalized LLM judge design for evaluating natural language generation
applications (Cao et al. 2025, arXiv 2504.02867).
Faithful: sample selection picks few diverse, informative scored examples (one of each cluster, and the worst
residuals); evaluation scores all examples with the prompt at hand and measures agreement with people; rewriting, by a
stronger model, sees prompt, errors and examples and proposes a new prompt; the loop ends when agreement rises no more.
Ours: the wording of prompts; the rewriter may see a third of the examples (`shown`), agreement is measured on the rest
(`measured`) only; each rewrite starts from the best prompt so far; a proposal that is no usable new prompt takes up a
round, but does not show that agreement rises no more; residuals are differences of places in the order, so that labels
may be on any scale; clusters are k-means on the encoder's vectors, or on TF-IDF without one.

Examples are items of one response with one number each, as people gave it; agreement lies in [-1, 1] (AUC: [0, 1]).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from weighup.errors import BudgetExceeded, InvalidInput, JobFailed
from weighup.judge.design_judge_agents import (
    ALLOWED,
    MEASURES,
    REJECTED,
    Agreement,
    Evaluation,
    Example,
    Round,
    as_toml,
    proposal,
    request,
    residuals,
    select_examples,
    unusable,
)
from weighup.judge.fence import shown
from weighup.judge.llm import By, LLMJudge
from weighup.judge.prompt_files import PromptFile, prompt
from weighup.judge.types import Item, Judgement, Rubric, Spent, unique
from weighup.metrics.arrays import Floats, Ints, binary, numbers
from weighup.models.metering import Meter
from weighup.models.types import Encoder, LanguageModel
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

LEAST = 20
EPSILON = 0.005
"""What counts as an improvement of agreement."""

__all__ = ["DesignedJudge", "Example", "Round", "design_judge", "select_examples"]


class DesignedJudge:
    """A judge with the best prompt of a design.

    `history`: all rounds, the start first; `stopped`: agreement rose no more (`patience`), or no `rounds` were left;
    `usage`: what the design cost; `shown`, `measured`: ids of the examples of the two parts; `agreement`: the best
    prompt's, on the part by which it was chosen, which flatters it: measure again on other items.
    """

    def __init__(
        self,
        make: Callable[[str], LLMJudge],
        history: Sequence[Round],
        *,
        stopped: Literal["patience", "rounds"],
        usage: Spent,
        shown: Sequence[str],
        measured: Sequence[str],
    ) -> None:
        self.history = tuple(history)
        best = next(one for one in reversed(self.history) if one.outcome in ("kept", "start"))
        self.agreement = best.agreement
        self._make, self._judge = make, make(best.prompt)
        self.name = self._judge.name
        self.stopped, self.usage = stopped, usage
        self.shown, self.measured = tuple(shown), tuple(measured)

    @property
    def file(self) -> PromptFile:
        """The best prompt; `write` makes a file of it."""
        return self._judge.file

    @property
    def rejected(self) -> int:
        """How many proposals were no usable new prompt."""
        return sum(one.outcome in REJECTED for one in self.history)

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Scores of each response. Raises InvalidInput as `LLMJudge`."""
        return self._judge.judge(items, rubric)

    def at(self, number: int) -> LLMJudge:
        """The judge with the prompt of a round, 0 for the start, whatever became of it. Raises InvalidInput for a round
        that there was not, or one that was rejected."""
        if not 0 <= number < len(self.history) or self.history[number].outcome in REJECTED:
            raise InvalidInput(f"round {number}: there is none of that number with a usable prompt")
        return self._make(self.history[number].prompt)

    def write(self, path: Path) -> None:
        """The best prompt as a .toml file that `LLMJudge` and pipelines take."""
        path.write_text(as_toml(self.file.user, self._judge.form), encoding="utf-8")


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

    Raises InvalidInput for fewer than 20 examples, labels that are all the same (also within a part) or not finite (for
    AUC: not 0 and 1), an item there twice or without exactly one response, and a start without its places; JobFailed
    where the scores under the start cannot be used.
    """
    if not task.strip():
        raise InvalidInput("task: say in words what is to be graded")
    if rounds < 1 or patience < 1:
        raise InvalidInput(f"rounds and patience are 1 or more, not {rounds} and {patience}")
    labels = _labels(examples, agreement)
    visible, measured = _parts(labels, seed)
    items = [one.item for one in examples]
    evaluation = Evaluation(items, labels, measured, model, agreement, scale, by, seed, draws, meter)
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
        asked = request(task, best, tried, examples, chosen, temperature, seed + len(tried))
        reply = rewriter.generate([asked], meter=meter)[0]
        if isinstance(reply.error, BudgetExceeded):
            raise reply.error
        candidate = evaluation.of(proposal(reply.value, tried), best)
        tried.append(candidate.round)
        spent = spent + Spent.of(reply.usage) + candidate.usage
        rise = 0.0
        if candidate.round.outcome == "kept":
            rise = candidate.round.agreement.value - best.round.agreement.value
            best = candidate
        if candidate.round.outcome not in REJECTED:
            idle = 0 if rise >= EPSILON else idle + 1
        log.info("design: round %d: %s, %s", len(tried) - 1, tried[-1].outcome, tried[-1].agreement)
    return DesignedJudge(
        evaluation.judge,
        tried,
        stopped="patience" if idle == patience else "rounds",
        usage=spent,
        shown=[items[n].id for n in visible],
        measured=[items[n].id for n in measured],
    )


def _labels(examples: Sequence[Example], agreement: str) -> Floats:
    if agreement not in MEASURES:
        raise InvalidInput(f"agreement: {', '.join(MEASURES)}, not {agreement!r}")
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


def _parts(labels: Floats, seed: int) -> tuple[Ints, Ints]:
    """Places of the third that the rewriter may see and of the rest, on which agreement is measured. Both are spread
    over the whole range of labels: of every three neighbours in their order, one is shown."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    starts = np.arange(0, len(labels) - len(labels) % 3, 3)
    seen = np.zeros(len(labels), bool)
    seen[order[starts + rng.integers(0, 3, len(starts))]] = True
    visible, measured = np.flatnonzero(seen), np.flatnonzero(~seen)
    for name, some in (("shown", visible), ("measured", measured)):
        if np.ptp(labels[some]) == 0:
            raise InvalidInput(f"labels: all of the {name} part are {labels[some][0]:g}; more that differ are needed")
    return visible, measured


def _begin(task: str, by: By) -> str:
    file = prompt("design_start" if by == "json" else "design_start_choice")
    return file.fill(task=task.replace("$", "$$"), **{name: f"${name}" for name in ALLOWED})
