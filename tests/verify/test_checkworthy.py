"""What can be checked is let through; questions, opinions and greetings are told apart."""

from __future__ import annotations

import pytest

from weighup.verify.checkworthy import checkability


@pytest.mark.parametrize(
    "text",
    [
        "Vaccines cause autism.",
        "The earth is flat",
        "I think taxes rose by 5% in 2020",
        "Is it true that 5G causes COVID-19?",
        "Did you know that the Great Wall is visible from space?",
        "Walpole led Great Britain for two decades.",
        "世卫组织宣布新冠疫情不再构成国际关注的突发公共卫生事件。",
        "What a day. The mayor of Lyon resigned on Tuesday.",
    ],
)
def test_statements_are_checkable(text: str) -> None:
    assert checkability(text).checkable


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("Chocolate ice cream is the best flavour.", "taste"),
        ("I think pineapple on pizza is awful", "opinion"),
        ("What time does the sun rise?", "question"),
        ("Hello there my friend", "greeting"),
        ("We should raise taxes", "ought"),
        ("Share this now with everyone", "asks the reader"),
        ("今天天气好吗？", "question"),
        ("我觉得这部电影很好看", "opinion"),
        ("🙂 !!!", "no words"),
        ("Fake news", "short"),
        ("https://news.example.com/2024/mayor-resigns", "address"),
    ],
)
def test_what_states_no_fact_is_refused_with_the_reason(text: str, because: str) -> None:
    found = checkability(text)
    assert not found.checkable
    assert because in found.why


def test_few_real_claims_are_refused(news_rows) -> None:
    """On claims that fact-checkers did check (LIAR, FoolMeTwice), at most 2 % may be refused."""
    for name in ("liar", "fool_me_twice"):
        rows = news_rows(name, "valid")
        refused = sum(not checkability(row["text"]).checkable for row in rows)
        assert refused <= 0.02 * len(rows), (name, refused, len(rows))
