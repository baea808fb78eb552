"""The watcher: polls what is due, checks what is new as it arrives, checks again what is not settled.

Everything that matters is in the database, and each step is one transaction: a poll with its entries; entries with
their verdicts, stories and alerts; a re-check with its alerts. A watcher that is killed leaves leases that run out, and
whoever comes next goes on where it stood. Checks are named by what asks for them, so that none counts twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from weighup.errors import StoreError
from weighup.retrieve.rowfiles import Broken
from weighup.serve.checkers import encoder_of, stores_of
from weighup.serve.db.records import Check, FeedItem, FeedItemOutcome, NewAlert, Recorded
from weighup.serve.db.sessions import LEASE, present
from weighup.serve.db.watched import StoryState
from weighup.serve.desk import FOR_ALL, Asked, Desk
from weighup.serve.feeds.client import FeedClient
from weighup.serve.watch.arrivals import Arrivals
from weighup.serve.watch.claims import claim_of, document_of, with_pages
from weighup.serve.watch.placing import Placing
from weighup.serve.watch.polling import Brought, Polling
from weighup.serve.work.leases import EVERY, held
from weighup.verify.extraction import extract

if TYPE_CHECKING:
    from weighup.models.types import Encoder
    from weighup.retrieve.store import EvidenceStore
    from weighup.settings import Settings
    from weighup.verify.types import Claim

logger = logging.getLogger(__name__)

IDLE = 1.0
"""Seconds between looks for something to do where there was nothing."""
LOOK_EVERY = 15.0
"""Seconds between looks for new documents in the evidence stores."""
BRIEF_BATCH, WRITING_BATCH = 64, 4
"""Entries or verdicts taken together; a watcher that is told to stop ends its batch first."""
AGAIN_AFTER_FAILURE = timedelta(hours=1)
"""A re-check that failed is tried again then."""
LONGEST_PAUSE = 30.0

Tell = Callable[[Check, Recorded], None]
"""Told of every check once it is kept."""


@dataclass(slots=True)
class Counts:
    """What a watcher has done so far. `copies` and `skipped` entries need no check of their own."""

    polls: Brought = field(default_factory=Brought)
    checked: int = 0
    copies: int = 0
    skipped: int = 0
    evidence: int = 0
    failed: int = 0
    again: int = 0


class Watcher:
    """Watches the feeds of `desk.database`. One `run` or `once` at a time; any number of watchers side by side.

    `name` must be its own among all that work on the database. `client` fetches feeds, and pages that entries only
    link to; None: one of its own. `pages=False` leaves pages alone, as offline. `encoder` gathers entries into stories;
    None: the checker's, or the settings'. `stores` are where new documents are looked for, None: the checker's;
    `evidence` takes up what evidence feeds bring, None: that one of them which the settings name. `folders`: read
    folders of this machine too. `tell` hears of checks, `on_broken` of what could not be read. Closes nothing that it
    was given. `trouble` is what keeps it from working, None if nothing does.
    """

    def __init__(
        self,
        desk: Desk,
        settings: Settings,
        name: str,
        *,
        client: FeedClient | None = None,
        encoder: Encoder | None = None,
        stores: Sequence[EvidenceStore] | None = None,
        evidence: EvidenceStore | None = None,
        folders: bool = False,
        pages: bool = True,
        tell: Tell | None = None,
        on_broken: Callable[[Broken], None] | None = None,
        lease: float = LEASE,
        batch: int | None = None,
        clock: Callable[[], datetime] = present,
    ) -> None:
        self.desk = desk
        self.database = desk.database
        self.name = name
        self.lease = lease
        self.counts = Counts()
        self.trouble: str | None = None
        self._own_client = FeedClient(settings.retrieve) if client is None else None
        client = client or self._own_client
        assert client is not None
        self.polling = Polling(
            self.database, client, name=name, folders=folders, lease=lease, on_broken=on_broken, clock=clock
        )
        self._client = client if pages else None
        self._settings = settings
        self._encoder = encoder
        self._stores = stores
        self._evidence = evidence
        self._tell = tell
        self._batch = batch or (BRIEF_BATCH if getattr(desk.checker, "brief", True) else WRITING_BATCH)
        self._clock = clock
        self._placing: Placing | None = None
        self._arrivals: Arrivals | None = None
        self._looked: datetime | None = None

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set: what is being checked then is finished, what was only taken is given back."""
        poller = threading.Thread(target=self._keep_polling, args=(stop,), name="weighup-watch-poll", daemon=True)
        poller.start()
        pause = IDLE
        while not stop.is_set():
            try:
                busy = self.check_once(stop)
            except FOR_ALL as error:
                self.trouble, pause = str(error), min(2 * pause, LONGEST_PAUSE)
                logger.warning("watching waits: %s", error)
                stop.wait(pause)
                continue
            self.trouble, pause = None, IDLE
            if not busy:
                stop.wait(IDLE)
        poller.join()
        self.close()

    def close(self) -> None:
        """Give back the connections of its own client."""
        if self._own_client is not None:
            self._own_client.close()

    def once(self, stop: threading.Event | None = None) -> None:
        """Poll all that is due, then check all that waits or is due. Raises what `check_once` raises."""
        going = stop or threading.Event()
        while not going.is_set() and (brought := self.polling.once(going)).feeds:
            self.counts.polls += brought
        while not going.is_set() and self.check_once(going, look=False):
            pass
        if not going.is_set() and self.look():
            while not going.is_set() and self.recheck(going):
                pass

    def check_once(self, stop: threading.Event | None = None, *, look: bool = True) -> int:
        """Check a batch of new entries and a batch of verdicts that are due; how many there were.

        Raises StoreError, ModelMissing, SettingsError or WeightsError where nothing can be checked or kept; what was
        taken is given back.
        """
        done = self.check_items(stop)
        if stop is not None and stop.is_set():
            return done
        if look and (self._looked is None or (self._clock() - self._looked).total_seconds() >= LOOK_EVERY):
            self.look()
        return done + self.recheck(stop)

    def check_items(self, stop: threading.Event | None = None) -> int:
        """Check a batch of new entries; how many. Raises as `check_once`."""
        feeds = self.database.feeds
        items = feeds.take_items(self.name, limit=self._batch, seconds=self.lease)
        if not items:
            return 0
        ids = [item.id for item in items]
        told: list[tuple[Check, Recorded]] = []
        try:
            if stop is not None and stop.is_set():
                feeds.release_items(self.name, ids)
                return 0
            with held(lambda: feeds.extend_items(self.name, ids, seconds=self.lease), every=self._every):
                outcomes, stories = self._outcomes(items)
                kept = feeds.finish_items(outcomes, stories=stories, outbox=self._listening(told))
                # Of what waits, copies need no turn of their own: floods of them do not hold up what is new.
                self.counts.copies += feeds.join_copies([one.item_id for one in outcomes if one.check is not None])
        except BaseException:
            with suppress(StoreError):  # else their leases run out
                feeds.release_items(self.name, ids)
            raise
        self._placed.kept(items)
        for outcome, counted in zip(outcomes, kept, strict=True):
            self._count(outcome, counted)
        self._say(told)
        return len(items)

    def recheck(self, stop: threading.Event | None = None) -> int:
        """Check a batch of verdicts that are due again; how many. Raises as `check_once`."""
        verdicts = self.database.verdicts
        due = verdicts.take_due(self.name, limit=self._batch, seconds=self.lease, now=self._clock())
        if not due:
            return 0
        ids = [one.id for one in due]
        told: list[tuple[Check, Recorded]] = []
        try:
            if stop is not None and stop.is_set():
                verdicts.release(self.name, ids)
                return 0
            with held(lambda: verdicts.extend(self.name, ids, seconds=self.lease), every=self._every):
                judged = self.desk.judged([self.desk.again(one, one.due_for or "recheck") for one in due])
                verdicts.record([check for check, _ in judged if check is not None], outbox=self._listening(told))
                later = self._clock() + AGAIN_AFTER_FAILURE
                for one, (check, error) in zip(due, judged, strict=True):
                    if check is None:
                        logger.warning("verdict %s was not checked again: %s", one.id, error)
                        verdicts.schedule(one.tenant, [one.id], later)
        except BaseException:
            with suppress(StoreError):  # else their leases run out
                verdicts.release(self.name, ids)
            raise
        self.counts.again += sum(recorded.counted for _, recorded in told)
        self._say(told)
        return len(due)

    def look(self) -> int:
        """Look for new documents; how many verdicts are to be checked again for them. A store that cannot be read is
        told of and looked into again later."""
        self._looked = self._clock()
        if self._arrivals is None:
            self._arrivals = Arrivals(self.database, self._all_stores())
        try:
            return self._arrivals.look(self._looked)
        except StoreError as error:
            logger.warning("new evidence was not looked for: %s", error)
            return 0

    # --- parts of a batch ------------------------------------------------------------------------------------------

    def _outcomes(self, items: Sequence[FeedItem]) -> tuple[list[FeedItemOutcome], list[StoryState]]:
        now = self._clock()
        told: dict[int, FeedItemOutcome] = {}
        told |= self._as_evidence([item for item in items if item.evidence])
        todo: list[tuple[FeedItem, Claim]] = []
        for item, unread in with_pages([item for item in items if not item.evidence], self._client, now):
            claim = claim_of(item, now)
            if unread is not None:
                told[item.id] = FeedItemOutcome(item.id, "skipped", error=unread)
            elif not (found := extract(claim.text).checkability).checkable:
                told[item.id] = FeedItemOutcome(item.id, "skipped", error=found.why)
            else:
                todo.append((item, claim))
        places = self._placed.place([item for item, _ in todo], now) if todo else []
        firsts = [(item, claim) for (item, claim), p in zip(todo, places, strict=True) if p.copy_of is None]
        asked = [Asked(claim, item.check_key, item.tenant, follow=True) for item, claim in firsts]
        judged = iter(self.desk.judged(asked) if asked else [])
        for (item, _), place in zip(todo, places, strict=True):
            if place.copy_of is not None:
                told[item.id] = FeedItemOutcome(item.id, "skipped", story_id=place.story.id, copy_of=place.copy_of)
                continue
            check, error = next(judged)
            told[item.id] = FeedItemOutcome(
                item.id,
                "failed" if check is None else "checked",
                check,
                story_id=place.story.id,
                mark=place.mark,
                error=error,
            )
        return [told[item.id] for item in items], [place.story for place in places]

    def _as_evidence(self, items: Sequence[FeedItem]) -> dict[int, FeedItemOutcome]:
        """Put what evidence feeds brought into the store. Adding it again, after a crash, changes nothing."""
        if not items:
            return {}
        store = self._evidence or self._own_store()
        if store is None:
            why = "there is no evidence store to put it into; set retrieve.store"
            return {item.id: FeedItemOutcome(item.id, "failed", error=why) for item in items}
        self.look()  # so that the store's own cursor stands before what is added now
        store.add(document_of(item) for item in items if item.published is not None)
        self._looked = None
        undated = "it has no date, so that no claim could be judged by it"
        return {
            item.id: FeedItemOutcome(item.id, "skipped", error=None if item.published else undated) for item in items
        }

    def _listening(self, told: list[tuple[Check, Recorded]]) -> Callable[[Check, Recorded], Sequence[NewAlert]]:
        """The desk's outbox, hearing what is recorded; what it heard counts once the transaction has ended."""
        outbox = self.desk.outbox

        def raised(check: Check, recorded: Recorded) -> Sequence[NewAlert]:
            told.append((check, recorded))
            return outbox(check, recorded) if outbox is not None else ()

        return raised

    def _say(self, told: Sequence[tuple[Check, Recorded]]) -> None:
        for check, recorded in told if self._tell is not None else ():
            if recorded.counted and self._tell is not None:
                self._tell(check, recorded)

    def _count(self, outcome: FeedItemOutcome, counted: bool) -> None:
        if not counted:
            return
        self.counts.checked += outcome.state == "checked"
        self.counts.failed += outcome.state == "failed"
        self.counts.copies += outcome.copy_of is not None
        self.counts.skipped += outcome.state == "skipped" and outcome.copy_of is None
        if outcome.state == "failed":
            logger.warning("entry %d was not checked: %s", outcome.item_id, outcome.error)

    def _keep_polling(self, stop: threading.Event) -> None:
        pause = IDLE
        while not stop.is_set():
            try:
                brought = self.polling.once(stop)
            except StoreError as error:
                pause = min(2 * pause, LONGEST_PAUSE)
                logger.warning("polling waits: %s", error)
                stop.wait(pause)
                continue
            except Exception:  # whatever a feed sets off must not end the watch; its lease runs out
                logger.exception("a round of polls failed")
                stop.wait(LONGEST_PAUSE)
                continue
            pause = IDLE
            self.counts.polls += brought
            if not brought.feeds:
                stop.wait(IDLE)

    # --- what it works with, opened when first needed ----------------------------------------------------------------

    @property
    def _every(self) -> float:
        return min(EVERY, self.lease / 4)

    @property
    def _placed(self) -> Placing:
        if self._placing is None:
            self._placing = Placing(self.database, self._encoder or self._checkers_encoder())
        return self._placing

    def _checkers_encoder(self) -> Encoder:
        from weighup.models.open import encoder

        own = encoder_of(self.desk.checker)
        return encoder(self._settings) if own is None else own

    def _all_stores(self) -> Sequence[EvidenceStore]:
        return stores_of(self.desk.checker) if self._stores is None else self._stores

    def _own_store(self) -> EvidenceStore | None:
        path = self._settings.retrieve.store
        named = (store for store in self._all_stores() if path is not None and Path(store.path) == Path(path))
        return next(named, None)
