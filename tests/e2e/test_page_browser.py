"""The pages of the server in a real browser: a claim checked, a queue worked through by keyboard, nobody let in who
should not be, nothing run that came from outside, nothing asked of anybody else; readable by everybody."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="needs pip install 'weighup[serve]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install 'weighup[dev]'")

if TYPE_CHECKING:
    from page_samples import Desk
    from playwright.sync_api import Browser, BrowserContext, Page

_TESTS = Path(__file__).resolve().parents[1]
for _room in ("serve/api", "serve/page"):
    if str(_TESTS / _room) not in sys.path:
        sys.path.append(str(_TESTS / _room))
AXE = _TESTS / "serve" / "page" / "vendor" / "axe-4.14.1.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Whatever a page asked for by name would not be found: nothing can leave loopback even if the pages wanted it.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here; install one (apt-get install chromium) to look at the pages")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=_FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server without keys, with samples."""
    with importlib.import_module("page_samples").desk(tmp_path_factory.mktemp("desk")) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Desk]:
    """The same, for one test that changes things."""
    with importlib.import_module("page_samples").desk(tmp_path) as running:
        yield running


class Visit:
    """A tab, with what it asked for and what went wrong in it."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.asked: list[str] = []
        self.wrong: list[str] = []
        context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "404 (Not Found)" not in message.text:
            self.wrong.append(message.text)

    @property
    def away(self) -> list[str]:
        return [url for url in self.asked if urlsplit(url).hostname not in ("127.0.0.1", "localhost")]


@contextlib.contextmanager
def visit(browser: Browser, **more: Any) -> Iterator[Visit]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **more})
    context.set_default_timeout(30_000)
    try:
        yield Visit(context)
    finally:
        context.close()


def paths(desk: Desk) -> dict[str, str]:
    return {
        "check": "/",
        "list": "/verdicts",
        "stories": "/stories",
        "story": f"/stories/{desk.story}",
        "feeds": "/feeds",
        "review": "/review",
        "arena": "/arena",
        "leaderboard": "/arena/board",
        "search": "/search?q=bridge",
        "nothing found": "/search?q=zeppelin",
        "model": "/model",
        "sign in": "/signin",
        "problem": "/nothing",
        **{f"verdict {name}": f"/verdicts/{id}" for name, id in desk.ids.items() if name not in ("fake", "real")},
    }


def test_a_claim_is_checked_with_live_progress(browser: Browser, own: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        page.goto(own.url)
        page.get_by_label("Claim or article").fill("The moon landing was fake.")
        own.served.reader.go.clear()
        try:
            page.get_by_role("button", name="Check", exact=True).click()
            page.wait_for_url(re.compile("/checks/"))
            page.locator(".stages .present", has_text="Being checked").wait_for()
            assert page.locator("progress").get_attribute("value") == "0"
        finally:
            own.served.reader.go.set()
        page.wait_for_url(re.compile("/verdicts/"))  # by itself
        assert page.get_by_role("heading", level=1).inner_text() == "The moon landing was fake."
        assert "Likely fake" in page.locator(".ruling").inner_text()
        assert page.locator("svg.scale").is_visible()
        assert tab.wrong == []
        assert tab.away == []


def test_many_claims_show_how_far_they_are(browser: Browser, own: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        page.goto(own.url)
        page.get_by_label("Claim or article").fill("The dam is real.\nThe bridge is fake.\nexplode")
        page.get_by_label("Every line is a claim").check()
        page.get_by_role("button", name="Check", exact=True).click()
        page.locator("#progress b", has_text="3 of 3").wait_for()
        assert page.locator("#progress .line").count() == 3
        assert "1 failed" in page.locator("#progress").inner_text()
        assert tab.wrong == []


@pytest.mark.usefixtures("models_ready")
def test_a_claim_is_checked_by_the_models_that_ship(browser: Browser, tmp_path: Path) -> None:
    samples = importlib.import_module("api_samples")
    from weighup.retrieve.store import EvidenceStore
    from weighup.retrieve.types import Document
    from weighup.serve.api.app import create_app
    from weighup.serve.api.binding import address_of, bind
    from weighup.serve.api.running import Server
    from weighup.serve.db import Database
    from weighup.serve.desk import Desk as RealDesk
    from weighup.verify.verifier import Verifier

    settings = samples.settings_of(workers=1)
    fact = "Drinking bleach does not cure COVID-19; bleach is a poison and injures whoever drinks it."
    with (
        EvidenceStore.open(tmp_path / "evidence.sqlite") as store,
        Database.open(tmp_path / "serve.sqlite") as database,
        Verifier(settings, offline=True, brief=True, stores=[store], sources=[]) as verifier,
        bind("127.0.0.1", 0) as bound,
    ):
        day = datetime(2020, 4, 3, tzinfo=UTC)
        store.add([Document(text=fact, source="who.int", url="https://www.who.int/x", published=day, credibility=0.9)])
        up = threading.Event()
        server = Server(create_app(settings, database, RealDesk(verifier, database)), ready=up.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        assert up.wait(30)
        try:
            with visit(browser) as tab:
                tab.page.context.set_default_timeout(60_000)
                tab.page.goto(address_of(bound, "127.0.0.1"))
                tab.page.get_by_label("Claim or article").fill("Drinking bleach cures COVID-19.")
                tab.page.get_by_role("button", name="Check", exact=True).click()
                tab.page.wait_for_url(re.compile("/verdicts/"))
                assert tab.page.locator(".kind").count() == 3
                assert tab.page.locator(".changes > div").count() >= 2
                stored = database.verdicts.page("").verdicts[0]
                assert stored.claim == "Drinking bleach cures COVID-19."
                line = tab.page.locator(".changes > div", has_text="The line")
                assert line.count() == 1  # these weights are those that judged
                tab.page.get_by_role("button", name="Judge it without each source").click()
                rows = tab.page.locator("#without tbody tr")
                rows.first.wait_for()
                assert rows.count() == 2
                assert "who.int" in rows.nth(1).inner_text()
                assert tab.wrong == []
        finally:
            server.should_exit = True
            thread.join(60)


def test_a_verdict_shows_how_it_moved_and_leads_to_its_passages(browser: Browser, desk: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        page.goto(f"{desk.url}/verdicts/{desk.ids['moved']}")
        assert page.locator("svg.history .dot").count() == 5
        boxes = [page.locator("svg.history .dot").nth(place).bounding_box() for place in range(5)]
        lefts = [box["x"] for box in boxes if box is not None]
        assert lefts == sorted(lefts)
        assert len(lefts) == 5
        assert boxes[1] is not None
        assert boxes[4] is not None
        assert boxes[1]["y"] < boxes[4]["y"]  # 61 % fake stands above 12 %
        page.locator("svg.timeline a").first.click()
        assert re.search(r"#v1-e\d$", page.url)
        assert page.locator(".sources > li:target").is_visible()
        assert page.get_by_text("What would change this verdict").is_visible()
        assert tab.wrong == []


@pytest.mark.parametrize("width", [320, 1280])
def test_the_timeline_is_drawn_whole_at_every_width(browser: Browser, desk: Desk, width: int) -> None:
    with visit(browser, viewport={"width": width, "height": 800}) as tab:
        tab.page.goto(f"{desk.url}/verdicts/{desk.ids['moved']}")
        frame = tab.page.locator("svg.history").bounding_box()
        assert frame is not None
        parts = tab.page.locator("svg.history text, svg.history rect, svg.history circle")
        boxes = [parts.nth(place).bounding_box() for place in range(parts.count())]
        assert len(boxes) >= 16  # names of the lines, dates, intervals, checks
        for box in boxes:
            assert box is not None  # it is shown
            assert box["width"] > 0
            assert frame["x"] <= box["x"]
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1


def test_the_review_queue_is_worked_through_by_keyboard(browser: Browser, own: Desk) -> None:
    database, ids = own.database, own.ids

    def labels() -> dict[str, list[str]]:
        kept = database.feedback.of("", list(ids.values()))
        return {name: [one.label for one in found] for name, found in zip(ids, kept, strict=True) if found}

    with visit(browser) as tab:
        page = tab.page
        page.goto(f"{own.url}/review")
        order = [str(one) for one in page.locator("[data-row]").evaluate_all("rows => rows.map(r => r.id.slice(1))")]
        names = {str(id): name for name, id in ids.items()}
        first, second, third, fourth = (names[one] for one in order[:4])

        def at() -> str:
            return names.get(str(page.evaluate("document.activeElement.id")).removeprefix("r"), "")

        page.keyboard.press("f")
        assert labels() == {}  # nothing is chosen yet
        page.keyboard.press("j")
        assert at() == first
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("k")
        assert at() == first
        page.keyboard.press("r")
        page.locator(f"#r{ids[first]}.told").wait_for()
        page.locator(f"#r{ids[second]}:focus").wait_for()  # and on to the next
        page.keyboard.press("f")
        page.locator(f"#r{ids[third]}:focus").wait_for()
        page.keyboard.press("u")
        page.locator(f"#r{ids[fourth]}:focus").wait_for()
        assert labels() == {first: ["real"], second: ["fake"], third: ["unknown"]}
        assert page.locator(f"#r{ids[first]} button[aria-pressed=true]").inner_text() == "Real"
        assert page.locator("#said").inner_text().startswith("Kept")

        page.get_by_label("Keyboard shortcuts").uncheck()
        page.locator(f"#r{ids[fourth]}").focus()
        page.keyboard.press("n")
        page.keyboard.press("j")
        assert at() == fourth
        assert fourth not in labels()
        page.reload()
        assert not page.get_by_label("Keyboard shortcuts").is_checked()
        page.get_by_label("Keyboard shortcuts").check()
        page.keyboard.press("j")
        page.keyboard.press("o")
        page.wait_for_url(re.compile("/verdicts/"))
        assert tab.wrong == []
        audited = [entry.subject for entry in database.audit.read("") if entry.what == "feedback"]
        assert audited == [f"verdict:{ids[name]}" for name in (third, second, first)]


def test_typing_in_a_field_is_no_shortcut(browser: Browser, own: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        page.goto(f"{own.url}/verdicts/{own.ids['fake']}")
        page.get_by_label("Why").fill("")
        page.get_by_label("Why").press_sequentially("rfun")
        page.get_by_label("Fake", exact=True).check()
        page.get_by_role("button", name="Keep label").click()
        page.locator(".said-by li").wait_for()
        kept = own.database.feedback.of("", [own.ids["fake"]])[0]
        assert [(one.label, one.note) for one in kept] == [("fake", "rfun")]


def test_signing_in_a_link_from_elsewhere_and_signing_out(browser: Browser, own: Desk) -> None:
    webserver = importlib.import_module("webserver")
    key = own.served.key("read", "check", "review", "feeds", tenant="")
    target = f"{own.url}/verdicts/{own.ids['fake']}"
    elsewhere = f"<!DOCTYPE html><a href='{target}'>see</a>"
    with webserver.LoopbackServer({"/mail": webserver.Response(elsewhere)}) as other, visit(browser) as tab:
        page = tab.page
        page.goto(f"{own.url}/review")
        assert page.get_by_role("heading", level=1).inner_text() == "Sign in"
        page.get_by_label("API key").fill("wu_0123456789ab_" + "0" * 64)
        page.get_by_role("button", name="Sign in").click()
        assert "not known" in page.get_by_role("alert").inner_text()
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{own.url}/review")
        cookie = next(one for one in page.context.cookies() if one["name"] == "weighup")
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert page.evaluate("document.cookie") == ""
        # Another site's link brings no cookie; the page that is shown then does.
        page.goto(f"{other.url.replace('127.0.0.1', 'localhost')}/mail")
        page.get_by_text("see").click()
        page.get_by_role("heading", name="Drinking bleach").wait_for()
        assert page.url == target
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{own.url}/signin")
        page.goto(target)
        assert page.get_by_role("heading", level=1).inner_text() == "Sign in"
        assert not [problem for problem in tab.wrong if "401" not in problem]


def test_a_form_from_elsewhere_does_nothing(browser: Browser, own: Desk) -> None:
    webserver = importlib.import_module("webserver")
    action = f"{own.url}/verdicts/{own.ids['fake']}/label"
    forged = (
        f"<!DOCTYPE html><form method=post action='{action}'><input name=label value=real><button>win</button></form>"
    )
    with webserver.LoopbackServer({"/win": webserver.Response(forged)}) as other, visit(browser) as tab:
        page = tab.page
        page.goto(f"{other.url.replace('127.0.0.1', 'localhost')}/win")
        with page.expect_response(lambda answer: answer.request.method == "POST") as told:
            page.get_by_text("win").click()
        assert told.value.status in (303, 401, 403)
        page.wait_for_load_state("networkidle")  # where it was sent on to may send on once more
        # And from our own page, with a token that was tampered with.
        page.goto(f"{own.url}/verdicts/{own.ids['fake']}")
        page.locator("form[action$='/label'] input[name=csrf]").evaluate("field => field.value = '0'.repeat(64)")
        page.get_by_label("Real", exact=True).check()
        page.get_by_role("button", name="Keep label").click()
        page.get_by_text("out of date").wait_for()
    assert own.database.feedback.of("", [own.ids["fake"]]) == [[]]


def test_texts_from_outside_run_nothing_and_nothing_leaves_this_machine(browser: Browser, desk: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        for path in paths(desk).values():
            page.goto(desk.url + path)
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.evaluate("typeof window.hurt") == "undefined", path
            assert page.locator("img").count() == 0, path
            links = page.locator("a").evaluate_all(
                "links => links.map(one => new URL(one.href.baseVal || one.href, location).protocol)"
            )
            assert set(links) <= {"http:", "https:"}, path
        page.goto(f"{desk.url}/search?q=%22%3E%3Cscript%3Ewindow.hurt%3D1%3C/script%3E%3Csvg%20onload=alert(1)%3E")
        assert page.evaluate("typeof window.hurt") == "undefined"
        # The policy holds even for what would get past the escaping.
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hurt=1\">')")
        page.wait_for_timeout(200)
        assert page.evaluate("typeof window.hurt") == "undefined"
        assert tab.away == []
        assert [one for one in tab.wrong if "Content Security Policy" not in one and "Failed to load" not in one] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_clean_for_axe(browser: Browser, desk: Desk, scheme: Any, width: int) -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256
    found = []
    with visit(browser, color_scheme=scheme, viewport={"width": width, "height": 800}) as tab:
        for path in paths(desk).values():
            tab.page.goto(desk.url + path)
            tab.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            found += axe(tab.page)
    assert not found, "\n".join(found)


def axe(page: Page) -> list[str]:
    """What axe finds wrong with the page as it stands."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    told = page.evaluate("axe.run(document, {resultTypes: ['violations'], rules: {'target-size': {enabled: true}}})")
    assert len(told["passes"]) > 15  # it looked
    return [f"{page.url}: {one['id']} {[n['target'] for n in one['nodes'][:3]]}" for one in told["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_comes_of_a_form_is_clean_for_axe(browser: Browser, own: Desk, scheme: Any) -> None:
    key = own.served.key(tenant="")
    with visit(browser, color_scheme=scheme, viewport={"width": 360, "height": 800}) as tab:
        page = tab.page
        page.goto(f"{own.url}/signin")
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").wait_for()
        found = axe(page)
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Claim or article").fill("The dam is fake.\nThe river is real.")
        page.get_by_label("Every line is a claim").check()
        own.served.reader.go.clear()
        page.get_by_role("button", name="Check", exact=True).click()
        page.locator(".stages .present", has_text="Being checked").wait_for()
        page.locator("#heard", has_text="Being checked: 0 of 2").wait_for(state="attached")
        found += axe(page)
        own.served.reader.go.set()
        page.locator("#progress .line.real").wait_for()
        found += axe(page)
        page.goto(f"{own.url}/review")
        page.keyboard.press("j")
        page.keyboard.press("u")
        page.locator("[data-row].told").wait_for()
        found += axe(page)
        page.goto(f"{own.url}/verdicts/{own.ids['moved']}")
        page.get_by_role("button", name="Judge it without each source").click()
        page.locator("#without table").wait_for()
        page.get_by_label("Fake", exact=True).check()
        found += axe(page)
        page.get_by_role("button", name="Keep label").click()
        page.locator(".said-by").wait_for()
        found += axe(page)
        page.goto(f"{own.url}/feeds")
        page.get_by_label("Address of a feed").fill("http://127.0.0.1/rss")
        page.get_by_role("button", name="Watch", exact=True).click()
        page.get_by_role("alert").wait_for()
        found += axe(page)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
def test_every_page_fits_the_screen(browser: Browser, desk: Desk, width: int) -> None:
    with visit(browser, viewport={"width": width, "height": 800}) as tab:
        for name, path in paths(desk).items():
            tab.page.goto(desk.url + path)
            tab.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_everything_reads_and_works_without_javascript(browser: Browser, own: Desk) -> None:
    with visit(browser, java_script_enabled=False) as tab:
        page = tab.page
        for name, path in paths(own).items():
            page.goto(own.url + path)
            assert page.get_by_role("heading", level=1).is_visible(), name
        page.goto(f"{own.url}/verdicts/{own.ids['moved']}")
        assert page.locator("svg.history").is_visible()
        assert page.locator(".kind").count() == 3
        page.goto(own.url)
        page.get_by_label("Claim or article").fill("The tower is fake.")
        page.get_by_role("button", name="Check", exact=True).click()
        page.get_by_role("heading", name="The tower is fake.").wait_for()  # the page came again by itself
        page.goto(f"{own.url}/review")
        assert not page.get_by_label("Keyboard shortcuts").is_visible()
        page.locator("[data-row]").first.get_by_role("button", name="Fake").click()
        page.wait_for_url(f"{own.url}/review")
        assert len(own.database.feedback.since("")) == 1


def test_the_keyboard_reaches_everything_from_the_top(browser: Browser, desk: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        page.goto(f"{desk.url}/verdicts")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").is_visible()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.goto(f"{desk.url}/feeds")
        told = page.evaluate("""() => [...document.querySelectorAll('a, button, summary, input, select, textarea')]
          .filter(one => one.checkVisibility() && one.tabIndex < 0).map(one => one.outerHTML.slice(0, 80))""")
        assert told == [], json.dumps(told)


def test_the_server_gone_is_said(browser: Browser, own: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        page.goto(f"{own.url}/review")
        page.context.set_offline(True)
        page.locator("[data-row]").first.get_by_role("button", name="Fake").click()
        page.get_by_text("cannot be reached").wait_for()
        page.context.set_offline(False)
        page.locator("[data-row]").first.get_by_role("button", name="Fake").click()
        page.locator("[data-row].told").wait_for()


def test_a_refusal_is_said_as_text(browser: Browser, own: Desk) -> None:
    with visit(browser) as tab:
        page = tab.page
        page.goto(f"{own.url}/review")
        page.locator("[data-row] input[name=csrf]").first.evaluate("field => field.value = '<b>no</b>'")
        page.locator("[data-row]").first.get_by_role("button", name="Fake").click()
        page.locator("#said", has_text="out of date").wait_for()
        assert own.database.feedback.since("") == []
