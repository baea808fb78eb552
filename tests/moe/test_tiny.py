"""TinyMoELM: a causal model whose cache changes nothing."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.registry import ROUTERS  # noqa: E402
from weighup.moe.tiny import PAD, VOCABULARY, Cache, TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TinyMoELM(CONFIG).eval()


def tokens(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 13), max_size=4, unique=True), seed=st.integers(0, 99))
def test_a_cache_changes_nothing_however_the_text_is_cut(model, cuts, seed):
    ids = tokens(2, 14, seed=seed)
    with torch.no_grad():
        whole = model(ids).logits
        cache, parts = Cache(), []
        for part in ids.tensor_split(sorted(cuts), dim=1):
            out = model(part, cache=cache)
            parts.append(out.logits)
            assert out.cache is cache
    assert cache.length == 14
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-4)


def test_what_comes_later_is_not_seen(model):
    ids = tokens(1, 12)
    other = ids.clone()
    other[0, 7:] = (other[0, 7:] + 1) % 256
    with torch.no_grad():
        one, two = model(ids).logits, model(other).logits
    torch.testing.assert_close(one[:, :7], two[:, :7], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(one[:, 7:], two[:, 7:], atol=1e-4)


def test_caches_go_on_in_several_ways_and_in_another_order(model):
    ids, more = tokens(2, 5), tokens(4, 1, seed=1)
    with torch.no_grad():
        cache = model(ids, cache=Cache()).cache
        repeated = model(more, cache=cache.repeated(2)).logits
        wanted = model(torch.cat((ids.repeat_interleave(2, 0), more), 1)).logits[:, -1:]
        torch.testing.assert_close(repeated, wanted, atol=1e-5, rtol=1e-4)
        swapped = model(more[:2], cache=cache.chosen(torch.tensor([1, 0]))).logits
        wanted = model(torch.cat((ids[[1, 0]], more[:2]), 1)).logits[:, -1:]
        torch.testing.assert_close(swapped, wanted, atol=1e-5, rtol=1e-4)
    assert cache.length == 5


def test_a_batch_is_its_sequences_one_by_one(model):
    ids = tokens(3, 9)
    with torch.no_grad():
        alone = torch.cat([model(row[None]).logits for row in ids])
        torch.testing.assert_close(model(ids).logits, alone, atol=1e-5, rtol=1e-4)


def test_loss_is_cross_entropy_of_what_is_not_padded(model):
    ids, targets = tokens(2, 6), tokens(2, 6, seed=1)
    targets[1, 3:] = PAD
    with torch.no_grad():
        out = model(ids, targets)
    told = torch.log_softmax(out.logits, -1).gather(2, targets[..., None])[..., 0]
    torch.testing.assert_close(out.loss, -told[targets != PAD].mean())
    torch.testing.assert_close(out.total, out.loss + out.aux_loss)
    assert out.logits.shape == (2, 6, VOCABULARY)
    assert len(out.routings) == 2
    assert out.aux_loss == 0  # nobody learns here
    assert model(ids).aux_loss > 0
    assert model(ids).loss is None


def test_the_default_has_about_three_million_parameters():
    assert 2.5e6 < sum(p.numel() for p in TinyMoELM().parameters()) < 3.5e6
    assert len(TinyMoELM(CONFIG).experts) == 2


def test_the_same_seed_gives_the_same_model():
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(TinyMoELM(CONFIG).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not torch.equal(made[0]["head.weight"], made[2]["head.weight"])


@pytest.mark.parametrize("name", ["width", "layers", "heads", "n_experts", "k", "hidden", "context"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(InvalidInput, match=f"{name} of 1 or more is needed, not 0"):
        TinyConfig(**{name: 0})


def test_other_bad_sizes_are_named(model):
    with pytest.raises(InvalidInput, match="width of 18 does not split into 4 heads"):
        TinyConfig(width=18, heads=4)
    with pytest.raises(InvalidInput, match="not 9"):
        TinyMoELM(TinyConfig(width=16, heads=2, n_experts=8, k=9))
    with pytest.raises(InvalidInput, match="'none' is not known; there are topk"):
        TinyMoELM(TinyConfig(width=16, heads=2, router="none"))
    with pytest.raises(InvalidInput, match="wings"):
        TinyMoELM(TinyConfig(width=16, heads=2, options={"wings": 2}))
    for bad in (
        torch.zeros(4, dtype=torch.long),
        torch.zeros(2, 0, dtype=torch.long),
        torch.zeros(0, 3, dtype=torch.long),
    ):
        with pytest.raises(InvalidInput, match=r"shape \[batch, length\]"):
            model(bad)
    with pytest.raises(InvalidInput, match="129 tokens are more than eight times its context of 16"):
        model(torch.zeros(1, 129, dtype=torch.long))


def test_options_reach_the_router_and_names_lead_somewhere():
    made = TinyMoELM(TinyConfig(width=16, heads=2, options={"balance": 0.5, "renormalise": False}))
    assert made.blocks[0].moe.router.balance == 0.5
    assert not made.blocks[0].moe.router.renormalise
    assert all(place.startswith("weighup.moe.") and ":" in place for place in ROUTERS.values())
