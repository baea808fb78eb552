"""Judges as YAML: written and read the same, made as written, and what is misspelt is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripted_model import Scripted

from weighup.errors import InvalidInput
from weighup.judge import pipeline
from weighup.judge.panel import Panel, described
from weighup.judge.pipeline import KINDS, Parts, Spec, parse, read_pipeline, register, write_pipeline
from weighup.judge.types import Item, Judge, Judgement
from weighup.models.metering import Meter

pytest.importorskip("yaml")

EVERYTHING = """
# Three judges, one with the last word.
kind: panel
name: court
judges:
  - {kind: llm, model: "openai:small", prompt: pair, temperature: 0.5, ties: false}
  - kind: balanced
    how: mean
    judge: {kind: simulated, seed: 3, noise: 0.5}
  - {kind: samples, samples: 2, judge: {kind: recorded, path: said.jsonl}, name: twice}
  - {kind: metric, metric: length}
  - {kind: human, path: queue.db, votes: 2}
weights: {twice: 2.0}
last: {kind: llm, name: last}
"""


def read(folder: Path, text: str) -> pipeline.Pipeline:
    path = folder / "judge.yaml"
    path.write_text(text)
    return read_pipeline(path)


def test_every_kind_is_made_as_written(tmp_path: Path) -> None:
    said = Judgement(item_id="a", judge="old", winner="1")
    (tmp_path / "said.jsonl").write_text(f"{said.line()}\n")
    asked: list[str | None] = []
    meter = Meter()

    def models(name: str | None) -> Scripted:
        asked.append(name)
        return Scripted(lambda p: {"reasons": "", "verdict": "1"})

    judge = read(tmp_path, EVERYTHING).make(models=models, meter=meter)
    assert isinstance(judge, Panel)
    assert asked == ["openai:small", None]
    assert [one.name for one in judge.judges] == [
        "human",
        "scripted/pair",
        "simulated/balanced",
        "twice",
        "metric/length",
    ]
    assert (tmp_path / "queue.db").is_file()
    told = described(judge)
    assert told["weights"]["twice"] == 2.0  # type: ignore[index, call-overload]
    assert told["how"]["name"] == "last"  # type: ignore[index, call-overload]
    item = Item.pair("a", "q", "x", "y", meta={"quality": [1, 2]})
    assert judge.judge([item])[0].status == "waiting"


def test_written_and_read_back_it_is_the_same(tmp_path: Path) -> None:
    first = read(tmp_path, EVERYTHING)
    write_pipeline(first.spec, tmp_path / "again.yaml")
    again = read_pipeline(tmp_path / "again.yaml")
    assert again.spec == first.spec
    assert again.hash == first.hash
    assert "temperature: 0.5" in (tmp_path / "again.yaml").read_text()
    assert "seed: 0" not in (tmp_path / "again.yaml").read_text()


def test_the_hash_is_of_what_is_said_not_how(tmp_path: Path) -> None:
    one = read(tmp_path, "kind: simulated\nseed: 1")
    assert read(tmp_path, "# so\nseed: 1\nkind: simulated\nnoise: 0.0\n").hash == one.hash
    assert read(tmp_path, "kind: simulated\nseed: 2").hash != one.hash


def test_a_prompt_file_is_looked_for_beside_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('version = "1"\nform = "pair"\nuser = "$question $first $second"')
    judge = read(tmp_path, "{kind: llm, prompt: mine.toml}").make(models=lambda name: Scripted())
    assert judge.name == "scripted/mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: llm\npromt: pair", r"judge.yaml: judge kind llm: promt: there is no such key; known are kind, model"),
        ("kind: oracle", "judge kind 'oracle': is not known; known are balanced, human, llm"),
        ("kind: ../../etc", "is not known"),
        ("kind: types", "judge kind 'types': is not known"),
        ("judges: []", "`kind` among them"),
        ("- kind: llm", "`kind` among them"),
        ("", "`kind` among them"),
        ("kind: panel\njudges: []", "judges: .* at least 1"),
        ("kind: panel\njudges: [{kind: llm, foo: 1}]", "judges.0: judge kind llm: foo: there is no such key"),
        ("kind: panel\nhow: loud\njudges: [{kind: llm}]", "how: "),
        ("kind: panel\nhow: vote\nlast: {kind: llm}\njudges: [{kind: llm}]", "not by both"),
        ("kind: llm\ntemperature: hot", "temperature: "),
        ("kind: llm\ntemperature: .nan", "temperature: "),
        ("kind: [", "is not YAML"),
        ("kind: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("a: &a [x, x]\nb: *a", "YAML aliases"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        read(tmp_path, text)
    assert "judge.yaml" in str(caught.value)


def test_files_that_are_not_pipelines(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_pipeline(tmp_path / "none.yaml")
    with pytest.raises(InvalidInput, match="is larger than any pipeline"):
        read(tmp_path, "x" * (pipeline.MAX_BYTES + 1))
    deep: dict[str, Any] = {"kind": "simulated", "seed": 1}
    for _ in range(30):
        deep = {"kind": "balanced", "judge": deep}
    with pytest.raises(InvalidInput, match="deeper than"):
        parse(deep)


def test_a_method_adds_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "KINDS", dict(KINDS))

    @register("first_always")
    class First(Spec):
        of: str

        def make(self, parts: Parts) -> Judge:
            return parse({"kind": "simulated", "seed": 1, "name": self.of}).make(parts)

    assert parse({"kind": "first_always", "of": "me"}).make(Parts()).name == "me"
    with pytest.raises(InvalidInput, match="it is taken"):
        register("llm")(First)
    with pytest.raises(InvalidInput, match="not a lower-case name"):
        register("Not A Name")(First)


def test_without_a_model_in_the_settings(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHUP_MODELS__LANGUAGE", "none")
    pipeline._from_settings.cache_clear()
    with pytest.raises(InvalidInput, match="name no language model"):
        parse({"kind": "llm"}).make(Parts())
