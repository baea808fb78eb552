"""Cutting documents into passages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighup.retrieve.chunks import MAX_SENTENCES, MAX_SIZE, windows
from weighup.texts import clean, sentences


def passages(text: str) -> list[str]:
    return [text[start:stop] for start, stop in windows(text)]


def test_a_short_text_is_one_passage() -> None:
    assert passages("The dam broke. Nobody was hurt.") == ["The dam broke. Nobody was hurt."]
    assert passages("") == []


def test_windows_hold_at_most_three_sentences_and_overlap_by_one() -> None:
    text = " ".join(f"Sentence number {i} says something of its own about the river and its banks." for i in range(7))
    found = passages(text)
    assert [len(sentences(passage)) for passage in found] == [3, 3, 3]
    assert sentences(found[0])[-1] == sentences(found[1])[0]
    assert found[0].startswith("Sentence number 0")
    assert found[-1].endswith("its banks.")


def test_a_window_never_crosses_a_blank_line() -> None:
    first = "The committee met on Monday to hear the engineers and the residents of the valley."
    second = "Rain fell for nine days before the wall gave way, the report of the inspectors says."
    assert passages(f"{first}\n\n{second}") == [first, second]


def test_a_heading_is_read_with_what_follows() -> None:
    body = "Rain fell for nine days before the wall gave way, the report of the inspectors says."
    assert passages(f"Causes\n\n{body}") == [f"Causes\n\n{body}"]


def test_text_without_full_stops_is_cut_at_words() -> None:
    found = passages(" ".join(["word"] * 5_000))
    assert len(found) > 10
    assert all(len(passage) <= 2 * MAX_SIZE for passage in found)
    assert all(set(passage.split()) == {"word"} for passage in found)


def test_chinese_sentences_are_windows_too() -> None:
    text = "".join(f"第{i}个句子说明了河流和堤坝的情况以及当地居民的反应和政府的措施。" for i in range(12))
    found = passages(text)
    assert len(found) > 3
    assert all(len(sentences(passage)) <= MAX_SENTENCES for passage in found)


def test_closing_quotes_stay_with_their_sentence() -> None:
    text = "“We were told to leave.” Nobody said why. " + "The police gave no reason for it that day. " * 6
    assert passages(text.strip())[0].startswith("“We were told to leave.” Nobody")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Dr. Who left. ", "no end ", "Yes! ", "\n\n", "水坝决堤了。", "“Go.” ", "3.5 per cent. "]),
        max_size=300,
    )
)
def test_every_word_of_the_text_is_in_some_window(parts: list[str]) -> None:
    text = clean("".join(parts))
    covered = bytearray(len(text))
    last = -1
    for start, stop in windows(text):
        assert 0 <= start < stop <= len(text)
        assert start > last or not last
        last = start if start else -1
        covered[start:stop] = b"\1" * (stop - start)
    assert all(covered[i] for i, character in enumerate(text) if not character.isspace())


@pytest.mark.parametrize(
    "text",
    [
        "U.S.\n\n... U.S. ... " + "and then some more was said about it. " * 12,
        "Dr.\n\n“quote.” St. Louis said it again. Dr. “quote.” " + "And so it went on for a while. " * 12,
        'He said "yes." "No," said she. ' + "He said it once more, for all to hear. " * 12,
    ],
)
def test_no_word_is_left_out_where_a_sentence_comes_again(text: str) -> None:
    seen = {at for start, stop in windows(text) for at in range(start, stop)}
    assert not [at for at, mark in enumerate(text.rstrip()) if mark.isalnum() and at not in seen]
