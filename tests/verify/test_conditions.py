"""Which flags and settings make a run another run, and which do not."""

from __future__ import annotations

from typing import Any

import pytest

from weighup.settings import load_settings
from weighup.verify.conditions import conditions, digest, told

pytestmark = pytest.mark.usefixtures("clean_environment")


def mark(*, offline: bool = False, search: bool = True, **sections: dict[str, Any]) -> str:
    return digest(conditions(load_settings(sections), offline=offline, search=search))


@pytest.mark.parametrize(
    "change",
    [
        {"offline": True},
        {"search": False},
        {"verify": {"brief": True}},
        {"verify": {"passages": 3}},
        {"verify": {"budget_tokens": 9}},
        {"verify": {"budget_seconds": 9}},
        {"verify": {"summarise": "never"}},
        {"models": {"language": "none"}},
        {"models": {"base_url": "http://127.0.0.1:1/v1"}},
        {"models": {"encoder": "elsewhere"}},
        {"retrieve": {"sources": ("wikipedia",)}},
        {"retrieve": {"store": "mine.db"}},
        {"retrieve": {"starter_pack": False}},
    ],
    ids=str,
)
def test_what_changes_verdicts_makes_another_run(change: dict[str, Any]) -> None:
    assert mark(**change) != mark()
    assert mark(**change) == mark(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"verify": {"run_usd": 5}},
        {"models": {"threads": 1, "retries": 0, "cache": False}},
        {"retrieve": {"per_host_per_second": 9}},
        {"log": "debug"},
    ],
    ids=str,
)
def test_speed_and_the_budget_of_the_whole_do_not(change: dict[str, Any]) -> None:
    assert mark(**change) == mark()


def test_what_other_flags_leave_unused_does_not_count() -> None:
    assert mark(verify={"brief": True}, models={"language": "none"}) == mark(verify={"brief": True})
    assert mark(search=False, retrieve={"store": "mine.db"}) == mark(search=False)
    assert mark(offline=True, retrieve={"sources": ("gdelt",)}) == mark(offline=True)


def test_conditions_are_told_in_words() -> None:
    found = conditions(load_settings({"verify": {"brief": True}}), offline=True, search=False)
    assert told(found) == "brief=yes, offline=yes, search=no, passages=5, encoder=embedded"


def test_conditions_give_no_password_away() -> None:
    settings = load_settings({"models": {"language": "openai:x", "base_url": "http://me:secret@127.0.0.1:1/v1"}})
    said = told(conditions(settings, offline=True, search=False))
    assert "base_url=http://127.0.0.1:1/v1" in said
    assert "secret" not in said
