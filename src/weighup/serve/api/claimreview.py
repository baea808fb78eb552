"""Verdicts as schema.org ClaimReview in JSON-LD (https://schema.org/ClaimReview), which search engines and fact-check
collections read.

Ours: the rating runs from 1 (fake) to 5 (real) along P(real), and a verdict of `unknown` has the rating in words only,
for a number in the middle would read as "half true". What is no claim has no review.
"""

from __future__ import annotations

from typing import Any

from weighup.dates import iso
from weighup.serve.db.records import StoredVerdict

MEDIA_TYPE = "application/ld+json"
RATINGS = {"real": "Likely true", "fake": "Likely false", "unknown": "Too early to say"}
_CITED = 10


def claim_review(stored: StoredVerdict, *, url: str, publisher: str) -> dict[str, Any] | None:
    """The review of a stored verdict, None for what is not checkable.

    `url` is where the verdict can be read, `publisher` the address of whoever runs this server.
    """
    words = RATINGS.get(stored.label)
    if words is None:
        return None
    rating: dict[str, Any] = {
        "@type": "Rating",
        "alternateName": words,
        "ratingExplanation": stored.verdict.why,
        "bestRating": 5,
        "worstRating": 1,
    }
    if stored.label != "unknown":
        rating["ratingValue"] = round(1 + 4 * (1 - stored.probability), 1)
    claim: dict[str, Any] = {"@type": "Claim", "text": stored.claim}
    if stored.claim_date is not None:
        claim["datePublished"] = iso(stored.claim_date)
    if stored.source:
        claim["author"] = {"@type": "Organization", "name": stored.source}
    if stored.url:
        claim["appearance"] = [{"@type": "CreativeWork", "url": stored.url}]
    review: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "ClaimReview",
        "url": url,
        "datePublished": iso(stored.created_at),
        "dateModified": iso(stored.checked_at),
        "author": {"@type": "Organization", "name": "weighup", "url": publisher},
        "claimReviewed": stored.claim,
        "itemReviewed": claim,
        "reviewRating": rating,
    }
    if stored.lang:
        review["inLanguage"] = stored.lang
    cited = [_work(view.url, view.title, view.date) for view in stored.verdict.evidence if view.url][:_CITED]
    if cited:
        review["citation"] = cited
    return review


def _work(url: str | None, title: str | None, date: str | None) -> dict[str, Any]:
    work = {"@type": "CreativeWork", "url": url, "name": title, "datePublished": date}
    return {name: value for name, value in work.items() if value}
