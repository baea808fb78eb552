"""The arena in a real browser: answers loaded, voted on blindly and by keyboard, and how the systems stand then."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="needs pip install 'weighup[serve]'")
pytest.importorskip("playwright.sync_api", reason="needs pip install 'weighup[dev]'")

import test_page_browser as pages

if TYPE_CHECKING:
    from page_samples import Desk
    from playwright.sync_api import Browser, Page

browser = pages.browser


@pytest.fixture
def samples() -> Any:
    return importlib.import_module("arena_samples")


@pytest.fixture
def filled(tmp_path: Path, samples: Any) -> Iterator[Desk]:
    """A server whose arena was filled by `weighup arena load` while it runs."""
    from weighup.cli.arena_votes import load

    with importlib.import_module("page_samples").desk(tmp_path) as running:
        items = [*samples.pairs(context="Asked by a reader.", reference="See the encyclopedia."), samples.trio()]
        rows = [one.model_dump(mode="json", exclude_defaults=True) for one in items]
        (tmp_path / "items.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        load(tmp_path / "items.jsonl", database=str(tmp_path / "serve.sqlite"))
        yield running


def sign_in(page: Page, desk: Desk, key: str) -> None:
    page.goto(f"{desk.url}/arena")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{desk.url}/arena")


def is_set(page: Page) -> bool:
    return page.locator("[data-answer]").count() > 2


def wait_for(page: Page, voted: int) -> None:
    page.get_by_text(f"voted on {voted} comparison").wait_for()


def place_all(page: Page, *places: str) -> None:
    """By keyboard: each answer's place, and on to the next by itself."""
    for _ in places:
        page.keyboard.press("ArrowLeft")
    for place in places:
        page.keyboard.press(place)
    page.keyboard.press("Enter")


def vote_on(page: Page) -> None:
    if is_set(page):
        place_all(page, "1", "1", "2")
    else:
        page.keyboard.press("a")


def test_from_loading_to_the_leaderboard_by_keyboard(browser: Browser, filled: Desk, samples: Any) -> None:
    key = filled.served.key("review", tenant="")
    arena = filled.database.arena
    with pages.visit(browser) as tab:
        page = tab.page
        sign_in(page, filled, key)
        keys = ["a", "b", "t", "n"]
        for voted in range(8):
            body = page.content()
            assert not [name for name in samples.SYSTEMS if name in body]
            if is_set(page):
                place_all(page, "2", "1", "3")
            else:
                page.keyboard.press("ArrowRight")
                assert page.evaluate("document.activeElement.id") == "answer1"
                page.keyboard.press("ArrowRight")
                assert page.evaluate("document.activeElement.id") == "answer2"
                page.keyboard.press(keys[voted % 4].upper() if voted > 4 else keys[voted % 4])
            wait_for(page, voted + 1)
        votes = list(arena.votes(""))
        assert len({vote.item for vote in votes}) == len(votes) == 8
        for place, vote in enumerate(votes):
            if vote.winner is not None:
                assert vote.winner == ("a", "b", "tie", "both_bad")[place % 4]
            else:
                assert vote.ranking == ((vote.shown[1],), (vote.shown[0],), (vote.shown[2],))
            assert vote.seconds is not None

        # The same comparison in two tabs: the second vote is refused, and what comes next is shown.
        other = page.context.new_page()
        other.goto(f"{filled.url}/arena")
        action = other.locator("[data-arena]").get_attribute("action")
        vote_on(page)
        wait_for(page, 9)
        vote_on(other)
        other.get_by_role("alert").wait_for()
        assert "voted on that comparison before" in other.get_by_role("alert").inner_text()
        assert other.locator("[data-arena]").get_attribute("action") != action
        assert len(list(arena.votes(""))) == 9
        other.close()

        samples.crowd(filled.database)
        page.get_by_role("link", name="Leaderboard").click()
        page.get_by_role("heading", name="Leaderboard").wait_for()
        assert page.locator(".forest svg").count() == 2
        first = page.locator("#pairs ~ .scroll tbody tr").first
        assert first.locator("th").inner_text() == samples.SYSTEMS[0]
        assert " to " in first.locator("td").nth(1).inner_text()
        assert page.locator("#judges ~ .scroll tbody tr").count() == 2
        own = page.locator("#voters ~ .scroll tbody tr", has_text="(you)")
        assert own.locator("td").first.inner_text() == "9"
        assert [one for one in tab.wrong if "409" not in one] == []
        assert tab.away == []


def test_shortcuts_can_be_turned_off_and_fields_keep_their_keys(browser: Browser, filled: Desk) -> None:
    arena = filled.database.arena
    with pages.visit(browser) as tab:
        page = tab.page
        page.goto(f"{filled.url}/arena")
        while not is_set(page):
            with page.expect_navigation():
                page.get_by_role("button", name="Tie").click()
        voted = len(list(arena.votes("")))
        page.get_by_role("radio").first.check()
        page.keyboard.press("ArrowRight")  # goes on in the group, as everywhere
        assert page.locator("#place1-2").is_checked()
        page.get_by_role("button", name="Keep this order").click()
        assert len(list(arena.votes(""))) == voted  # not before each has a place
        page.get_by_label("Keyboard shortcuts").uncheck()
        page.locator("#answer2").focus()
        page.keyboard.press("3")
        assert not page.locator("#place2-3").is_checked()
        page.reload()
        assert not page.get_by_label("Keyboard shortcuts").is_checked()
        page.get_by_label("Keyboard shortcuts").check()
        place_all(page, "1", "2", "3")
        page.get_by_text(f"voted on {voted + 1} comparison").or_(page.get_by_text("all there is")).wait_for()
        assert [vote.ranking for vote in arena.votes("")][-1] is not None
        assert tab.wrong == []


def test_a_vote_is_given_without_javascript(browser: Browser, filled: Desk) -> None:
    with pages.visit(browser, java_script_enabled=False) as tab:
        page = tab.page
        page.goto(f"{filled.url}/arena")
        assert not page.get_by_label("Keyboard shortcuts").is_visible()
        for voted in range(1, 14):
            if is_set(page):
                for number, place in enumerate("132", 1):
                    page.locator(f"#place{number}-{place}").check()
                page.get_by_role("button", name="Keep this order").click()
            else:
                page.get_by_role("button", name="Both are bad").click()
            if voted < 13:
                wait_for(page, voted)
        page.get_by_text("voted on all there is: 13").wait_for()
        page.get_by_role("link", name="leaderboard").click()
        assert page.locator(".forest svg").count() == 2
        assert len(list(filled.database.arena.votes(""))) == 13


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (360, "light"), (1280, "dark")])
def test_the_arena_is_clean_for_axe_and_fits(
    browser: Browser, filled: Desk, samples: Any, scheme: Any, width: int
) -> None:
    samples.crowd(filled.database, voters=3)
    found: list[str] = []

    def look(page: Page) -> None:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found.extend(pages.axe(page))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url

    with pages.visit(browser, color_scheme=scheme, viewport={"width": width, "height": 800}) as tab:
        page = tab.page
        page.goto(f"{filled.url}/arena")
        seen: set[bool] = set()
        while page.locator("[data-arena]").count():
            if is_set(page) not in seen:
                seen.add(is_set(page))
                look(page)
                page.keyboard.press("ArrowRight")
                look(page)
            with page.expect_navigation():
                vote_on(page)
        assert seen == {True, False}
        look(page)  # nothing left
        page.goto(f"{filled.url}/arena/board")
        assert page.locator(".trouble").count() == 1  # who always chose the left
        look(page)
    assert not found, "\n".join(found)
