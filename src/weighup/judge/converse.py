"""Dialogue: two players talk in turns, many conversations side by side, and what ends a conversation is told.

A player is anything with a `name` and `say(transcript) -> str`. `ScriptedPlayer` says what is written down or computed;
`ModelPlayer` is a language model with a prompt file. Of all open conversations, what one model is to say next is asked
in one batch.

A turn that is empty, or that `refuse` gives a reason against, is kept as rejected, and its speaker is asked once more;
a second such turn ends the conversation. It also ends when a speaker repeats itself (`loop`), when the second speaker
gives back what it was just told (`echo`), when a turn is over `LONGEST` characters, when a model fails, when `stop`
says so, and after `turns` exchanges. A turn rejected or overlong is in the transcript, never in what was `said`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from weighup.errors import InvalidInput, JobFailed, WeighupError
from weighup.judge.fence import fenced
from weighup.judge.prompt_files import prompt
from weighup.judge.types import Spent
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel, Prompt, Reply

LONGEST = 20_000
"""Characters of the longest turn that is taken."""
ROLES = ("user", "assistant")

Ended = Literal["stopped", "turns", "loop", "echo", "empty", "rejected", "overlong", "failed"]


class Turn(BaseModel):
    """What one role said. `rejected`: why it does not count, empty where it does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    text: str
    rejected: str = ""


class Transcript(BaseModel):
    """A conversation so far. `speaker`: whose turn it is; `ended` and `by`: why and by whom it was ended, None and
    empty while it is open; `note`: the error of a failed model; `prompts`: name and hash of the prompt files used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    turns: tuple[Turn, ...] = ()
    speaker: str = ""
    ended: Ended | None = None
    by: str = ""
    note: str = ""
    usage: Spent = Spent()
    prompts: Mapping[str, str] = Field(default_factory=dict)

    def said(self, role: str) -> tuple[str, ...]:
        """What a role said, without rejected turns."""
        return tuple(turn.text for turn in self.turns if turn.role == role and not turn.rejected)

    def kept(self) -> tuple[Turn, ...]:
        """The turns that count."""
        return tuple(turn for turn in self.turns if not turn.rejected)

    def now(self, speaker: str) -> Transcript:
        """The same, with this role to speak."""
        return self.model_copy(update={"speaker": speaker})

    def over(self, ended: Ended, by: str = "", note: str = "") -> Transcript:
        """The same, ended."""
        return self.model_copy(update={"ended": ended, "by": by, "note": note, "speaker": ""})

    def line(self) -> str:
        """As one line of JSON, without what stands at its default."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)


@runtime_checkable
class Player(Protocol):
    """Takes part in conversations. `transcript.speaker` is the role it speaks in."""

    name: str

    def say(self, transcript: Transcript) -> str: ...


Stop = Callable[[Transcript], bool]
Refuse = Callable[[Transcript, str], str]
"""Why a turn is not taken, given the transcript before it, with its speaker; empty where it is."""


class ScriptedPlayer:
    """Says the texts of its script, one a turn and nothing after them, or what a function makes of the transcript."""

    def __init__(self, name: str, script: Sequence[str] | Callable[[Transcript], str]) -> None:
        self.name = name
        self._script = script

    def say(self, transcript: Transcript) -> str:
        if callable(self._script):
            return self._script(transcript)
        turn = len(transcript.said(transcript.speaker))
        return self._script[turn] if turn < len(self._script) else ""


class ModelPlayer:
    """A language model that speaks by a prompt file. `values` fill its placeholders; `$talk` is the conversation."""

    def __init__(
        self,
        model: LanguageModel,
        prompt: str,
        values: Mapping[str, str] | None = None,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.name = model.name
        self.model = model
        self.prompt = prompt
        self._values, self._temperature, self._seed = dict(values or {}), temperature, seed

    def ask(self, transcript: Transcript) -> Prompt:
        """What the model is asked for its next turn."""
        talk = as_text(transcript, transcript.speaker)
        seed = number(f"{self._seed}\n{transcript.id}\n{transcript.speaker}\n{len(transcript.turns)}")
        return filled(self.prompt, {**self._values, "talk": talk}, temperature=self._temperature, seed=seed)

    def say(self, transcript: Transcript) -> str:
        """Raises the model's error where it failed."""
        reply = self.model.generate([self.ask(transcript)])[0]
        if reply.error is not None:
            raise reply.error
        return reply.text


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation to be had. `first` and `second` speak in the roles that `converse_many` names."""

    id: str
    first: Player
    second: Player


def converse(
    user: Player,
    assistant: Player,
    *,
    turns: int,
    stop: Stop | None = None,
    refuse: Refuse | None = None,
    id: str = "talk",
    roles: tuple[str, str] = ROLES,
    repeats: Collection[str] = (),
    meter: Meter | None = None,
) -> Transcript:
    """One conversation, as `converse_many`."""
    talks = [Talk(id, user, assistant)]
    return converse_many(talks, turns=turns, stop=stop, refuse=refuse, roles=roles, repeats=repeats, meter=meter)[0]


def converse_many(
    talks: Sequence[Talk],
    *,
    turns: int,
    stop: Stop | None = None,
    refuse: Refuse | None = None,
    roles: tuple[str, str] = ROLES,
    repeats: Collection[str] = (),
    meter: Meter | None = None,
) -> list[Transcript]:
    """Have all conversations, at most `turns` exchanges each; `roles[0]` opens. One transcript a talk, in order.

    `stop` is asked after every turn; a role in `repeats` may say the same again. Raises InvalidInput for turns < 1,
    equal roles, or an id that stands twice.
    """
    if turns < 1:
        raise InvalidInput(f"turns: one exchange or more is needed, not {turns}")
    if roles[0] == roles[1]:
        raise InvalidInput(f"roles: two different ones are needed, not {roles[0]!r} twice")
    ids = [talk.id for talk in talks]
    if twice := sorted({one for one in ids if ids.count(one) > 1}) if len(set(ids)) < len(ids) else []:
        raise InvalidInput(f"conversation {twice[0]}: stands there twice")
    found = [Transcript(id=one) for one in ids]
    for step in range(2 * turns):
        open_ = [place for place, one in enumerate(found) if one.ended is None]
        if not open_:
            break
        role = roles[step % 2]
        players = [talks[place].second if step % 2 else talks[place].first for place in open_]
        asked = [(player, found[place].now(role)) for player, place in zip(players, open_, strict=True)]
        for place, one in zip(open_, take_turns(asked, refuse=refuse, meter=meter), strict=True):
            found[place] = one if one.ended else _settled(one, role, roles, repeats, stop)
    return [one if one.ended else one.over("turns") for one in found]


def take_turns(
    asked: Sequence[tuple[Player, Transcript]], *, refuse: Refuse | None = None, meter: Meter | None = None
) -> list[Transcript]:
    """Let each player say its next turn, in one batch a model; the transcripts with it, in order.

    A turn that is empty or refused is asked for once more, and then ends the conversation.
    """
    found = [transcript for _, transcript in asked]
    left = list(range(len(asked)))
    for last in (False, True):
        said = speak([(asked[place][0], found[place]) for place in left], meter=meter)
        again = []
        for place, one in zip(left, said, strict=True):
            found[place], refused = _taken(found[place], asked[place][0], one, refuse, last=last)
            if refused:
                again.append(place)
        left = again
    return found


@dataclass(frozen=True, slots=True)
class Said:
    """What a player said, what it cost where that is known, and the error where it failed."""

    text: str
    usage: Spent | None = None
    error: str = ""


def speak(asked: Sequence[tuple[Player, Transcript]], *, meter: Meter | None = None) -> list[Said]:
    """What each player says next, in order; players of one model are asked in one batch."""
    found = [Said("")] * len(asked)
    waiting: dict[int, tuple[LanguageModel, list[int], list[Prompt]]] = {}
    for place, (player, transcript) in enumerate(asked):
        if isinstance(player, ModelPlayer):
            _, places, prompts = waiting.setdefault(id(player.model), (player.model, [], []))
            places.append(place)
            prompts.append(player.ask(transcript))
        else:
            try:
                found[place] = Said(player.say(transcript))
            except WeighupError as error:
                found[place] = Said("", error=f"{player.name}: {error}")
    for model, places, prompts in waiting.values():
        for place, reply in zip(places, generated(model, prompts, meter=meter), strict=True):
            failure = "" if reply.error is None else f"{model.name}: {reply.error}"
            found[place] = Said(reply.text, Spent.of(reply.usage), failure)
    return found


def generated(model: LanguageModel, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
    """The model's replies. Raises JobFailed when it gives another number of them."""
    replies = model.generate(prompts, meter=meter) if prompts else []
    if len(replies) != len(prompts):
        raise JobFailed(f"model {model.name}: gave {len(replies)} replies to {len(prompts)} prompts")
    return replies


def as_text(transcript: Transcript, speaker: str = "") -> str:
    """The conversation for a prompt, each turn fenced; the speaker's own rejected turns with why. `speaker` empty: only
    what was said."""
    lines = []
    for turn in transcript.turns:
        if not turn.rejected:
            lines.append(f"{turn.role}:\n{fenced(turn.text, name=turn.role)}")
        elif turn.role == speaker:
            lines.append(f"(Your last reply was not taken: {turn.rejected}. Reply again.)")
    return "\n\n".join(lines) or "(Nothing has been said yet.)"


def filled(
    name: str,
    values: Mapping[str, str],
    *,
    schema: type[BaseModel] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Prompt:
    """A prompt file, filled in and ready to be asked. Untrusted values are fenced by who gives them."""
    file = prompt(name)
    return Prompt(
        user=file.fill(**values),
        system=file.system,
        max_tokens=file.max_tokens,
        temperature=temperature,
        schema=schema,
        seed=seed,
    )


def number(text: str) -> int:
    """A seed in [0, 2³¹) that hangs on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def same_words(a: str, b: str) -> bool:
    """Whether two texts hold the same words in the same order, letter case and punctuation aside."""
    first, second = re.findall(r"\w+", a.casefold()), re.findall(r"\w+", b.casefold())
    return first == second if first or second else a.strip() == b.strip()


def _taken(
    transcript: Transcript, player: Player, said: Said, refuse: Refuse | None, *, last: bool
) -> tuple[Transcript, bool]:
    """The transcript with what was said, and whether that was refused and may be said again."""
    role, text = transcript.speaker, said.text.strip()
    update: dict[str, object] = {}
    if said.usage is not None:
        update["usage"] = transcript.usage + said.usage
    if isinstance(player, ModelPlayer) and player.prompt not in transcript.prompts:
        update["prompts"] = {**transcript.prompts, **prompt(player.prompt).told}
    if said.error:
        return transcript.model_copy(update=update).over("failed", role, said.error), False
    if len(text) > LONGEST:
        why: str = f"it has {len(text):,} characters where {LONGEST:,} are taken"
        update["turns"] = (*transcript.turns, Turn(role=role, text=text[:LONGEST], rejected=why))
        return transcript.model_copy(update=update).over("overlong", role), False
    why = "it is empty" if not text else refuse(transcript, text) if refuse is not None else ""
    update["turns"] = (*transcript.turns, Turn(role=role, text=text, rejected=why))
    found = transcript.model_copy(update=update)
    if why and last:
        return found.over("rejected" if text else "empty", role), False
    return found, bool(why)


def _settled(
    transcript: Transcript, role: str, roles: tuple[str, str], repeats: Collection[str], stop: Stop | None
) -> Transcript:
    """The transcript after a turn that counts, ended where it is to end."""
    if stop is not None and stop(transcript):
        return transcript.over("stopped", role)
    own = transcript.said(role)
    if role == roles[1] and same_words(own[-1], transcript.said(roles[0])[-1]):
        return transcript.over("echo", role)
    if role not in repeats and any(same_words(own[-1], before) for before in own[:-1]):
        return transcript.over("loop", role)
    return transcript
