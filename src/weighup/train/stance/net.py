"""The stance network: MiniLM-L6 as a cross-encoder that is told which tokens the two texts share.

Cross-encoder for entailment: Reimers & Gurevych 2019 (arXiv 1908.10084, the cross-encoder side); trunk: MiniLM
(Wang et al. 2020, arXiv 2002.10957) in its all-MiniLM-L6-v2 form. The match embedding is the exact-match feature of
DrQA (Chen et al. 2017, arXiv 1704.00051, section 3.2), here added to the token embeddings: each token is in one of
ten states, (ordinary, function word, number, negation, mark) by (in the other text, not in it). Ours: the states, the
four-way pooling, and the lexical features that enter the head.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

DIM, HEADS, LAYERS, KINDS = 384, 12, 6, 5


class Layer(nn.Module):
    """One BERT layer (post-norm), names as in the checkpoint are mapped in `load_trunk`."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.out = nn.Linear(DIM, DIM)
        self.norm1 = nn.LayerNorm(DIM, eps=1e-12)
        self.up = nn.Linear(DIM, 4 * DIM)
        self.down = nn.Linear(4 * DIM, DIM)
        self.norm2 = nn.LayerNorm(DIM, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor, drop: float) -> Tensor:
        """x [batch, length, DIM], bias [batch, 1, 1, length] (0 or -1e4) -> [batch, length, DIM]."""
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) * (DIM // HEADS) ** -0.5 + bias.to(q.dtype), dim=-1)
        a = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(b, n, DIM)
        x = self.norm1(x + self.dropped(self.out(a), drop))
        return self.norm2(x + self.dropped(self.down(F.gelu(self.up(x))), drop))

    def dropped(self, x: Tensor, drop: float) -> Tensor:
        """Dropout with one mask for all places of a text: random numbers cost 9 % of a step otherwise."""
        if not self.training:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= drop
        return x * (keep / (1.0 - drop)).to(x.dtype)


class StanceNet(nn.Module):
    """ids, types, features -> logits (supports, refutes, neutral)."""

    def __init__(self, kinds: Tensor, n_features: int, *, match: bool = True) -> None:
        super().__init__()
        self.words = nn.Embedding(len(kinds), DIM)
        self.places = nn.Embedding(512, DIM)
        self.types = nn.Embedding(2, DIM)
        self.norm = nn.LayerNorm(DIM, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.match = nn.Embedding(2 * KINDS, DIM)
        nn.init.zeros_(self.match.weight)
        self.head = nn.Sequential(nn.Linear(4 * DIM + n_features, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, 3))
        self.use_match, self.drop = match, 0.1
        self.register_buffer("kinds", kinds)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("bias", torch.zeros(3))

    def forward(self, ids: Tensor, types: Tensor, feats: Tensor) -> Tensor:
        """ids, types int64 [batch, length] (0 is padding), feats float [batch, n_features] -> logits [batch, 3]."""
        real = ids != 0
        x = self.words(ids) + self.places.weight[: ids.shape[1]] + self.types(types)
        if self.use_match:
            same = (ids[:, :, None] == ids[:, None, :]) & (types[:, :, None] != types[:, None, :]) & real[:, None, :]
            found = same.to(torch.float32).amax(-1).to(torch.int64)
            x = x + self.match(self.kinds[ids] * 2 + found)
        x = self.norm(x)
        bias = (1.0 - real[:, None, None, :].to(torch.float32)) * -1e4
        for layer in self.layers:
            x = layer(x, bias, self.drop)
        claim = (real & (types == 0)).to(x.dtype)[:, :, None]
        passage = (real & (types == 1)).to(x.dtype)[:, :, None]
        mean_claim = (x * claim).sum(1) / claim.sum(1).clamp(min=1.0)
        mean_passage = (x * passage).sum(1) / passage.sum(1).clamp(min=1.0)
        top_claim = (x + (claim - 1.0) * 1e4).amax(1)
        pooled = torch.cat([x[:, 0], mean_claim, mean_passage, top_claim, (feats - self.mean) / self.scale], dim=-1)
        return self.head(pooled) + self.bias

    def load_trunk(self, path: Path) -> None:
        """Copies a BERT checkpoint (all-MiniLM-L6-v2 `model.safetensors`) into the trunk."""
        w = {k.removeprefix("bert."): v for k, v in load_file(path).items()}
        with torch.no_grad():
            self.words.weight.copy_(w["embeddings.word_embeddings.weight"])
            self.places.weight.copy_(w["embeddings.position_embeddings.weight"])
            self.types.weight.copy_(w["embeddings.token_type_embeddings.weight"])
            self.norm.weight.copy_(w["embeddings.LayerNorm.weight"])
            self.norm.bias.copy_(w["embeddings.LayerNorm.bias"])
            for i, layer in enumerate(self.layers):
                at = f"encoder.layer.{i}."
                for part in ("weight", "bias"):
                    qkv = [w[f"{at}attention.self.{name}.{part}"] for name in ("query", "key", "value")]
                    getattr(layer.qkv, part).copy_(torch.cat(qkv))
                    getattr(layer.out, part).copy_(w[f"{at}attention.output.dense.{part}"])
                    getattr(layer.norm1, part).copy_(w[f"{at}attention.output.LayerNorm.{part}"])
                    getattr(layer.up, part).copy_(w[f"{at}intermediate.dense.{part}"])
                    getattr(layer.down, part).copy_(w[f"{at}output.dense.{part}"])
                    getattr(layer.norm2, part).copy_(w[f"{at}output.LayerNorm.{part}"])


def token_kinds(vocab: dict[str, int], stop: frozenset[str], negations: frozenset[str]) -> Tensor:
    """The kind of each token of the vocabulary: 0 ordinary, 1 function word, 2 number, 3 negation, 4 mark."""
    kinds = torch.zeros(len(vocab), dtype=torch.int64)
    for token, i in vocab.items():
        bare = token.removeprefix("##")
        if bare in negations:
            kinds[i] = 3
        elif bare in stop:
            kinds[i] = 1
        elif bare[:1].isdigit():
            kinds[i] = 2
        elif token.startswith("[") or not bare[:1].isalnum():
            kinds[i] = 4
    return kinds


def neighbours(vocab: dict[str, int], words: Tensor, among: set[str], k: int = 8) -> dict[str, list[str]]:
    """For each whole word of `among` in the vocabulary, its k nearest others by cosine of the input embeddings.

    Words that share the first four letters (plurals, tenses) are left out: swapping them changes no meaning.
    """
    names = [t for t in vocab if t.isalpha() and len(t) >= 4 and t in among]
    if not names:
        return {}
    unit = F.normalize(words[torch.tensor([vocab[t] for t in names])], dim=-1)
    near: dict[str, list[str]] = {}
    for start in range(0, len(names), 2000):
        best = (unit[start : start + 2000] @ unit.T).topk(min(4 * k, len(names)), dim=-1).indices
        for row, name in zip(best.tolist(), names[start : start + 2000], strict=True):
            near[name] = [names[j] for j in row if names[j][:4] != name[:4]][:k]
    return {name: others for name, others in near.items() if others}
