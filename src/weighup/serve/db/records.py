"""What goes into the repositories and what comes out: frozen values, free of any session."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from weighup.verify.contract import Label, Verdict

if TYPE_CHECKING:
    from weighup.serve.db.claim_vectors import ClaimVector

Reason = Literal["first", "recheck", "new_evidence"]
Order = Literal["newest", "uncertain"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finished check of a claim. `check_key` names it, so that recording it again after a crash changes nothing.
    `claim_key` says which claim it is; None: its text and date (`claim_key` in words.py). `reason` is `first` by
    itself when the claim is new. `at` None: now.
    """

    verdict: Verdict
    check_key: str
    tenant: str = ""
    claim_key: str | None = None
    reason: Reason = "recheck"
    at: datetime | None = None
    lang: str | None = None
    source: str | None = None
    url: str | None = None
    settled: bool = False
    next_check: datetime | None = None
    vector: ClaimVector | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording a check did. `counted` is False for one that was recorded before; `before` and `label_before`
    are what the verdict said until then, `told` and `told_label` what it said when last an alert was raised (without
    one: when it first made a call); None for a new claim."""

    id: uuid.UUID
    created: bool
    counted: bool
    probability: float
    label: str
    before: float | None
    label_before: str | None
    told: float | None = None
    told_label: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One check in a verdict's timeline. `evidence_added`: what was not among the evidence of the check before."""

    check_key: str
    at: datetime
    probability: float
    interval: tuple[float, float]
    label: str
    expert: str | None
    evidence_added: Sequence[Mapping[str, Any]]
    reason: str


@dataclass(frozen=True)  # no slots: `verdict` is kept beside the fields
class StoredVerdict:
    """A verdict as it stands. `latest` is the verdict as JSON; `probability` is that of fake, as in the contract;
    `due_for` why the next check is to be made, None if only because its time has come."""

    id: uuid.UUID
    tenant: str
    claim_key: str
    claim: str
    claim_date: datetime | None
    lang: str | None
    source: str | None
    url: str | None
    latest: Mapping[str, Any]
    probability: float
    label: str
    expert: str | None
    settled: bool
    next_check: datetime | None
    created_at: datetime
    checked_at: datetime
    due_for: Reason | None = None

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict, parsed when first asked for: lists do not need it."""
        return Verdict.model_validate(self.latest)

    @property
    def interval(self) -> tuple[float, float]:
        """Between which bounds the probability of fake lies, as in the contract."""
        return self.latest["interval"][0], self.latest["interval"][1]


@dataclass(frozen=True, slots=True)
class VerdictFilter:
    """Which verdicts to list. Lower bounds include, upper bounds of time exclude; probabilities include both.

    `since`/`until` bound when the claim was first seen, `dated_since`/`dated_until` the claim's own date. `text`: all
    words must occur, the last may be the beginning of one. `order`: newest first, or most uncertain first.
    """

    labels: Sequence[Label] = ()
    since: datetime | None = None
    until: datetime | None = None
    dated_since: datetime | None = None
    dated_until: datetime | None = None
    probability: tuple[float, float] | None = None
    text: str = ""
    settled: bool | None = None
    reviewed: bool | None = None
    order: Order = "newest"


@dataclass(frozen=True, slots=True)
class Page:
    """Some verdicts and where to go on; `cursor` is None after the last."""

    verdicts: Sequence[StoredVerdict]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """A job with how many of its items are in each state."""

    id: uuid.UUID
    tenant: str
    kind: str
    options: Mapping[str, Any]
    state: str
    created_at: datetime
    finished_at: datetime | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class JobItem:
    """An item that a worker has taken."""

    id: int
    job_id: uuid.UUID
    tenant: str
    kind: str
    position: int
    input: Mapping[str, Any]
    options: Mapping[str, Any]
    attempts: int

    @property
    def check_key(self) -> str:
        """Names the check that this item asks for, however often it is taken."""
        return f"job:{self.job_id}:{self.position}"


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What came of an item: a result, or an error. `check` is recorded in the same transaction."""

    item_id: int
    result: Mapping[str, Any] | None = None
    error: str | None = None
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class JobLine:
    """One line of a job's output."""

    position: int
    state: str
    result: Mapping[str, Any] | None
    error: str | None
    verdict_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as it stands."""

    id: uuid.UUID
    tenant: str
    url: str
    kind: str
    title: str | None
    every: float
    enabled: bool
    etag: str | None
    last_modified: str | None
    next_poll: datetime
    last_poll: datetime | None
    errors: int
    last_error: str | None
    memory: Mapping[str, Any] | None = None
    evidence: bool = False


@dataclass(frozen=True, slots=True)
class NewItem:
    """An entry that a feed showed. `guid` is whatever tells it from the feed's other entries; `entry`, at most 64
    characters, names it in all its versions, `said`, as long, what it says."""

    guid: str
    text: str
    url: str | None = None
    title: str | None = None
    published: datetime | None = None
    entry: str | None = None
    lang: str | None = None
    source: str | None = None
    said: str | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """What a poll gave. With `error` the feed is backed off; `wait` is what its server asked for, in seconds. `gone`
    feeds are not asked again. `memory` is kept for the next poll; None leaves it as it is."""

    feed_id: uuid.UUID
    items: Sequence[NewItem] = ()
    etag: str | None = None
    last_modified: str | None = None
    title: str | None = None
    error: str | None = None
    wait: float | None = None
    unchanged: bool = False
    gone: bool = False
    memory: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FeedItem:
    """An entry of a feed, as kept."""

    id: int
    feed_id: uuid.UUID
    tenant: str
    url: str | None
    title: str | None
    text: str
    published: datetime | None
    seen_at: datetime
    state: str
    story_id: uuid.UUID | None
    verdict_id: uuid.UUID | None
    entry: str | None = None
    lang: str | None = None
    source: str | None = None
    copy_of: int | None = None
    evidence: bool = False
    error: str | None = None

    @property
    def check_key(self) -> str:
        """Names the check that this entry asks for, however often it is taken."""
        return f"item:{self.feed_id}:{self.id}"


@dataclass(frozen=True, slots=True)
class FeedItemOutcome:
    """What came of an entry: checked with a `check`, skipped (no claim in it, or evidence, or a copy), or failed.
    `copy_of` is the entry that it copies, whose verdict is then its own as well; `mark` what its copies are known by.
    """

    item_id: int
    state: Literal["checked", "skipped", "failed"]
    check: Check | None = None
    story_id: uuid.UUID | None = None
    copy_of: int | None = None
    mark: bytes | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """Items about the same thing."""

    id: uuid.UUID
    tenant: str
    title: str
    created_at: datetime
    updated_at: datetime
    items: int


@dataclass(frozen=True, slots=True)
class NewAlert:
    """A message to send. `key` names it, so that raising it again changes nothing."""

    key: str
    channel: Literal["webhook", "email", "console"]
    target: str
    payload: Mapping[str, Any]
    tenant: str = ""
    verdict_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """A message in the outbox."""

    id: uuid.UUID
    tenant: str
    verdict_id: uuid.UUID | None
    channel: str
    target: str
    payload: Mapping[str, Any]
    state: str
    attempts: int
    next_try: datetime
    last_error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Feedback:
    """A human's label on a verdict. `id` makes it count once; None: a new one."""

    verdict_id: uuid.UUID
    label: Label
    by: str
    note: str | None = None
    at: datetime | None = None
    id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what, when, and how it was before and after."""

    who: str
    what: str
    subject: str
    tenant: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    at: datetime | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret. Quotas are requests; None is no limit."""

    id: uuid.UUID
    prefix: str
    name: str
    tenant: str
    scopes: frozenset[str]
    per_minute: int | None
    per_day: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with, to be said again."""

    status: int
    body: Mapping[str, Any]
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """Whether a request with an idempotency key is to be carried out: `new`; else `answered` with `answer`, `running`
    elsewhere, or `different` from the request that the key was first used for."""

    state: Literal["new", "answered", "running", "different"]
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How many requests a key has made on a UTC day."""

    key_id: uuid.UUID
    day: date
    count: int


@dataclass(slots=True)
class Pruned:
    """How many rows retention deleted, by table."""

    counts: dict[str, int] = field(default_factory=dict)
