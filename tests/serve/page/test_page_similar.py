"""A verdict's page lists what like it was judged, at most five, and nothing where there is nothing."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

import examples
from page_samples import HOSTILE, Desk, before

from weighup.serve.db.claim_vectors import ClaimVector
from weighup.serve.db.records import Check

PLACES = ("Lyon", "Paris", "Lille", "Nice", "Metz", "Brest")


def keep(desk: Desk, claims: Sequence[str], tenant: str = "") -> list[uuid.UUID]:
    """Verdicts on these claims, each a little less like the first."""
    whole = examples.verdict()
    checks = [
        Check(
            whole.model_copy(update={"claim": claim}),
            "similar",
            tenant,
            at=before(days=n + 1),
            vector=ClaimVector.of(f"page{tenant}@1", [1.0, n / 10]),
        )
        for n, claim in enumerate(claims)
    ]
    return [one.id for one in desk.database.verdicts.record(checks)]


def section(desk: Desk, id: uuid.UUID) -> str:
    page = desk.reader().open(f"/verdicts/{id}")
    assert page.status_code == 200, page.text[-2000:]
    found = re.search(r'<section aria-labelledby="similar">.*?</section>', page.text, re.DOTALL)
    return found[0] if found else ""


def test_five_at_most_are_listed_the_most_alike_first_with_label_chance_and_date(local: Desk) -> None:
    claims = [f"The bridge of {place} was closed." for place in PLACES] + [HOSTILE]
    ids = keep(local, [claims[0], HOSTILE + " once more", *claims[1:]])
    listed = section(local, ids[0])
    assert re.findall(r'href="/verdicts/([0-9a-f-]{36})"', listed) == [str(id) for id in ids[1:6]]
    assert listed.count('class="badge fake"') == 5
    assert listed.count("<time datetime=") == 5
    assert listed.count('<p class="numbers"><b>') == 5
    assert "<script>" not in listed
    assert "window.hurt" in listed


def test_without_any_the_page_says_nothing_of_it(local: Desk) -> None:
    (alone,) = keep(local, ["Nothing is like this."], tenant="elsewhere")
    assert local.database.near.of("elsewhere", alone) == []
    assert section(local, local.ids["real"]) == ""
