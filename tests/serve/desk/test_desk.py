"""The desk: checks are made as asked, kept once, planned, and asked again with what is known by then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from db_samples import evidence
from watch_samples import NOON, Clock, WordChecker

from weighup.errors import ModelMissing
from weighup.serve.alerts.policy import outbox
from weighup.serve.db import Database
from weighup.serve.desk import Answer, Asked, Desk
from weighup.settings import load_settings
from weighup.verify.contract import Verdict
from weighup.verify.types import Claim

DAM, INFLATION = "The northern dam broke on Friday.", "Inflation fell to three per cent in April."


def desk(db: Database, checker: WordChecker | None = None, clock: Clock | None = None) -> Desk:
    settings = load_settings({"watch": {"console": True}})
    return Desk(checker or WordChecker(), db, alerts=outbox(settings), settings=settings.watch, clock=clock or Clock())


def asked(text: str, key: str = "k", **more: Any) -> Asked:
    claim = Claim(text, **{name: more.pop(name) for name in ("date", "source", "lang", "url") if name in more})
    return Asked(claim, key, **more)


def test_what_is_checked_is_kept_with_where_it_came_from_and_told_once(db: Database) -> None:
    one = asked(DAM, date=NOON, source="N", lang="en", url="https://n.example/1", tenant="t")
    made = desk(db)
    (answer,) = made.check([one])
    assert answer.recorded is not None
    assert answer.recorded.created
    (again,) = made.check([one])
    assert again.recorded is not None
    assert not again.recorded.counted
    (stored,) = db.verdicts.page("t").verdicts
    assert (stored.id, stored.source, stored.lang, stored.url) == (
        answer.recorded.id,
        "N",
        "en",
        "https://n.example/1",
    )
    assert [len(entries) for entries in db.verdicts.timelines("t", [stored.id])] == [1]
    assert len(db.alerts.take("a")) == 1
    assert db.verdicts.page("").verdicts == []


def test_answers_are_in_order_and_a_claim_that_breaks_costs_only_itself(db: Database) -> None:
    made = desk(db)
    broken = asked("It breaks.", "b")
    answers = made.check([asked(DAM, "a"), broken, asked(INFLATION, "c")])
    assert [answer.error for answer in answers] == [None, "unexpected ValueError: it broke", None]
    assert [answer.verdict and answer.verdict.claim for answer in answers] == [DAM, None, INFLATION]
    assert answers[1] == Answer(error="unexpected ValueError: it broke")
    assert made.check([broken])[0].recorded is None
    assert made.check([]) == []


def test_what_befalls_all_claims_alike_is_raised_and_kept_of_none(db: Database) -> None:
    checker = WordChecker()
    checker.missing = True
    with pytest.raises(ModelMissing):
        desk(db, checker).check([asked(DAM)])
    assert db.verdicts.count("") == {}


def test_a_checker_that_loses_a_verdict_is_caught(db: Database) -> None:
    class Forgetful(WordChecker):
        def check(self, items: Any) -> list[Verdict]:
            return super().check(items)[: len(items) // 2]

    (first, second) = desk(db, Forgetful()).check([asked(DAM, "a"), asked(INFLATION, "b")])
    assert (first.error, second.error) == ("1 claims gave 0 verdicts",) * 2


def test_what_has_a_date_is_asked_once_and_for_all_unless_it_is_to_be_followed(db: Database) -> None:
    made = desk(db)
    made.check([asked(DAM, "a", date=NOON), asked(INFLATION, "b"), asked(DAM + " Again.", "c", date=NOON, follow=True)])
    settled = {stored.claim: stored.settled for stored in db.verdicts.page("").verdicts}
    assert settled == {DAM: True, INFLATION: False, DAM + " Again.": False}
    due = db.verdicts.take_due("w", now=Clock(NOON.replace(hour=13))())
    assert {stored.claim for stored in due} == {INFLATION, DAM + " Again."}


def test_asking_once_does_not_end_the_following_of_a_claim(db: Database) -> None:
    made = desk(db)
    made.check([asked(DAM, "a", follow=True)])
    made.check([asked(DAM, "b", follow=False)])
    (stored,) = db.verdicts.page("").verdicts
    assert not stored.settled


def test_a_stored_claim_is_asked_again_by_now_with_its_own_evidence_and_counts_as_one(db: Database) -> None:
    clock = Clock()
    made = desk(db, WordChecker(), clock)
    made.check([asked(DAM, "a", date=NOON, follow=True, source="N", url="https://n.example/1")])
    (stored,) = db.verdicts.page("").verdicts
    own = evidence("the water board says").model_copy(update={"origin": "row"})
    kept = stored.verdict.model_copy(update={"evidence": [own, evidence("found elsewhere")]})
    clock.forward(hours=3)
    one, two = (made.again(replace(stored, latest=kept.model_dump(mode="json"))) for _ in range(2))
    assert one.check_key == two.check_key
    assert one.claim.evidence is not None
    assert [(e.text, e.origin) for e in one.claim.evidence] == [("the water board says", "row")]
    assert (one.claim.date, one.claim.source, one.claim.url) == (clock.now, "N", "https://n.example/1")
    assert [answer.recorded and answer.recorded.counted for answer in made.check([one, two])] == [True, False]
    (after,) = db.verdicts.page("").verdicts
    assert (after.id, after.claim_date) == (stored.id, stored.claim_date)
    assert made.again(after).check_key != one.check_key


def test_an_undated_claim_stays_undated_when_it_is_asked_again(db: Database) -> None:
    made = desk(db)
    made.check([asked(INFLATION)])
    (stored,) = db.verdicts.page("").verdicts
    again = made.again(stored, "new_evidence")
    assert (again.claim.date, again.claim.warnings, again.reason) == (None, (), "new_evidence")
    made.check([again])
    assert len(db.verdicts.page("").verdicts) == 1


def test_requests_can_narrow_what_a_verifier_does_and_share_its_models(models_ready: object, db: Database) -> None:
    from weighup.verify.verifier import Verifier

    with Verifier(load_settings(), offline=True, brief=True) as verifier:
        made = desk(db, verifier)  # type: ignore[arg-type]
        answers = made.check(
            [
                asked("Drinking bleach cures COVID-19.", "a"),
                asked("Drinking bleach cures COVID-19 at once.", "b", search=False),
                asked("Drinking bleach cures COVID-19 for good.", "c", risk=0.9999),
            ]
        )
        assert answers[0].verdict is not None
        assert answers[1].verdict is not None
        assert answers[1].verdict.evidence == []
        assert made._checkers.get(made._checkers._others and next(iter(made._checkers._others))) is not verifier
        assert next(iter(made._checkers._others.values()))._encoder is verifier._encoder
