"""The desk: the one place where claims are checked and kept, for watch, jobs, API, page and MCP alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from weighup.dates import iso, parse_bound, published_or_none
from weighup.errors import JobFailed, ModelMissing, SettingsError, StoreError, WeightsError, WeighupError
from weighup.retrieve.types import Evidence
from weighup.serve.checkers import Checkers, Way, encoder_of
from weighup.serve.db.claim_vectors import ClaimVector
from weighup.serve.db.records import Check, Reason, Recorded, StoredVerdict, TimelineEntry
from weighup.serve.db.sessions import present
from weighup.serve.db.words import claim_key
from weighup.serve.watch.schedule import SETTLED, Plan, plan
from weighup.settings import WatchSettings
from weighup.texts import language
from weighup.verify.contract import EvidenceView, Verdict
from weighup.verify.types import Claim

if TYPE_CHECKING:
    from weighup.serve.db import Database
    from weighup.serve.db.verdicts import Outbox
    from weighup.verify.batch import Checker

logger = logging.getLogger(__name__)

FOR_ALL = (ModelMissing, SettingsError, StoreError, WeightsError)
"""Errors that would befall every claim alike: raised, never written down as one claim's own."""

ENGLISH = frozenset({"minilm"})
"""Encoders that read English only: their vectors of other languages would find nothing alike."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One check to make. `check_key` names it: recording it twice changes nothing.

    `claim_key` says which stored claim it is; None: the one with this text and date. `follow`: check it again until it
    is settled; None: if the claim has no date, since a date asks for what was known by then, once and for all. `brief`,
    `search` and `risk` are for this check; None: as the desk's checker does, which they can only narrow.
    """

    claim: Claim
    check_key: str
    tenant: str = ""
    reason: Reason = "first"
    claim_key: str | None = None
    follow: bool | None = None
    brief: bool | None = None
    search: bool | None = None
    risk: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one check: the verdict and how it was recorded, or the error in words."""

    verdict: Verdict | None = None
    recorded: Recorded | None = None
    error: str | None = None


class Desk:
    """Checks claims with `checker` and keeps what came of it in `database`. Thread-safe; closes neither of them.

    `alerts` says which alerts a recorded check raises; they are kept with it, in one transaction.
    """

    def __init__(
        self,
        checker: Checker,
        database: Database,
        *,
        alerts: Outbox | None = None,
        settings: WatchSettings | None = None,
        clock: Callable[[], datetime] = present,
    ) -> None:
        self.checker = checker
        self.database = database
        self.outbox = alerts
        self.settings = settings or WatchSettings()
        self._clock = clock
        self._checkers = Checkers(checker)

    def check(self, asked: Sequence[Asked]) -> list[Answer]:
        """Check all as a batch (one by one if that fails) and record all; answers in order.

        Raises ModelMissing, SettingsError, WeightsError or StoreError where nothing can be checked or kept.
        """
        judged = self.judged(asked)
        checks = [check for check, _ in judged if check is not None]
        recorded = iter(self.database.verdicts.record(checks, outbox=self.outbox) if checks else [])
        return [
            Answer(error=error) if check is None else Answer(check.verdict, next(recorded)) for check, error in judged
        ]

    def judged(self, asked: Sequence[Asked]) -> list[tuple[Check | None, str | None]]:
        """As `check`, not recorded: the checks, with what is to become of them set, or an error in words; in order.

        For jobs and feed items, which are recorded in the transaction that finishes them. Raises as `check`.
        """
        verdicts = self._verdicts(asked)
        keys = [
            None if isinstance(verdict, str) else one.claim_key or claim_key(verdict.claim, _date(verdict))
            for one, verdict in zip(asked, verdicts, strict=True)
        ]
        known = self._known([(one.tenant, key) for one, key in zip(asked, keys, strict=True) if key is not None])
        found: list[tuple[Check | None, str | None]] = []
        vectors = self._vectors([one for one in verdicts if not isinstance(one, str)])
        now = self._clock()
        for one, verdict, key in zip(asked, verdicts, keys, strict=True):
            if isinstance(verdict, str) or key is None:
                found.append((None, str(verdict)))
                continue
            what = self._plan(one, verdict, now, known.get((one.tenant, key)))
            check = Check(
                verdict=verdict,
                check_key=one.check_key,
                tenant=one.tenant,
                claim_key=key,
                reason=one.reason,
                at=now,
                lang=one.claim.lang,
                source=one.claim.source,
                url=one.claim.url,
                settled=what.settled,
                next_check=what.next_check,
                vector=vectors.get(verdict.claim),
            )
            found.append((check, None))
        return found

    def again(self, stored: StoredVerdict, reason: Reason = "recheck") -> Asked:
        """The check that asks a stored claim again, with what is known by now.

        Its key is made from the check before, so that two who ask at the same time count as one.
        """
        now = self._clock().replace(microsecond=0)
        dated = stored.claim_date is not None
        said = f"first dated {iso(stored.claim_date)}; checked again with what was known by {iso(now)}"
        own = tuple(_evidence(view) for view in stored.verdict.evidence if view.origin == "row")
        claim = Claim(
            text=stored.claim,
            date=now if dated else None,
            source=stored.source,
            lang=stored.lang,
            url=stored.url,
            evidence=own or None,
            warnings=(said,) if dated else (),
        )
        return Asked(
            claim,
            f"after:{stored.checked_at.isoformat()}",
            stored.tenant,
            reason,
            claim_key=stored.claim_key,
            follow=True,
        )

    def _verdicts(self, asked: Sequence[Asked]) -> list[Verdict | str]:
        """Verdicts in order, an error's words where there is none."""
        groups: dict[Way, list[int]] = {}
        for place, one in enumerate(asked):
            groups.setdefault(Way(one.brief, one.search, one.risk), []).append(place)
        found: dict[int, Verdict | str] = {}
        for way, places in groups.items():
            try:
                checker = self._checkers.get(way)
            except WeighupError as error:
                if way.risk is None or isinstance(error, FOR_ALL):
                    raise
                found |= dict.fromkeys(places, str(error))
                continue
            found |= dict(zip(places, _check(checker, [asked[place].claim for place in places]), strict=True))
        return [found[place] for place in range(len(asked))]

    def _vectors(self, verdicts: Sequence[Verdict]) -> Mapping[str, ClaimVector]:
        """Vectors by claim, of those that the checker's encoder can read; none where that fails or there is none."""
        try:
            encoder = encoder_of(self.checker)
            if encoder is None:
                return {}
            claims = dict.fromkeys(one.claim for one in verdicts if one.verdict != "not_checkable")
            read = [claim for claim in claims if encoder.name not in ENGLISH or language(claim) in ("en", "mixed")]
            name = f"{encoder.name}@{encoder.version}"
            made = encoder.encode(read) if read else ()
            found = {claim: ClaimVector.of(name, row) for claim, row in zip(read, made, strict=True)}
            return {claim: vector for claim, vector in found.items() if vector is not None}
        except Exception as error:  # a verdict is worth more than what it is found again by
            logger.warning("no vectors of %d claims (%s)", len(verdicts), type(error).__name__)
            logger.debug("the encoder failed", exc_info=True)
            return {}

    def _known(
        self, keys: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[StoredVerdict, Sequence[TimelineEntry]]]:
        """What is stored of these claims, by tenant and claim key."""
        found: dict[tuple[str, str], tuple[StoredVerdict, Sequence[TimelineEntry]]] = {}
        for tenant in dict.fromkeys(tenant for tenant, _ in keys):
            wanted = list(dict.fromkeys(key for owner, key in keys if owner == tenant))
            verdicts = self.database.verdicts
            stored = [one for one in verdicts.find(tenant, wanted) if one is not None]
            past = verdicts.timelines(tenant, [one.id for one in stored]) if stored else []
            found |= {(tenant, one.claim_key): (one, entries) for one, entries in zip(stored, past, strict=True)}
        return found

    def _plan(
        self, one: Asked, verdict: Verdict, now: datetime, known: tuple[StoredVerdict, Sequence[TimelineEntry]] | None
    ) -> Plan:
        follow = one.claim.date is None if one.follow is None else one.follow
        if known is None:
            return plan(verdict, now, settle_days=self.settings.settle_days) if follow else SETTLED
        stored, past = known
        if not follow and stored.settled:
            return SETTLED
        had = {(view.url, view.text) for view in stored.verdict.evidence}
        more = any((view.url, view.text) not in had for view in verdict.evidence)
        days = self.settings.settle_days
        return plan(verdict, now, first_seen=stored.created_at, past=past, evidence_added=more, settle_days=days)


def _check(checker: Checker, claims: Sequence[Claim]) -> list[Verdict | str]:
    """All together; if that raises, one by one, so that one bad claim costs only itself."""
    try:
        verdicts = checker.check(claims)
        if len(verdicts) != len(claims):
            raise JobFailed(f"{len(claims)} claims gave {len(verdicts)} verdicts")
    except FOR_ALL:
        raise
    except Exception as error:  # whatever one claim sets off must not cost the others their verdicts
        if len(claims) > 1:
            logger.warning("a batch failed (%s); its claims are tried one by one", type(error).__name__)
            return [answer for claim in claims for answer in _check(checker, [claim])]
        logger.debug("a claim failed", exc_info=True)
        return [str(error) if isinstance(error, WeighupError) else f"unexpected {type(error).__name__}: {error}"]
    return list(verdicts)


def _date(verdict: Verdict) -> datetime | None:
    return None if verdict.date is None else parse_bound(verdict.date, where="verdict.date")


def _evidence(view: EvidenceView) -> Evidence:
    """A passage that came with a claim, as it came."""
    published = published_or_none(view.date) if view.date is not None else None
    return Evidence(view.text, "row", view.url, view.title, published, view.source or "", score=1.0)
