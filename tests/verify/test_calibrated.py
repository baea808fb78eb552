"""Calibration at run time: maps that rise, a threshold that keeps a risk, and files that are refused."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup import Verifier, load_settings
from weighup.errors import InvalidInput, WeightsError
from weighup.metrics import Isotonic, risk_controlled_threshold
from weighup.verify import weights
from weighup.verify.calibrated import SUREST, Bounded, Calibration, Temperature, kept_confidence, told
from weighup.verify.ease import Ease
from weighup.verify.knowledge import EVIDENCE, REASONING, SENTIMENT
from weighup.verify.tone import NAMES
from weighup.verify.types import KINDS

CLAIM = "The Golden Gate Bridge opened in 1937."
WIDTH = {"evidence": len(EVIDENCE), "reasoning": len(REASONING), "sentiment": len(SENTIMENT)}
STEPS = Isotonic(np.array([0.2, 0.4, 0.8]), np.array([0.0, 0.5, 1.0]))
P = st.floats(0, 1)
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A folder with the shipped EASE heads and a calibration of them; arrays and card may be changed."""

    def made(*, heads: bool = True, arrays: dict[str, Any] | None = None, **card: Any) -> Path:
        folder = tmp_path / f"mine{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        if heads:
            for name in ("ease.json", "ease.npz"):
                shutil.copy(weights.SHIPPED / name, folder / name)
        rng = np.random.default_rng(0)
        sure = rng.uniform(0.5, 1, 4000)
        own = {
            "confidence": kept_confidence(sure),
            "wrong": (rng.random(4000) > sure).astype(np.uint8),
            "kind": rng.integers(0, 3, 4000).astype(np.uint8),
            "map/evidence/temperature": np.asarray(2.0),
            "map/reasoning/x": STEPS.x,
            "map/reasoning/y": STEPS.y,
            "map/sentiment/temperature": np.asarray(1.0),
        }
        kept = {name: value for name, value in (own | (arrays or {})).items() if value is not None}
        with (folder / "calibration.npz").open("wb") as file:
            np.savez_compressed(file, **kept)
        digests = {
            "calibration.npz": hashlib.sha256((folder / "calibration.npz").read_bytes()).hexdigest(),
            "ease.npz": hashlib.sha256((weights.SHIPPED / "ease.npz").read_bytes()).hexdigest(),
        }
        told = {"format": 1, "version": "mine", "risk": 0.3, "sha256": digests} | card
        (folder / "calibration.json").write_text(json.dumps({k: v for k, v in told.items() if v is not None}))
        return folder

    return made


def rows(kind: str, n: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return (
        rng.normal(size=(n, WIDTH[kind])).astype(np.float32),
        rng.normal(size=(n, 2 + len(NAMES))).astype(np.float32),
        rng.random(n).astype(np.float32),
    )


# --- maps -------------------------------------------------------------------------------------------------------------


@given(st.lists(P, min_size=2), st.floats(0.01, 100))
def test_maps_rise_and_stay_probabilities(values: list[float], temperature: float) -> None:
    p = np.sort(values)
    for calibrate in (Temperature(temperature), Bounded(STEPS)):
        found = calibrate(p)
        assert (np.diff(found) >= 0).all()
        assert found.min() >= 0
        assert found.max() <= 1


def test_a_temperature_divides_the_log_odds() -> None:
    assert Temperature(2.0)([0.5, 0.8]).tolist() == pytest.approx([0.5, 1 / (1 + 0.25**0.5)])
    assert Temperature(1.0)([0.3]).tolist() == pytest.approx([0.3])
    assert np.isfinite(Temperature(0.01)([0.0, 1.0])).all()


def test_an_isotonic_map_is_linear_between_its_knots_and_never_quite_sure() -> None:
    assert Bounded(STEPS)([0.0, 0.3, 0.6, 1.0]).tolist() == pytest.approx([1 - SUREST, 0.25, 0.75, SUREST])
    assert Bounded(STEPS)(np.full((2, 3), 0.4)).shape == (2, 3)


@given(st.floats(0.5, 1), st.floats(0.5, 1))
def test_a_kept_confidence_calls_what_the_exact_one_does(sure: float, at: float) -> None:
    threshold = float(kept_confidence([at])[0])
    assert threshold <= at
    assert (sure >= threshold) == (kept_confidence([sure])[0] >= threshold)


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_the_threshold_is_the_risk_controlled_one_and_more_risk_calls_more(make: Make) -> None:
    calibration = Calibration.load(make())
    assert calibration is not None
    found = [calibration.thresholds(risk)["reasoning"] for risk in (0.05, 0.1, 0.2, 0.3)]
    assert found == sorted(found, reverse=True)
    assert found[1] == risk_controlled_threshold(calibration.confidence, calibration.wrong, 0.1)
    assert calibration.thresholds() == calibration.thresholds(0.3) == dict.fromkeys(KINDS, found[3])
    assert calibration.thresholds(0.001) == dict.fromkeys(KINDS, math.inf)


def test_apart_each_expert_has_its_own_threshold_and_one_never_seen_calls_nothing(make: Make) -> None:
    kinds = np.repeat([0, 1], 2000).astype(np.uint8)
    calibration = Calibration.load(make(arrays={"kind": kinds}, apart=True))
    assert calibration is not None
    found = calibration.thresholds(0.2)
    for place, kind in enumerate(KINDS[:2]):
        mine = kinds == place
        assert found[kind] == risk_controlled_threshold(calibration.confidence[mine], calibration.wrong[mine], 0.2)
    assert found["evidence"] != found["reasoning"]
    assert found["sentiment"] == math.inf


def test_new_claims_are_called_wrongly_no_more_often_than_asked(make: Make) -> None:
    calibration = Calibration.load(make())
    assert calibration is not None
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.5, 1, 200_000)
    wrong = rng.random(200_000) > sure
    for risk in (0.1, 0.2):
        called = sure >= calibration.thresholds(risk)["evidence"]
        assert called.mean() > 0.05
        assert wrong[called].mean() <= risk


@pytest.mark.parametrize("risk", [0, 1, -0.1, float("nan")])
def test_a_risk_that_is_no_share_is_refused(make: Make, risk: float) -> None:
    with pytest.raises(InvalidInput, match="risk"):
        Ease.load(make(), risk)


# --- on top of the heads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_probability_interval_and_threshold_go_through_the_calibration(make: Make, kind: str) -> None:
    folder = make()
    plain, ease = Ease.load(make_plain(folder)), Ease.load(folder, 0.2)
    assert ease.calibration is not None
    for before, after in zip(plain.decide(kind, *rows(kind)), ease.decide(kind, *rows(kind)), strict=True):
        assert after.raw == before.probability_fake == before.raw
        assert after.probability_fake == pytest.approx(float(ease.calibration(kind, after.raw)))
        low, high = after.interval
        assert 0 <= low <= after.probability_fake <= high <= 1
        sure = max(after.probability_fake, 1 - after.probability_fake)
        assert after.unknown == (sure < ease.calibration.thresholds(0.2)[kind])


def make_plain(folder: Path) -> Path:
    """The same heads without calibration."""
    other = folder.parent / f"{folder.name}-plain"
    other.mkdir()
    for name in ("ease.json", "ease.npz"):
        shutil.copy(folder / name, other / name)
    return other


def test_each_folder_and_risk_is_read_once_and_without_a_risk_the_cards_counts(make: Make) -> None:
    folder = make()
    assert Ease.load(folder, 0.2) is Ease.load(folder, 0.2)
    assert Ease.load(folder).risk == 0.3
    assert Ease.load(folder, 0.2).risk == 0.2
    calibration = Calibration.load(folder)
    assert calibration is not None
    assert Ease.load(folder, 0.2).threshold == calibration.thresholds(0.2)


def test_a_shipped_calibration_is_not_put_on_other_heads(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = make()
    for name in ("content.json", "content.npz"):
        shutil.copy(weights.SHIPPED / name, shipped / name)
    mine = make_plain(shipped)
    monkeypatch.setattr(weights, "SHIPPED", shipped)
    assert Ease.load().risk == 0.3
    with caplog.at_level(logging.INFO, logger="weighup"):
        ease = Ease.load(mine)
    assert ease.calibration is None
    assert ease.risk is None
    assert ease.threshold == json.loads((mine / "ease.json").read_text())["threshold"]
    assert [f"{mine}: its EASE heads have no calibration" in r.getMessage() for r in caplog.records] == [True]
    with pytest.raises(InvalidInput, match=r"verify\.risk is 0\.1, but the EASE heads in .* have no calibration"):
        Ease.load(mine, 0.1)


def test_a_calibration_alone_goes_with_the_shipped_heads(make: Make) -> None:
    folder = make(heads=False)
    ease = Ease.load(folder)
    assert ease.version == weights.card("ease", None)["version"]
    assert ease.risk == 0.3


def test_a_calibration_of_other_heads_is_warned_of_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    folder = make()
    digests = json.loads((folder / "calibration.json").read_text())["sha256"]
    other = make(sha256=digests | {"ease.npz": "0" * 64})
    with caplog.at_level(logging.WARNING, logger="weighup"):
        for _ in range(2):
            Ease.load(folder)
            Ease.load(other)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert f"the calibration in {other} was fitted on other EASE weights" in said[0]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"format": 2}, "has format 2, expected 1 (a newer weighup made it: upgrade)"),
        ({"version": None}, "has no `version`"),
        ({"risk": None}, "risk is None, expected a number between 0 and 1"),
        ({"risk": 0}, "risk is 0, expected"),
        ({"risk": True}, "risk is True, expected"),
        ({"risk": "a third"}, "risk is a third, expected"),
        ({"apart": 1}, "apart is 1, expected true or false"),
        ({"sha256": {}}, "names no sha256 of calibration.npz"),
        ({"sha256": {"calibration.npz": "0" * 64}}, "as calibration.json says"),
    ],
    ids=str,
)
def test_a_card_that_cannot_be_used_is_refused(make: Make, card: dict[str, Any], says: str) -> None:
    folder = make(**card)
    with pytest.raises(WeightsError) as caught:
        Ease.load(folder)
    assert str(folder) in str(caught.value)
    assert says in str(caught.value)
    assert str(caught.value).endswith("train it again with `weighup train` or leave --weights out")


def test_a_card_must_name_the_heads(make: Make) -> None:
    folder = make()
    digests = json.loads((folder / "calibration.json").read_text())["sha256"]
    del digests["ease.npz"]
    with pytest.raises(WeightsError, match=r"names no sha256 of ease\.npz"):
        Ease.load(make(sha256=digests))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"confidence": None}, "has no numbers named confidence"),
        ({"confidence": np.full(9, 0.4)}, "confidence holds 0.4 to 0.4, expected numbers from 0.5 to 1"),
        ({"confidence": np.full(20_001, 0.6)}, "has 20001 rows, expected 20000 at most"),
        ({"wrong": np.zeros(3)}, "wrong is [3], expected [4000]"),
        ({"wrong": np.full(4000, 0.5)}, "expected whole numbers from 0 to 1"),
        ({"kind": np.full(4000, 3)}, "kind holds 3 to 3, expected whole numbers from 0 to 2"),
        ({"map/evidence/temperature": None}, "has no numbers named map/evidence/temperature"),
        ({"map/evidence/temperature": np.asarray(0.0)}, "map/evidence/temperature holds 0.0"),
        ({"map/reasoning/y": np.array([0.0, 0.5])}, "map/reasoning/y is [2], expected [3]"),
        ({"map/reasoning/y": np.array([0.0, 0.5, 0.4])}, "map/reasoning falls"),
        ({"map/reasoning/x": np.array([0.2, 0.2, 0.4])}, "map/reasoning falls"),
        ({"map/reasoning/x": np.array([0.2, 0.4, 1.4])}, "map/reasoning/x holds 0.2 to 1.4"),
        ({"map/reasoning/x": np.array([0.2, 0.4, np.nan])}, "holds what is not a number"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:40],
)
def test_arrays_that_cannot_be_used_are_refused(make: Make, arrays: dict[str, Any], says: str) -> None:
    folder = make(arrays=arrays)
    with pytest.raises(WeightsError) as caught:
        Ease.load(folder)
    assert str(caught.value).startswith(str(folder / "calibration.npz"))
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["calibration.json", "calibration.npz"])
def test_half_a_calibration_is_refused_early(make: Make, name: str) -> None:
    folder = make()
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=name):
        weights.check(folder)
    with pytest.raises(WeightsError, match=name):
        Ease.load(folder)


# --- in a verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("clean_environment", "models_ready")
def test_verdicts_say_at_which_risk_they_were_called_or_not(make: Make) -> None:
    folder = make()

    def checked(risk: float | None) -> Any:
        settings = load_settings({"verify": {"weights": folder} | ({} if risk is None else {"risk": risk})})
        with Verifier(settings, offline=True, search=False, brief=True) as verifier:
            return verifier.check([CLAIM])[0]

    as_carded, careful, impossible = checked(None), checked(0.05), checked(0.001)
    assert (as_carded.risk, careful.risk, impossible.risk) == (0.3, 0.05, 0.001)
    assert as_carded.model_versions["calibration"] == "mine"
    assert "at a risk of 30%" in as_carded.why
    assert careful.verdict == "unknown"
    assert "too little to call it real or fake at a risk of 5%: it is too early to say." in careful.why
    assert as_carded.probability_fake == careful.probability_fake == impossible.probability_fake
    nothing = "no confidence is known to keep a risk of 0.1%, so nothing is called real or fake"
    assert impossible.verdict == "unknown"
    assert impossible.warnings.count(nothing) == 1
    assert nothing not in careful.warnings


@pytest.mark.usefixtures("clean_environment")
def test_a_verifier_refuses_a_risk_that_its_heads_cannot_keep(make: Make) -> None:
    settings = load_settings({"verify": {"weights": make_plain(make()), "risk": 0.1}})
    with pytest.raises(InvalidInput, match="no confidence is known to keep it"):
        Verifier(settings, offline=True)


@pytest.mark.parametrize(("risk", "words"), [(0.1, "10%"), (1 / 3, "33.3%"), (0.005, "0.5%"), (0.25, "25%")])
def test_a_risk_is_told_in_percent(risk: float, words: str) -> None:
    assert told(risk) == words
