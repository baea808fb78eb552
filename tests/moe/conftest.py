"""What several tests of mixtures of experts begin from."""

from __future__ import annotations

import pytest


@pytest.fixture
def mixtral():
    """A tiny Mixtral of random weights, large enough that experts differ."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
        initializer_range=0.3,
    )  # fmt: skip
    return transformers.MixtralForCausalLM(config).eval()
