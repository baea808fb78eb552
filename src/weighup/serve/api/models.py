"""The bodies that go out: what is kept in the database, as others see it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from weighup.dates import iso
from weighup.serve.db.records import Feed, Feedback, FeedItem, Job, JobLine, StoredVerdict, Story, TimelineEntry
from weighup.verify.contract import ExpertName, Label, Probability, Verdict


class Out(BaseModel):
    """A body that goes out."""

    model_config = ConfigDict(frozen=True)

    def json_text(self) -> str:
        """As JSON."""
        return self.model_dump_json()


class Checked(Out):
    """A verdict just given. `id` is its place among the stored ones."""

    id: uuid.UUID
    created: bool = Field(description="Whether the claim was new here.")
    verdict: Verdict


class TimelineView(Out):
    """One check in a verdict's timeline."""

    at: str
    label: Label
    probability_fake: Probability
    interval: tuple[Probability, Probability]
    expert: ExpertName | None
    reason: str
    evidence_added: list[dict[str, Any]]

    @classmethod
    def of(cls, entry: TimelineEntry) -> TimelineView:
        told: dict[str, Any] = {
            "at": iso(entry.at) or "",
            "label": entry.label,
            "probability_fake": entry.probability,
            "interval": entry.interval,
            "expert": entry.expert,
            "reason": entry.reason,
            "evidence_added": [dict(one) for one in entry.evidence_added],
        }
        return cls.model_construct(**told)


class VerdictLine(Out):
    """A stored verdict in a list."""

    id: uuid.UUID
    claim: str
    claim_date: str | None
    lang: str | None
    source: str | None
    url: str | None
    label: Label
    probability_fake: Probability
    interval: tuple[Probability, Probability]
    expert: ExpertName | None
    settled: bool = Field(description="Whether it is no longer checked again by itself.")
    next_check: str | None
    created_at: str
    checked_at: str

    @classmethod
    def of(cls, stored: StoredVerdict, **more: Any) -> Any:
        told: dict[str, Any] = {
            "id": stored.id,
            "claim": stored.claim,
            "claim_date": iso(stored.claim_date),
            "lang": stored.lang,
            "source": stored.source,
            "url": stored.url,
            "label": stored.label,
            "probability_fake": stored.probability,
            "interval": stored.interval,
            "expert": stored.expert,
            "settled": stored.settled,
            "next_check": iso(stored.next_check),
            "created_at": iso(stored.created_at) or "",
            "checked_at": iso(stored.checked_at) or "",
        }
        return cls.model_construct(**told, **more)


class SimilarLine(VerdictLine):
    """A stored verdict on a claim that is like another."""

    similarity: float = Field(ge=-1, le=1, description="Cosine of the two claims' vectors.")


class Similar(Out):
    """Stored verdicts on claims like this one, the most alike first."""

    verdicts: list[SimilarLine]


class VerdictView(VerdictLine):
    """A stored verdict whole, with its timeline from the oldest check to the newest, and what people said of it."""

    verdict: Verdict
    timeline: list[TimelineView]
    feedback: list[FeedbackView]


class VerdictPage(Out):
    """Some verdicts. `cursor` goes on where these end; null after the last."""

    verdicts: list[VerdictLine]
    cursor: str | None


class JobView(Out):
    """A job: `state` is queued, running, done, failed or cancelled; `counts` are its rows by state."""

    id: uuid.UUID
    state: str
    created_at: str
    finished_at: str | None
    rows: int
    finished: int
    counts: dict[str, int]
    options: dict[str, Any]

    @classmethod
    def of(cls, job: Job) -> JobView:
        rows = sum(job.counts.values())
        left = job.counts.get("queued", 0) + job.counts.get("running", 0)
        return cls(
            id=job.id,
            state=job.state,
            created_at=iso(job.created_at) or "",
            finished_at=iso(job.finished_at),
            rows=rows,
            finished=rows - left,
            counts=dict(job.counts),
            options=dict(job.options),
        )


class ResultLine(Out):
    """One row of a job. `result` is its verdict, once there is one."""

    position: int
    state: str
    verdict_id: uuid.UUID | None
    result: dict[str, Any] | None
    error: str | None

    @classmethod
    def of(cls, line: JobLine) -> ResultLine:
        result = None if line.result is None else dict(line.result)
        return cls.model_construct(
            position=line.position, state=line.state, verdict_id=line.verdict_id, result=result, error=line.error
        )


class ResultPage(Out):
    """Some rows of a job, by position, unfinished ones too. `cursor` goes on where these end; null after the last."""

    state: str = Field(description="The job's.")
    results: list[ResultLine]
    cursor: str | None


class PassageView(Out):
    """A passage of the evidence stores."""

    text: str
    url: str | None
    title: str | None
    date: str | None
    source: str | None
    credibility: Probability | None
    score: float


class Passages(Out):
    """What was found, best first."""

    before: str | None
    passages: list[PassageView]


class FeedView(Out):
    """A feed that is watched."""

    id: uuid.UUID
    url: str
    kind: str
    title: str | None
    every: float
    enabled: bool
    next_poll: str
    last_poll: str | None
    errors: int
    last_error: str | None

    @classmethod
    def of(cls, feed: Feed) -> FeedView:
        return cls(
            id=feed.id,
            url=feed.url,
            kind=feed.kind,
            title=feed.title,
            every=feed.every,
            enabled=feed.enabled,
            next_poll=iso(feed.next_poll) or "",
            last_poll=iso(feed.last_poll),
            errors=feed.errors,
            last_error=feed.last_error,
        )


class FeedList(Out):
    """All feeds, by address."""

    feeds: list[FeedView]


class FeedbackView(Out):
    """A human's label on a verdict."""

    id: uuid.UUID
    verdict_id: uuid.UUID
    label: Label
    by: str
    note: str | None
    at: str

    @classmethod
    def of(cls, one: Feedback) -> FeedbackView:
        said = {"id": one.id, "verdict_id": one.verdict_id, "label": one.label, "by": one.by, "note": one.note}
        return cls.model_construct(**said, at=iso(one.at) or "")  # type: ignore[arg-type]


class FeedbackList(Out):
    """Labels, oldest first. `since` of the next request: the `at` of the last, whose label then comes again."""

    feedback: list[FeedbackView]


class StoryView(Out):
    """Entries of feeds that are about the same thing."""

    id: uuid.UUID
    title: str
    created_at: str
    updated_at: str
    items: int

    @classmethod
    def of(cls, story: Story) -> StoryView:
        dates = {"created_at": iso(story.created_at) or "", "updated_at": iso(story.updated_at) or ""}
        return cls(id=story.id, title=story.title, items=story.items, **dates)


class StoryList(Out):
    """Stories, the latest first."""

    stories: list[StoryView]


class StoryItem(Out):
    """An entry of a feed in a story."""

    feed_id: uuid.UUID
    url: str | None
    title: str | None
    published: str | None
    seen_at: str
    state: str
    verdict_id: uuid.UUID | None

    @classmethod
    def of(cls, item: FeedItem) -> StoryItem:
        return cls(
            feed_id=item.feed_id,
            url=item.url,
            title=item.title,
            published=iso(item.published),
            seen_at=iso(item.seen_at) or "",
            state=item.state,
            verdict_id=item.verdict_id,
        )


class StoryItems(Out):
    """A story's entries, newest first."""

    items: list[StoryItem]


class MethodView(Out):
    """One implemented method with its paper."""

    room: str
    name: str
    paper: str
    arxiv: str | None
    status: str


class MethodList(Out):
    """What is implemented in this version."""

    version: str
    methods: list[MethodView]


class Health(Out):
    """How the server is."""

    status: str


def views(kind: Any, records: Sequence[Any]) -> list[Any]:
    """Each record as its view."""
    return [kind.of(record) for record in records]


VerdictView.model_rebuild()
