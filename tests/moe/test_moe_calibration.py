"""Calibration statistics against sums taken directly, token by token."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from torch.nn import functional as F  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.calibration import LEAST, Calibration, calibrate  # noqa: E402
from weighup.moe.corpus import corpus_of  # noqa: E402
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.routers.topk import TopK  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=8, layers=2, heads=2, n_experts=4, k=2, hidden=6, context=16)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TinyMoELM(CONFIG).eval()


@pytest.fixture(scope="module")
def batches():
    chance = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (8, 17), generator=chance), torch.randint(0, 256, (10, 17), generator=chance)]


def direct(model, batches):
    """What `calibrate` promises, computed one token and expert at a time."""
    sums = [{} for _ in model.blocks]

    def add(layer, name, value):
        sums[layer][name] = sums[layer].get(name, 0) + value

    total = 0.0
    for ids in batches:
        tokens, targets = ids[:, :-1], ids[:, 1:]
        kept = [{} for _ in model.blocks]
        handles = []
        for layer, block in enumerate(model.blocks):

            def keep(module, args, out, layer=layer, kept=kept):
                # The loss's gradient by this sum is what each expert's output gets, times its weight.
                out = out.detach().requires_grad_() if layer == 0 else out
                out.retain_grad()
                kept[layer].update(x=args[0].detach(), routing=args[1], y=out)
                return out

            handles.append(block.moe.experts.register_forward_hook(keep))
        loss = model(tokens, targets).loss
        (loss * targets.numel()).backward()
        total += float(loss.detach()) * targets.numel()
        for handle in handles:
            handle.remove()
        for layer, block in enumerate(model.blocks):
            x, routing, experts = kept[layer]["x"], kept[layer]["routing"], block.moe.experts
            logits = routing.logits.detach()
            add(layer, "logit_sums", logits.sum(0))
            add(layer, "logit_products", logits.T @ logits)
            add(layer, "prob_sums", F.softmax(logits, -1).sum(0))
            for t in range(len(x)):
                chosen = routing.indices[t].tolist()
                used = F.one_hot(torch.tensor(chosen), 4).sum(0).float()
                add(layer, "counts", used)
                add(layer, "together", torch.outer(used, used))
                for slot, e in enumerate(chosen):
                    weight = routing.weights[t, slot].detach()
                    inner, out = experts.inner(e, x[t : t + 1])[0].detach(), experts.one(e, x[t : t + 1])[0].detach()
                    one = F.one_hot(torch.tensor(e), 4).float()
                    own = kept[layer]["y"].grad[t] * weight
                    add(layer, "weight_sums", one * weight)
                    add(layer, "activation_squares", torch.outer(one, inner**2))
                    add(layer, "output_squares", one * (out**2).sum())
                    add(layer, "gradient_products", one[:, None, None] * torch.outer(own, own))
    model.zero_grad(set_to_none=True)
    return sums, total


def test_every_statistic_is_what_it_says(model, batches):
    found = calibrate(model, batches, gradients=True)
    sums, total = direct(model, batches)
    assert found.tokens == 18 * 16
    assert found.loss == pytest.approx(total / found.tokens, rel=1e-5)
    for stats, wanted in zip(found.layers, sums, strict=True):
        for name, value in wanted.items():
            size = value.abs().max().item()
            torch.testing.assert_close(getattr(stats, name), value, atol=1e-5 * max(1, size), rtol=1e-3, msg=name)
        assert stats.inputs.shape[1] == 8
        torch.testing.assert_close(stats.frequency.sum(), torch.tensor(2.0))


def test_without_gradients_the_rest_is_the_same(model, batches):
    with_them, without = calibrate(model, batches, gradients=True), calibrate(model, batches)
    assert without.loss == pytest.approx(with_them.loss)
    for one, other in zip(with_them.layers, without.layers, strict=True):
        assert other.gradient_products is None
        for name in ("counts", "weight_sums", "together", "activation_squares", "output_squares", "inputs"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-5, rtol=1e-4)


def test_the_sum_does_not_depend_on_how_tokens_are_batched(model, batches):
    whole = calibrate(model, [torch.cat(batches)], gradients=True)
    parts = calibrate(model, [row[None] for one in batches for row in one], gradients=True)
    assert whole.loss == pytest.approx(parts.loss, rel=1e-5)
    for one, other in zip(whole.layers, parts.layers, strict=True):
        torch.testing.assert_close(one.gradient_products, other.gradient_products, atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(one.activation_squares, other.activation_squares, atol=1e-4, rtol=1e-3)


def test_logit_correlations_are_numpys(model, batches):
    logits = []
    handle = model.blocks[0].moe.router.register_forward_hook(lambda m, a, out: logits.append(out.logits.detach()))
    found = calibrate(model, batches)
    handle.remove()
    wanted = np.corrcoef(torch.cat(logits).double().numpy().T)
    np.testing.assert_allclose(found.layers[0].logit_correlation.numpy(), wanted, atol=1e-3)


def test_masked_slots_do_not_count(model, batches):
    add = torch.zeros(4)
    add[1] = 60.0
    with control(model, Policy(mix=add.clamp(max=1))):
        found = calibrate(model, batches)
    assert found.layers[0].counts.tolist() == [0, found.tokens, 0, 0]


def test_the_model_is_as_before(model, batches):
    torch.manual_seed(1)
    own = TinyMoELM(CONFIG).train()
    own.head.weight.requires_grad_(False)
    own(batches[0][:, :-1], batches[0][:, 1:]).loss.backward()
    state = {name: one.clone() for name, one in own.state_dict().items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in own.named_parameters()}
    calibrate(own, batches, gradients=True)
    assert own.training
    assert not own.head.weight.requires_grad
    assert own.embedding.weight.requires_grad
    for name, p in own.named_parameters():
        assert torch.equal(p, state[name])
        assert (p.grad is None) == (grads[name] is None)
        assert p.grad is None or torch.equal(p.grad, grads[name])
    assert not any(module._forward_hooks for module in own.modules())


def test_an_error_leaves_the_model_as_it_was(model, batches):
    def broken(one, batch):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        calibrate(model, batches, loss=broken)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_batches_of_a_corpus_and_a_sample_of_inputs(model):
    texts = {"a": [f"{n} sheep went up the hill of {n * n} stones" * 3 for n in range(300)]}
    corpus = corpus_of(texts, sizes={"train": 4_000, "valid": 2_000, "test": 2_000})
    found = calibrate(model, corpus.batches("valid", 8, 16, windows=30), sample=50)
    assert found.tokens == 30 * 16
    assert found.layers[0].inputs.shape == (50, 8)


def test_a_file_gives_back_the_statistics(model, batches, tmp_path):
    found = calibrate(model, batches, gradients=True)
    found.write(tmp_path / "deep" / "c.npz")
    again = Calibration.read(tmp_path / "deep" / "c.npz")
    assert (again.loss, again.tokens) == (found.loss, found.tokens)
    for one, other in zip(found.layers, again.layers, strict=True):
        assert torch.equal(one.gradient_products, other.gradient_products)
        assert torch.equal(one.together, other.together)
    (tmp_path / "bad.npz").write_bytes((tmp_path / "deep" / "c.npz").read_bytes()[:100])
    (tmp_path / "empty.npz").write_bytes(b"")
    changed = bytearray((tmp_path / "deep" / "c.npz").read_bytes())
    changed[200:260] = bytes(60)
    (tmp_path / "changed.npz").write_bytes(changed)
    np.savez(tmp_path / "other.npz", a=1)
    for name in ("bad.npz", "changed.npz", "empty.npz", "other.npz", "none.npz"):
        with pytest.raises(InvalidInput, match=f"{name}: is no calibration"):
            Calibration.read(tmp_path / name)


def test_too_few_tokens_and_other_bad_input(model, batches):
    with pytest.raises(InvalidInput, match=f"16 tokens are too few; {LEAST}"):
        calibrate(model, [batches[0][:1]])
    with pytest.raises(InvalidInput, match="0 tokens"):
        calibrate(model, [])
    with pytest.raises(InvalidInput, match=r"not \[5\]"):
        calibrate(model, [torch.zeros(5, dtype=torch.long)])
    with pytest.raises(InvalidInput, match="Linear"):
        calibrate(torch.nn.Linear(2, 2), batches)
    gelu = torch.nn.Sequential(MoELayer(Experts(4, 8, 6, "gelu"), TopK(8, 4)))
    with pytest.raises(InvalidInput, match="GELU"):
        calibrate(gelu, batches, gradients=True)
