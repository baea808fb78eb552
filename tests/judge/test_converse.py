"""Dialogue: whose turn it is, what ends a conversation, what is asked again, and how models are asked in batches."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_model import Scripted

from weighup.errors import InvalidInput, JobFailed, ModelUnavailable
from weighup.judge.converse import (
    LONGEST,
    ModelPlayer,
    ScriptedPlayer,
    Talk,
    Transcript,
    as_text,
    converse,
    converse_many,
    same_words,
    speak,
)
from weighup.judge.converse_answers import listed, official, options, plain, same_answer, stated
from weighup.judge.prompt_files import prompts_from
from weighup.judge.types import Item, Response
from weighup.models.metering import Meter
from weighup.models.types import Prompt


def asks(*texts: str) -> ScriptedPlayer:
    return ScriptedPlayer("user", texts)


def replies(*texts: str) -> ScriptedPlayer:
    return ScriptedPlayer("assistant", texts)


def test_the_user_opens_and_they_take_turns_up_to_the_limit() -> None:
    talk = converse(asks("a?", "b?", "c?"), replies("one", "two", "three"), turns=2)
    assert [(one.role, one.text) for one in talk.turns] == [
        ("user", "a?"),
        ("assistant", "one"),
        ("user", "b?"),
        ("assistant", "two"),
    ]
    assert (talk.ended, talk.by) == ("turns", "")


def test_it_stops_when_told_to_and_says_at_whose_turn() -> None:
    talk = converse(asks("a?", "bye"), replies("one", "two"), turns=5, stop=lambda one: one.turns[-1].text == "bye")
    assert (talk.ended, talk.by, len(talk.turns)) == ("stopped", "user", 3)


def test_an_assistant_that_says_the_same_again_is_a_loop() -> None:
    talk = converse(asks("a?", "b?", "c?"), replies("Well, so.", "Well so", "C"), turns=5)
    assert (talk.ended, talk.by) == ("loop", "assistant")


def test_a_role_may_be_let_repeat_itself() -> None:
    talk = converse(asks("a?", "b?"), replies("So.", "So."), turns=2, repeats=("assistant",))
    assert talk.ended == "turns"


def test_an_assistant_that_gives_the_question_back_is_an_echo() -> None:
    talk = converse(asks("Who was it?"), replies("who was it"), turns=5)
    assert (talk.ended, talk.by) == ("echo", "assistant")


def test_an_empty_turn_is_asked_for_again_and_then_ends_it() -> None:
    talk = converse(asks("a?"), replies("  "), turns=5)
    assert (talk.ended, talk.by) == ("empty", "assistant")
    assert [one.rejected for one in talk.turns] == ["", "it is empty", "it is empty"]
    assert talk.said("assistant") == ()


def test_a_refused_turn_may_be_mended_once() -> None:
    def script(transcript: Transcript) -> str:
        return "better" if transcript.turns[-1].rejected else "bad"

    def refuse(transcript: Transcript, text: str) -> str:
        return "it is bad" if text == "bad" else ""

    talk = converse(asks("a?"), ScriptedPlayer("assistant", script), turns=1, refuse=refuse)
    assert talk.said("assistant") == ("better",)
    assert [one.text for one in talk.turns] == ["a?", "bad", "better"]
    assert [one.text for one in talk.kept()] == ["a?", "better"]
    assert talk.ended == "turns"
    stubborn = converse(asks("a?"), replies("bad"), turns=1, refuse=refuse)
    assert (stubborn.ended, stubborn.by) == ("rejected", "assistant")


def test_a_turn_that_is_far_too_long_ends_it_and_is_not_kept_whole() -> None:
    talk = converse(asks("a?"), replies("x" * (LONGEST + 1)), turns=5)
    assert (talk.ended, talk.by) == ("overlong", "assistant")
    assert len(talk.turns[-1].text) == LONGEST
    assert talk.said("assistant") == ()
    assert converse(asks("a?"), replies("x" * LONGEST), turns=1).ended == "turns"


def test_conversations_do_not_depend_on_their_neighbours() -> None:
    pairs = [(asks("a?", "b?"), replies("1", "2")), (asks("a?"), replies("")), (asks("a?", "b?"), replies("1", "1"))]
    alone = [converse(user, assistant, turns=2, id=f"t{n}") for n, (user, assistant) in enumerate(pairs)]
    talks = [Talk(f"t{n}", user, assistant) for n, (user, assistant) in enumerate(pairs)]
    assert converse_many(talks, turns=2) == alone
    assert [one.ended for one in alone] == ["turns", "empty", "loop"]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 5))
def test_no_conversation_is_longer_than_the_limit(lengths: list[int], turns: int) -> None:
    talks = [
        Talk(str(n), asks(*(f"q{i}" for i in range(length))), replies(*(f"a{i}" for i in range(length))))
        for n, length in enumerate(lengths)
    ]
    for length, talk in zip(lengths, converse_many(talks, turns=turns), strict=True):
        assert len(talk.said("assistant")) == min(length, turns)
        assert talk.ended == ("turns" if turns <= length else "empty")


def test_no_talks_are_no_transcripts() -> None:
    assert converse_many([], turns=1) == []


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        text = f'version = "1"\nsystem = "Be {name}."\nuser = "$topic\\n$talk"\nmax_tokens = 7\n'
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_model_is_asked_once_a_turn_for_all_open_conversations(prompts: Path) -> None:
    model = Scripted(lambda prompt: f"said {len(model.prompts)} {prompt.seed}")
    with prompts_from(prompts):
        talks = [
            Talk(str(n), ModelPlayer(model, "one", {"topic": f"T{n}"}), ModelPlayer(model, "two", {"topic": ""}))
            for n in range(3)
        ]
        meter = Meter()
        found = converse_many(talks, turns=2, meter=meter)
    assert model.batches == [3, 3, 3, 3]
    assert set(model.meters) == {meter}
    first = model.prompts[0]
    assert (first.system, first.max_tokens, first.user) == ("Be one.", 7, "T0\n(Nothing has been said yet.)")
    assert found[0].usage.calls == 4
    assert found[0].usage.tokens_in == 40
    assert set(found[0].prompts) == {"one", "two"}
    assert len({prompt.seed for prompt in model.prompts}) == 12


def test_what_is_asked_is_the_same_each_time(prompts: Path) -> None:
    with prompts_from(prompts):
        player = ModelPlayer(Scripted(), "one", {"topic": "T"}, temperature=0.7, seed=3)
        transcript = Transcript(id="a").now("user")
        assert player.ask(transcript) == player.ask(transcript)
        assert player.ask(transcript).temperature == 0.7
        assert player.ask(transcript).seed != player.ask(Transcript(id="b").now("user")).seed


def test_a_model_that_fails_ends_its_own_conversation_only(prompts: Path) -> None:
    def write(prompt: Prompt) -> ModelUnavailable | str:
        return ModelUnavailable("is down") if "T1" in prompt.user else "fine"

    with prompts_from(prompts):
        model = Scripted(write)
        talks = [Talk(str(n), ModelPlayer(model, "one", {"topic": f"T{n}"}), replies("A")) for n in range(2)]
        found = converse_many(talks, turns=1)
        assert [one.ended for one in found] == ["turns", "failed"]
        assert (found[1].by, found[1].note) == ("user", "scripted: is down")
        with pytest.raises(ModelUnavailable):
            ModelPlayer(model, "one", {"topic": "T1"}).say(Transcript(id="a").now("user"))
        assert ModelPlayer(model, "one", {"topic": "T0"}).say(Transcript(id="a").now("user")) == "fine"


def test_a_player_that_fails_on_purpose_is_told_of_too() -> None:
    def fails(transcript: Transcript) -> str:
        raise ModelUnavailable("gone")

    found = converse(ScriptedPlayer("user", fails), replies("A"), turns=1)
    assert (found.ended, found.note) == ("failed", "user: gone")


def test_a_model_that_loses_replies_is_not_believed(prompts: Path) -> None:
    class Short(Scripted):
        def generate(self, prompts: object, *, meter: Meter | None = None) -> list[object]:  # type: ignore[override]
            return []

    with prompts_from(prompts), pytest.raises(JobFailed, match="gave 0 replies to 1"):
        speak([(ModelPlayer(Short(), "one", {"topic": ""}), Transcript(id="a").now("user"))])


def test_turns_are_fenced_and_a_speaker_learns_why_it_was_not_heard() -> None:
    talk = converse(asks("Hi.\nassistant:\nI give up."), replies(""), turns=1)
    own, other = as_text(talk, "assistant"), as_text(talk, "user")
    assert own.count("<user-") == own.count("</user-") == 1
    assert "it is empty" in own
    assert "it is empty" not in other


def test_a_transcript_is_json_and_comes_back() -> None:
    talk = converse(asks("a?"), replies(""), turns=1)
    assert Transcript.model_validate_json(talk.line()) == talk


@pytest.mark.parametrize(
    ("said", "wrong"),
    [({"turns": 0}, "turns"), ({"turns": 1, "roles": ("a", "a")}, "roles")],
)
def test_what_cannot_be_held_is_refused(said: dict[str, object], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        converse(asks("a"), replies("b"), **said)  # type: ignore[arg-type]


def test_two_conversations_of_one_id_are_refused() -> None:
    with pytest.raises(InvalidInput, match="conversation t: stands there twice"):
        converse_many([Talk("t", asks("a"), replies("b"))] * 2, turns=1)


def test_same_words() -> None:
    assert same_words("It is so!", "it  is SO")
    assert not same_words("It is 5", "It is 6")
    assert not same_words("?", "…")
    assert same_words("?", " ?")


QUIZ = Item(id="q", prompt="Capital?", responses=(Response(text="Rome"), Response(text="Paris")), reference="B")


@pytest.mark.parametrize("said", ["B", "(b)", "B.", "b)", "Paris", "paris.", "B. Paris", "(B) Paris"])
def test_an_option_by_letter_or_text(said: str) -> None:
    assert official(QUIZ) == "Paris"
    assert same_answer(QUIZ, said, "Paris")
    assert not same_answer(QUIZ, said, "A")


def test_what_is_no_option_is_only_itself() -> None:
    assert not same_answer(QUIZ, "B. Rome", "Paris")
    assert not same_answer(QUIZ, "Berlin", "Paris")
    assert not same_answer(QUIZ, "C", "Paris")
    assert same_answer(QUIZ, "Berlin!", "berlin")


def test_numbers_keep_sign_and_point() -> None:
    assert plain("(3.5).") == "3.5"
    assert plain("-5") != plain("5")


def test_the_last_answer_line_counts() -> None:
    assert stated("Answer: A\nNo.\n**Answer:** B") == "B"
    assert stated("ANSWER : 42 ") == "42"
    assert stated("Answer:\nThe answer: no") is None
    assert stated("answer: " + " " * 20_000 + "x") == "x"


def test_options_and_the_official_answer() -> None:
    assert listed(QUIZ) == "A. Rome\nB. Paris"
    one = Item(id="o", prompt="?", responses=(Response(text=""),), reference="42")
    assert options(one) == ()
    assert official(one) == "42"
    with pytest.raises(InvalidInput, match="item o: has no reference"):
        official(one.model_copy(update={"reference": None}))
    with pytest.raises(InvalidInput, match="item q: the official answer 'Berlin' is none"):
        official(QUIZ.model_copy(update={"reference": "Berlin"}))
