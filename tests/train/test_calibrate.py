"""Fitting the calibration: what was bent is straightened, risks are kept on other claims, files are whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from weighup.errors import InvalidInput, JobFailed
from weighup.metrics import ece
from weighup.train.calibrate import (
    RISKS,
    Fitted,
    _apart,
    fit_calibration,
    one_a_claim,
    reliability_plot,
    write_calibration,
)
from weighup.train.held import Held
from weighup.verify import weights
from weighup.verify.calibrated import Bounded, Calibration, Temperature
from weighup.verify.ease import Ease
from weighup.verify.types import KINDS

HEADS = weights.SHIPPED / "ease.npz"


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def world(n: int = 6000, *, unknown: float = 0.04, rows_each: int = 2, seed: int = 0) -> Held:
    """Evidence is overconfident by a factor of 3 in log-odds, reasoning bent so that no temperature mends it, sentiment
    knows nothing; each claim has `rows_each` rows of one group."""
    rng = np.random.default_rng(seed)
    claims = n // rows_each
    truth = rng.normal(0, 2, claims)
    labels = (rng.random(claims) < sigmoid(truth)).astype(np.int64)
    labels[rng.random(claims) < unknown] = 2
    place = np.repeat(np.arange(claims), rows_each)
    z = truth[place]
    fake = np.stack([sigmoid(3 * z), sigmoid(np.where(z > 0, 0.2 * z + 2, 4 * z)), np.full(len(z), 0.7)], 1)
    chosen = rng.choice(3, len(z), p=[0.6, 0.35, 0.05])
    return Held(fake, labels[place], chosen, groups=place // 2, claims=place)


@pytest.fixture(scope="module")
def held() -> Held:
    return world()


@pytest.fixture(scope="module")
def fitted(held: Held) -> Fitted:
    return fit_calibration(held, halves=3)


def test_each_expert_gets_the_map_that_mends_it(held: Held, fitted: Fitted) -> None:
    temperature = fitted.maps["evidence"]
    assert isinstance(temperature, Temperature)
    assert temperature.value == pytest.approx(3, rel=0.15)
    assert isinstance(fitted.maps["reasoning"], Bounded)
    fresh = world(seed=9, unknown=0.0)
    for place, kind in enumerate(KINDS[:2]):
        before, after = fresh.fake[:, place], fitted.maps[kind](fresh.fake[:, place])
        assert ece(fresh.labels, after) < 0.04 < ece(fresh.labels, before)
    told = fitted.report["maps"]["evidence"]
    assert told["map"] == "temperature"
    assert told["ece"]["after"] < 0.04 < told["ece"]["before"]
    assert told["log_loss"]["temperature"] < told["log_loss"]["none"]
    assert fitted.report["ece_of_the_selected"]["after"] < fitted.report["ece_of_the_selected"]["before"]


def test_maps_rise(fitted: Fitted) -> None:
    p = np.linspace(0, 1, 1001)
    for calibrate in fitted.maps.values():
        found = calibrate(p)
        assert (np.diff(found) >= 0).all()
        assert 0 <= found.min() <= found.max() <= 1


def test_what_needs_no_map_gets_none(held: Held) -> None:
    z = np.log(held.fake[:, 0] / (1 - held.fake[:, 0])) / 3
    honest = replace(held, fake=np.stack([sigmoid(z)] * 3, 1))
    p = np.linspace(0.05, 0.95, 9)
    for kind, calibrate in list(fit_calibration(honest, halves=0).maps.items())[:2]:
        np.testing.assert_allclose(calibrate(p), p, atol=0.04, err_msg=kind)


def test_an_expert_that_decided_little_is_fitted_on_all_rows(held: Held, fitted: Fitted) -> None:
    assert "all rows" not in fitted.report["maps"]["evidence"]["fitted_on"]
    few = replace(held, chosen=np.where(held.chosen == 2, 0, held.chosen))
    assert few.rows(2).sum() == (held.labels < 2).sum()
    assert "all rows" in fit_calibration(few, halves=0).report["maps"]["sentiment"]["fitted_on"]


def test_the_sample_has_one_row_of_each_claim_and_unknown_claims_count_as_wrong(held: Held, fitted: Fitted) -> None:
    assert len(fitted.confidence) == 3000 == fitted.report["sample"] == fitted.report["claims"]
    assert len(fit_calibration(replace(held, claims=None), halves=0).confidence) == 6000
    nothing_known = replace(held, labels=np.where(np.arange(6000) < 400, held.labels, 2))
    assert fit_calibration(nothing_known, halves=0).wrong.mean() > 0.9


@pytest.mark.parametrize("rows_each", [1, 3])
def test_asked_risks_are_kept_on_claims_that_took_no_part(rows_each: int) -> None:
    """Over 10 worlds: E[risk of a threshold] ≤ risk, within three standard errors of the mean."""
    realised: dict[float, list[tuple[float, float]]] = {risk: [] for risk in (0.15, 0.25)}
    for seed in range(10):
        drawn = world(2000 * rows_each, rows_each=rows_each, seed=100 + seed)
        made = fit_calibration(drawn, seed=seed, halves=0)
        calibration = replace(made, apart=seed % 2 == 1).calibration(0.3, "")
        fresh = world(8000, rows_each=1, seed=500 + seed)
        fake = np.stack([calibration(kind, fresh.fake[:, i]) for i, kind in enumerate(KINDS)], 1)
        p = fresh.selected(fake)
        for risk, found in realised.items():
            floor = calibration.thresholds(risk)
            called = np.maximum(p, 1 - p) >= np.asarray([floor[kind] for kind in KINDS])[fresh.chosen]
            found.append((float(fresh.wrong(fake)[called].mean()) if called.any() else 0.0, float(called.mean())))
    for risk, found in realised.items():
        risks, coverage = np.transpose(found)
        assert risks.mean() <= risk + 3 * risks.std() / len(risks) ** 0.5
        if risk == 0.25:
            assert coverage.mean() > 0.5  # not kept by calling nothing


def test_measured_risks_are_on_the_card_for_both_ways(fitted: Fitted) -> None:
    measured = fitted.report["risk_on_held_out_halves"]
    assert set(measured) == {f"{risk:g}" for risk in RISKS}
    for risk in RISKS:
        for way in ("one", "each"):
            assert measured[f"{risk:g}"][way]["risk"] <= risk + 0.03
    called = [measured[f"{risk:g}"]["one"]["called"] for risk in RISKS]
    assert called == sorted(called)


def test_the_way_that_calls_more_is_taken_unless_it_broke_the_risk() -> None:
    def way(risk: float, called: float) -> dict[str, float]:
        return {"risk": risk, "called": called}

    assert _apart({"0.1": {"one": way(0.08, 0.3), "each": way(0.09, 0.4)}})
    assert not _apart({"0.1": {"one": way(0.08, 0.3), "each": way(0.11, 0.4)}})
    assert not _apart({"0.1": {"one": way(0.08, 0.3), "each": way(0.09, 0.2)}})
    assert not _apart({})


def test_a_claim_counts_once_for_the_maps_however_many_rows_it_has(held: Held) -> None:
    # A fifth of the claims, whose evidence is wrong more often than right, have five rows for each of the others' one.
    few = held.claims < 600
    contrary = replace(held, fake=np.where(few[:, None], 1 - held.fake, held.fake))
    rows = np.concatenate([np.flatnonzero(~few), np.tile(np.flatnonzero(few), 5)])
    many = Held(*(of[rows] for of in (contrary.fake, held.labels, held.chosen, held.groups, held.claims)))
    alike, once = (fit_calibration(one, halves=0).maps["evidence"](0.9) for one in (contrary, many))
    assert once == pytest.approx(alike, abs=0.05)
    each = replace(many, claims=np.arange(len(rows)))
    assert fit_calibration(each, halves=0).maps["evidence"](0.9) < once - 0.05


def test_the_same_seed_gives_the_same(held: Held, fitted: Fitted) -> None:
    again = fit_calibration(held, halves=3)
    assert (again.confidence == fitted.confidence).all()
    assert again.report == fitted.report


# --- files ------------------------------------------------------------------------------------------------------------


def test_what_is_written_is_what_is_read(fitted: Fitted, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    card = write_calibration(fitted, out, HEADS, risk=0.2, config={"command": "a test"})
    assert sorted(path.name for path in out.iterdir()) == ["calibration.json", "calibration.npz"]
    assert json.loads((out / "calibration.json").read_text()) == card
    assert card["sha256"]["ease.npz"] == weights.card("ease", None)["sha256"]["ease.npz"]
    found = Calibration.load(out)
    assert found is not None
    assert (found.confidence == fitted.confidence).all()
    assert (found.wrong == fitted.wrong).all()
    assert (found.kind == fitted.kind).all()
    p = np.linspace(0, 1, 99)
    for kind in KINDS:
        np.testing.assert_allclose(found(kind, p), fitted.maps[kind](p), atol=1e-6)
    assert Ease.load(out).risk == 0.2
    assert card["threshold"]["0.2"] == pytest.approx(found.thresholds(0.2), abs=1e-4)
    assert card["apart"] == found.apart == fitted.apart
    assert (out / "calibration.npz").stat().st_size < 100_000


def test_a_write_that_fails_leaves_what_was_there(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_calibration(fitted, tmp_path, HEADS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(JobFailed, match="No space left on device; nothing was written"):
        write_calibration(fitted, tmp_path, HEADS, risk=0.1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_absent_heads_and_folders_that_are_files_are_named(fitted: Fitted, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"absent\.npz: No such file"):
        write_calibration(fitted, tmp_path / "out", tmp_path / "absent.npz")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(JobFailed, match="file"):
        write_calibration(fitted, tmp_path / "file", HEADS)
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        write_calibration(fitted, tmp_path / "out", HEADS, risk=1.0)


def test_no_threshold_is_written_as_null(tmp_path: Path) -> None:
    hopeless = world(400, unknown=0.8)
    card = write_calibration(fit_calibration(hopeless, halves=2), tmp_path, HEADS)
    assert set(card["threshold"]["0.05"].values()) == {None}
    assert "Infinity" not in (tmp_path / "calibration.json").read_text()


# --- the door ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fake": np.full((6000, 2), 0.5)}, "P\\(fake\\) has shape"),
        ({"groups": np.arange(5)}, "groups 5"),
        ({"fake": np.full((6000, 3), 1.5)}, "must lie in \\[0, 1\\]"),
        ({"fake": np.full((6000, 3), np.nan)}, "must lie in \\[0, 1\\]"),
        ({"labels": np.full(6000, 3)}, "labels must be whole numbers from 0 to 2"),
        ({"chosen": np.full(6000, -1)}, "chosen must be whole numbers from 0 to 2"),
        ({"labels": np.ones(6000, int)}, "at least 20 real rows, there are 0"),
        ({"groups": np.zeros(6000)}, "at least 20 claim groups, there are 1"),
        ({"claims": np.ones(3)}, "a claim is needed for each of 6000 rows, there are 3"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(held: Held, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        replace(held, **change)


def test_rows_are_taken_from_what_the_pipeline_said_before_calibration() -> None:
    judged: list[Any] = [
        SimpleNamespace(raw={"evidence": 0.1, "reasoning": 0.2, "sentiment": 0.3}, chosen="reasoning", fake=None)
    ] * 60
    found = Held.of(judged, [0, 1, 2] * 20, [f"g{i}" for i in range(60)])
    assert found.fake[0].tolist() == [0.1, 0.2, 0.3]
    assert found.selected(found.fake)[0] == 0.2


def test_a_diagram_shows_every_expert_before_and_after(held: Held, fitted: Fitted) -> None:
    root = ElementTree.fromstring(reliability_plot(held, fitted))
    shown = "".join(root.itertext())
    for name in ("before", "calibrated", *(f"{kind} expert" for kind in KINDS), "whichever was selected"):
        assert name in shown


def test_a_large_set_counts_for_no_more_claims_than_the_middle_one(held: Held) -> None:
    n = len(held.labels)
    sources = np.asarray(["large"] * (n - 80) + ["middle"] * 50 + ["small"] * 30)
    own = replace(held, claims=np.arange(n), sources=sources)
    sample = one_a_claim(own, 0)
    assert dict(zip(*np.unique(sources[sample], return_counts=True), strict=True)) == {
        "large": 50,
        "middle": 50,
        "small": 30,
    }
    assert own.share[sources == "large"].sum() == pytest.approx(50)
    assert own.taken(sources != "large").share.sum() == pytest.approx(80)
