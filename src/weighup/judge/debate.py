"""Debate-driven evaluation (Cao and Zhao 2025, arXiv 2507.17747): a question with a known answer becomes a debate.

Faithful: one model (pro) defends the official answer, the other (con) must propose and defend another; at most five
rounds, at least two; the judge sees neither which answer is official nor who speaks; every ordered pair of models
debates every item (double round robin), so that each holds each side equally often.

Ours: who opens and which side is shown first are drawn by `seed`; the judge is asked after each round from the second
on, and a tie before the last round means another round (`early`), or once at the end; ratings are Bradley–Terry with a
weak ridge, so that a model that wins everything still has one; a con that gives the official answer, a side that gives
up its answer, and an empty turn are asked once more and then forfeit.

An item is a question as in `converse_answers`: `responses` the options (or one response for an open question),
`reference` the official answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from weighup.errors import InvalidInput, JobFailed
from weighup.judge.converse import Player, Transcript, number, take_turns
from weighup.judge.converse_answers import official, options, plain, same_answer, stated
from weighup.judge.debate_players import Case, Debater, Side, debater, question
from weighup.judge.types import Item, Judge, Judgement, Response, unique
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel
from weighup.registry import Method

METHOD = Method(
    name="debate",
    room="judge",
    paper="Pretraining on the Test Set Is No Longer All You Need: A Debate-Driven Approach to QA Benchmarks "
    "(Cao and Zhao 2025)",
    arxiv="2507.17747",
    command="weighup judge run",
    claim_check="weighup.judge.debate_claim:check",
)
LEAST, MOST = 2, 5
"""Rounds of a debate."""

Status = Literal["ok", "forfeit", "invalid", "failed"]
OTHER: dict[Side, Side] = {"pro": "con", "con": "pro"}


class Debate(BaseModel):
    """One debate. `winner` is None where there is none: the judge named no side (`invalid`) or a model failed
    (`failed`, see transcript.note). A side that would not keep the rules lost by `forfeit`. `judgements`: what the
    judge said, response 1 being pro. `first`: the side shown first to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item_id: str
    question: str
    official: str
    pro: str
    con: str
    opened: Side
    first: Side
    transcript: Transcript
    judgements: tuple[Judgement, ...] = ()
    winner: Side | None = None
    status: Status | None = Field(None, description="None while it is open")

    @property
    def rounds(self) -> int:
        """Full rounds that were held."""
        return min(len(self.transcript.said("pro")), len(self.transcript.said("con")))

    @property
    def winning_model(self) -> str | None:
        """Who won."""
        return None if self.winner is None else self.pro if self.winner == "pro" else self.con


@dataclass(frozen=True, slots=True)
class Pairing:
    """A debate to be held."""

    item: Item
    pro: Debater
    con: Debater


def debate(
    item: Item,
    pro: Debater | LanguageModel,
    con: Debater | LanguageModel,
    judge: Judge,
    rounds: int = MOST,
    *,
    early: bool = True,
    seed: int = 0,
    meter: Meter | None = None,
) -> Debate:
    """One debate, as `debates`."""
    pairing = Pairing(item, debater(pro), debater(con))
    return debates([pairing], judge, rounds, early=early, seed=seed, meter=meter)[0]


def debates(
    pairings: Sequence[Pairing],
    judge: Judge,
    rounds: int = MOST,
    *,
    early: bool = True,
    seed: int = 0,
    meter: Meter | None = None,
) -> list[Debate]:
    """Hold debates side by side: one batch a turn for each model, one for the judge. In order.

    Raises InvalidInput for rounds outside 2 to 5, an item without an official answer or with one option, a debater that
    meets itself, or a pairing that stands there twice.
    """
    if not LEAST <= rounds <= MOST:
        raise InvalidInput(f"rounds: a debate has {LEAST} to {MOST}, not {rounds}")
    found = [_opened(pairing, seed) for pairing in pairings]
    cases = {one.transcript.id: pairing for one, pairing in zip(found, pairings, strict=True)}
    if len(cases) < len(pairings):
        raise InvalidInput("debates: a pairing of the same item and sides stands there twice")
    players: list[dict[Side, Player]] = [
        {
            "pro": pairing.pro.player(Case(pairing.item, "pro", one.official, rounds)),
            "con": pairing.con.player(Case(pairing.item, "con", one.official, rounds)),
        }
        for one, pairing in zip(found, pairings, strict=True)
    ]

    def refuse(transcript: Transcript, text: str) -> str:
        return _refused(cases[transcript.id].item, transcript, text)

    for held in range(1, rounds + 1):
        for half in (0, 1):
            places = [place for place, one in enumerate(found) if one.status is None]
            sides = [found[place].opened if not half else OTHER[found[place].opened] for place in places]
            asked = [
                (players[place][side], found[place].transcript.now(side))
                for place, side in zip(places, sides, strict=True)
            ]
            for place, transcript in zip(places, take_turns(asked, refuse=refuse, meter=meter), strict=True):
                found[place] = _after_turn(found[place], transcript)
        if held == rounds or (early and held >= LEAST):
            places = [place for place, one in enumerate(found) if one.status is None]
            decided = _decided([found[place] for place in places], judge, last=held == rounds)
            for place, one in zip(places, decided, strict=True):
                found[place] = one
    return found


def rejudge(held: Sequence[Debate], judge: Judge) -> list[Debate]:
    """The same debates, judged at their end by another judge; forfeits and failures stay as they are."""
    open_ = [
        one if one.status in ("forfeit", "failed") else one.model_copy(update={"judgements": (), "status": None})
        for one in held
    ]
    places = [place for place, one in enumerate(open_) if one.status is None]
    for place, one in zip(places, _decided([open_[place] for place in places], judge, last=True), strict=True):
        open_[place] = one
    return open_


def judged(held: Debate) -> Item:
    """The debate as its judge sees it: a pair of what pro (1) and con (2) said, without names, sides or gold."""
    names = [name for name in (held.pro, held.con) if len(name) > 1]
    mask = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names) or r"(?!)", re.IGNORECASE)

    def case(side: Side) -> Response:
        said = held.transcript.said(side)
        parts = [f"Round {turn}:\n{mask.sub('[debater]', text)}" for turn, text in enumerate(said, 1)]
        return Response(text="\n\n".join(parts))

    return Item(
        id=f"{held.transcript.id}/{held.rounds}",
        prompt=held.question,
        responses=(case("pro"), case("con")),
        order="given" if held.first == "pro" else "swapped",
    )


def _opened(pairing: Pairing, seed: int) -> Debate:
    item, pro, con = pairing.item, pairing.pro.name, pairing.con.name
    if not item.prompt.strip():
        raise InvalidInput(f"item {item.id}: the question is empty")
    answer = official(item)
    choices = options(item)
    if len({plain(one) for one in choices}) == 1 or (len(item.responses) == 1 and not item.meta.get("open")):
        raise InvalidInput(
            f"item {item.id}: has one option, which leaves con none; give two or more, or meta open: true for an open "
            "question"
        )
    if pro == con:
        raise InvalidInput(f"item {item.id}: {pro} cannot debate itself; two different debaters are needed")
    key = number(f"{pro}\n{con}")
    chance = number(f"{seed}\n{item.id}\n{pro}\n{con}")
    return Debate(
        item_id=item.id,
        question=question(item),
        official=answer,
        pro=pro,
        con=con,
        opened="pro" if chance & 1 else "con",
        first="pro" if chance & 2 else "con",
        transcript=Transcript(id=f"{item.id}#{key:08x}"),
    )


def _refused(item: Item, transcript: Transcript, text: str) -> str:
    """Why a turn breaks the rules, empty where it does not."""
    side, answer = transcript.speaker, stated(text)
    if answer is None:
        opening = side == "con" and not transcript.said("con")
        return "it has no line `Answer: …` with the answer you propose" if opening else ""
    right = same_answer(item, answer, official(item))
    if side == "pro":
        return "" if right else "it gives up the answer you are to defend"
    if right:
        return "it gives the official answer, which the other side defends; give another"
    if options(item) and not any(same_answer(item, answer, one) for one in options(item)):
        return "its answer is none of the options"
    return ""


def _after_turn(held: Debate, transcript: Transcript) -> Debate:
    update: dict[str, object] = {"transcript": transcript}
    if transcript.ended == "failed":
        update["status"] = "failed"
    elif transcript.ended is not None:
        update |= {"status": "forfeit", "winner": "con" if transcript.by == "pro" else "pro"}
    return held.model_copy(update=update)


def _decided(held: Sequence[Debate], judge: Judge, *, last: bool) -> list[Debate]:
    """The debates with what the judge says now. Without a usable verdict, or at the end without a side, it is asked
    once more; then the debate goes on, or is `invalid` at the end."""
    if not held:
        return []
    asked = [judged(one) for one in held]
    said = _judgements(judge, asked)
    unclear = [
        place
        for place, one in enumerate(said)
        if not one.usable or one.winner is None or (last and one.winner == "tie")
    ]
    again = _judgements(judge, [asked[place].drawn(1) for place in unclear])
    more = dict(zip(unclear, again, strict=True))
    found = []
    for place, one in enumerate(held):
        told = [said[place], *([more[place]] if place in more else [])]
        final = told[-1].winner if told[-1].usable else None
        update: dict[str, object] = {"judgements": (*one.judgements, *told)}
        if final in ("1", "2"):
            update |= {"winner": "pro" if final == "1" else "con", "status": "ok"}
            update["transcript"] = one.transcript.over("stopped")
        elif last:
            update |= {"winner": None, "status": "invalid", "transcript": one.transcript.over("turns")}
        found.append(one.model_copy(update=update))
    return found


def _judgements(judge: Judge, items: Sequence[Item]) -> list[Judgement]:
    if not items:
        return []
    unique(items)
    said = judge.judge(items)
    if len(said) != len(items):
        raise JobFailed(f"judge {judge.name}: gave {len(said)} judgements of {len(items)} debates")
    return said
