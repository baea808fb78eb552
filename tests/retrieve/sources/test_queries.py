"""Queries planned by rule: short, telling, and none for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.retrieve.sources.queries import addresses_in, content_words, is_address, plan_queries


def test_english_keywords_then_names() -> None:
    assert plan_queries("Pope Francis endorsed Donald Trump for president in 2016.") == [
        "Pope Francis endorsed Donald Trump president 2016",
        "Pope Francis Donald Trump 2016",
    ]


def test_headline_capitals_mark_nothing() -> None:
    assert plan_queries("BREAKING: DRINKING BLEACH CURES THE VIRUS") == ["DRINKING BLEACH CURES VIRUS"]


def test_a_longer_text_also_asks_about_its_most_telling_sentence() -> None:
    planned = plan_queries("Coffee is good for you. But Joe Biden met Xi Jinping in California on 15 November 2023.")
    assert planned[0] == "Coffee good"
    assert planned[-1] == "Joe Biden Xi Jinping California"


def test_chinese_is_cut_at_function_words() -> None:
    planned = plan_queries("北京大学宣布2024年将停止招收外国学生，网传消息称这是教育部的决定。")
    assert planned[0].split()[:3] == ["北京大学", "2024年", "停止招收外国学生"]
    assert len(planned) == 2


def test_chinese_titles_stay_whole_and_numbers_uncut() -> None:
    planned = plan_queries("《人民日报》报道称，华为Mate60手机销量突破1000万台")
    assert planned == ["人民日报 华为Mate60手机销量突破1000万台", "人民日报 华为Mate60手机销量突破"]


def test_addresses_come_last_and_apart() -> None:
    planned = plan_queries("Bleach cures flu, says https://news.example/a?b=1. Really?")
    assert planned[-1] == "https://news.example/a?b=1"
    assert is_address(planned[-1])
    assert not any("http" in query for query in planned[:-1])


@pytest.mark.parametrize("text", ["", "  ", "Is it?", "。！", "!!!"])
def test_nothing_to_ask(text: str) -> None:
    assert plan_queries(text) == []


def test_content_words_are_comparable_across_forms() -> None:
    assert set(content_words("The Pope's visit")) == set(content_words("pope visit"))
    assert "北京" in content_words("在北京的学生")


def test_addresses_once_each_without_closing_punctuation() -> None:
    assert addresses_in("(see https://a.example/x), https://a.example/x. http://b.example！") == [
        "https://a.example/x",
        "http://b.example！",
    ]


@given(st.text(max_size=400))
def test_any_text_gives_few_short_queries(text: str) -> None:
    planned = plan_queries(text)
    assert len(planned) <= 5
    assert all(query.strip() for query in planned)
