from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from weighup.errors import InvalidInput, ModelUnavailable
from weighup.models.metering import Meter
from weighup.models.types import Choice, Prompt, Question, Reply
from weighup.train import perspectives
from weighup.train.labelled import Labelled
from weighup.train.perspectives import digest, make_perspectives, read_perspectives
from weighup.verify.types import Claim


class Speaker:
    """A language model that says something fixed of each claim, and may fail or be stopped at a given call."""

    name, version = "speaker", "1"

    def __init__(self, stop_at: int | None = None, dumb: bool = False) -> None:
        self.asked: list[str] = []
        self.stop_at, self.dumb = stop_at, dumb

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        if self.stop_at is not None and len(self.asked) >= self.stop_at:
            raise KeyboardInterrupt
        self.asked += [q.user for q in questions]
        if self.dumb:
            return [Choice(error=ModelUnavailable("speaker: is out")) for _ in questions]
        return [Choice((0.2, 0.7, 0.1)) for _ in questions]

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        return [Reply("Doctors and registries have looked into vaccines and found no support.") for _ in prompts]


def rows(n: int, file: str = "a.jsonl") -> list[Labelled]:
    texts = [f"Vaccine number {i} harms children in the town of Oldham." for i in range(n)]
    return [Labelled(Claim(text), i % 2, text, None, i + 1, file) for i, text in enumerate(texts)]


def nothing(step: int = 1, *, note: str | None = None) -> None:
    return None


def test_every_claim_is_asked_once_and_found_by_its_text(tmp_path: Path) -> None:
    out, speaker = tmp_path / "p.jsonl.gz", Speaker()
    twice = [*rows(5), *rows(5, "b.jsonl")]
    made = make_perspectives(twice, out, speaker, advance=nothing)
    assert len(speaker.asked) == len(made.said) == 5
    found = read_perspectives(out).of(twice[0].claim.text)
    assert found is not None
    assert found.opinion == (0.2, 0.7, 0.1)
    assert found.explanation is not None
    assert found.explanation.startswith("Doctors")
    assert read_perspectives(out).of("Something else was said.") is None


def test_no_text_of_a_claim_is_kept(tmp_path: Path) -> None:
    make_perspectives(rows(3), tmp_path / "p.jsonl.gz", Speaker(), advance=nothing)
    assert "Oldham" not in gzip.decompress((tmp_path / "p.jsonl.gz").read_bytes()).decode()


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perspectives, "AT_ONCE", 2)
    out = tmp_path / "p.jsonl.gz"
    with pytest.raises(KeyboardInterrupt):
        make_perspectives(rows(7), out, Speaker(stop_at=4), advance=nothing)
    assert len(read_perspectives(out).said) == 4
    with out.open("ab") as file:  # what a kill in the middle of writing leaves
        file.write(gzip.compress(b'{"text": "half", "opin')[:20])
    again = Speaker()
    made = make_perspectives(rows(7), out, again, advance=nothing)
    assert len(again.asked) == 3
    assert set(read_perspectives(out).said) == {digest(row.claim.text) for row in rows(7)} == set(made.said)


def test_another_model_does_not_add_to_it(tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl.gz"
    make_perspectives(rows(2), out, Speaker(), advance=nothing)
    other = Speaker()
    other.version = "2"
    with pytest.raises(InvalidInput, match=r"was made by speaker 1 .* now it would be speaker 2"):
        make_perspectives(rows(4), out, other, advance=nothing)


def test_a_model_that_keeps_failing_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl.gz"
    make_perspectives(rows(3), out, Speaker(), advance=nothing)
    with pytest.raises(ModelUnavailable, match="is out"):
        make_perspectives(rows(60), out, Speaker(dumb=True), advance=nothing)
    assert len(read_perspectives(out).said) == 3


@pytest.mark.parametrize("content", [b"", b"not gzip at all", gzip.compress(b'{"format": 9}\n', mtime=0)])
def test_what_is_no_corpus_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.gz").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"p\.gz: is not a perspective corpus"):
        read_perspectives(tmp_path / "p.gz")


def test_the_file_is_plain_json_lines(tmp_path: Path) -> None:
    make_perspectives(rows(2), tmp_path / "p.jsonl.gz", Speaker(), advance=nothing)
    with gzip.open(tmp_path / "p.jsonl.gz", "rt", encoding="utf-8") as file:
        recipe, *lines = [json.loads(line) for line in file]
    assert recipe["model"] == "speaker 1"
    assert sorted(lines[0]) == ["explanation", "opinion", "text"]
