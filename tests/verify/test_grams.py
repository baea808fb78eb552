"""Grams: what is counted, unit length of a view, and the same numbers as scikit-learn's TF-IDF."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from weighup.train.content_parts import LEAST, matrices, vocabulary
from weighup.verify import grams
from weighup.verify.grams import CHINESE, ENGLISH, Grams, View, rows

TEXTS = ["The dam broke on Thursday.", "The dam held.", "A storm broke the mast of the ship.", "the mast held, the dam"]


def test_a_gram_is_counted_once_with_the_log_of_how_often_it_is_there() -> None:
    keys, values = grams.count("the dam the dam the weir", "word", 1)
    assert len(keys) == 3
    assert sorted(values.round(4).tolist()) == pytest.approx(sorted([1, 1 + np.log(2), 1 + np.log(3)]), abs=1e-3)


@pytest.mark.parametrize(("kind", "text", "length", "count"), [("char", "水 坝决堤", 2, 3), ("inner", "dam", 3, 3)])
def test_runs_of_characters(kind: str, text: str, length: int, count: int) -> None:
    assert len(grams.count(text, kind, length)[0]) == count  # " da", "dam", "am " within a word; blanks left out


def test_tokens_of_a_post_keep_tags_links_numbers_and_marks() -> None:
    found = grams.tokens("RT @WHO: 1,234 new #COVID19 cases! https://www.who.int/a?b=1 Don't panic 😷")
    assert found == "rt @who : 1,234 NNNNN new #covid19 cases ! url:who.int don't panic 😷".split()
    assert grams.tokens("") == []


def test_what_is_kept_of_a_text_cannot_be_written_to() -> None:
    keys, values = grams.count("the dam broke", "token", 1)
    for array in (keys, values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert grams.count("the dam broke", "word", 1)[0].tolist() != keys.tolist()  # a kind has grams of its own


def test_the_same_numbers_as_scikit_learns() -> None:
    view = (View("char", 1, 3),)
    texts = [text.replace(" ", "").lower() for text in TEXTS]
    keys, idf = vocabulary(texts, view)
    ours = matrices(texts, view, keys, idf)[0]
    theirs = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=LEAST, sublinear_tf=True).fit_transform(texts)
    np.testing.assert_allclose((ours @ ours.T).toarray(), (theirs @ theirs.T).toarray(), atol=1e-5)


def test_every_view_has_unit_length_and_unknown_text_has_none() -> None:
    keys, idf = vocabulary(TEXTS, ENGLISH)
    for _, values in rows(TEXTS[0], ENGLISH, keys, idf):
        assert float(np.linalg.norm(values)) == pytest.approx(1, abs=1e-5)
    for places, values in rows("zzz", ENGLISH, keys, idf):
        assert len(places) == len(values) == 0


def test_log_odds_are_added_and_calibrated() -> None:
    keys, idf = vocabulary(TEXTS, CHINESE)
    table = np.ones((len(CHINESE), len(keys)), np.float32)
    plain = Grams(CHINESE, keys, idf, table, bias=0.5)
    scaled = Grams(CHINESE, keys, idf, table, bias=0.5, slope=2.0, shift=-1.0)
    beside = np.asarray([1.0, -1.0], np.float32)
    raw = plain.logits(TEXTS[:2])
    np.testing.assert_allclose(scaled.logits(TEXTS[:2], beside), 2 * (raw + beside) - 1, atol=1e-5)
    assert plain.logits(["zzz"]) == pytest.approx([0.5])
    again = Grams.from_arrays(scaled.arrays("zh"), "zh", CHINESE)
    np.testing.assert_allclose(again.logits(TEXTS), scaled.logits(TEXTS), atol=0.02)


def test_a_megabyte_costs_no_more_than_its_beginning() -> None:
    long = "dam " * 300_000
    assert len(grams.count(long, "word", 2)[0]) == len(grams.count(long[: grams.MOST_CHARACTERS], "word", 2)[0])
