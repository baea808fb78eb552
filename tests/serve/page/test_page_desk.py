"""The work at the pages: claims handed in, verdicts read and labelled, feeds added and removed; without JavaScript."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta

import pytest
from api_samples import until
from page_samples import HOSTILE, NOW, Desk, Parsed, Reader, desk, moved

from weighup.serve.db.records import Poll, TimelineEntry
from weighup.serve.page.history import HEIGHT, MOST, TOP, history


def finished(reader: Reader) -> str:
    """Open the page of a check again until it leads to a verdict, or says that it is done; its text."""
    path = reader.page.url.path if reader.page is not None else ""
    until(lambda: 'http-equiv="refresh"' not in reader.open(path).text)
    return reader.text


def test_a_claim_is_checked_from_the_form_to_its_verdict(local: Desk) -> None:
    reader = local.reader()
    reader.open("/")
    local.served.reader.go.clear()
    try:
        page = reader.send("/checks", text="The moon is fake news.", date="2026-05-10", source="a.example", brief="1")
        assert re.search(r"/checks/[0-9a-f-]{36}$", str(page.url))
        assert '<noscript><meta http-equiv="refresh"' in page.text
        assert "<b>0 of 1</b> finished" in page.text
    finally:
        local.served.reader.go.set()
    text = finished(reader)
    assert "The moon is fake news." in text
    assert "Likely fake" in text
    assert "claimed <time>2026-05-10</time>" in text
    assert "a.example" in text


def test_lines_are_claims_of_their_own(local: Desk) -> None:
    reader = local.reader()
    reader.open("/")
    reader.send("/checks", text="The river is real.\n\nexplode now please.\r\nThe lake is fake.", lines="1")
    text = finished(reader)
    assert "<b>3 of 3</b> finished, 1 failed" in text
    assert "The river is real." in text
    assert "The lake is fake." in text
    assert "Claim 2 could not be checked" in text


def test_a_form_sent_twice_is_handed_in_once(local: Desk) -> None:
    reader = local.reader()
    reader.open("/")
    once = re.search(r'name="once" value="(\w+)"', reader.text)
    assert once is not None
    token, places = reader.token(), set()
    for _ in range(2):
        page = reader.send("/checks", csrf=token, once=once[1], text="explode once.")
        places.add(str(page.url))
    assert len(places) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": ""}, "Write the claim first"),
        ({"text": "The dam broke.", "date": "someday"}, "date"),
        ({"text": "The dam broke.", "date": "2999-01-01"}, "date"),
        ({"text": "a\n" * 201, "lines": "1"}, "201 lines"),
    ],
    ids=["empty", "no date", "future", "many"],
)
def test_what_cannot_be_checked_is_said_and_the_form_keeps_its_text(
    local: Desk, given: dict[str, str], said: str
) -> None:
    reader = local.reader()
    reader.open("/")
    page = reader.send("/checks", **given)
    assert page.status_code == 422
    assert said in page.text
    assert 'role="alert"' in page.text
    kept = re.search(r"<textarea[^>]*>(.*?)</textarea>", page.text, re.DOTALL)
    assert kept is not None
    assert kept[1].splitlines() == given["text"].splitlines()


def test_a_hostile_claim_goes_through_as_text(local: Desk) -> None:
    reader = local.reader()
    reader.open("/")
    page = reader.send("/checks", text=HOSTILE + "</textarea><script>1</script>", date="<b>")
    assert page.status_code == 422
    assert len(Parsed(page.text).of("script")) == 2
    reader.send("/checks", text=HOSTILE)
    text = finished(reader)
    assert "window.hurt" in text
    assert len(Parsed(text).of("script")) == 2


def test_a_check_is_cancelled(tmp_path_factory: pytest.TempPathFactory) -> None:
    with desk(tmp_path_factory.mktemp("cancel")) as running:
        running.served.reader.go.clear()
        reader = running.reader()
        reader.open("/")
        reader.send("/checks", text="The dam broke.\nThe bridge fell.", lines="1")
        action = re.search(r'action="(/checks/[^"]+/cancel)"', reader.text)
        assert action is not None
        page = reader.send(action[1])
        assert "2 cancelled" in page.text
        assert "http-equiv" not in page.text


def test_the_verdict_page_holds_what_the_verdict_rests_on(local: Desk) -> None:
    text = local.reader().open(f"/verdicts/{local.ids['fake']}").text
    for words in (
        "Probability that it is fake: <b>91 %</b>",
        "78–97 %",
        "What would change this verdict",
        "Three perspectives",
        "Reliable (86 %)",
        "Not reliable (21 %)",
        "Written by SmolLM2-135M-Instruct: an opinion",
        "Undated, so not on the line",
        "2020-04-03",
        "credibility high (0.95)",
        "Further claims in the text",
        "gdelt did not answer",
    ):
        assert words in text, words
    assert 'class="scale"' in text
    assert len(re.findall(r'<section class="kind', text)) == 3
    assert len(re.findall(r'<li id="v1-e\d+"', text)) == 4


def test_the_timeline_is_drawn_and_listed(local: Desk) -> None:
    text = local.reader().open(f"/verdicts/{local.ids['moved']}").text
    past = local.database.verdicts.timelines("", [local.ids["moved"]])[0]
    assert len(re.findall('class="dot ', text)) == len(past) == len(moved()) + 1
    for share in ("52 %", "61 %", "34 %", "12 %"):
        assert share in text
    assert "FDA warns seller" in text
    once = local.reader().open(f"/verdicts/{local.ids['none']}").text
    assert 'class="dot' not in once
    assert "Checked once" in once


def test_a_label_is_kept_with_who_and_why(local: Desk) -> None:
    reader, id = local.reader(), local.ids["fake"]
    reader.open(f"/verdicts/{id}")
    none = reader.send(f"/verdicts/{id}/label", note="No label.")
    assert none.status_code == 422
    page = reader.send(f"/verdicts/{id}/label", label="fake", note="<b>WHO</b> says\u202e so.")
    assert page.status_code == 200
    assert "&lt;b&gt;WHO&lt;/b&gt; says so." in page.text
    kept = local.database.feedback.of("", [id])[0]
    assert [(one.label, one.by) for one in kept] == [("fake", "local")]
    entry = local.database.audit.read("", subject=f"verdict:{id}")[0]
    assert (entry.who, entry.what) == ("local", "feedback")
    assert reader.send(f"/verdicts/{id}/label", label="maybe").status_code == 422


def test_a_verdict_is_checked_again_when_asked(local: Desk) -> None:
    reader, id = local.reader(), local.ids["open"]
    reader.open(f"/verdicts/{id}")
    before = len(local.database.verdicts.timelines("", [id])[0])
    page = reader.send(f"/verdicts/{id}/again")
    assert str(page.url).split("#")[0].endswith(f"/verdicts/{id}")
    assert len(local.database.verdicts.timelines("", [id])[0]) == before + 1
    assert page.text.count('class="dot ') == before + 1


def test_the_review_queue_leaves_out_what_was_labelled(tmp_path_factory: pytest.TempPathFactory) -> None:
    with desk(tmp_path_factory.mktemp("review")) as running:
        reader, ids = running.reader(), running.ids
        text = reader.open("/review").text
        order = re.findall(r'<li id="r([0-9a-f-]{36})"', text)
        assert order[0] == str(ids["open"])  # 46 %
        assert str(ids["none"]) not in order
        reader.send(f"/review/{ids['open']}", label="unknown")
        assert str(ids["open"]) not in reader.text
        assert reader.send(f"/review/{ids['open']}", csrf=reader.token(), label="perhaps").status_code == 422
        part = reader.send(
            f"/review/{ids['fake']}",
            csrf=_token(reader),
            headers={"HX-Request": "true"},
            label="fake",
        )
        assert part.text.lstrip().startswith("<li")
        assert "Kept: fake" in part.text
        for one in ("real", "hostile", "moved"):
            reader.open("/review")
            reader.send(f"/review/{ids[one]}", label="real")
        assert "Nothing waits for a label" in reader.open("/review").text


def _token(reader: Reader) -> str:
    reader.open("/review")
    return reader.token()


def test_feeds_are_added_paused_and_removed(local: Desk) -> None:
    reader = local.reader()
    reader.open("/feeds")
    reader.send("/feeds", url="https://news.example.net/rss", kind="feed", every="3600")
    added = {feed.url: feed for feed in local.database.feeds.watched("")}["https://news.example.net/rss"]
    assert (added.every, added.enabled) == (3600.0, True)
    for what, enabled in (("pause", False), ("resume", True)):
        reader.send(f"/feeds/{added.id}/{what}")
        assert {one.id: one.enabled for one in local.database.feeds.watched("")}[added.id] is enabled
    reader.send(f"/feeds/{added.id}/remove")
    assert added.id not in {one.id for one in local.database.feeds.watched("")}
    done = [entry.what for entry in local.database.audit.read("", subject=f"feed:{added.id}")]
    assert done == ["feed removed", "feed resumed", "feed paused", "feed added"]
    assert reader.open("/feeds").status_code == 200
    assert reader.send(f"/feeds/{added.id}/pause").status_code == 404


def test_very_many_feeds_are_shown_a_hundred_at_a_time_those_in_trouble_first(keyed: Desk) -> None:
    tenant = "many feeds"
    database = keyed.database
    feeds = database.feeds.add(tenant, [f"https://{n:03}.example.com/rss" for n in range(230)])
    database.feeds.polled([Poll(feeds[200].id, error="404")])
    reader = keyed.reader(headers={"Authorization": f"Bearer {keyed.served.key(tenant=tenant)}"})
    text = reader.open("/feeds").text
    assert "230 feeds, 1 in trouble" in text
    seen = re.findall(r'referrerpolicy="no-referrer" dir="auto">https://(\d+)', text)
    assert len(seen) == 100
    assert seen[:2] == ["200", "000"]
    for number, count in ((2, 100), (3, 30), (4, 0)):
        more = re.findall(r'dir="auto">https://(\d+)', reader.open("/feeds", params={"page": number}).text)
        assert len(more) == count
        seen += more
    assert sorted(seen) == [f"{n:03}" for n in range(230)]
    assert "1 fit" in reader.open("/feeds", params={"q": "017.EXAMPLE"}).text
    assert "No feed fits" in reader.open("/feeds", params={"q": "nowhere"}).text
    assert reader.open("/feeds", params={"page": 0}).status_code == 422


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/rss",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "",
        "x" * 3000,
    ],
)
def test_an_address_that_is_no_public_one_is_refused(local: Desk, url: str) -> None:
    reader = local.reader()
    reader.open("/feeds")
    before = local.database.feeds.watched("")
    page = reader.send("/feeds", url=url, kind="feed", every="900")
    assert page.status_code == 422
    assert "Not done." in page.text
    assert local.database.feeds.watched("") == before


def test_a_claim_review_is_given_to_take_away(local: Desk) -> None:
    got = local.reader().open(f"/verdicts/{local.ids['fake']}/claimreview.json")
    assert json.loads(got.text)["claimReviewed"] == "Drinking bleach cures COVID-19."
    assert "attachment" in got.headers["content-disposition"]
    assert local.reader().open(f"/verdicts/{local.ids['none']}/claimreview.json").status_code == 404


def test_an_empty_desk_says_what_will_be_where(keyed: Desk) -> None:
    key = keyed.served.key(tenant=f"empty {uuid.uuid4()}")
    reader = keyed.reader(headers={"Authorization": f"Bearer {key}"})
    for path, said in (
        ("/", "Nothing has been checked yet"),
        ("/verdicts", "Nothing has been checked yet"),
        ("/stories", "No stories yet"),
        ("/feeds", "Nothing is watched yet"),
        ("/review", "Nothing waits for a label"),
        ("/search", "Search what was judged"),
    ):
        assert said in reader.open(path).text, path


def test_an_error_that_nobody_foresaw_is_a_page_that_tells_nothing(
    local: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(local.database.stories, "recent", broken)
    page = local.reader().open("/stories")
    assert page.status_code == 500
    assert "Something went wrong here" in page.text
    assert "secret words" not in page.text
    assert page.headers["x-request-id"] in page.text


def entries(*points: tuple[float, float]) -> list[TimelineEntry]:
    return [
        TimelineEntry(
            f"k{n}", NOW + timedelta(hours=h), p, (max(0, p - 0.1), min(1, p + 0.1)), "fake", None, [], "recheck"
        )
        for n, (h, p) in enumerate(points)
    ]


def test_a_history_stands_where_its_checks_were() -> None:
    drawn = history(entries((0, 0.0), (5, 0.5), (10, 1.0)), NOW + timedelta(hours=20))
    assert drawn is not None
    assert [step.at for step in drawn.steps] == ["14.00%", "34.75%", "55.50%"]
    assert [step.y for step in drawn.steps] == [HEIGHT, (HEIGHT + TOP) / 2, TOP]
    assert [step.until for step in drawn.steps] == ["34.75%", "55.50%", "97.00%"]
    assert [step.rise for step in drawn.steps] == [None, HEIGHT, (HEIGHT + TOP) / 2]


def test_a_history_of_one_check_is_no_drawing_and_of_very_many_the_last_ones() -> None:
    assert history(entries((0, 0.4)), NOW) is None
    drawn = history(entries(*((n / 10, 0.4) for n in range(500))), NOW)
    assert drawn is not None
    assert len(drawn.steps) == MOST
    assert drawn.left_out == 300
    assert drawn.steps[-1].number == 500
    same = history(entries((0, 0.4), (0, 0.6)), NOW)
    assert same is not None
    assert all("nan" not in step.at for step in same.steps)
