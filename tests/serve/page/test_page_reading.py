"""Pages as they are sent: complete without JavaScript, harmless whatever their texts hold, nothing asked of others."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

import httpx
import pytest
from page_samples import HOSTILE, Desk, Parsed

from weighup.serve.page.assets import HTMX, HTMX_SHA256, assets
from weighup.serve.page.render import POLICY

PATHS = (
    "/", "/verdicts", "/stories", "/feeds", "/review", "/arena", "/arena/board", "/search", "/search?q=bridge",
    "/model", "/signin",
)  # fmt: skip
SAMPLES = ("fake", "real", "open", "none", "hostile", "moved")


def every(desk: Desk) -> list[str]:
    return [*PATHS, f"/stories/{desk.story}", "/nothing", *(f"/verdicts/{desk.ids[name]}" for name in SAMPLES)]


def test_every_page_is_shown_and_says_where_it_is(local: Desk) -> None:
    for path in every(local):
        page = local.reader().open(path)
        assert page.status_code == (404 if path == "/nothing" else 200), (path, page.text[-2000:])
        parsed = Parsed(page.text)
        assert [one["lang"] for one in parsed.of("html")] == ["en"]
        assert len(parsed.of("h1")) == 1, path
        assert re.search(r"<title>[^<]+ – weighup</title>", page.text), path
        ids = [attributes["id"] for _, attributes in parsed.tags if attributes.get("id")]
        assert len(ids) == len(set(ids)), f"{path}: an id twice"


def test_no_page_holds_inline_code_or_asks_another_server(local: Desk) -> None:
    for path in every(local):
        page = local.reader().open(path)
        assert page.headers["content-security-policy"] == POLICY
        assert "unsafe-inline" not in POLICY
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-store"
        parsed = Parsed(page.text)
        for tag, attributes in parsed.tags:
            assert tag != "style", path
            for name, value in attributes.items():
                assert not name.startswith("on"), (path, tag, name)
                assert name != "style", (path, tag)
                if name in ("src", "srcset", "data") or (tag == "link" and name == "href"):
                    assert str(value).startswith("/static/"), (path, tag, value)
        assert all("src" in one for one in parsed.of("script")), path


def test_hostile_texts_stay_texts(local: Desk) -> None:
    for path in ("/", "/verdicts", "/review", "/feeds", f"/stories/{local.story}", f"/verdicts/{local.ids['hostile']}"):
        page = local.reader().open(path)
        assert "window.hurt" in page.text, path  # it is shown
        assert "\u202e" not in page.text
        assert "\x1b" not in page.text
        assert "{{7*7}}" in page.text or path in ("/feeds", "/verdicts", "/")  # not worked out
        assert len(Parsed(page.text).of("script")) == 2, path  # ours
        assert not Parsed(page.text).of("img"), path
    parsed = Parsed(local.reader().open(f"/verdicts/{local.ids['hostile']}").text)
    for link in parsed.of("a"):
        assert re.match(r"/|#|https?://", str(link["href"])), link
    assert all(one["rel"] == "noopener noreferrer nofollow" for one in parsed.of("a") if "://" in str(one["href"]))


def test_links_to_sources_tell_them_nothing(local: Desk) -> None:
    links = Parsed(local.reader().open(f"/verdicts/{local.ids['fake']}").text).of("a")
    away = [one for one in links if "://" in str(one["href"])]
    assert len(away) >= 3
    assert {one["rel"] for one in away} == {"noopener noreferrer nofollow"}
    assert {one["referrerpolicy"] for one in away} == {"no-referrer"}


def test_a_search_for_markup_is_shown_as_text(local: Desk) -> None:
    page = local.reader().open("/search", params={"q": HOSTILE})
    assert len(Parsed(page.text).of("script")) == 2
    assert "\u202e" not in page.text
    page = local.reader().open("/search", params={"q": '"><svg onload=alert(1)>'})
    assert not any("onload" in attributes for _, attributes in Parsed(page.text).tags)


def test_search_finds_verdicts_and_evidence(local: Desk) -> None:
    page = local.reader().open("/search", params={"q": "bridge"}).text
    assert f"/verdicts/{local.ids['moved']}" in page
    assert "closed after inspectors found cracks" in page
    none = local.reader().open("/search", params={"q": "zeppelin"}).text
    assert "No claim with these words" in none
    assert "holds nothing on this" in none
    wrong = local.reader().open("/search", params={"q": "?!"})
    assert wrong.status_code == 422
    assert "no letter or number" in wrong.text
    assert local.reader().open("/search", params={"q": "bridge", "before": "soon"}).status_code == 422


def test_a_path_that_is_nothing_is_a_page_for_people_and_a_problem_for_programs(local: Desk) -> None:
    reader = local.reader()
    assert "There is no such thing" in reader.open("/nothing").text
    assert reader.open("/verdicts/not-a-number").status_code == 404
    assert reader.open("/verdicts/00000000-0000-4000-8000-000000000000").status_code == 404
    told = httpx.get(f"{local.url}/nothing", headers={"Accept": "application/json"})
    assert told.headers["content-type"] == "application/problem+json"
    api = httpx.get(f"{local.url}/v1/nothing", headers={"Accept": "text/html"})
    assert api.headers["content-type"] == "application/problem+json"


def test_style_and_scripts_keep_for_good_under_their_own_names(local: Desk) -> None:
    for name, asset in assets().items():
        got = httpx.get(local.url + asset.path)
        assert got.status_code == 200, name
        assert got.content == asset.body
        assert "immutable" in got.headers["cache-control"]
        assert httpx.get(f"{local.url}/static/0000000000000000/{name}").status_code == 404


def test_htmx_is_the_file_that_was_vendored_with_its_licence() -> None:
    folder = files("weighup.serve.page") / "static"
    assert hashlib.sha256((folder / HTMX).read_bytes()).hexdigest() == HTMX_SHA256
    assert "Zero-Clause BSD" in (folder / "htmx-LICENSE").read_text(encoding="utf-8")


def test_the_model_card_shows_the_weights_and_their_limits(local: Desk) -> None:
    from weighup.verify import weights

    page = local.reader().open("/model").text
    for part in ("ease", "calibration", "content", "stance"):
        assert str(weights.card(part, None)["version"]) in page  # type: ignore[arg-type]
    assert "25 %" in page
    assert "weak on arithmetic" in page
    assert "selection beats the average of perspectives" in page


@pytest.mark.parametrize("label", ["fake", "real", "unknown", "not_checkable"])
def test_the_list_of_verdicts_is_filtered(local: Desk, label: str) -> None:
    page = local.reader().open("/verdicts", params={"label": label}).text
    shown = set(re.findall(r"/verdicts/([0-9a-f-]{36})", page))
    found = local.database.verdicts.get("", list(local.ids.values()))
    assert shown == {str(one.id) for one in found if one is not None and one.label == label}


def test_the_list_goes_on_page_by_page(keyed: Desk) -> None:
    import examples

    from weighup.serve.db.records import Check

    key = keyed.served.key("read", tenant="long")
    checks = [Check(examples.verdict(claim=f"Claim number {n}."), f"c{n}", "long") for n in range(120)]
    keyed.database.verdicts.record(checks)
    reader = keyed.reader(headers={"Authorization": f"Bearer {key}"})
    seen: list[str] = []
    path: str | None = "/verdicts?order=uncertain"
    while path is not None:
        page = reader.open(path).text
        seen += re.findall(r'claimed"><a href="/verdicts/([0-9a-f-]{36})', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else None
    assert len(seen) == len(set(seen)) == 120
    assert reader.open("/verdicts?cursor=nonsense").status_code == 422
    assert reader.open("/verdicts?since=someday").status_code == 422
