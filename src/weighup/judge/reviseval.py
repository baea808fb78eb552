"""RevisEval: a reference made from the response itself ("RevisEval: Improving LLM-as-a-Judge via Response-Adapted
References", Zhang, Shen, et al. 2024, arXiv 2410.05193).

Faithful: a reviser improves the response, keeping what is right of it, and the revised text is the reference against
which a judge or a metric (BLEU, ROUGE, METEOR, BERTScore, cosine) sees the response. Of a pair, one response drawn at
random is revised with the other in view, and both are held against it (section 3).

Ours: the drawing is by seed and item, so that both orders of a pair have the same reference; a response that the
reviser leaves as it is gets the metric's best value; drafts that are no references (`reviseval_reviser`) make the item
`invalid`; items of one response, or of more than two, have a reference for each response.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.by_metric import Metric, MetricJudge
from weighup.judge.panel import described, waits
from weighup.judge.reviseval_reviser import ModelReviser, Reviser, Revision, Task, checked
from weighup.judge.types import Item, Judge, Judgement, Rubric, Spent, by_scores, unique
from weighup.models.types import Encoder, LanguageModel
from weighup.registry import Method

METHOD = Method(
    name="reviseval",
    room="judge",
    paper="RevisEval: Improving LLM-as-a-Judge via Response-Adapted References (Zhang et al. 2024)",
    arxiv="2410.05193",
    command="weighup judge run",
    claim_check="weighup.judge.reviseval_claim:check",
)
References = Literal["adapted", "fixed", "none"]
KINDS = ("adapted", "fixed", "none")


def revise(
    reviser: Reviser | LanguageModel,
    items: Sequence[Item],
    rubric: Rubric | None = None,
    *,
    shared: bool = True,
    seed: int = 0,
) -> list[tuple[Revision, ...]]:
    """The revisions of each item, in order: one for each response, in its own numbering; of a pair, if `shared`, only
    that of one response drawn by seed, item and sample. All are asked for in one batch, the same one once.

    Raises InvalidInput naming an item with an empty prompt or response, or one that the reviser cannot take whole.
    """
    able = _reviser(reviser)
    asked = [_tasks(item, shared, seed) for item in items]
    every = list(dict.fromkeys(task for some in asked for task in some))
    drafts = able.revise(every, rubric) if every else []
    if len(drafts) != len(every):
        raise InvalidInput(f"reviser {able.name}: gave {len(drafts)} drafts of {len(every)} responses")
    found = {task: checked(task, draft, able) for task, draft in zip(every, drafts, strict=True)}
    return [tuple(found[task] for task in some) for some in asked]


def revise_reference(
    reviser: Reviser | LanguageModel, items: Sequence[Item], rubric: Rubric | None = None, *, seed: int = 0
) -> list[str | None]:
    """The adapted reference of each item of one or two responses, in order; None where the draft cannot be used.

    Raises as `revise`, and InvalidInput for an item of more responses, which has no single reference.
    """
    for item in items:
        if len(item.responses) > 2:
            raise InvalidInput(f"item {item.id}: has {len(item.responses)} responses; one reference is of one or two")
    return [some[0].text for some in revise(reviser, items, rubric, seed=seed)]


class ReferenceJudge:
    """A metric or a judge that sees responses beside a reference of the kind named.

    `metric_or_judge`: a metric as `MetricJudge` takes it, or any judge. `references`: `adapted` (made by `reviser`, a
    Reviser or a language model; an item's own reference is shown to it), `fixed` (the item's own) or `none`. `shared`:
    both responses of a pair are held against one revision; else each against its own, which needs scores.
    """

    def __init__(
        self,
        metric_or_judge: str | Metric | Judge,
        references: References = "adapted",
        *,
        reviser: Reviser | LanguageModel | None = None,
        encoder: Encoder | None = None,
        shared: bool = True,
        name: str | None = None,
        seed: int = 0,
    ) -> None:
        """Raises InvalidInput for an unknown kind of reference, adapted ones without a reviser, or a metric that needs
        a reference and gets none."""
        if references not in KINDS:
            raise InvalidInput(f"references: {', '.join(KINDS)}, not {references!r}")
        if references == "adapted" and reviser is None:
            raise InvalidInput("references: adapted ones need reviser=, a language model or a Reviser")
        self.inner = _judge(metric_or_judge, encoder)
        if references == "none" and "reference" in getattr(getattr(self.inner, "metric", None), "needs", ()):
            raise InvalidInput(f"{self.inner.name}: compares with a reference; references='none' leaves it none")
        self.references: References = references
        self.reviser = _reviser(reviser) if reviser is not None else None
        self.shared, self.seed = shared, seed
        self.name = name or f"{self.inner.name}/{references}"
        self.waits = waits(self.inner)
        self._lower = bool(getattr(self.inner, "lower_is_better", False))
        self._best = _best(self.inner)

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        told: dict[str, JsonValue] = {"judge": "reference", "name": self.name, "of": described(self.inner)}
        reviser = self.reviser.name if self.reviser is not None else None
        return told | {"references": self.references, "reviser": reviser, "shared": self.shared, "seed": self.seed}

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement an item, in order. `rationale` tells which responses the reviser left unchanged, and why an
        item without a usable revision is `invalid`.

        Raises InvalidInput naming an item without the fixed reference, and as `revise`.
        """
        if self.references == "adapted":
            return self._adapted(items, rubric)
        for item in items:
            if self.references == "fixed" and not (item.reference or "").strip():
                raise InvalidInput(f"item {item.id}: has no reference, which {self.name} needs")
        shown = items if self.references == "fixed" else [one.model_copy(update={"reference": None}) for one in items]
        return [one.model_copy(update={"judge": self.name}) for one in self._said(shown, rubric)]

    def _adapted(self, items: Sequence[Item], rubric: Rubric | None) -> list[Judgement]:
        if self.reviser is None or not items:
            return []
        unique(items)
        made = revise(self.reviser, items, rubric, shared=self.shared, seed=self.seed)
        asked: dict[tuple[str, str, int], Item] = {}
        for item, some in zip(items, made, strict=True):
            if all(one.text is not None for one in some):
                asked |= {_key(one): one for one in _with_references(item, some)}
        said = dict(zip(asked, self._said(list(asked.values()), rubric), strict=True)) if asked else {}
        return [self._one(item, some, said) for item, some in zip(items, made, strict=True)]

    def _said(self, items: Sequence[Item], rubric: Rubric | None) -> list[Judgement]:
        said = self.inner.judge(items, rubric)
        if len(said) != len(items):
            raise InvalidInput(f"judge {self.inner.name}: gave {len(said)} judgements of {len(items)} items")
        return said

    def _one(self, item: Item, made: Sequence[Revision], said: dict[tuple[str, str, int], Judgement]) -> Judgement:
        unusable = [one for one in made if one.text is None]
        parts = [] if unusable else [said[_key(one)] for one in _with_references(item, made)]
        unchanged = [one.number for one in made if one.unchanged]
        usage = [one.usage for one in made] + [one.usage for one in parts]
        prompts = [one.prompts for one in made] + [one.prompts for one in parts]
        told: dict[str, Any] = {
            "judge": self.name,
            "order": item.order,
            "sample": item.sample,
            "usage": sum(usage, Spent()),
            "prompts": {name: digest for some in prompts for name, digest in some.items()},
        }
        if unusable:
            first = unusable[0]
            why = f"response {first.number}: {first.fault}"
            return Judgement(item_id=item.id, kind=self._kind(), status=first.status, rationale=why, **told)
        left = [f"response {number}: unchanged by the reviser" for number in unchanged]
        told["rationale"] = "\n".join([*left, *(one.rationale for one in parts if one.rationale)])
        if len(made) == 1 and len(parts) == 1:
            return self._capped(parts[0].model_copy(update=told), unchanged)
        return self._merged(item, parts, unchanged, told)

    def _capped(self, one: Judgement, unchanged: Sequence[int]) -> Judgement:
        if not one.usable or one.scores is None or self._best is None or not unchanged:
            return one
        return one.model_copy(update=self._by_scores(list(one.scores), unchanged))

    def _merged(
        self, item: Item, parts: Sequence[Judgement], unchanged: Sequence[int], told: dict[str, Any]
    ) -> Judgement:
        base = Judgement(item_id=item.id, kind="score", **told)
        missing = [one for one in parts if not one.usable]
        if missing:
            return base.model_copy(update={"status": missing[0].status})
        scores = [one.scores[0] if one.scores else None for one in parts]
        if None in scores:
            raise InvalidInput(
                f"item {item.id}: {self.inner.name} gives no scores; with one reference a response it must"
            )
        return base.model_copy(update=self._by_scores(scores, unchanged))

    def _by_scores(self, scores: list[float | None], unchanged: Sequence[int]) -> dict[str, Any]:
        """Scores with the best where nothing was to be changed, and the winner or ranking that follows."""
        if self._best is not None:
            scores = [self._best if n in unchanged else score for n, score in enumerate(scores, 1)]
        said: dict[str, Any] = {"scores": tuple(scores)}
        worth = [(-s if self._lower else s) for s in scores if s is not None]
        if len(worth) == len(scores) == 2:
            said["winner"] = by_scores(worth, within=getattr(self.inner, "within", 1e-9))
        elif len(worth) == len(scores) > 2:
            said["ranking"] = tuple(sorted(range(1, len(worth) + 1), key=lambda n: -worth[n - 1]))
        return said

    def _kind(self) -> Any:
        return "score" if isinstance(self.inner, MetricJudge) else getattr(self.inner, "kind", "pair")


def _reviser(one: Reviser | LanguageModel) -> Reviser:
    return ModelReviser(one) if isinstance(one, LanguageModel) else one


def _judge(one: str | Metric | Judge, encoder: Encoder | None) -> Judge:
    if isinstance(one, str):
        return MetricJudge(one, encoder=encoder)
    return one if isinstance(one, Judge) else MetricJudge(one)


def _best(judge: Judge) -> float | None:
    """The best value of its metric; None where it has none, or the judge is no metric."""
    metric = judge.metric if isinstance(judge, MetricJudge) else None
    name = "least" if getattr(judge, "lower_is_better", False) else "most"
    value = getattr(metric, name, None)
    return float(value) if value is not None and math.isfinite(value) else None


def _tasks(item: Item, shared: bool, seed: int) -> list[Task]:
    if not item.prompt.strip():
        raise InvalidInput(f"item {item.id}: its prompt is empty")
    for number, one in enumerate(item.responses, 1):
        if not one.text.strip():
            raise InvalidInput(f"item {item.id}: response {number} is empty")
    pair = shared and len(item.responses) == 2
    numbers = [_drawn(item, seed)] if pair else range(1, len(item.responses) + 1)
    return [
        Task(
            item_id=item.id,
            number=number,
            request=item.prompt,
            response=item.responses[number - 1].text,
            material=item.responses[2 - number].text if pair else None,
            reference=item.reference,
            context=item.context,
            sample=item.sample,
        )
        for number in numbers
    ]


def _drawn(item: Item, seed: int) -> int:
    """Response 1 or 2, the same in both orders."""
    return 1 + hashlib.sha256(f"{seed}\n{item.id}\n{item.sample}".encode()).digest()[0] % 2


def _with_references(item: Item, made: Sequence[Revision]) -> list[Item]:
    """The item with its one reference, or one item a response."""
    if len(made) == 1:
        return [item.model_copy(update={"reference": made[0].text})]
    return [
        item.model_copy(
            update={"id": f"{item.id}#{n}", "responses": (response,), "reference": one.text, "order": "given"}
        )
        for n, (response, one) in enumerate(zip(item.responses, made, strict=True), 1)
    ]


def _key(item: Item) -> tuple[str, str, int]:
    return item.id, item.order, item.sample
