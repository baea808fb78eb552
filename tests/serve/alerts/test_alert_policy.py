"""Which checks raise alerts, and that the same change is told once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alert_samples import SECRET, recorded, settings
from db_samples import check, later, verdict
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import SettingsError
from weighup.serve.alerts.policy import outbox, worth_telling
from weighup.serve.db import Database


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (None, 0.9, "verdict.first"),
        (None, 0.65, "verdict.first"),
        (None, 0.1, None),
        (None, 0.5, None),
        (0.5, 0.5, None),
        (0.41, 0.59, None),  # unknown still, by less than the threshold
        (0.55, 0.65, "verdict.changed"),  # another label
        (0.65, 0.55, "verdict.changed"),
        (0.1, 0.3, "verdict.changed"),  # real still, by the threshold exactly
        (0.7, 0.9, "verdict.changed"),
        (0.7, 0.89, None),
        (0.9, 0.1, "verdict.changed"),
    ],
)
def test_what_is_told(before: float | None, after: float, kind: str | None) -> None:
    label_before = None if before is None else verdict("x", before).verdict
    now = verdict("x", after)
    assert worth_telling(now, recorded(after, now.verdict, before, label_before), 0.2) == kind


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 1))
def test_no_verdict_stands_at_fake_untold(history: list[float], threshold: float) -> None:
    told, before, label_before = "", None, None
    for probability in history:
        now = verdict("x", probability)
        if worth_telling(now, recorded(probability, now.verdict, before, label_before), threshold):
            told = now.verdict
        before, label_before = probability, now.verdict
        assert label_before != "fake" or told == "fake"


def test_what_cannot_be_checked_has_nothing_to_tell() -> None:
    opinion = verdict("x", 0.5).model_copy(update={"verdict": "not_checkable"})
    assert worth_telling(opinion, recorded(0.5, "not_checkable", 0.9, "fake"), 0.2) is None
    assert worth_telling(verdict("x", 0.9), recorded(0.9, "fake", 0.5, "not_checkable"), 0.2) == "verdict.first"


def test_each_receiver_has_its_own_alert_and_no_change_is_told_twice(db: Database) -> None:
    made = outbox(
        settings(
            webhook="http://127.0.0.1:9/hook/t0ken",
            email_to=("a@example.org", "b@example.org", "a@example.org"),
            email_from="weighup@example.org",
            smtp="smtp://127.0.0.1:9",
            console=True,
            public_url="https://weighup.example.org/",
        )
    )
    first = check("The dam broke.", 0.9, key="one")
    db.verdicts.record([first], outbox=made)
    db.verdicts.record([first, check("The dam broke.", 0.92, key="two", at=later(hours=1))], outbox=made)
    raised = db.alerts.take("w", now=later(days=999))
    assert sorted((one.channel, one.target) for one in raised) == [
        ("console", "console"),
        ("email", "a@example.org"),
        ("email", "b@example.org"),
        ("webhook", "http://127.0.0.1:9"),
    ]
    db.alerts.sent([one.id for one in raised])
    db.verdicts.record([check("The dam broke.", 0.2, key="three", at=later(hours=2))] * 2, outbox=made)
    changed = db.alerts.take("w", now=later(days=999))
    assert len(changed) == 4
    told = changed[0].payload
    assert (told["type"], told["label"], told["before"]) == (
        "verdict.changed",
        "real",
        {"label": "fake", "probability_fake": 0.9},  # as last told, not as last checked
    )
    assert told["link"] == f"https://weighup.example.org/verdicts/{changed[0].verdict_id}"
    assert "t0ken" not in json.dumps([[one.target, one.payload] for one in raised])
    assert SECRET not in json.dumps([one.payload for one in raised])


def test_a_slow_drift_adds_up_to_an_alert(db: Database) -> None:
    made = outbox(settings(console=True))
    for hour, probability in enumerate((0.70, 0.76, 0.82, 0.88, 0.94, 0.97, 1.0)):
        db.verdicts.record([check("The dam broke.", probability, key=str(hour), at=later(hours=hour))], outbox=made)
    told = [one.payload for one in db.alerts.take("w", now=later(days=999))]
    assert sorted((one["probability_fake"], one["before"] and one["before"]["probability_fake"]) for one in told) == [
        (0.70, None),
        (0.94, 0.70),
    ]


def test_what_stood_untold_is_where_a_drift_begins(db: Database) -> None:
    made = outbox(settings(console=True))
    for hour, probability in enumerate((0.05, 0.15, 0.24, 0.3)):
        db.verdicts.record([check("The dam broke.", probability, key=str(hour), at=later(hours=hour))], outbox=made)
    (told,) = db.alerts.take("w", now=later(days=999))
    assert (told.payload["before"], told.payload["probability_fake"]) == (
        {"label": "real", "probability_fake": 0.05},
        0.3,
    )


def test_nobody_to_tell_raises_nothing() -> None:
    assert outbox(settings())(check("x", 0.9), recorded(0.9, "fake")) == []


@pytest.mark.parametrize(
    ("watch", "says"),
    [
        ({"webhook": "http://169.254.169.254/latest"}, "watch.webhook.*metadata"),
        ({"webhook": "http://0x7f.1/"}, "watch.webhook.*unusual spelling"),
        ({"webhook": "http://[::ffff:10.0.0.1]/"}, "watch.webhook.*private"),
        ({"webhook": "file:///etc/passwd"}, "watch.webhook.*only http"),
        ({"webhook": "https://me:hidden@example.org/"}, "watch.webhook.*password"),
        ({"webhook": "http://printer.local/"}, "watch.webhook.*inside a network"),
        ({"webhook": "https://example.org/", "webhook_secret_env": "NOT_SET"}, "secret.*NOT_SET"),
        ({"email_to": ["a@example.org\nBcc: x@y.z"]}, "watch.email_to"),
        ({"email_to": ["a@b..c"]}, "watch.email_to"),
        ({"email_to": ["a@example.org"]}, "watch.email_from"),
        ({"email_to": ["a@example.org"], "email_from": "w@example.org"}, "watch.smtp"),
        ({"smtp": "http://mail.example.org"}, "watch.smtp"),
        ({"smtp": "smtp://mail.example.org:x"}, "watch.smtp"),
        ({"smtp": "smtp:///"}, "watch.smtp.*no server"),
        ({"smtp": "smtp://u:hidden@mail.example.org"}, "watch.smtp.*holds a password"),
        ({"smtp": "smtp://u@mail.example.org", "smtp_password_env": "NOT_SET"}, "watch.smtp.*NOT_SET"),
    ],
)
def test_receivers_that_cannot_be_reached_are_refused_by_name(
    watch: dict[str, object], says: str, clean_environment: Path
) -> None:
    if "smtp" in watch:
        watch = {"email_to": ["a@example.org"], "email_from": "w@example.org", **watch}
    with pytest.raises(SettingsError, match=says) as refused:
        outbox(settings(**watch))
    assert "hidden" not in str(refused.value)


def test_a_webhook_on_this_machine_needs_loopback_opened() -> None:
    with pytest.raises(SettingsError, match="allow_loopback"):
        outbox(settings(loopback=False, webhook="http://localhost:8000/hook"))


def test_a_short_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCH_WEBHOOK_SECRET", "short")
    with pytest.raises(SettingsError, match="16 characters") as refused:
        outbox(settings(webhook="https://example.org/"))
    assert "short" not in str(refused.value)
