"""A metric as a judge: the better score wins, whichever way the metric runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from weighup.errors import InvalidInput
from weighup.judge.by_metric import MetricJudge
from weighup.judge.types import Item, Response


def words_shared(texts: Sequence[str], references: Sequence[str], sources: Sequence[str]) -> np.ndarray:
    shared = [len(set(t.split()) & set(r.split())) for t, r in zip(texts, references, strict=True)]
    return np.array(shared, float)


PAIR = Item.pair("a", "q", "the cat sat", "a dog", reference="the cat sat down")


def test_the_higher_score_wins_in_either_order() -> None:
    judge = MetricJudge(words_shared)
    assert judge.name == "metric/words_shared"
    for one in judge.judge([PAIR, PAIR.swapped()]):
        assert (one.kind, one.winner, one.scores) == ("score", "1", (3.0, 0.0))
    assert MetricJudge(words_shared, lower_is_better=True).judge([PAIR])[0].winner == "2"
    assert MetricJudge(words_shared, within=3).judge([PAIR])[0].winner == "tie"
    assert judge.judge([]) == []


def test_several_and_single_responses() -> None:
    texts = ("a dog", "the cat sat", "the cat")
    item = Item(id="b", prompt="q", reference="the cat sat", responses=tuple(Response(text=t) for t in texts))
    assert MetricJudge(words_shared).judge([item])[0].ranking == (2, 3, 1)
    one = item.model_copy(update={"responses": item.responses[:1]})
    said = MetricJudge(words_shared).judge([one])[0]
    assert (said.scores, said.winner, said.ranking) == ((0.0,), None, None)


def test_named_metrics_know_what_they_need_and_which_way_they_run() -> None:
    assert MetricJudge("token_f1").judge([PAIR])[0].winner == "1"
    assert MetricJudge("length").judge([Item.pair("n", "q", "a b c", "a")])[0].winner == "1"
    with pytest.raises(InvalidInput, match="item n: has no reference"):
        MetricJudge("token_f1").judge([Item.pair("n", "q", "a", "b")])
    with pytest.raises(InvalidInput, match="no metric is called 'rogue'"):
        MetricJudge("rogue")
    with pytest.raises(InvalidInput, match="encoder"):
        MetricJudge("bert_score")
    pytest.importorskip("sacrebleu")
    errors = MetricJudge("ter")
    assert errors.lower_is_better
    assert errors.judge([PAIR])[0].winner == "1"


def test_a_score_that_is_none_makes_the_item_invalid() -> None:
    judge = MetricJudge(lambda t, r, s: np.array([np.nan, 1.0]), name="half", needs_reference=False)
    one = judge.judge([Item.pair("a", "q", "x", "y")])[0]
    assert (one.status, one.scores, one.winner) == ("invalid", (None, 1.0), None)


def test_a_metric_that_gives_too_few_is_refused() -> None:
    with pytest.raises(InvalidInput, match="scores of 2 responses"):
        MetricJudge(lambda t, r, s: np.zeros(1), needs_reference=False).judge([PAIR])


def test_the_source_is_the_context_else_the_prompt() -> None:
    seen: list[str] = []

    def keep(texts: Sequence[str], references: Sequence[str], sources: Sequence[str]) -> np.ndarray:
        seen.extend(sources)
        return np.zeros(len(texts))

    MetricJudge(keep).judge([PAIR, PAIR.model_copy(update={"context": "document"})])
    assert seen == ["q", "q", "document", "document"]
