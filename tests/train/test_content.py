"""Fitting content models: the signal is found, sets weigh alike, and one half is where both classes are called."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.files import sha256
from weighup.metrics import auroc, macro_f1
from weighup.models.open import encoder
from weighup.train.content import fit_chinese, fit_english
from weighup.train.content_parts import Part, balanced, by_set
from weighup.verify import weights
from weighup.verify.content import ContentModel
from weighup.verify.grams import CHINESE, ENGLISH, Grams
from weighup.verify.tone import tone

FILLER = "the dam council river mayor report water people city week plan road money house board".split()


def made(n: int, seed: int, share: float = 0.5, name: str = "a") -> Part:
    """Claims of which fake ones often say "secretly" and real ones "officially"."""
    chance = random.Random(seed)
    texts, fake = [], []
    for _ in range(n):
        is_fake = chance.random() < share
        cue = "secretly" if is_fake == (chance.random() < 0.9) else "officially"
        words = chance.choices(FILLER, k=8)
        words.insert(chance.randrange(8), cue)
        texts.append(" ".join(words))
        fake.append(is_fake)
    vectors = np.random.default_rng(seed).normal(size=(n, 12)).astype(np.float32)
    return Part(texts, np.array(fake, np.int64), np.full(n, name), vectors)


def test_english_is_learned_from_words_and_keeps_both_classes_apart_at_one_half() -> None:
    arrays, tried = fit_english(made(300, 0, share=0.2), made(150, 1, share=0.7))
    test = made(200, 2)
    model = Grams.from_arrays(arrays, "en", ENGLISH)
    z = model.logits(test.texts, beside=test.dense @ arrays["en_dense"])
    assert auroc(test.fake, z) > 0.85
    assert macro_f1(test.fake, (z >= 0).astype(np.int64)) > 0.8
    assert max(tried.values()) > 0.85
    assert len(arrays["en_dense"]) == 12 + tone(test.texts).shape[1]


def test_chinese_is_learned_from_characters() -> None:
    def part(n: int, seed: int) -> Part:
        chance = random.Random(seed)
        fake = [chance.random() < 0.5 for _ in range(n)]
        fillers = "水坝决堤河流城市道路计划会议居民报告"
        texts = ["".join(chance.choices(fillers, k=10)) + ("速转" if f else "通报") for f in fake]
        return Part(texts, np.array(fake, np.int64), np.full(n, "zh"))

    arrays, _ = fit_chinese(part(120, 0), part(60, 1))
    test = part(60, 2)
    assert auroc(test.fake, Grams.from_arrays(arrays, "zh", CHINESE).logits(test.texts)) > 0.95


def test_real_and_fake_weigh_alike_within_each_set() -> None:
    a, b = made(40, 0, share=0.1, name="a"), made(160, 1, share=0.8, name="b")
    both = Part([*a.texts, *b.texts], np.concatenate([a.fake, b.fake]), np.concatenate([a.sets, b.sets]))
    weight = balanced(both)
    for name in ("a", "b"):
        here = both.sets == name
        assert weight[here & (both.fake == 1)].sum() == pytest.approx(weight[here & (both.fake == 0)].sum())
    assert weight[both.sets == "b"].sum() / weight[both.sets == "a"].sum() == pytest.approx((160 / 40) ** 0.5)


def test_a_set_of_one_class_is_left_out_of_what_needs_two() -> None:
    part = Part(["x"] * 4, np.array([0, 1, 1, 1]), np.array(["a", "a", "b", "b"]))
    assert by_set(part, auroc, np.array([0.1, 0.9, 0.5, 0.5])) == {"a": 1.0}


def two_domains(n: int, seed: int) -> Part:
    """Half of domain a, where fake claims say "secretly", half of b, where real ones do; b speaks of other things."""
    a, b = made(n, seed, name="a"), made(n, seed + 1000, name="b")
    texts = [*a.texts, *(f"#post {text} !" for text in b.texts)]
    assert a.vectors is not None
    assert b.vectors is not None
    vectors = np.concatenate([a.vectors, b.vectors + 3])
    return Part(texts, np.concatenate([a.fake, 1 - b.fake]), np.concatenate([a.sets, b.sets]), vectors)


def written(arrays: dict[str, Any], folder: Path) -> ContentModel:
    """The model that the arrays give, with the shipped Chinese one."""
    shipped = weights.Arrays.read(weights.SHIPPED / "content.npz").found
    arrays |= {name: array for name, array in shipped.items() if name.startswith(("zh/", "tone_zh/"))}
    np.savez(folder / "content.npz", **arrays)
    card = {"format": 1, "version": "t", "sha256": {"content.npz": sha256(folder / "content.npz")}}
    (folder / "content.json").write_text(json.dumps(card))
    return ContentModel.load(folder)


def test_domains_where_the_same_word_means_the_opposite_are_told_apart(tmp_path: Path) -> None:
    arrays, tried = fit_english(two_domains(520, 0), two_domains(150, 1))
    assert tried["gate right"] > 0.95
    test = two_domains(200, 2)
    model = written(arrays, tmp_path)
    assert test.vectors is not None
    p = model.prior(test.texts, test.vectors, test.tones, [False] * 400)
    assert min(by_set(test, auroc, p).values()) > 0.8
    assert min(by_set(test, macro_f1, (p >= 0.5).astype(np.int64)).values()) > 0.75
    union = Grams.from_arrays(arrays, "en", ENGLISH).logits(test.texts, beside=test.dense @ arrays["en_dense"])
    assert min(by_set(test, auroc, union).values()) < min(by_set(test, auroc, p).values())


def test_a_domain_of_few_claims_gets_no_mixture_and_one_of_many_needs_no_gate(tmp_path: Path) -> None:
    few, _ = fit_english(made(120, 0), made(60, 1))
    assert "mix" not in few
    many, _ = fit_english(made(520, 0), made(100, 1))
    assert many["mix"].shape == (1, 4)
    assert not [name for name in many if name.startswith("gate/")]
    test = made(200, 2)
    assert test.vectors is not None
    p = written(many, tmp_path).prior(test.texts, test.vectors, test.tones, [False] * 200)
    assert auroc(test.fake, p) > 0.85


def test_english_needs_embeddings() -> None:
    part = made(60, 0)
    with pytest.raises(ValueError, match="embeddings"):
        fit_english(Part(part.texts, part.fake, part.sets), part)


@pytest.mark.claim
def test_the_shipped_chinese_model_reaches_its_bar_on_later_posts(
    news_rows: Callable[..., list[dict[str, Any]]],
) -> None:
    """CED, split by time: trained to 2013-02, chosen on the weeks after, tested on the year that followed."""
    rows = news_rows("ced_weibo", "test")
    texts = [row["text"] for row in rows]
    fake = np.array([row["label3"] == "fake" for row in rows], np.int64)
    model = ContentModel.load()
    p = model.prior(texts, np.zeros((len(texts), model.dimension), np.float32), tone(texts), [True] * len(texts))
    assert auroc(fake, p) >= 0.91
    assert macro_f1(fake, (p >= 0.5).astype(np.int64)) >= 0.80


@pytest.mark.claim
@pytest.mark.parametrize(
    ("name", "macro", "area"), [("covid_constraint", 0.95, 0.985), ("liar", 0.60, 0.66), ("covid_fact", 0.63, 0.66)]
)
def test_the_shipped_english_model_reaches_its_bars(
    name: str, macro: float, area: float, news_rows: Callable[..., list[dict[str, Any]]], models_ready: Path
) -> None:
    """From the claim's text alone; all choices were made on valid."""
    rows = [row for row in news_rows(name, "test") if row["label3"] in ("real", "fake")]
    texts = [row["text"] for row in rows]
    fake = np.array([row["label3"] == "fake" for row in rows], np.int64)
    p = ContentModel.load().prior(texts, encoder().encode(texts), tone(texts), [False] * len(texts))
    assert macro_f1(fake, (p >= 0.5).astype(np.int64)) >= macro
    assert auroc(fake, p) >= area
