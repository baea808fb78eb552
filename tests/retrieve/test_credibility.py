"""Whom a score is about: whole labels, parts of sites, suffixes; and the user's list over ours."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from weighup.errors import SettingsError
from weighup.retrieve.credibility import credibility, credibility_for, read_list, shipped
from weighup.settings import RetrieveSettings


def domain(url: str, own: Path | None = None) -> str | None:
    found = credibility(url, own=own)
    return found.domain if found else None


@pytest.mark.parametrize(
    ("url", "row"),
    [
        ("theguardian.com", "theguardian.com"),
        ("https://www.theguardian.com/world/2024/x?y#z", "theguardian.com"),
        ("HTTPS://AMP.TheGuardian.com:443/x", "theguardian.com"),
        ("https://theguardian.com./x", "theguardian.com"),
        ("https://eviltheguardian.com/", None),
        ("https://theguardian.com.evil.example/", None),
        ("https://evil.example/theguardian.com", None),
        ("https://evil.example@theguardian.com/", "theguardian.com"),
        ("https://theguardian.com@evil.example/", None),
        ("https://www.newyorker.com/humor/x", "newyorker.com/humor"),
        ("https://www.newyorker.com/humorous", "newyorker.com"),
        ("https://70news.wordpress.com/2016", "70news.wordpress.com"),
        ("https://other.wordpress.com/", "wordpress.com"),
        ("https://en.wikipedia.org/wiki/Dam", "wikipedia.org"),
        ("https://www.anything.gov.uk/", ".gov.uk"),
        ("https://gov.uk/", ".gov.uk"),
        ("https://physics.somewhere.edu/~student", ".edu"),
        ("https://www.cdc.gov/", "cdc.gov"),
        ("https://edu.example/", None),
        ("https://news.gov.example/", None),
        ("http://127.0.0.1/", None),
        ("http://[::1]/", None),
        ("http://[", None),
        ("", None),
        ("not a domain", None),
    ],
)
def test_matching_is_by_whole_labels(url: str, row: str | None) -> None:
    assert domain(url) == row


def test_the_shipped_list_is_sound() -> None:
    rows = shipped()
    assert len(rows) >= 600
    for row in rows.values():
        assert 0 <= row.score <= 1
        assert row.category
        assert len(row.provenance) >= 8, row
    assert len({row.category for row in rows.values()}) >= 15
    ranks = [credibility(d) for d in ("reuters.com", "nytimes.com", "dailymail.co.uk", "rt.com", "infowars.com")]
    scores = [found.score for found in ranks if found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 5
    assert len({row.score for row in rows.values() if row.category == "newspaper"}) == 1  # scores follow the kind


def test_the_users_list_wins(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text(
        "domain,score,category,provenance\n"
        "# my notes\n"
        'https://www.TheGuardian.com/,0.3,mine,"because, well"\n'
        ".gov.uk,0.1,,\n"
        "new.example,1,,\n"
        "new.example/shop,0,ads,\n"
    )
    found = credibility("https://www.theguardian.com/x", own=own)
    assert found is not None
    assert (found.score, found.category, found.provenance) == (0.3, "mine", "user: because, well")
    assert domain("x.gov.uk", own) == ".gov.uk"
    assert domain("new.example/shop/1", own) == "new.example/shop"
    assert domain("reuters.com", own) == "reuters.com"
    assert credibility_for(RetrieveSettings(credibility=own), "new.example").score == 1  # type: ignore[union-attr]
    own.write_text("domain\nreuters.com\n")
    os.utime(own, ns=(1, 1))
    found = credibility("reuters.com", own=own)
    assert found is not None
    assert (found.score, found.provenance) == (0.1, "user: named in own.csv")


def test_a_hand_made_list_of_domains_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = tmp_path / "sites.txt"
    own.write_text(
        "\ufeffBad.Example\nbad.example/\nWWW.worse.example # really\n\n82.221.129.208\na b. com\nx.example/blog/\n"
    )
    with caplog.at_level(logging.WARNING):
        assert domain("https://www.bad.example/a", own) == "bad.example"
    assert "sites.txt, line 6" in caplog.text
    assert domain("worse.example", own) == "worse.example"
    assert domain("http://82.221.129.208/x", own) == "82.221.129.208"
    assert domain("x.example/blog/1", own) == "x.example/blog"
    assert domain("x.example", own) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("domain,score\na.example,2\n", r"line 2: score '2'"),
        ("domain,score\n\na.example,much\n", r"line 3: score 'much'"),
        ("domain,score\n,0.5\n", r"line 2: '' is not a domain"),
        ("domain,rating\na.example,1\n", r"unknown columns \['rating'\]"),
        ("no domain here\nnor here\n", r"line 2: 'nor here' is not a domain"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_by_line(text: str, message: str, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text(text)
    with pytest.raises(SettingsError, match=message):
        credibility("a.example", own=own)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.csv cannot be read"):
        credibility("a.example", own=tmp_path / "none.csv")


def test_the_list_that_came_with_averitec_can_be_used(tests_data: Path) -> None:
    own = tests_data / "news" / "misinformation_sites.txt"
    rows = list(read_list(own.read_text(encoding="utf-8"), own.name))
    assert len({row.domain for row in rows}) > 1100
    assert credibility("https://www.ABCNews.com.co/x", own=own).score == 0.1  # type: ignore[union-attr]
