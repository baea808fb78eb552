"""NUM: how well a whole search session served its user, beside an ideal one.

Session-level Normalization and Click-through Data Enhancement for Session-based Evaluation (Chen, Dou and Mao 2023,
arXiv 2401.12445), on the U-measure (Sakai and Dou, SIGIR 2013).

Faithful: the session is one virtual query whose text as read (the trailtext) is scored by U = Σ g·max(0, 1 − pos/L),
pos being the offset in characters where a text ends; the score is divided by that of an ideal session, which shows the
relevant documents first, the most relevant before all, and needs one query (assumption A1); a document clicked later
in the session is relevant wherever it was shown before (assumption A2).

Ours, where the paper leaves it open or we could not check it: a reformulation is read as 1,000 characters; a snippet
of unknown length is 200 characters; a click is satisfied from 30 s on, or where no dwell time is known; a document is
read once, where it is first read, and one that A2 finds is read where it was first shown; in a query without clicks
nothing is read. A ratio over 1 is cut to 1 and marked: with documents of unequal length the most relevant first is not
always the best order (a long, more relevant text may well be read after a short one).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weighup.errors import InvalidInput
from weighup.registry import Method
from weighup.rowfile import json_lines

METHOD = Method(
    name="num",
    room="metrics",
    paper="Session-level Normalization and Click-through Data Enhancement for Session-based Evaluation (Chen 2023)",
    arxiv="2401.12445",
    command="weighup metrics session",
    claim_check="weighup.metrics.num_claim:check",
)

DECAY = 132_000.0  # characters after which a text gains nothing (Sakai and Dou 2013)
SNIPPET = 200  # characters of a snippet whose length is not known (Sakai and Dou 2013)
REFORMULATION = 1_000.0  # characters of reading that a reformulation costs (ours)
SATISFIED = 30.0  # seconds on a page from which a click counts as satisfied

Labels = Literal["clicks", "qrels"]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Result(BaseModel):
    """One result shown. Lengths in characters; `dwell` seconds on the page, `clicked_at` on the clock of `Query.time`;
    `relevance` a grade from 0, used with labels "qrels". A clicked result needs its `length`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    snippet_length: int = Field(default=SNIPPET, ge=1)
    length: int | None = Field(default=None, ge=1)
    clicked: bool = False
    dwell: Seconds | None = None
    clicked_at: Seconds | None = None
    relevance: int | None = Field(default=None, ge=0, le=30)


class Query(BaseModel):
    """One query and its results, best first. `time`: seconds on any clock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = ""
    time: Seconds | None = None
    results: tuple[Result, ...] = ()


class Session(BaseModel):
    """One search session: its queries in order. `satisfaction` is the user's own rating, on any scale, kept beside."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""
    queries: tuple[Query, ...] = Field(min_length=1)
    satisfaction: float | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A text read: `length` ≥ 0 in characters, and its `gain` ≥ 0 (0: not relevant)."""

    length: float
    gain: float = 0.0


@dataclass(frozen=True, slots=True)
class NumReport:
    """`value` in [0, 1], and what it is made of: U of the session and of the ideal one.

    `undefined` says why there is no ideal session, and the value is then 0; `capped`: the ratio was over 1;
    `read`: documents read; `found`: of these, those that only A2 finds; `unjudged`: read without a grade, taken as 0.
    """

    value: float
    actual: float
    ideal: float
    undefined: str | None
    capped: bool
    read: int
    found: int
    unjudged: int


def u_measure(trail: Sequence[Passage], decay: float = DECAY) -> float:
    """U of a trail: Σ gain·max(0, 1 − pos/decay), pos the offset in characters where each passage ends.

    Sakai and Dou (SIGIR 2013), equations 1 and 3, without their constant factor. From 0 to the sum of the gains. Raises
    InvalidInput for a decay not over 0, or a length or gain that is negative or not finite.
    """
    _over_zero("decay", decay)
    position, total = 0.0, []
    for number, passage in enumerate(trail, 1):
        if not (0 <= passage.length < math.inf and 0 <= passage.gain < math.inf):
            raise InvalidInput(f"trail: length and gain of passage {number} must be finite and at least 0: {passage}")
        position += passage.length
        total.append(passage.gain * max(0.0, 1 - position / decay))
    return math.fsum(total)


def num(
    session: Session, decay: float = DECAY, labels: Labels = "clicks", *, reformulation: float = REFORMULATION
) -> float:
    """NUM in [0, 1], 1 being a session no better than which could be had. See `num_report`, which says more."""
    return num_report(session, decay, labels, reformulation=reformulation).value


def num_report(
    session: Session, decay: float = DECAY, labels: Labels = "clicks", *, reformulation: float = REFORMULATION
) -> NumReport:
    """U(session)/U(ideal session), with its parts.

    decay: L in characters, over 0. labels: "clicks" takes satisfied clicks as relevant (grade 1) and finds more by A2;
    "qrels" takes `relevance`, a document's highest grade in the session. reformulation: characters, at least 0.
    Gains are (2^grade − 1)/(2^highest − 1), the highest among the documents read. The ideal session holds the documents
    read. Without clicks, or where nothing read is relevant, the value is 0 and `undefined` says so. Raises InvalidInput
    for times that run backwards, a clicked result without a length, a document of two lengths or twice in one list,
    labels "qrels" where no result is graded, and numbers out of range.
    """
    _over_zero("decay", decay)
    if not 0 <= reformulation < math.inf:
        raise InvalidInput(f"reformulation: a number of characters from 0 on is needed, not {reformulation}")
    if labels not in ("clicks", "qrels"):
        raise InvalidInput(f'labels: "clicks" or "qrels" is needed, not {labels!r}')
    _check(session)
    grades = _clicked_grades(session) if labels == "clicks" else _judged_grades(session)
    found = _found_earlier(session, grades) if labels == "clicks" else set()
    steps = _steps(session, found, reformulation)
    documents = {step.document.id: step for step in steps if step.document is not None}
    top = max((grades.get(name) or 0 for name in documents), default=0)
    gains = {name: (2.0 ** (grades.get(name) or 0) - 1) / (2.0**top - 1) if top else 0.0 for name in documents}
    best_first = sorted((step for name, step in documents.items() if gains[name]), key=lambda step: step.by(gains))
    actual = u_measure(list(_passages(steps, gains)), decay)
    ideal = u_measure(list(_passages([step.alone() for step in best_first], gains)), decay)
    undefined = None
    if not ideal:
        undefined = "nothing was clicked" if not documents else "nothing that was read gains anything"
    return NumReport(
        value=min(1.0, actual / ideal) if ideal else 0.0,
        actual=actual,
        ideal=ideal,
        undefined=undefined,
        capped=actual > ideal,
        read=len(documents),
        found=len({name for _, name in found}),
        unjudged=sum(grades.get(name) is None for name in documents) if labels == "qrels" else 0,
    )


def read_sessions(path: Path) -> list[Session]:
    """Sessions of a JSONL file, one an object a line (see `Session`). Raises InvalidInput naming file and line."""
    sessions = []
    for number, line in json_lines(path):
        try:
            session = Session.model_validate_json(line)
            _check(session)
        except (ValidationError, InvalidInput) as error:
            raise InvalidInput(f"{path}, line {number}: not a session: {error}") from error
        sessions.append(session)
    if not sessions:
        raise InvalidInput(f"{path}: no session in it; one JSON object a line is needed")
    return sessions


@dataclass(frozen=True, slots=True)
class _Step:
    """What is read at once: `before` characters that gain nothing, the snippet, and the document if it is opened."""

    before: float
    snippet: float
    document: Result | None = None

    def by(self, gains: dict[str, float]) -> tuple[float, int, str]:
        document = self.document
        return (-gains[document.id], document.length or 0, document.id) if document else (0.0, 0, "")

    def alone(self) -> _Step:
        return _Step(0.0, self.snippet, self.document)


def _steps(session: Session, found: set[tuple[int, str]], reformulation: float) -> list[_Step]:
    """The session as it is read: each query's results down to the last one opened."""
    steps: list[_Step] = []
    lengths = {r.id: r.length for q in session.queries for r in q.results if r.length is not None}
    read: set[str] = set()
    for place, query in enumerate(session.queries):
        steps.append(_Step(reformulation if place else 0.0, 0.0))
        opened = [rank for rank, r in enumerate(query.results) if r.clicked or (place, r.id) in found]
        for rank, result in enumerate(query.results[: opened[-1] + 1] if opened else ()):
            first = rank in opened and result.id not in read
            if first:
                read.add(result.id)
            document = result.model_copy(update={"length": lengths[result.id]}) if first else None
            steps.append(_Step(0.0, float(result.snippet_length), document))
    return steps


def _passages(steps: Sequence[_Step], gains: dict[str, float]) -> Iterator[Passage]:
    for step in steps:
        yield Passage(step.before + step.snippet)
        if step.document is not None:
            yield Passage(float(step.document.length or 0), gains[step.document.id])


def _clicked_grades(session: Session) -> dict[str, int | None]:
    """1 for each document with a satisfied click, 0 for others clicked."""
    grades: dict[str, int | None] = {}
    for query in session.queries:
        for result in query.results:
            if result.clicked:
                satisfied = result.dwell is None or result.dwell >= SATISFIED
                grades[result.id] = max(grades.get(result.id) or 0, int(satisfied))
    return grades


def _judged_grades(session: Session) -> dict[str, int | None]:
    """The highest grade of each document in the session."""
    grades: dict[str, int | None] = {}
    for query in session.queries:
        for result in query.results:
            if result.relevance is not None:
                grades[result.id] = max(grades.get(result.id) or 0, result.relevance)
    if not grades:
        raise InvalidInput(f'{_name(session)}: labels "qrels" needs `relevance`, and no result has one')
    return grades


def _found_earlier(session: Session, grades: dict[str, int | None]) -> set[tuple[int, str]]:
    """A2: (query, document) where a document was shown, skipped, and had a satisfied click in a later query."""
    found: set[tuple[int, str]] = set()
    later: set[str] = set()
    for place in range(len(session.queries) - 1, -1, -1):
        results = session.queries[place].results
        found |= {(place, r.id) for r in results if not r.clicked and r.id in later}
        later |= {r.id for r in results if r.clicked and grades.get(r.id) and (r.dwell is None or r.dwell >= SATISFIED)}
    return found


def _check(session: Session) -> None:
    lengths: dict[str, int] = {}
    clock = 0.0
    for place, query in enumerate(session.queries, 1):
        where = f"{_name(session)}, query {place}"
        if query.time is not None:
            if query.time < clock:
                raise InvalidInput(f"{where}: asked at {query.time:g} s, before what came earlier ({clock:g} s)")
            clock = query.time
        names = [result.id for result in query.results]
        if len(set(names)) < len(names):
            raise InvalidInput(
                f"{where}: {max(names, key=names.count)!r} is shown twice; results have ids of their own"
            )
        for result in query.results:
            if result.length is not None and lengths.setdefault(result.id, result.length) != result.length:
                raise InvalidInput(f"{where}: {result.id!r} has {result.length} characters here, others before")
            if result.clicked_at is not None and result.clicked_at < (query.time or 0.0):
                raise InvalidInput(f"{where}: {result.id!r} was clicked before the query was asked")
            if not result.clicked and (result.clicked_at is not None or result.dwell is not None):
                raise InvalidInput(f"{where}: {result.id!r} has a time of a click but was not clicked")
        clock = max([clock, *(r.clicked_at for r in query.results if r.clicked_at is not None)])
    for place, query in enumerate(session.queries, 1):
        for result in query.results:
            if result.clicked and result.id not in lengths:
                raise InvalidInput(f"{_name(session)}, query {place}: {result.id!r} is clicked, so `length` is needed")


def _name(session: Session) -> str:
    return f"session {session.id!r}" if session.id else "session"


def _over_zero(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InvalidInput(f"{name}: a number of characters over 0 is needed, not {value}")
