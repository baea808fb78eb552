"""RevisEval's reviser, and what may be wrong with what it hands back (Zhang et al. 2024, arXiv 2410.05193, section 3).

Faithful: the response is improved under request, rubric and, where there is one, the original reference; of a pair,
one response with the other as material. The prompt is ours, and so are the checks: a text that is empty, cut off, a
copy of the other response, over four times longer, in another language, or that repeats the prompt is no reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from weighup.errors import InvalidInput, WeighupError
from weighup.judge.fence import fenced
from weighup.judge.llm import status_of
from weighup.judge.llm_forms import in_words
from weighup.judge.prompt_files import prompt as read_prompt
from weighup.judge.types import Rubric, Spent, Status
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Reply
from weighup.texts import STOP_WORDS, language, words

LONGER = 4  # times the longest of response, material and reference
_RUN = 8  # words in a row that nobody writes twice by chance
_LETTERS, _WORDS = 20, 8  # below, a language cannot be told
_BYTES_A_TOKEN = 3  # as in `llm`: rather refuse what would just have fitted than lose its end
_NONE = "(none)"
_END = re.compile(r"[.!?。！？][\"'”’)\]]*")
_MARK = re.compile(r"</?[A-Za-z]\w*-[0-9a-f]{8}>")
_WRAPPED = re.compile(r"\s*<([A-Za-z]\w*-[0-9a-f]{8})>(.*)</\1>\s*", re.DOTALL)
_NOT_ENGLISH = frozenset(
    "el los las del que por para con una es en como más se su al lo le les des du est une dans pour avec sur qui pas "
    "der die das und nicht ist mit ein eine von zu den dem auf il di che per non della è sono e da um uma não os "
    "het een van niet dat de la och att det som är".split()
)


@dataclass(frozen=True, slots=True)
class Task:
    """One response to revise. `number`: which of the item it is; `material`: the other response of a pair."""

    item_id: str
    number: int
    request: str
    response: str
    material: str | None = None
    reference: str | None = None
    context: str | None = None
    sample: int = 0

    @property
    def known(self) -> tuple[str, ...]:
        """What a revision may be like: the response, the material, the reference."""
        return tuple(one for one in (self.response, self.material, self.reference) if one)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reviser wrote. `cut`: it did not come to an end."""

    text: str = ""
    error: WeighupError | None = None
    cut: bool = False
    usage: Spent = field(default_factory=Spent)


class Reviser(Protocol):
    """Revises responses: one draft each, in order. `instructions`: what it is told beside the task, never to be
    repeated; `prompts`: name and hash of its prompt files."""

    @property
    def name(self) -> str: ...

    @property
    def instructions(self) -> str: ...

    @property
    def prompts(self) -> Mapping[str, str]: ...

    def revise(self, tasks: Sequence[Task], rubric: Rubric | None = None) -> list[Draft]: ...


@dataclass(frozen=True, slots=True)
class Revision:
    """`text` is None where the draft cannot be used; `fault` then says why. `unchanged`: equal to the response."""

    item_id: str
    number: int
    text: str | None
    status: Status = "ok"
    fault: str = ""
    unchanged: bool = False
    usage: Spent = field(default_factory=Spent)
    prompts: Mapping[str, str] = field(default_factory=dict)


class ModelReviser:
    """A language model as reviser, with a shipped prompt (`reviseval_brief` is for small models) or a file of yours.

    `max_tokens` None: the prompt file's, or more for a longer response. `trim`: a draft that does not come to an end,
    as small models' often do not, is kept up to its last whole sentence; else it is unusable. `context`: tokens that
    the model takes, None: what the embedded model says, else no limit here.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        prompt: str | Path = "reviseval_revise",
        max_tokens: int | None = None,
        trim: bool = False,
        temperature: float = 0.0,
        seed: int = 0,
        context: int | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Raises InvalidInput for a prompt that is not there or does not show request and response."""
        self.file = read_prompt(prompt)
        lacking = sorted({"question", "response"} - self.file.placeholders)
        if lacking:
            raise InvalidInput(f"prompt {self.file.name}: has no place for {', '.join(f'${n}' for n in lacking)}")
        self.model, self.meter, self.max_tokens, self.trim = model, meter, max_tokens, trim
        self.temperature, self.seed = temperature, seed
        self.name = f"{model.name}/{self.file.name}"
        self.instructions = f"{self.file.system}\n{self.file.user}"
        self.prompts: Mapping[str, str] = self.file.told
        self._context: int | None = (
            context if context is not None else getattr(getattr(model, "backend", None), "context", None)
        )

    def revise(self, tasks: Sequence[Task], rubric: Rubric | None = None) -> list[Draft]:
        """All in one batch. Raises InvalidInput naming an item that the model cannot take whole."""
        prompts = [self._prompt(task, rubric) for task in tasks]
        replies = self.model.generate(prompts, meter=self.meter)
        return [self._draft(asked, reply) for asked, reply in zip(prompts, replies, strict=True)]

    def _draft(self, asked: Prompt, reply: Reply) -> Draft:
        cut, text = reply.usage.tokens_out >= asked.max_tokens, reply.text
        if cut and self.trim:
            ends = [end.end() for end in _END.finditer(text)]
            cut, text = not ends, text[: ends[-1]] if ends else text
        return Draft(text, reply.error, cut, Spent.of(reply.usage))

    def _prompt(self, task: Task, rubric: Rubric | None) -> Prompt:
        user = self.file.fill(
            question=fenced(task.request, name="request"),
            context=_optional(task.context, "background"),
            rubric=in_words(rubric),
            reference=_optional(task.reference, "reference"),
            material=_optional(task.material, "other"),
            response=fenced(task.response, name="response"),
        )
        longest = max(len(one.encode()) for one in task.known)
        room = self.max_tokens or max(self.file.max_tokens, longest // 2)
        needed = len(f"{self.file.system}{user}".encode()) // _BYTES_A_TOKEN + room
        if self._context is not None and needed > self._context:
            raise InvalidInput(
                f"item {task.item_id}: too long for {self.model.name}: about {needed:,} tokens with the revision, it "
                f"takes {self._context:,}; shorten the item or use a model of more context"
            )
        seed = self.seed + task.sample
        return Prompt(user, self.file.system, max_tokens=room, temperature=self.temperature, seed=seed)


def checked(task: Task, draft: Draft, reviser: Reviser) -> Revision:
    """The draft as a reference, or why it cannot be one."""
    if draft.error is not None:
        return _revision(task, draft, reviser, None, status_of(draft.error), str(draft.error))
    wrapped = _WRAPPED.fullmatch(draft.text)
    text = (wrapped[2] if wrapped else draft.text).strip()
    fault = _fault(task, text, draft.cut, reviser.instructions)
    if fault:
        return _revision(task, draft, reviser, None, "invalid", fault)
    return _revision(task, draft, reviser, text, "ok", "", unchanged=_same(text, task.response))


def _revision(
    task: Task, draft: Draft, reviser: Reviser, text: str | None, status: Status, fault: str, *, unchanged: bool = False
) -> Revision:
    prompts = dict(reviser.prompts)
    return Revision(task.item_id, task.number, text, status, fault, unchanged, draft.usage, prompts)


def _fault(task: Task, text: str, cut: bool, instructions: str) -> str:
    if not text:
        return "the reviser wrote nothing"
    if cut:
        return "the revision was cut off at the most tokens that the reviser may write"
    if _same(text, task.response):
        return ""
    if task.material is not None and _same(text, task.material):
        return "the revision is a copy of the other response"
    if len(text) > LONGER * max(map(len, task.known)):
        return f"the revision is over {LONGER} times longer than what it was made from"
    if _MARK.search(text) or _repeats(instructions, task, text):
        return "the revision repeats its prompt"
    if all(_other_language(one, text) for one in task.known):
        return "the revision is in another language than the response"
    return ""


def _same(a: str, b: str) -> bool:
    return a.split() == b.split()


def _repeats(instructions: str, task: Task, text: str) -> bool:
    own = set().union(*(_runs(one) for one in (*task.known, task.request, task.context or "")))
    return bool((_runs(instructions) & _runs(text)) - own)


def _runs(text: str) -> set[tuple[str, ...]]:
    said = words(text)
    return {tuple(said[n : n + _RUN]) for n in range(len(said) - _RUN + 1)}


def _other_language(a: str, b: str) -> bool:
    """Whether two texts are in different languages: by script, and English against others by their commonest words."""
    if min(sum(map(str.isalpha, one)) for one in (a, b)) < _LETTERS:
        return False
    scripts = {language(a), language(b)}
    if len(scripts) > 1:
        return "mixed" not in scripts
    said = [words(one) for one in (a, b)]
    if scripts != {"en"} or min(map(len, said)) < _WORDS:
        return False
    (english, foreign), (other_english, other_foreign) = map(_common, said)
    return (english > 2 * foreign and other_foreign > 2 * other_english) or (
        foreign > 2 * english and other_english > 2 * other_foreign
    )


def _common(said: Sequence[str]) -> tuple[float, float]:
    """Shares of English and of other languages' commonest words; at least 2 % and 10 % to be told from chance."""
    english = sum(one in STOP_WORDS for one in said) / len(said)
    foreign = sum(one in _NOT_ENGLISH and one not in STOP_WORDS for one in said) / len(said)
    return (english if english >= 0.1 else 0.0), (foreign if foreign >= 0.1 else 0.0)


def _optional(text: str | None, name: str) -> str:
    return fenced(text, name=name) if text is not None and text.strip() else _NONE
