"""What each source weighs: the claim judged again from the same passages, once without each source.

Nothing is searched, nothing is written by a language model, and nothing is kept. What is judged from the same passages
again can differ from the stored verdict, which may have had a model's reasoning too; so the comparison is with all
passages judged in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weighup.dates import published_or_none
from weighup.retrieve.types import Evidence
from weighup.serve.checkers import Checkers, Way
from weighup.serve.db.records import StoredVerdict
from weighup.serve.page.sources import Source, sources_of
from weighup.verify.contract import EvidenceView, Verdict
from weighup.verify.types import Claim

MOST = 12
"""Sources that are left out in turn, those with most passages first."""


@dataclass(frozen=True, slots=True)
class Without:
    """The verdict without `source`; None: with all. `moved`: by how much P(fake) differs from that with all."""

    source: Source | None
    verdict: Verdict
    moved: float


def sources_in_turn(stored: StoredVerdict) -> list[Source]:
    """The sources that would be left out."""
    return sources_of(stored.verdict)[:MOST]


def without_each(checkers: Checkers, stored: StoredVerdict) -> list[Without]:
    """With all passages first, then without each source. Blocking: as long as so many brief checks take.

    Raises what the checker raises, and InvalidInput if its weights cannot keep the verdict's risk.
    """
    verdict, sources = stored.verdict, sources_in_turn(stored)
    numbered = list(enumerate(verdict.evidence, start=1))
    kept = [verdict.evidence, *([one for n, one in numbered if n not in source.passages] for source in sources)]
    checker = checkers.get(Way(brief=True, search=False, risk=verdict.risk))
    judged = checker.check([_claim(stored, passages) for passages in kept])
    first = judged[0].probability_fake
    return [
        Without(source, again, again.probability_fake - first)
        for source, again in zip([None, *sources], judged, strict=True)
    ]


def _claim(stored: StoredVerdict, passages: Sequence[EvidenceView]) -> Claim:
    own = tuple(
        Evidence(
            text=one.text,
            origin=one.origin,
            url=one.url,
            title=one.title,
            published=published_or_none(one.date),
            source=one.source or "",
            credibility=one.credibility,
            score=one.score,
            query=one.query,
        )
        for one in passages
    )
    return Claim(text=stored.claim, date=stored.claim_date, lang=stored.lang, source=stored.source, evidence=own)
