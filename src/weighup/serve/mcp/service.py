"""The work behind the tools, free of the protocol: checks, searches and look-ups. Blocking; safe from many threads.

Models, stores and desks are opened when first needed. Checks are kept where there is a database to keep them in.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighup.dates import iso, parse_bound
from weighup.errors import InvalidInput, ModelMissing, StoreError, WeighupError
from weighup.serve.alerts.policy import outbox
from weighup.serve.checkers import Checkers, Way
from weighup.serve.desk import Asked, Desk
from weighup.serve.mcp.shapes import (
    CheckedClaim,
    FoundEvidence,
    FoundVerdicts,
    Methods,
    checked,
    found_evidence,
    methods_view,
    stored,
)
from weighup.settings import Settings
from weighup.texts import clean
from weighup.verify.rows import BadRow, read_row

if TYPE_CHECKING:
    from weighup.models.types import Encoder
    from weighup.retrieve.store import EvidenceStore
    from weighup.retrieve.types import Evidence
    from weighup.serve.db import Database
    from weighup.serve.db.records import StoredVerdict

log = logging.getLogger(__name__)

FOUND = 5
"""Verdicts that a look-up by words returns at most."""
Tell = Callable[[str], None]
"""Called with what is being done now."""


class NotChecked(WeighupError):
    """A claim could not be checked; what went wrong is in the log."""


class Service:
    """What the tools do. `database` None: nothing is kept, and no verdict can be looked up. Close it at the end.

    Raises SettingsError if the settings name a receiver of alerts that could not be reached.
    """

    def __init__(self, settings: Settings, database: Database | None, *, offline: bool = False) -> None:
        self.settings = settings
        self.database = database
        self.offline = offline
        self._outbox = outbox(settings) if database is not None else None
        self._lock = threading.RLock()
        self._open = ExitStack()
        self._stores: list[EvidenceStore] | None = None
        self._checkers: Checkers | None = None
        self._desk: Desk | None = None

    def check(self, tenant: str, row: Mapping[str, Any], *, brief: bool, tell: Tell) -> CheckedClaim:
        """Judge one claim and keep the verdict. `row` is an input row; raises InvalidInput for one that is none."""
        read = read_row(row, 1)
        if isinstance(read, BadRow):
            raise InvalidInput(read.error.removeprefix("line 1: "))
        tell("loading models")
        checkers, desk = self._ready()
        tell("gathering evidence and judging")
        if desk is not None:
            try:
                return _kept(desk, Asked(read.claim, f"mcp:{uuid.uuid4()}", tenant, brief=brief))
            except StoreError as error:
                log.warning("a verdict is not kept: %s", error)
        verdict = checkers.get(Way(brief=brief)).check([read.claim])[0]
        said = "no database is in use" if desk is None else "the database did not answer"
        return checked(verdict, notes=(f"this verdict was not kept: {said}",))

    def search(self, query: str, before: str | None, limit: int) -> FoundEvidence:
        """The best passages of the evidence stores for a query. Nothing is asked online."""
        if not any(c.isalnum() for c in query):
            raise InvalidInput("query: holds no letter or number; say in words what to look for")
        bound = None if before is None or not before.strip() else parse_bound(before, where="before")
        found: dict[str, Evidence] = {}
        unavailable = []
        for store in self.stores():
            try:
                hits = store.search([clean(query)], before=bound, limit=limit)[0]
            except StoreError as error:
                log.warning("%s", error)
                unavailable.append(store.path.name)
                continue
            for hit in hits:
                found.setdefault(hit.text, hit)
        best = sorted(found.values(), key=lambda e: -e.score)[:limit]
        return found_evidence(best, iso(bound), unavailable)

    def verdicts(self, tenant: str, identity: str | None, claim: str | None, date: str | None) -> FoundVerdicts:
        """Stored verdicts: the one of that id, the one on that claim, else those whose claims hold all its words."""
        if (identity is None) == (claim is None):
            raise InvalidInput("give either `id` or `claim`, and not both")
        if self.database is None:
            raise InvalidInput("no verdicts are kept here; use check_claim")
        if identity is not None:
            return self._shown(tenant, [self._by_id(self.database, tenant, identity)], exact=True)
        from weighup.serve.db.records import VerdictFilter
        from weighup.serve.db.words import claim_key

        wanted = clean(claim or "")
        if not any(c.isalnum() for c in wanted):
            raise InvalidInput("claim: holds no letter or number; give the claim in words")
        bound = None if date is None or not date.strip() else parse_bound(date, where="date")
        found = self.database.verdicts.find(tenant, [claim_key(wanted, bound)])[0]
        if found is not None:
            return self._shown(tenant, [found], exact=True)
        near = self.database.verdicts.page(tenant, VerdictFilter(text=wanted), limit=FOUND).verdicts
        return self._shown(tenant, list(near), exact=False)

    def methods(self, room: str | None) -> Methods:
        """What is implemented, of one room if named."""
        from weighup import __version__
        from weighup.registry import ROOMS, methods

        if room is not None and room not in ROOMS:
            raise InvalidInput(f"room: there is no such room; rooms are {', '.join(ROOMS)}")
        return methods_view([m for m in methods() if room in (None, m.room)], __version__)

    def stores(self) -> list[EvidenceStore]:
        """The evidence stores that the settings name, opened once and shared with the checks."""
        with self._lock:
            if self._stores is None:
                self._stores = [self._open.enter_context(store) for store in self._named_stores()]
            return self._stores

    def close(self) -> None:
        """Close what was opened here. The database is its owner's."""
        with self._lock:
            self._open.close()
            self._stores = self._checkers = self._desk = None

    def _ready(self) -> tuple[Checkers, Desk | None]:
        from weighup.verify.verifier import Verifier

        with self._lock:
            if self._checkers is None:
                verifier = Verifier(self.settings, offline=self.offline, stores=self.stores())
                self._open.enter_context(verifier)
                self._checkers = Checkers(verifier)
                if self.database is not None:
                    self._desk = Desk(verifier, self.database, alerts=self._outbox, settings=self.settings.watch)
            return self._checkers, self._desk

    def _named_stores(self) -> list[EvidenceStore]:
        from weighup.retrieve.pack import open_starter_pack
        from weighup.retrieve.store import EvidenceStore

        encoder = self._encoder()
        opened: list[EvidenceStore] = []
        path: Path | None = self.settings.retrieve.store
        if path is not None:
            opened.append(EvidenceStore.open(path, encoder=encoder))
        if self.settings.retrieve.starter_pack:
            opened.append(open_starter_pack(encoder=encoder))
        return opened

    def _encoder(self) -> Encoder | None:
        """None: it is not on this machine; stores are searched by words then."""
        from weighup.models.open import encoder

        try:
            return encoder(self.settings)
        except ModelMissing as error:
            log.warning("%s; evidence is searched by words only", error)
            return None

    def _by_id(self, database: Database, tenant: str, identity: str) -> StoredVerdict:
        try:
            wanted = uuid.UUID(identity.strip())
        except ValueError:
            raise InvalidInput("id: is not the id of a verdict; it reads like 3f2b8c1e-…") from None
        found = database.verdicts.get(tenant, [wanted])[0]
        if found is None:
            raise InvalidInput("id: there is no verdict of this id")
        return found

    def _shown(self, tenant: str, found: list[StoredVerdict], *, exact: bool) -> FoundVerdicts:
        assert self.database is not None
        timelines = self.database.verdicts.timelines(tenant, [one.id for one in found])
        return FoundVerdicts(
            exact=exact, verdicts=[stored(one, line) for one, line in zip(found, timelines, strict=True)]
        )


def _kept(desk: Desk, asked: Asked) -> CheckedClaim:
    answer = desk.check([asked])[0]
    if answer.verdict is None or answer.recorded is None:
        raise NotChecked(answer.error or "the desk gave no verdict")
    return checked(answer.verdict, str(answer.recorded.id))


def open_database(*, required: bool) -> Database | None:
    """The database in force; None, with a warning, if it cannot be used and is not `required`. Raises as `open`."""
    from weighup.serve.db import Database

    try:
        return Database.open()
    except StoreError as error:
        if required:
            raise
        log.warning("verdicts are not kept: %s", error)
        return None
