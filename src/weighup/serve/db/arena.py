"""The arena's items and votes: what to compare next, one vote of a voter on an item, and nothing of whose answers
they are.

The order in which a voter is shown the answers is drawn by an HMAC under a secret of the item: the same whenever the
same voter comes again, on whichever server, and not to be foretold by anybody. Sides are therefore even over voters.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session

from weighup.errors import InvalidInput
from weighup.judge.types import Item
from weighup.serve.db.people import write_in
from weighup.serve.db.records import AuditEntry
from weighup.serve.db.sessions import Sessions, insert_new, present, require
from weighup.serve.db.tables import ArenaItemRow, ArenaVoteRow
from weighup.serve.db.tables.arena import WINNERS
from weighup.serve.db.words import storable

Winner = Literal["a", "b", "tie", "both_bad"]
MOST = 8
"""Systems of one item: as many as may tie in a ranking that raters take."""
_BATCH, _NEAR, _STREAM = 200, 50, 1_000
_LONGEST = {"prompt": 50_000, "reference": 100_000, "context": 200_000, "category": 100, "id": 200}
_ANSWER, _NAME = 100_000, 100  # characters of a response, and of a system's or a judge's name


@dataclass(frozen=True, slots=True)
class ArenaItem:
    """Something to compare. `item` is in the file's own numbering, its id and its meta the file's."""

    id: uuid.UUID
    item: Item
    active: bool
    votes: int
    secret: str

    def order(self, voter: str) -> tuple[int, ...]:
        """Which response (from 0) this voter is shown first, second, …"""

        def drawn(place: int) -> bytes:
            return hmac.digest(self.secret.encode(), f"{voter}\n{place}".encode(), "sha256")

        return tuple(sorted(range(len(self.item.responses)), key=drawn))


@dataclass(frozen=True, slots=True)
class ArenaVote:
    """A vote. `item`: the file's id; `shown`: systems in the order shown; of a pair `winner`, of more `ranking`."""

    id: uuid.UUID
    item: str
    voter: str
    shown: tuple[str, ...]
    winner: Winner | None
    ranking: tuple[tuple[str, ...], ...] | None
    at: datetime
    seconds: float | None


@dataclass(slots=True)
class Loaded:
    """What loading did: items `added`, `changed` (their meta, or taken out or in), and `known` as they are."""

    added: int = 0
    changed: int = 0
    known: int = 0


class Arena:
    """The repository of the arena."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def load(self, tenant: str, items: Iterable[Item]) -> Loaded:
        """Add items; written a batch at a time, so that loading that was interrupted is simply done again.

        `meta.judgements` holds what judges said, as {judge: "1", "2" or "tie"}; `meta.active` false takes an item out.
        An item that is known keeps its texts and votes and takes over its meta. Raises InvalidInput, naming the item,
        for one that cannot be compared, and for one that is known with other texts.
        """
        loaded, left = Loaded(), iter(items)
        while batch := list(islice(left, _BATCH)):
            for item in batch:
                _check(item)
            with self._sessions.writing() as session:
                self._put(session, tenant, batch, loaded)
        return loaded

    def withdraw(self, tenant: str, system: str) -> int:
        """Take all items with a system's answers out; how many were in. Votes stay."""
        with self._sessions.writing() as session:
            query = select(ArenaItemRow.id, ArenaItemRow.systems)
            rows = session.execute(query.where(ArenaItemRow.tenant == tenant, ArenaItemRow.active))
            out = sorted(id for id, systems in rows if system in systems)
            for start in range(0, len(out), 500):
                where = ArenaItemRow.id.in_(out[start : start + 500])
                session.execute(update(ArenaItemRow).where(where).values(active=False, changed_at=present()))
        return len(out)

    def get(self, tenant: str, id: uuid.UUID) -> ArenaItem | None:
        """One item, withdrawn ones too."""
        with self._sessions.reading() as session:
            row = session.scalar(select(ArenaItemRow).where(ArenaItemRow.tenant == tenant, ArenaItemRow.id == id))
        return None if row is None else _item(row)

    def next(self, tenant: str, voter: str) -> ArenaItem | None:
        """What this voter should compare next: of what they have not voted on, an item with the fewest votes. Of
        several with as few, different voters are given different ones."""
        columns = (ArenaItemRow.id, ArenaItemRow.votes, ArenaItemRow.secret)
        query = select(*columns).where(*_waiting(tenant, voter))
        with self._sessions.reading() as session:
            near = session.execute(query.order_by(ArenaItemRow.votes, ArenaItemRow.id).limit(_NEAR)).all()
            if not near:
                return None

            def place(one: Any) -> tuple[int, bytes]:
                return one.votes, hmac.digest(one.secret.encode(), voter.encode(), "sha256")

            row = session.get_one(ArenaItemRow, min(near, key=place).id)
        return _item(row)

    def progress(self, tenant: str, voter: str) -> tuple[int, int]:
        """How many items this voter has voted on, and how many wait for them."""
        mine = select(func.count()).where(ArenaVoteRow.tenant == tenant, ArenaVoteRow.voter == voter)
        waiting = select(func.count()).select_from(ArenaItemRow).where(*_waiting(tenant, voter))
        with self._sessions.reading() as session:
            return session.scalar(mine) or 0, session.scalar(waiting) or 0

    def vote(
        self,
        tenant: str,
        voter: str,
        id: uuid.UUID,
        *,
        by: str,
        winner: str | None = None,
        places: Sequence[int] | None = None,
        seconds: float | None = None,
        now: datetime | None = None,
    ) -> bool:
        """Keep a vote, in the audit log too, under the name `by`; False if this voter has voted on the item before.

        winner: of a pair, in the order in which this voter is shown it. places [k]: of a larger set, each answer's in
        that order, 1 the best, equal ones tie. Raises InvalidInput for an item that is not there or was taken out, and
        for a vote of the wrong kind.
        """
        now = now or present()
        with self._sessions.writing() as session:
            # Held, so that two votes count as two, and one that is just being taken out is out.
            where = (ArenaItemRow.tenant == tenant, ArenaItemRow.id == id)
            row = session.scalar(select(ArenaItemRow).where(*where).with_for_update())
            if row is None or not row.active:
                raise InvalidInput(f"vote: there is no comparison {id}, or it was taken out of the arena")
            shown = [row.systems[place] for place in _item(row).order(voter)]
            kept: dict[str, Any] = {"winner": None, "ranking": None}
            if row.k == 2:
                require(winner in WINNERS and places is None, f"vote: on a pair it is one of {', '.join(WINNERS)}")
                kept["winner"] = winner
            else:
                require(winner is None and places is not None, f"vote: on {row.k} answers it is a place for each")
                kept["ranking"] = _ranking(shown, places or ())
            told = {"id": uuid.uuid4(), "tenant": tenant, "item_id": id, "voter": voter, "shown": shown, **kept}
            if not insert_new(session, ArenaVoteRow, [{**told, "at": now, "seconds": seconds}], ArenaVoteRow.id):
                return False
            row.votes += 1
            write_in(session, [AuditEntry(by, "arena vote", f"arena:{id}", tenant, after={"shown": shown, **kept})])
            return True

    def votes(self, tenant: str) -> Iterator[ArenaVote]:
        """All votes, oldest first, read as they are used."""
        query = (
            select(ArenaVoteRow, ArenaItemRow.key)
            .join(ArenaItemRow, ArenaItemRow.id == ArenaVoteRow.item_id)
            .where(ArenaVoteRow.tenant == tenant)
            .order_by(ArenaVoteRow.at, ArenaVoteRow.id)
        )
        with self._sessions.reading() as session:
            for row, key in session.execute(query, execution_options={"yield_per": _STREAM}):
                ranking = None if row.ranking is None else tuple(tuple(group) for group in row.ranking)
                shown: tuple[str, ...] = tuple(row.shown)
                winner = cast(Winner | None, row.winner)
                yield ArenaVote(row.id, key, row.voter, shown, winner, ranking, row.at, row.seconds)

    def judged(self, tenant: str) -> dict[str, dict[str, str | None]]:
        """Of pairs that somebody voted on: by the file's id and by judge, the system that won; None: a tie."""
        query = select(ArenaItemRow.key, ArenaItemRow.systems, ArenaItemRow.meta)
        query = query.where(ArenaItemRow.tenant == tenant, ArenaItemRow.votes > 0, ArenaItemRow.k == 2)
        found: dict[str, dict[str, str | None]] = {}
        with self._sessions.reading() as session:
            for key, systems, meta in session.execute(query, execution_options={"yield_per": _STREAM}):
                winners = {"1": systems[0], "2": systems[1], "tie": None}
                if said := meta.get("judgements"):
                    found[key] = {judge: winners[winner] for judge, winner in said.items()}
        return found

    def stamp(self, tenant: str) -> tuple[Any, ...]:
        """Different as soon as a vote or an item is: what was worked out of them under the same stamp still holds."""
        votes = select(func.count(), func.max(ArenaVoteRow.at)).where(ArenaVoteRow.tenant == tenant)
        items = select(func.count(), func.max(ArenaItemRow.changed_at)).where(ArenaItemRow.tenant == tenant)
        with self._sessions.reading() as session:
            return (*session.execute(votes).one(), *session.execute(items).one())

    def _put(self, session: Session, tenant: str, batch: Sequence[Item], loaded: Loaded) -> None:
        now = present()
        fresh = [_row(tenant, item, now) for item in sorted(batch, key=lambda one: one.id)]
        added = set(insert_new(session, ArenaItemRow, fresh, ArenaItemRow.id))
        loaded.added += len(added)
        given = {storable(item.id): item for item in batch}
        query = select(ArenaItemRow).where(ArenaItemRow.tenant == tenant, ArenaItemRow.key.in_(list(given)))
        for row in session.scalars(query.order_by(ArenaItemRow.key).with_for_update()):
            if row.id in added:
                continue
            new = _row(tenant, given[row.key], now)
            if any(getattr(row, name) != new[name] for name in ("prompt", "responses", "reference", "context")):
                raise InvalidInput(f"item {row.key}: is in the arena with other texts; give what changed another id")
            active = given[row.key].meta.get("active", row.active)
            if (row.meta, row.category, row.active) == (new["meta"], new["category"], active):
                loaded.known += 1
                continue
            row.meta, row.category, row.active, row.changed_at = new["meta"], new["category"], bool(active), now
            loaded.changed += 1


def _waiting(tenant: str, voter: str) -> tuple[ColumnElement[bool], ...]:
    voted = exists().where(
        ArenaVoteRow.tenant == tenant, ArenaVoteRow.item_id == ArenaItemRow.id, ArenaVoteRow.voter == voter
    )
    return ArenaItemRow.tenant == tenant, ArenaItemRow.active.is_(True), ~voted


def _ranking(shown: Sequence[str], places: Sequence[int]) -> list[list[str]]:
    """Groups of systems, best first; each group as it was shown."""
    fine = len(places) == len(shown) and all(1 <= place <= len(shown) for place in places)
    require(fine, f"vote: each of the {len(shown)} answers needs a place from 1 to {len(shown)}")
    told = list(zip(shown, places, strict=True))
    return [[name for name, at in told if at == place] for place in sorted(set(places))]


def _check(item: Item) -> None:
    """Raises InvalidInput, naming the item, for one that cannot be compared blindly."""
    where = f"item {item.id[:80]}"
    systems = [one.system for one in item.responses]
    require(2 <= len(systems) <= MOST, f"{where}: has {len(systems)} responses; 2 to {MOST} can be compared")
    require(item.order == "given" and not item.sample, f"{where}: the arena draws the order itself; leave order out")
    for name in systems:
        require(bool(name.strip()), f"{where}: a response has no system; each needs the name of who gave it")
        require(len(name) <= _NAME, f"{where}: a system's name has more than {_NAME} characters")
        require(systems.count(name) == 1, f"{where}: system {name!r} answers twice")
    long = [name for name, most in _LONGEST.items() if len(getattr(item, name) or "") > most]
    require(not long, f"{where}: {', '.join(long)}: too long ({_LONGEST[long[0]] if long else 0:,} characters at most)")
    answers = max(len(one.text) + sum(map(len, one.sources)) for one in item.responses)
    require(answers <= _ANSWER, f"{where}: a response has more than {_ANSWER:,} characters")
    require(bool(item.prompt.strip()), f"{where}: prompt: is empty")
    require(isinstance(item.meta.get("active", True), bool), f"{where}: meta.active: true or false is needed")
    said = item.meta.get("judgements") or {}
    require(isinstance(said, Mapping), f"{where}: meta.judgements: an object of judges and winners is needed")
    require(not said or len(systems) == 2, f"{where}: meta.judgements: judgements are taken of pairs only")
    for judge, winner in said.items() if isinstance(said, Mapping) else ():
        fine = winner in ("1", "2", "tie") and 0 < len(judge) <= _NAME
        require(fine, f"{where}: meta.judgements.{judge[:40]}: 1, 2 or tie is needed, not {winner!r}")


def _row(tenant: str, item: Item, now: datetime) -> dict[str, Any]:
    told: dict[str, Any] = storable(item.model_dump(mode="json"))
    meta = {name: value for name, value in told["meta"].items() if name != "active"}
    return {
        "id": uuid.uuid4(),
        "tenant": tenant,
        "key": told["id"],
        **{name: told[name] for name in ("prompt", "responses", "reference", "context", "category")},
        "systems": [one["system"] for one in told["responses"]],
        "k": len(item.responses),
        "meta": meta,
        "active": item.meta.get("active", True),
        "secret": secrets.token_hex(32),
        "votes": 0,
        "changed_at": now,
    }


def _item(row: ArenaItemRow) -> ArenaItem:
    fields = ("prompt", "responses", "reference", "context", "category", "meta")
    told = Item.model_validate({"id": row.key, **{name: getattr(row, name) for name in fields}})
    return ArenaItem(row.id, told, row.active, row.votes, row.secret)
