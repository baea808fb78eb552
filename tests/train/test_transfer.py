"""Transfer: each set is judged by what was fitted on the others, and by nothing that has seen it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighup import load_settings
from weighup.cli.main import app
from weighup.errors import InvalidInput, WeighupError
from weighup.models.metering import Meter
from weighup.train.ease.heads import Shape
from weighup.train.evaluate import Plan, evaluate, measuring, require_measurable, work
from weighup.train.findings import findings
from weighup.train.labelled import Labelled
from weighup.train.measured import MeasuredSet, read_sets
from weighup.train.rendering import as_markdown, tables
from weighup.train.results import Evaluation
from weighup.train.transfer import QS, RS, Judging, Refit, Refitted, others, refitting, weighing
from weighup.verify.decision import Decision, Judged
from weighup.verify.types import KINDS, Claim, Kind

LINES = itertools.count(1)


def row(text: str, label: int, split: str = "test", file: str = "f") -> Labelled:
    return Labelled(Claim(text), label, text, split, next(LINES), file)


def made(name: str, n: int = 6, **more: Any) -> MeasuredSet:
    def rows(split: str) -> list[Labelled]:
        return [row(f"{name} {split} claim {i}", i % 2, split, f"{name}/{split}") for i in range(n)]

    return MeasuredSet(name, rows("test"), **{"valid": rows("valid"), "train": rows("train"), **more})


class Parrot:
    """Says of each claim it was fitted on what its label is, and one half of every other: a real fit, and an easy one
    to catch out."""

    def __init__(self, rows: Sequence[Labelled] = (), version: str = "given") -> None:
        self.run_meter = Meter()
        self.known = {r.claim.text: float(r.label) for r in rows}
        self.version = version

    def versions(self) -> dict[str, str]:
        return {"ease": self.version, "stance": "1"}

    def judge(self, claims: Sequence[Claim]) -> list[Judged | None]:
        return [self._of(claim) for claim in claims]

    def _of(self, claim: Claim) -> Judged:
        p = min(max(self.known.get(claim.text, 0.6), 0.1), 0.9)
        each: dict[Kind, float] = dict.fromkeys(KINDS, p)
        opinions: dict[Kind, tuple[float, float, float]] = dict.fromkeys(KINDS, (1 - p, p, 0.0))
        here: dict[Kind, bool] = {"evidence": False, "reasoning": True, "sentiment": True}
        return Judged(
            available=here,
            opinions=opinions,
            reliability=dict.fromkeys(KINDS, 0.5),
            content=p,
            fake=each,
            raw=each,
            chosen="reasoning",
            decided=Decision("reasoning", p, (p - 0.05, p + 0.05), False),
            justifications=dict.fromkeys(KINDS),
        )


def learned(seen: list[list[str]]) -> Refit:
    def fit(sets: Sequence[MeasuredSet]) -> Judging:
        seen.append([one.name for one in sets])
        assert not any(one.rows for one in sets)
        return Parrot([r for one in sets for r in (*one.train, *one.valid)], "anew")

    return Refit("everything", fit)


ONE = (Shape(0, 0.01),)
PLAN = Plan("transfer", seeds=(0,), qs=QS, rs=RS, resamples=5)


def test_each_set_is_judged_by_what_the_others_taught() -> None:
    seen: list[list[str]] = []
    found = evaluate(Parrot(), [made("a"), made("b"), made("c")], PLAN, refit=learned(seen))
    assert seen == [["b", "c"], ["a", "c"], ["a", "b"]]
    assert [info.fitted_on for info in found.sets] == [24, 24, 24]
    assert found.refitted == "everything"
    assert found.models == {"ease": "fitted anew", "stance": "1"}
    for name in "abc":
        cells = [cell for cell in found.cells if cell.set == name]
        assert [(cell.q, cell.r) for cell in cells] == [(None, None), (1.0, 0.0), (0.25, 0.0)]
        # Nobody taught it this set: all is called fake, half of it wrongly.
        assert cells[0].systems["ease"].macro_f1.value == pytest.approx(1 / 3)
    assert [held.set for held in found.holds] == ["a", "b", "c"]
    assert all("calibration error at most 0.1," in held.demand for held in found.holds)
    assert "on the valid rows of the others" in found.gate.told


def test_a_measured_text_is_not_learned_from_under_another_name() -> None:
    a, b = made("a"), made("b")
    stolen = replace(a.rows[0], claim=Claim(a.rows[0].claim.text.upper() + "!"), split="train", file="b/train")
    b.train.append(stolen)
    rest, tied = others([a, b], a)
    assert tied == 1
    assert stolen not in rest[0].train
    assert stolen in b.train
    found = evaluate(Parrot(), [a, b], PLAN, refit=learned([]))
    assert [info.fitted_on for info in found.sets] == [12, 12]
    assert any("1 rows of other sets are tied to a measured row of a" in note for note in found.notes)


def test_a_set_without_rows_to_fit_on_is_measured_all_the_same() -> None:
    alone = made("alone", valid=[], train=[])
    found = evaluate(Parrot(), [made("a"), made("b"), alone], PLAN, refit=learned(seen := []))
    assert seen == [["b"], ["a"], ["a", "b"]]
    assert [info.fitted_on for info in found.sets] == [12, 12, 24]


def test_what_cannot_be_done_is_said_first() -> None:
    with pytest.raises(InvalidInput, match="two sets or more"):
        require_measurable([made("a")], PLAN)
    with pytest.raises(InvalidInput, match="without a there are no train or valid rows"):
        require_measurable([made("a"), made("b", valid=[], train=[])], PLAN)
    with pytest.raises(InvalidInput, match="was not given"):
        evaluate(Parrot(), [made("a"), made("b")], PLAN)


def test_progress_is_told_for_all_the_work() -> None:
    steps: list[int] = []
    sets = [made("a"), made("b"), made("c")]
    evaluate(Parrot(), sets, PLAN, refit=learned([]), advance=lambda step=1, *, note=None: steps.append(step))
    assert sum(steps) == work(sets, PLAN) == 3 * 6 * 2 + 3 * 2 * 6 * 2


def test_tables_show_what_it_was_fitted_on() -> None:
    found = evaluate(Parrot(), [made("a"), made("b")], PLAN, refit=learned([]))
    sets = next(tables(found))
    assert sets.columns[-1] == "fitted on"
    assert [line[-1] for line in sets.rows] == [12, 12]
    assert "Fitted anew for each set: everything." in as_markdown(found)
    assert any("*means over sets*" in told for told in findings(found))
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


# --- with the shipped weights ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sets(tests_data: Path) -> list[MeasuredSet]:
    names = ("check_covid", "climate_fever", "covid_fact")
    files = [tests_data / "news" / name / f"{split}.jsonl.gz" for name in names for split in ("test", "valid")]
    return read_sets(files, limit=44, drop_leaks=True)


@pytest.mark.usefixtures("models_ready")
def test_heads_are_fitted_anew_and_the_set_left_out_does_not_sway_them(sets: list[MeasuredSet]) -> None:
    pytest.importorskip("sklearn", reason="fitting heads needs scikit-learn")
    left_out, claims = sets[0], [r.claim for r in sets[0].rows]
    turned = [replace(r, label=1 - r.label) if r.label < 2 else r for r in left_out.valid]
    steps: list[int] = []

    def advance(step: int = 1, *, note: str | None = None) -> None:
        steps.append(step)

    with measuring(load_settings()) as verifier:
        fitted = [
            refitting(verifier, some, risk=0.2, shapes=ONE, advance=advance).fit(others(some, some[0])[0])
            for some in (sets, [replace(left_out, valid=turned), *sets[1:]])
        ]
        assert sum(steps) == 2 * weighing(sets)
        own, swayed = (judging.judge(claims) for judging in fitted)
        shipped = verifier.judge(claims)
    assert own == swayed
    assert [one is None for one in own] == [one is None for one in shipped]
    pairs = [(a, b) for a, b in zip(own, shipped, strict=True) if a and b]
    # What was gathered is the same; what the heads say of it is not.
    assert all(a.content == b.content for a, b in pairs)
    assert all(a.raw["reasoning"] != b.raw["reasoning"] for a, b in pairs)
    judging = fitted[0]
    assert isinstance(judging, Refitted)
    assert judging.ease.risk == 0.2
    assert judging.versions()["ease"] == judging.versions()["calibration"] == "fitted anew"
    assert judging.run_meter is verifier.run_meter


def rows(path: Path, name: str, n: int = 40, evidence: bool = False) -> Path:
    def line(i: int) -> dict[str, Any]:
        claim = {"text": f"In {1900 + i} the {name} was closed.", "label": ("real", "fake")[i % 2]}
        return claim | ({"evidence": [{"text": f"The {name} was closed in {1905 + i}."}]} if evidence else {})

    lines = [line(i) for i in range(n)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def asked(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """The command on two sets, with one shape tried for each head."""
    pytest.importorskip("sklearn", reason="fitting heads needs scikit-learn")
    monkeypatch.setattr("weighup.train.transfer.SHAPES", ONE)

    def arguments(evidence: bool) -> list[str]:
        files = []
        for name in ("mine", "yours"):
            for split in ("test", "valid"):
                files += [
                    "-d",
                    str(rows(clean_environment / name / f"{split}.jsonl", f"{name} {split}", evidence=evidence)),
                ]
        return ["evaluate", "--protocol", "transfer", "--resamples", "5", "--quiet", *files]

    return arguments


@pytest.mark.usefixtures("models_ready")
def test_the_command_says_what_was_fitted(asked: Callable[[bool], list[str]], tmp_path: Path) -> None:
    given = asked(True)
    out = tmp_path / "result.json"
    done = CliRunner().invoke(app, [*given, "--ablate", "all", "--risk", "0.3", "--seeds", "0", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "fitted anew for each set: opinions, evaluators" in done.stdout
    assert "most confident expert" in done.stdout
    found = Evaluation.model_validate_json(out.read_bytes())
    assert (found.q, found.r, found.risk) == (list(QS), list(RS), 0.3)
    assert found.sets[0].fitted_on == 40
    assert {"risk", "expected"} == {held.demand.split()[0] for held in found.holds}


@pytest.mark.usefixtures("models_ready")
def test_without_evidence_to_fit_on_it_says_so(asked: Callable[[bool], list[str]]) -> None:
    done = CliRunner().invoke(app, asked(False))
    assert isinstance(done.exception, InvalidInput)
    assert "no row of yours has evidence to fit on" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "transfer"], "two sets or more"),
        (["--ablate", "all,nothing"], "--ablate 'all'"),
        (["--ablate", "nothing"], "ablations are no-evaluators"),
        (["--risk", "2"], "a share between 0 and 1"),
    ],
)
def test_bad_usage_is_said_before_any_work(clean_environment: Path, arguments: list[str], message: str) -> None:
    data = rows(clean_environment / "mine.jsonl", "tower")
    done = CliRunner().invoke(app, ["evaluate", "-d", str(data), *arguments, "--quiet"])
    assert isinstance(done.exception, WeighupError)
    assert message in str(done.exception)
