"""Generation with a cache is generation without one, for our model and for one of Hugging Face."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")
pytest.importorskip("transformers", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.export import to_hugging_face  # noqa: E402
from weighup.moe.generate import bytes_of, generate, greedy, prefill, sampler, step, text_of  # noqa: E402
from weighup.moe.tiny import END, TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)


@pytest.fixture(scope="module")
def ours():
    torch.manual_seed(0)
    model = TinyMoELM(CONFIG)
    with torch.no_grad():
        model.head.weight.normal_(std=0.5)
    return model.eval()


@pytest.fixture(scope="module", params=["ours", "transformers"])
def model(ours, request):
    return ours if request.param == "ours" else to_hugging_face(ours)


@pytest.fixture(scope="module")
def ids():
    return torch.randint(0, 256, (3, 6), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def last(model, ids):
    return (model(ids) if isinstance(model, TinyMoELM) else model(input_ids=ids)).logits[:, -1]


def test_greedy_is_the_likeliest_next_each_time(model, ids):
    whole = ids
    for _ in range(5):
        whole = torch.cat((whole, last(model, whole).argmax(-1)[:, None]), 1)
    assert torch.equal(generate(model, ids, 5, end=-1), whole[:, 6:])


def test_steps_give_the_logits_of_the_whole_text(model, ids):
    state = prefill(model, ids[:, :4])
    torch.testing.assert_close(state.logits, last(model, ids[:, :4]), atol=1e-5, rtol=1e-4)
    state = step(model, state, ids[:, 4])
    torch.testing.assert_close(state.logits, last(model, ids[:, :5]), atol=1e-5, rtol=1e-4)
    assert state.length == 5


def test_continuations_share_the_reading(model, ids):
    state = prefill(model, ids, repeat=2)
    assert state.logits.shape[0] == 6
    more = torch.arange(6) + 40
    state = step(model, state, more)
    wanted = last(model, torch.cat((ids.repeat_interleave(2, 0), more[:, None]), 1))
    torch.testing.assert_close(state.logits, wanted, atol=1e-5, rtol=1e-4)


def test_a_state_is_gone_on_from(model, ids):
    assert torch.equal(generate(model, ids, 4, state=prefill(model, ids), end=-1), generate(model, ids, 4, end=-1))


def test_what_has_ended_stays_ended_and_all_ended_stops(ours, ids):
    told = iter([[5, END, 7], [END, 6, 8], [1, 2, END], [3, 3, 3]])
    found = generate(ours, ids, 10, pick=lambda logits: torch.tensor(next(told)))
    assert found.tolist() == [[5, END, END], [END, END, END], [7, 8, END]]


def test_samples_are_the_seeds_and_a_low_temperature_is_greedy(ours, ids):
    one, two, other = (generate(ours, ids, 8, pick=sampler(seed), end=-1) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(generate(ours, ids, 8, pick=sampler(0, 1e-4), end=-1), generate(ours, ids, 8, end=-1))
    logits = torch.tensor([[0.0, 1.0]]).repeat(4000, 1)
    share = sampler(3)(logits).float().mean().item()
    assert share == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item(), abs=0.03)
    assert greedy(logits)[0] == 1


def test_text_goes_to_bytes_and_back():
    for text in ("plain", "微博 ✓", "a\x00b"):
        assert text_of(bytes_of(text)[0]) == text
    assert text_of([104, 105, END, 256]) == "hi"
    assert text_of([0xE5, 0xBE]) == "\ufffd"


def test_bad_input_is_named(ours, ids):
    with pytest.raises(InvalidInput, match="length: 1 or more tokens, not 0"):
        generate(ours, ids, 0)
    with pytest.raises(InvalidInput, match="text: is empty"):
        bytes_of("")
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidInput, match="temperature: more than 0"):
            sampler(0, temperature)
