"""robots.txt by RFC 9309: groups, longest match, wildcards; what is kept, and how long a silent host is left alone."""

from __future__ import annotations

import pytest

from weighup.errors import PageRefused, SourceUnavailable
from weighup.retrieve.robots import Robots, matches, parse


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("/", "/anything", True),
        ("/fish", "/fish/salmon", True),
        ("/fish", "/Fish", False),
        ("/fish*", "/fishheads/yummy", True),
        ("/*.php", "/folder/filename.php?parameters", True),
        ("/*.php$", "/filename.php", True),
        ("/*.php$", "/filename.php?parameters", False),
        ("/fish*.php", "/fishheads/catfish.php?p", True),
        ("/fish*.php", "/Fish.PHP", False),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("/a*b*c$", "/axxbxxc", True),
        ("/a*b*bc$", "/abc", False),
        ("*", "/x", True),
    ],
)
def test_patterns_as_documented_by_the_rfc_and_search_engines(pattern: str, path: str, covered: bool) -> None:
    assert matches(pattern, path) is covered


def test_a_hostile_pattern_is_matched_at_once() -> None:
    assert not matches("/" + "a*" * 5000 + "b$", "/" + "a" * 50_000)


RULES = """\ufeff# comment
User-Agent: *
Disallow: /private/   # not this
Allow: /private/open
Disallow: /*.pdf$
Crawl-delay: 10
junk without a colon

User-agent: OtherBot
User-agent: weighup/1.0
Disallow: /
Allow: /news/
Allow: /

user-agent: WEIGHUP
disallow: /news/draft
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("nobody", "/", True),
        ("nobody", "/private/a", False),
        ("nobody", "/private/open/a", True),
        ("nobody", "/a.pdf", False),
        ("nobody", "/a.pdf?x", True),
        ("nobody", "/robots.txt", True),
        ("weighup", "/private/a", True),  # its own groups replace those for *, Allow wins the tie
        ("weighup", "/news/a", True),
        ("weighup", "/news/draft/1", False),  # groups for the same agent are one
        ("otherbot", "/news/draft/1", True),
    ],
)
def test_who_may_read_what(agent: str, path: str, allowed: bool) -> None:
    assert parse(RULES, agent).allow(f"https://news.example{path}") is allowed


def test_spellings_of_one_path_are_one() -> None:
    rules = parse("User-agent: *\nDisallow: /caf%c3%a9\nDisallow: /水", "weighup")
    assert not rules.allow("https://news.example/caf%C3%A9/x")
    assert not rules.allow("https://news.example/%E6%B0%B4")
    assert rules.allow("https://news.example/cafe")


@pytest.mark.parametrize(
    "text", ["", "\x00\xff", "Disallow: /", "User-agent:\nDisallow: /", "User-agent: *\nDisallow:"]
)
def test_no_rules_allow_everything(text: str) -> None:
    assert parse(text, "weighup").allow("https://news.example/a")


def test_each_host_is_asked_once() -> None:
    asked: list[str] = []

    def fetch(url: str) -> tuple[int, str]:
        asked.append(url)
        return 200, "User-agent: *\nDisallow: /no"

    robots = Robots("weighup", fetch)
    for host in ("https://a.example", "https://a.example:8443", "http://a.example", "https://a.example"):
        robots.check(f"{host}/yes")
        with pytest.raises(PageRefused):
            robots.check(f"{host}/no")
    assert asked == [
        f"{host}/robots.txt" for host in ("https://a.example", "https://a.example:8443", "http://a.example")
    ]


def test_a_silent_host_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("weighup.retrieve.robots.time.monotonic", lambda: now[0])
    answers = iter([None, (404, "")])

    def fetch(url: str) -> tuple[int, str]:
        answer = next(answers)
        if answer is None:
            raise SourceUnavailable("no answer")
        return answer

    robots = Robots("weighup", fetch)
    for _ in range(3):
        with pytest.raises(SourceUnavailable, match="no answer"):
            robots.check("https://a.example/")
    now[0] += 601
    robots.check("https://a.example/")


def test_many_rules_for_others_do_not_crowd_out_ours() -> None:
    others = "User-agent: other\n" + "Disallow: /a\n" * 20_000
    assert not parse(f"{others}\nUser-agent: weighup\nDisallow: /private\n", "weighup").allow(
        "https://x.example/private"
    )
