"""The language model evaluator: what it is taught, that tuning goes on where it was, and that the engine reads the
adapter as torch does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.errors import InvalidInput, WeightsError
from weighup.train.ease import instruct
from weighup.train.ease.fit import Evaluators
from weighup.train.ease.table import Table
from weighup.verify.evaluators import DECIDING, WORDS, LanguageModelEvaluator, messages
from weighup.verify.justify import stands
from weighup.verify.types import KINDS

N = 48
QUOTE = "The dam has held since “1931”, engineers say, and nothing points to a break"


def small_table() -> Table:
    """Claims of two sets, every fourth without evidence, every sixth Chinese."""
    rng = np.random.default_rng(0)
    texts = tuple(
        f"第{i}号大坝于周四崩塌,官员表示正在调查此事。" if i % 6 == 5 else f"Dam {i} broke on Thursday."
        for i in range(N)
    )
    tellings = tuple(
        telling
        for i in range(N)
        for telling in (
            f"Of 2 passages, 1 refutes it. Weighs most (refutes): “{QUOTE} {i}.” (News {i}, 2020-01-02)",
            f"Going by wording and subject alone, claims like this one were fake with probability 0.{i:02d}. "
            f"In the model's words: “Dam {i} is old.”",
            "The tone is plain: no emotive, absolute or appealing wording stands out.",
        )
    )
    has = np.asarray([i % 4 != 0 and i % 6 != 5 for i in range(N)])
    return Table(
        knowledge={kind: rng.normal(size=(N, 4)).astype(np.float32) for kind in KINDS},
        content=np.zeros((N, 2), np.float32),
        vector=rng.normal(size=(N, 8)).astype(np.float32),
        label=np.arange(N) % 3,
        group=np.asarray([f"group {i}" for i in range(N)]),
        source=np.asarray(["a" if i % 2 else "b" for i in range(N)]),
        q=np.where(has, 1.0, 0.0).astype(np.float32),
        r=np.zeros(N, np.float32),
        has=has,
        claim=np.arange(N),
        texts=texts,
        told={kind: np.arange(N) * 3 + place for place, kind in enumerate(KINDS)},
        tellings=tellings,
    )


def small_evaluated(table: Table) -> Evaluators:
    rng = np.random.default_rng(1)
    opinion = {kind: rng.dirichlet([1, 1, 1], N).astype(np.float32) for kind in KINDS}
    opinion["evidence"][~table.has] = [0, 0, 1]
    return Evaluators({}, {}, opinion, {kind: rng.random(N).astype(np.float32) for kind in KINDS}, {})


@pytest.fixture(scope="module")
def table() -> Table:
    return small_table()


@pytest.fixture(scope="module")
def evaluated(table: Table) -> Evaluators:
    return small_evaluated(table)


def test_nothing_is_taught_of_claims_held_out(table: Table, evaluated: Evaluators) -> None:
    held = instruct.is_held(table.group)
    assert 0.1 < held.mean() < 0.5
    kept_back = {table.texts[i] for i in np.flatnonzero(held)}
    taught = instruct.examples_of(table, evaluated, 1000, 0)
    assert taught
    assert not any(text in one.asked[1]["content"] for text in kept_back for one in taught if len(text) > 0)
    for rows in instruct.held_rows(table, 1000, 0).values():
        assert held[rows].all()


def test_examples_are_balanced_and_the_same_each_time(table: Table, evaluated: Evaluators) -> None:
    taught = instruct.examples_of(table, evaluated, 12, 3)
    assert taught == instruct.examples_of(table, evaluated, 12, 3)
    assert {(one.kind, one.source, one.right) for one in taught} == {
        (kind, source, right) for kind in KINDS for source in "ab" for right in (False, True)
    }
    assert {one.justification is None for one in taught} == {False, True}


def test_only_what_the_base_model_reads_is_taught(table: Table, evaluated: Evaluators) -> None:
    taught = instruct.examples_of(table, evaluated, 1000, 0)
    assert not any("大坝" in one.asked[1]["content"] for one in taught)
    assert not any(one.kind == "evidence" and "Dam 4 " in one.asked[1]["content"] for one in taught)


@pytest.mark.parametrize(
    ("kind", "quoted"),
    [
        (
            "evidence",
            "it rests on “The dam has held since ‘1931’, engineers say, and nothing points to a break 1.”, wh",
        ),
        ("reasoning", "it rests on “Dam 1 is old.”"),
        ("sentiment", "it rests on “The tone is plain: no emotive, absolute or appealing wording stands out.”"),
    ],
)
def test_justifications_quote_what_was_read(table: Table, evaluated: Evaluators, kind: Any, quoted: str) -> None:
    cases = instruct.cases_of(table, evaluated)
    said = instruct.grounds(kind, cases, 1)
    assert said.startswith(quoted)
    assert stands(said, cases.tellings[kind][1])
    assert "reliable" not in said
    flipped = dataclasses.replace(table, label=(table.label + 1) % 3)
    assert instruct.grounds(kind, instruct.cases_of(flipped, evaluated), 1) == said


def test_a_telling_that_is_cut_off_is_still_quoted(table: Table, evaluated: Evaluators) -> None:
    long = dataclasses.replace(table, tellings=tuple(t.replace(QUOTE, QUOTE * 9) for t in table.tellings))
    cases = instruct.cases_of(long, evaluated)
    said = instruct.grounds("evidence", cases, 1)
    assert said.startswith("it rests on “The dam has held since ‘1931’")
    assert stands(said, cases.tellings["evidence"][1])


def test_one_class_is_refused(table: Table, evaluated: Evaluators) -> None:
    sure = {kind: np.eye(3, dtype=np.float32)[table.label] for kind in KINDS}
    with pytest.raises(InvalidInput, match="wrong to learn from"):
        instruct.examples_of(table, dataclasses.replace(evaluated, opinion=sure), 10, 0)


def test_calibration_never_turns_the_order_around() -> None:
    pytest.importorskip("sklearn")
    odds = np.linspace(-3, 3, 40).astype(np.float32)
    slope, shift = instruct.platt(odds, (odds > 1).astype(np.int64))
    assert slope > 1
    assert shift < 0
    assert instruct.platt(odds, (odds < 1).astype(np.int64))[0] == 0
    assert instruct.platt(odds, np.ones(40, np.int64)) == (1.0, 0.0)


def test_measured_beside_the_heads_by_kind_set_and_q(table: Table, evaluated: Evaluators) -> None:
    pytest.importorskip("sklearn")
    held = instruct.held_rows(table, 100, 0)
    odds = {kind: np.random.default_rng(2).normal(size=len(rows)).astype(np.float32) for kind, rows in held.items()}
    calibration, report = instruct.measure(table, evaluated, held, odds)
    assert set(calibration) == set(KINDS)
    for told in report.values():
        for kind in KINDS:
            assert told[kind]["all"]["rows"] == len(held[kind])
            assert set(told[kind]["by_set"]) <= {"a", "b"}
            assert told[kind]["by_q"]


@pytest.fixture(scope="module")
def recipe() -> Any:
    for needed in ("torch", "transformers", "peft", "gguf"):
        pytest.importorskip(needed)
    from weighup.train.ease.adapter import ATTENTION, FEED_FORWARD, Recipe

    return Recipe(rank=2, modules=(*ATTENTION, *FEED_FORWARD), lr=2e-3, batch=2, warm_up=1)


@pytest.fixture(scope="module")
def tuned(recipe: Any, models_ready: Path) -> Any:
    import torch

    from weighup.models.catalogue import require
    from weighup.train.ease.adapter import Tuned

    torch.set_num_threads(1)
    return Tuned(require("smollm2"), recipe)


def fresh(tuned: Any) -> None:
    """The adapter as it was at first."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in tuned.network.named_parameters():
            if p.requires_grad:
                p.copy_(torch.randn(p.shape, generator=generator) * 0.02 if "lora_A" in name else p * 0)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_tuning_goes_on_where_it_was_stopped(tuned: Any, table: Table, evaluated: Evaluators, tmp_path: Path) -> None:
    chosen = instruct.examples_of(table, evaluated, 4, 0)
    lessons = [tuned.lesson(one.opening, one.before, one.deciding) for one in chosen]
    for one, lesson in zip(chosen, lessons, strict=True):
        answer = tuned.tokenizer.decode(lesson.ids[lesson.start :])
        assert answer == f"{one.before}{one.deciding}<|im_end|>"
        assert lesson.ids[lesson.deciding] == tuned.first(one.deciding)
    assert tuned.first(WORDS[0]) != tuned.first(WORDS[1])

    def quiet(step: int = 1, *, note: str | None = None) -> None:
        return None

    def stopped(step: int = 1, *, note: str | None = None) -> None:
        if note and "loss" in note:
            raise KeyboardInterrupt

    fresh(tuned)
    before = tuned.log_odds([lesson.ids[: lesson.deciding] for lesson in lessons], WORDS)
    whole = tuned.fit(lessons, state=None, advance=quiet)
    at_once = tuned.log_odds([lesson.ids[: lesson.deciding] for lesson in lessons], WORDS)
    assert not np.allclose(before, at_once, atol=0.01)
    fresh(tuned)
    state = tmp_path / ".ease" / instruct.STATE
    with pytest.raises(KeyboardInterrupt):
        tuned.fit(lessons, state=state, advance=stopped)
    assert state.is_file()
    fresh(tuned)
    resumed = tuned.fit(lessons, state=state, advance=quiet)
    assert resumed.steps == whole.steps == 2
    assert resumed.loss == pytest.approx(whole.loss, rel=1e-3)
    in_two = tuned.log_odds([lesson.ids[: lesson.deciding] for lesson in lessons], WORDS)
    np.testing.assert_allclose(in_two, at_once, atol=1e-2)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_the_engine_says_with_the_adapter_what_torch_says(
    tuned: Any, recipe: Any, table: Table, evaluated: Evaluators, tmp_path: Path
) -> None:
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in tuned.network.parameters():
            if p.requires_grad:
                p.copy_(torch.randn(p.shape, generator=generator) * 0.05)
    cases = instruct.cases_of(table, evaluated)
    held = {kind: rows[:2] for kind, rows in instruct.held_rows(table, 2, 0).items()}
    decide = {"role": "assistant", "content": DECIDING}
    prompts = {kind: [tuned.prompt([*messages(kind, cases, int(i)), decide]) for i in at] for kind, at in held.items()}
    odds = {kind: tuned.log_odds(own, WORDS) for kind, own in prompts.items()}
    with tuned.adapted.disable_adapter():
        bare = {kind: tuned.log_odds(own, WORDS) for kind, own in prompts.items()}
    changed = np.mean([abs(odds[kind] - bare[kind]).mean() for kind in KINDS])
    card = {"format": 1, "base": {}, "calibration": {kind: [1.0, 0.0] for kind in KINDS}}
    from weighup.models.catalogue import asset
    from weighup.verify.evaluators import PROMPT_VERSION

    card |= {"base": {"sha256": asset("smollm2").sha256}, "prompt": {"version": PROMPT_VERSION}}
    instruct._write(tuned, card, tmp_path, cases, held, odds)
    found = json.loads((tmp_path / "evaluator.json").read_text(encoding="utf-8"))
    assert found["engine_against_torch"]["most"] < 0.15
    engine = LanguageModelEvaluator.load(tmp_path, threads=1)
    apart = [
        abs(engine.log_odds(kind, instruct.one_case(cases, int(rows[0])))[0] - odds[kind][0])
        for kind, rows in held.items()
    ]
    assert np.mean(apart) < 0.25 * changed
    card["prompt"] = {"version": "0-other"}
    with pytest.raises(WeightsError, match="prompt"):
        instruct._write(tuned, card, tmp_path, cases, held, odds)
    assert json.loads((tmp_path / "evaluator.json").read_text(encoding="utf-8")) == found


def test_rows_of_queries_and_keys_are_put_as_llama_cpp_keeps_them(recipe: Any) -> None:
    from weighup.train.ease.adapter import permuted

    rows = np.arange(8, dtype=np.float32)[:, None]
    assert permuted(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
