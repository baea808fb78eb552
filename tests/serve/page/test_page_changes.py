"""What would change a verdict: said from the rules and what was recorded, and worked out by leaving sources out."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import examples
import pytest
from page_samples import Desk

from weighup.serve.checkers import Checkers
from weighup.serve.db.records import StoredVerdict
from weighup.serve.page.change import changes, floor_of
from weighup.serve.page.sources import sources_of
from weighup.serve.page.without import MOST, without_each
from weighup.verify.contract import Verdict
from weighup.verify.ease import Ease
from weighup.verify.types import Claim

MAY = datetime(2026, 5, 10, 12, tzinfo=UTC)


def stored(verdict: Verdict, **more: Any) -> StoredVerdict:
    told: dict[str, Any] = {
        "id": uuid.uuid4(),
        "tenant": "",
        "claim_key": "k",
        "claim": verdict.claim,
        "claim_date": None,
        "lang": None,
        "source": None,
        "url": None,
        "latest": verdict.model_dump(mode="json"),
        "probability": verdict.probability_fake,
        "label": verdict.verdict,
        "expert": verdict.expert,
        "settled": False,
        "next_check": MAY,
        "created_at": MAY,
        "checked_at": MAY,
    }
    return StoredVerdict(**{**told, **more})


def said(verdict: Verdict, floor: float | None = None, **more: Any) -> dict[str, str]:
    return {one.what: one.how for one in changes(stored(verdict, **more), floor)}


@pytest.mark.parametrize(
    ("label", "share", "interval", "words"),
    [
        (
            "fake",
            0.91,
            (0.78, 0.97),
            "Below 60 % fake it is too early to say at a risk of 20 %. It stands at 91 %, and ",
        ),
        ("fake", 0.65, (0.5, 0.8), "reaches across that line"),
        ("fake", 0.91, (0.78, 0.97), "stays on this side of that line"),
        ("real", 0.1, (0.05, 0.3), "Above 40 % fake it is too early to say"),
        ("real", 0.1, (0.05, 0.45), "reaches across that line"),
        ("unknown", 0.5, (0.2, 0.8), "It is called fake at a risk of 20 % from 60 % fake on, and real below 40 %."),
    ],
)
def test_how_far_it_is_to_the_line(label: str, share: float, interval: tuple[float, float], words: str) -> None:
    verdict = examples.verdict(verdict=label, probability_fake=share, interval=interval, risk=0.2)
    assert words in said(verdict, 0.6)["The line"]


def test_no_line_is_drawn_where_the_weights_are_others() -> None:
    assert "The line" not in said(examples.verdict(), None)
    assert floor_of(examples.verdict(), None) is None  # made with weights of another version
    ours = Ease.load(None, 0.2)
    verdict = examples.verdict(risk=0.2, model_versions={"ease": ours.version})
    assert floor_of(verdict, None) == ours.threshold["evidence"]
    assert floor_of(examples.not_checkable(), None) is None


def test_a_risk_that_nothing_keeps_is_said() -> None:
    verdict = examples.verdict(verdict="unknown", risk=0.01)
    assert "No confidence is known that keeps a risk of 1 %" in said(verdict, math.inf)["The line"]


def test_who_would_decide_instead_follows_the_order_of_ease() -> None:
    told = said(examples.verdict())
    assert "Then reasoning would decide. Its own opinion is “fake” (70 % fake)." in told.values()
    told = said(examples.without_evidence())
    assert told["Reliable evidence"] == "There was none. Once there is, evidence decides instead."
    assert "Then sentiment would decide" in told["If reasoning turned out unreliable"]
    views = dict(examples.verdict().perspectives)
    views["reasoning"] = views["reasoning"].model_copy(update={"available": False})
    told = said(examples.verdict(perspectives=views))
    assert "Then sentiment would decide" in told["If evidence turned out unreliable"]
    tone = examples.verdict(expert="sentiment")
    assert "86 % reliable, which is not enough" in said(tone)["More reliable evidence"]
    assert "More reliable reasoning" in said(tone)


def test_which_way_a_new_source_would_pull() -> None:
    told = said(examples.verdict())
    assert "1 of 4 passages support it, 2 refute it" in told["The other side"]
    assert "independent source that supports it" in told["The other side"]
    one = [examples.passage("a", "refutes", source="a.example"), examples.passage("b", "refutes", source="a.example")]
    assert "All that refute it come from a.example" in said(examples.verdict(evidence=one))["That one source"]
    even = [examples.passage("a", "refutes"), examples.passage("b", "supports")]
    assert "either side would tip" in said(examples.verdict(evidence=even))["A further source"]


def test_what_time_brings() -> None:
    assert "checked again by 2026-05-10 12:00 UTC" in said(examples.verdict())["Time"]
    assert "It is settled" in said(examples.verdict(), settled=True)["Time"]
    assert "published before 2026-05-10 counts" in said(examples.verdict(), claim_date=MAY)["Time"]
    assert list(said(examples.not_checkable())) == ["Other words"]


def test_sources_are_counted_by_name_or_host() -> None:
    evidence = [
        examples.passage("a", "refutes", source="a.example", credibility=0.4, date="2020-02-01"),
        examples.passage("b", "supports", url="https://www.b.example/x"),
        examples.passage("c", "neutral", source="a.example", credibility=0.6, date="2020-01-01"),
        examples.passage("d", "neutral", url="http://[", origin="gdelt"),
    ]
    found = sources_of(examples.verdict(evidence=evidence))
    assert [(one.name, one.passages) for one in found] == [("a.example", (1, 3)), ("b.example", (2,)), ("gdelt", (4,))]
    first = found[0]
    assert (first.supports, first.refutes, first.neutral) == (0, 1, 1)
    assert (first.credibility, first.first, first.last) == (0.6, "2020-01-01", "2020-02-01")
    assert found[1].credibility is None


class Counting:
    """P(fake) is the share of credibility that stands against the claim."""

    brief = True

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        found = []
        for item in items:
            assert isinstance(item, Claim)
            trust = [one.credibility or 0.0 for one in item.evidence or ()]
            found.append(examples.verdict(claim=item.text, probability_fake=min(1.0, sum(trust)), interval=(0, 1)))
        return found


def test_each_source_is_left_out_in_turn() -> None:
    evidence = [
        examples.passage("a", "refutes", source="a.example", credibility=0.3),
        examples.passage("b", "refutes", source="b.example", credibility=0.1),
        examples.passage("c", "refutes", source="a.example", credibility=0.2),
    ]
    rows = without_each(Checkers(Counting()), stored(examples.verdict(evidence=evidence)))
    assert [one.source.name if one.source else None for one in rows] == [None, "a.example", "b.example"]
    assert [round(one.moved, 6) for one in rows] == [0.0, -0.5, -0.1]
    many = [examples.passage(str(n), "neutral", source=f"{n}.example", credibility=0.01) for n in range(40)]
    assert len(without_each(Checkers(Counting()), stored(examples.verdict(evidence=many)))) == MOST + 1


def test_the_page_shows_what_each_source_weighs(local: Desk) -> None:
    reader, id = local.reader(), local.ids["real"]
    reader.open(f"/verdicts/{id}")
    before = local.database.verdicts.get("", [id])
    page = reader.send(f"/verdicts/{id}/without")
    assert page.status_code == 200
    assert page.text.count(" points</td>") == 4
    assert "who.int" in page.text
    part = reader.send(f"/verdicts/{id}/without", headers={"HX-Request": "true"})
    assert part.text.startswith('<div id="without">')
    assert local.database.verdicts.get("", [id]) == before  # nothing is kept
    reader.open(f"/verdicts/{local.ids['open']}")
    assert "without each source" not in reader.text
    assert reader.send(f"/verdicts/{local.ids['open']}/without").status_code == 422
