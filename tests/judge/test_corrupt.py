"""Planted defects: each is where it is said to be, is found by a detector, and can be taken out again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.corrupt import INJECTIONS, KINDS, PADDING, Planted, corrupt, repair, still_there
from weighup.texts import sentences

TEXT = (
    "Dr. Adams was born in 1950 near the sea. He wrote 3 books, and they were praised by critics.\n\n"
    "The museum has 1,200 objects. It opened in 2001. Nobody knows why the owner closed it. It weighs 4.50 tonnes."
)
DONOR = "Penguins are birds. They cannot fly. The museum has 1,200 objects."
SENTENCES = st.lists(
    st.builds(
        "{} {} were {} in {}.".format,
        st.sampled_from(["The", "All"]),
        st.sampled_from(["cats", "dogs", "owls", "bees"]),
        st.sampled_from(["seen", "fed", "lost", "found"]),
        st.integers(100, 2000),
    ),
    min_size=8,
    max_size=14,
    unique=True,
)


def only(kind: str, text: str = TEXT, **more: object) -> tuple[str, Planted]:
    found = corrupt(text, [kind], seed=1, **more)  # type: ignore[arg-type]
    assert len(found.planted) == 1
    return found.text, found.planted[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_is_found_where_it_is_and_not_before(kind: str) -> None:
    text, planted = only(kind)
    assert planted.kind == kind
    assert still_there(planted, text)
    assert not still_there(planted, TEXT)
    assert text != TEXT


@settings(max_examples=25)
@given(SENTENCES, st.sets(st.sampled_from(KINDS), min_size=1), st.integers(0, 5))
def test_what_was_planted_can_be_taken_out_again(lines: list[str], kinds: set[str], seed: int) -> None:
    text = " ".join(lines)
    found = corrupt(text, sorted(kinds), seed=seed)
    assert list(repair(found)) == lines
    assert {one.kind for one in found.planted} == kinds
    assert " ".join(found.text.split()) == " ".join(found.lines)
    for one in found.planted:
        assert still_there(one, found.text)
        if one.kind not in ("dropped", "shuffled"):
            assert found.lines[one.where] == one.what


@settings(max_examples=25)
@given(SENTENCES, st.integers(0, 3))
def test_the_same_seed_gives_the_same_text_and_another_another(lines: list[str], seed: int) -> None:
    text = " ".join(lines)
    kinds = ["dropped", "wrong_number", "unsupported"]
    assert corrupt(text, kinds, seed=seed) == corrupt(text, kinds, seed=seed)
    assert len({corrupt(text, kinds, seed=one).text for one in range(6)}) > 1


def test_dropping_takes_one_sentence_and_no_other() -> None:
    text, planted = only("dropped")
    assert planted.what in TEXT
    assert [one for one in sentences(TEXT) if one not in text] == [planted.what]


def test_a_number_becomes_another_of_the_same_form() -> None:
    for text, form in (
        ("It has 1,200 objects.", r"It has \d,\d{3} objects\."),
        ("It is 4.50 m.", r"It is \d\.\d\d m\."),
    ):
        changed, planted = only("wrong_number", text)
        assert planted.was == text
        assert changed != text
        assert re.fullmatch(form, changed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The sky is blue.", "The sky is not blue."),
        ("The sky is not blue.", "The sky is blue."),
        ("Cats sleep a lot.", "It is not true that cats sleep a lot."),
        ("NASA sent probes.", "It is not true that NASA sent probes."),
    ],
)
def test_a_contradiction_says_the_opposite(text: str, said: str) -> None:
    assert only("contradiction", text) == (said, Planted("contradiction", 0, said, text))


def test_ungrammatical_keeps_what_is_said() -> None:
    text, _ = only("ungrammatical", "The cats were fed by a man.")
    assert text == "The cats was fed by man."
    assert only("ungrammatical", "Owls hunt mice at night.")[0] == "Owls mice hunt at night."


def test_added_sentences_come_from_where_they_should() -> None:
    donated = {corrupt(TEXT, ["unsupported"], seed=seed, donors=[DONOR]).planted[0].what for seed in range(8)}
    assert donated == {"Penguins are birds.", "They cannot fly."}
    assert only("padded")[1].what in PADDING
    assert only("injection")[1].what in INJECTIONS


def test_count_plants_so_many_of_each_kind() -> None:
    found = corrupt(TEXT, ["dropped", "wrong_number"], seed=0, count=2)
    assert sorted(one.kind for one in found.planted) == ["dropped"] * 2 + ["wrong_number"] * 2
    assert len(corrupt(TEXT, ["padded", "padded"], seed=0).planted) == 2


def test_paragraphs_stay_apart() -> None:
    assert "\n\n" in corrupt(TEXT, ["padded", "wrong_number"], seed=2).text


@pytest.mark.parametrize(
    ("text", "defects", "more", "said"),
    [
        ("", ["dropped"], {}, "empty"),
        (TEXT, [], {}, "none named"),
        (TEXT, ["typo"], {}, "unknown typo"),
        (TEXT, "dropped", {}, "list of kinds"),
        (TEXT, ["dropped"], {"count": 0}, "count"),
        ("One sentence only.", ["dropped"], {}, "one must stay"),
        ("One sentence only.", ["shuffled"], {}, "two sentences"),
        ("No figures here.", ["wrong_number"], {}, "wrong_number"),
        ("They cannot fly.", ["unsupported"], {"donors": ["They cannot fly."]}, "other donors"),
    ],
)
def test_what_cannot_be_planted_is_refused(text: str, defects: list[str], more: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        corrupt(text, defects, seed=0, **more)  # type: ignore[arg-type]
