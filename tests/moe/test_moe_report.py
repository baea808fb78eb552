"""Load, entropy, specialisation, co-activation, persistence, fluctuation; costs; heat-maps."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.cost import cost  # noqa: E402
from weighup.moe.pictures import domain_maps, heat_maps, load_map, together_maps  # noqa: E402
from weighup.moe.report import fluctuation, information, report  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import RoutingTrace, tracing  # noqa: E402


def trace(
    indices: list[list[list[int]]], n: int, labels: list[int] | None = None, names: tuple[str, ...] = ()
) -> RoutingTrace:
    """indices [L][T][k]; equal weights."""
    found = np.array(indices, np.int16)
    weights = (found >= 0) / np.maximum((found >= 0).sum(2, keepdims=True), 1)
    count = found.shape[1]
    marks = None if labels is None else np.array(labels, np.int16)
    return RoutingTrace(found, weights.astype(np.float16), None, n, np.zeros(count, np.int32), marks, names)


def test_known_loads() -> None:
    told = report(trace([[[0, 1], [0, 2], [0, -1], [1, 0]]], 4))
    assert told.load[0].tolist() == [4 / 7, 2 / 7, 1 / 7, 0]
    assert told.active.tolist() == [7 / 4]
    assert told.sharpness[0] == pytest.approx(np.log(2) * 3 / 4, abs=1e-3)
    assert told.together[0][0].tolist() == [1.0, 0.5, 0.25, 0.0]
    assert told.persistence[0] == pytest.approx((2 / 3) / (0.75**2 + 0.25**2))


def test_even_load_has_evenness_1_and_one_expert_0() -> None:
    assert report(trace([[[0], [1], [2], [3]]], 4)).evenness[0] == pytest.approx(1.0)
    assert report(trace([[[2], [2]]], 4)).evenness[0] == pytest.approx(0.0, abs=1e-9)


def test_a_domain_with_experts_of_its_own_is_one_bit() -> None:
    one = trace([[[0], [0], [1], [1]], [[0], [1], [0], [1]]], 2, [0, 0, 1, 1], ("a", "b"))
    told = report(one)
    assert told.specialisation.tolist() == pytest.approx([1.0, 0.0], abs=1e-9)
    assert told.domains[0].tolist() == [[1, 0], [0, 1]]


def test_domains_weigh_alike_whatever_their_size() -> None:
    assert information(np.array([[100.0, 0.0], [0.0, 1.0]])) == pytest.approx(1.0)
    assert information(np.array([[5.0, 5.0], [0.0, 0.0]])) == 0.0


def test_pieces_give_what_the_whole_gives() -> None:
    chance = np.random.default_rng(0)
    whole = trace(chance.integers(0, 4, (2, 50, 2)).tolist(), 4, chance.integers(0, 2, 50).tolist(), ("a", "b"))
    parts = [whole.at(np.arange(0, 20)), whole.at(np.arange(20, 50))]
    one, other = report(whole), report(parts)
    for name in ("load", "evenness", "sharpness", "active", "domains", "specialisation", "together"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name))


def test_fluctuation_counts_tokens_whose_experts_changed_in_any_order() -> None:
    before, after = trace([[[0, 1], [2, 3]]], 4), trace([[[1, 0], [2, 1]]], 4)
    assert fluctuation(before, after).tolist() == [0.5]
    with pytest.raises(InvalidInput, match="layers and tokens"):
        fluctuation(before, trace([[[0, 1]]], 4))


def test_an_empty_trace_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no token"):
        report(trace([[[0]]], 2).at(np.zeros(1, bool)))
    with pytest.raises(InvalidInput, match="no token"):
        report([])


def test_pictures_are_xml_and_told_in_words() -> None:
    told = report(trace([[[0], [0], [1], [1]]], 2, [0, 0, 1, 1], ("a <b>", "c")))
    for picture in (load_map(told), domain_maps(told), together_maps(told)):
        root = ET.fromstring(picture)
        assert root.get("role") == "img"
        assert any(child.tag.endswith("desc") and child.text for child in root)


def test_pictures_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(InvalidInput, match="no labels"):
        domain_maps(report(trace([[[0]]], 2)))
    with pytest.raises(InvalidInput, match="nothing to draw"):
        heat_maps("x", {}, rows=["a"], columns=["b"], across="c")
    with pytest.raises(InvalidInput, match="is \\(1, 2\\)"):
        heat_maps("x", {"p": np.zeros((1, 2))}, rows=["a"], columns=["b"], across="c")


def test_costs_follow_from_the_shapes() -> None:
    config = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=8)
    model = TinyMoELM(config).eval()
    one = cost(model, context=8)
    expert = 3 * 16 * 8
    assert one.expert == expert
    assert one.total == sum(p.numel() for p in model.parameters())
    assert one.total - one.active == 2 * 2 * expert
    assert one.experts_a_token == 2.0
    assert cost(model, k=1, context=8).active == one.active - 2 * expert
    with torch.no_grad(), tracing(model) as recorder:
        model(torch.randint(0, 256, (2, 8)))
    assert cost(model, trace=recorder.trace, context=8) == one
    with pytest.raises(InvalidInput, match="layers that route"):
        cost(model, trace=trace([[[0]]], 4))
