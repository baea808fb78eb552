"""A language model as a judge: of pairs, of single responses, of many at once.

The verdict is JSON of a fixed schema, reasons first and verdict last; or, `by="probability"`, what the model would say
next is weighed (score levels by their expectation: G-Eval, Liu et al. 2023, arXiv 2303.16634, section 2). All
prompts of a call go to the model in one batch. Judged text is fenced, and what a response says to its judge is taken
out (`fence`); it is never cut: what is too long is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, JsonValue

from weighup.errors import BudgetExceeded, InvalidInput, WeighupError
from weighup.judge.fence import stripped
from weighup.judge.llm_forms import (
    FORMS,
    NEEDS,
    DecidedVerdict,
    PairVerdict,
    filled,
    levels,
    ranking_schema,
    scores_schema,
)
from weighup.judge.prompt_files import prompt as read_prompt
from weighup.judge.types import Item, Judgement, Kind, Rubric, Spent, Status, answered, by_scores, two
from weighup.models.backend import Transient
from weighup.models.endpoint import Rejected
from weighup.models.metering import Meter
from weighup.models.types import Choice, LanguageModel, Prompt, Question, Reply
from weighup.texts import shorten

By = Literal["json", "probability"]
Unfit = Literal["error", "invalid"]
Defence = Literal["strip", "fence", "none"]
_KINDS: dict[str, Kind] = {"pair": "pair", "score": "score", "rank": "rank"}
_REFUSES = re.compile(
    r"refus|content.?(?:filter|policy)|safety|sorry|can(?:no|')t (?:help|assist|judge)|unable to", re.I
)
_NOT_TAKEN = (400, 413, 422)
_BYTES_A_TOKEN = 3  # four in English, fewer elsewhere: rather refuse what would just have fitted than lose its end


class LLMJudge:
    """A judge over any LanguageModel.

    `prompt`: a shipped prompt (`pair`, `pair_scores`, `score`, `rank`) or a .toml file of yours, whose `form` (else the
    argument) says what it asks for. `scale`: least and greatest score. `ties`: whether a pair may tie.
    `temperature`: with `item.sample` as seed (plus `seed`), other samples are other draws. `context`: tokens that the
    model takes, None: what the embedded model says, else no limit here. `unfit`: an empty or over-long item is an
    error, or becomes `invalid` where the rest is to be judged all the same. `defence`: against responses that speak to
    their judge: `strip` takes such sentences out and tells of it in `rationale`, `fence` leaves them between marks,
    `none` shows the bare text (to measure what the others are worth).

    Judgements: certainty and scores are probabilities where asked `by="probability"`. A reply that stays unusable is
    `invalid`, a refusal `refused`, and what no server answered (or no budget was left for) `waiting`: ask again.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        prompt: str | Path = "pair",
        form: str | None = None,
        by: By = "json",
        name: str | None = None,
        scale: tuple[float, float] = (1.0, 10.0),
        ties: bool = True,
        temperature: float = 0.0,
        seed: int = 0,
        context: int | None = None,
        unfit: Unfit = "error",
        defence: Defence = "strip",
        folder: Path | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Raises InvalidInput for a prompt that is not there, lacks what its form must show, or does not fit `by`."""
        if by not in ("json", "probability"):
            raise InvalidInput(f"by: json or probability, not {by!r}")
        if defence not in ("strip", "fence", "none"):
            raise InvalidInput(f"defence: strip, fence or none, not {defence!r}")
        if not scale[0] < scale[1]:
            raise InvalidInput(f"scale: {scale} does not rise")
        if by == "probability" and prompt in ("pair", "score"):
            prompt = f"{prompt}_choice"
        self.file = read_prompt(prompt, folder)
        self.form = form or self.file.form or self.file.name
        if self.form not in FORMS:
            raise InvalidInput(f"prompt {self.file.name}: its form is {self.form!r}; known are {', '.join(FORMS)}")
        lacking = NEEDS[self.form] - self.file.placeholders
        if lacking:
            raise InvalidInput(
                f"prompt {self.file.name}: has no place for {', '.join(f'${n}' for n in sorted(lacking))}"
            )
        self.by: By = "probability" if self.form.endswith("_choice") else "json"
        if by == "probability" and self.by == "json":
            raise InvalidInput(f"prompt {self.file.name}: a {self.form} cannot be judged by probability")
        self.kind: Kind = _KINDS[self.form.partition("_")[0]]
        self.model, self.meter = model, meter
        self.name = name or f"{model.name}/{self.file.name}"
        self.scale, self.ties, self.temperature, self.seed, self.unfit = scale, ties, temperature, seed, unfit
        self.defence: Defence = defence
        self.prompts = self.file.told
        self.concurrency: int | None = getattr(model, "concurrency", None)
        backend = getattr(model, "backend", None)
        self._context: int | None = context if context is not None else getattr(backend, "context", None)
        self._levels = levels(scale) if self.form == "score_choice" else ()
        self._answers = ("1", "2", "tie") if ties else ("1", "2")

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        return {
            "judge": "llm",
            "name": self.name,
            "model": f"{self.model.name} {self.model.version}",
            "prompt": f"{self.file.name} {self.file.hash}",
            "form": self.form,
            "scale": list(self.scale),
            "ties": self.ties,
            "temperature": self.temperature,
            "seed": self.seed,
            "defence": self.defence,
        }

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """One judgement each, in order; all are asked in one batch.

        Raises InvalidInput naming an item that is empty, over-long or of the wrong number of responses, before anything
        is asked; and the model's error where not one of the items could be put to it.
        """
        defended = [_without_orders(item) if self.defence == "strip" else (item, "") for item in items]
        messages = [self._messages(item, rubric) for item, _ in defended]
        asked = [(item, text) for item, some in zip(items, messages, strict=True) for text in some or ()]
        if self.by == "probability":
            got: Sequence[Reply | Choice] = self._chosen([text for _, text in asked])
        else:
            got = self.model.generate([self._prompt(item, text) for item, text in asked], meter=self.meter)
        _reached(got)
        rest = iter(got)
        return [
            self._unfit(item) if some is None else self._judged(item, [next(rest) for _ in some], told)
            for item, some, (_, told) in zip(items, messages, defended, strict=True)
        ]

    def _messages(self, item: Item, rubric: Rubric | None) -> list[str] | None:
        """What is asked about an item; None where it cannot be and that is no error."""
        if self.kind == "pair":
            two(item)
        elif self.kind == "rank" and len(item.responses) < 2:
            raise InvalidInput(f"item {item.id}: has one response where a ranking needs two or more")
        verdicts = " or ".join((", ".join(f'"{one}"' for one in self._answers[:-1]), f'"{self._answers[-1]}"'))
        low, high = self.scale
        try:
            fill = {"verdicts": verdicts, "low": f"{low:g}", "high": f"{high:g}"}
            some = filled(self.file, self.form, item, rubric, fence=self.defence != "none", **fill)
            for text in some:
                self._fits(item, text)
        except InvalidInput:
            if self.unfit == "error":
                raise
            return None
        return some

    def _fits(self, item: Item, text: str) -> None:
        if self._context is None:
            return
        tokens = len(f"{self.file.system}{text}".encode()) // _BYTES_A_TOKEN
        tokens += self.file.max_tokens if self.by == "json" else 1
        if tokens > self._context:
            raise InvalidInput(
                f"item {item.id}: too long for {self.model.name}: about {tokens:,} tokens with the reply, it takes "
                f"{self._context:,}; shorten the item or use a model of more context"
            )

    def _prompt(self, item: Item, text: str) -> Prompt:
        return Prompt(
            text,
            self.file.system,
            max_tokens=self.file.max_tokens,
            temperature=self.temperature,
            schema=self._schema(len(item.responses)),
            seed=self.seed + item.sample,
        )

    def _schema(self, count: int) -> type[BaseModel]:
        if self.form == "pair":
            return PairVerdict if self.ties else DecidedVerdict
        if self.form == "rank":
            return ranking_schema(count)
        return scores_schema(2 if self.form == "pair_scores" else 1, *self.scale)

    def _chosen(self, texts: Sequence[str]) -> list[Choice]:
        answers = self._levels or self._answers
        return self.model.choose([Question(text, answers, self.file.system) for text in texts], meter=self.meter)

    def _judged(self, item: Item, got: Sequence[Reply | Choice], told: str) -> Judgement:
        usage = sum((Spent.of(one.usage) for one in got), Spent())
        said: dict[str, Any] = {"kind": self.kind, "usage": usage, "prompts": self.prompts}
        errors = [one.error for one in got if one.error is not None]
        if errors:
            said |= {"status": status_of(errors[0]), "rationale": str(errors[0])}
        else:
            said |= self._said(got)
        if told:
            said["rationale"] = f"{told}\n{said.get('rationale', '')}".strip()
        return answered(item, self.name, **said)

    def _said(self, got: Sequence[Reply | Choice]) -> dict[str, Any]:
        """Verdict as shown, of answers that are all there."""
        if self.form == "score_choice":
            weights = [float(level) for level in self._levels]
            return _scored([sum(p * w for p, w in zip(_chances(one), weights, strict=True)) for one in got])
        if self.form == "pair_choice":
            return _weighed(_chances(got[0]))
        values = [one.value for one in got if isinstance(one, Reply)]
        if any(value is None for value in values):
            return {"status": "invalid"}
        reasons = "\n".join(str(value.reasons).strip() for value in values)
        if self.form == "pair":
            return {"winner": values[0].verdict, "rationale": reasons}
        if self.form == "rank":
            return {"ranking": tuple(values[0].ranking), "rationale": reasons}
        scores = [values[0].score_1, values[0].score_2] if self.form == "pair_scores" else [one.score for one in values]
        said = _scored([float(score) for score in scores])
        if self.form == "pair_scores" and not self.ties and said["winner"] == "tie":
            return {"status": "abstained", "scores": said["scores"], "rationale": reasons}
        return said | {"rationale": reasons}

    def _unfit(self, item: Item) -> Judgement:
        return answered(item, self.name, kind=self.kind, status="invalid", rationale="empty or too long to be judged")


def _without_orders(item: Item) -> tuple[Item, str]:
    """The item without what its responses say to the judge, and what is told of that; the item itself if nothing."""
    both = [stripped(one.text) for one in item.responses]
    if not any(taken for _, taken in both):
        return item, ""
    responses = tuple(
        one.model_copy(update={"text": left}) if taken else one
        for one, (left, taken) in zip(item.responses, both, strict=True)
    )
    told = [
        f"Taken out of response {n}, as said to the judge: {shorten(' '.join(taken), 300)}"
        for n, (_, taken) in enumerate(both, 1)
        if taken
    ]
    return item.model_copy(update={"responses": responses}), "\n".join(told)


def status_of(error: WeighupError) -> Status:
    """What became of an item whose call failed: `refused`, `waiting` (the call may succeed later) or `invalid`."""
    if isinstance(error, BudgetExceeded):
        return "waiting"
    if isinstance(error, Transient):
        return "refused" if "without text" in str(error) and _REFUSES.search(str(error)) else "waiting"
    if isinstance(error, Rejected):
        if _REFUSES.search(error.detail):
            return "refused"
        return "invalid" if error.status in _NOT_TAKEN else "waiting"
    return "invalid"


def _reached(got: Sequence[Reply | Choice]) -> None:
    """Raises the first error if not one call got through: it is the model that is away, not an item that is hard."""
    errors = [one.error for one in got if one.error is not None]
    if errors and len(errors) == len(got) and all(status_of(error) == "waiting" for error in errors):
        raise errors[0]


def _chances(one: Reply | Choice) -> tuple[float, ...]:
    return one.probabilities if isinstance(one, Choice) else ()


def _weighed(chances: Sequence[float]) -> dict[str, Any]:
    """A pair's verdict from the probabilities of 1, 2 and, where there is one, a tie. A tie is half a win for both."""
    first, second = chances[:2]
    tie = chances[2] if len(chances) > 2 else 0.0
    best = max(chances)
    leaders = [name for name, p in zip(("1", "2", "tie"), chances, strict=False) if p == best]
    winner = leaders[0] if len(leaders) == 1 else "tie"
    said = {"certainty": min(1.0, best), "scores": (first + tie / 2, second + tie / 2)}
    if winner == "tie" and len(chances) == 2:  # both equally likely where no tie may be
        return said | {"status": "abstained"}
    return said | {"winner": winner}


def _scored(scores: list[float]) -> dict[str, Any]:
    """Scores, and what follows: the winner of two, the ranking of more (equal scores in shown order)."""
    said: dict[str, Any] = {"scores": tuple(scores)}
    if len(scores) == 2:
        said["winner"] = by_scores(scores)
    elif len(scores) > 2:
        said["ranking"] = tuple(sorted(range(1, len(scores) + 1), key=lambda n: -scores[n - 1]))
    return said
