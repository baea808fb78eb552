"""The network of one expert (arXiv 2510.11277, section on experts): a content and a knowledge encoder on one frozen
trunk, cross-attention of content over knowledge, and two mask attentions.

Faithful: a last layer of its own for each encoder, cross-attention with one head and the mean over its places,
mask-attention-pooled content, both fused by mask attention, an MLP with 384 hidden units and dropout 0.2, and beside
it a head that tells the knowledge's own verdict. Ours: the trunk is all-MiniLM-L6-v2 as the encoder gives it, all six
layers of it, so that nothing but the encoder's own file is needed when checking; the tuned layer comes on top and
starts as a copy of the sixth. Queries and keys have 32 numbers, as a head of the trunk has, and the verdict's head is
one linear layer, so that an expert fits in 4 MB.
"""

# mypy: disable-error-code="import-not-found,misc,no-any-return"

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from weighup.train.stance.net import DIM, Layer

KEYS, HIDDEN, DROPOUT = 32, 384, 0.2
START = 5
"""The layer of the checkpoint that the tuned layers start from, counted from 0."""


class MaskAttention(nn.Module):
    """The mean of a text's places, weighed by a learned score that padding has no part in."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(DIM, 1)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [batch, length, DIM], bias [batch, length] (0 or -1e4) -> [batch, DIM]."""
        weights = torch.softmax(self.score(x).squeeze(-1) + bias, dim=-1)
        return (weights[:, :, None] * x).sum(1)


class ExpertNet(nn.Module):
    """States of content and knowledge -> logit of fake, logits of the knowledge's own verdict.

    With `cross` False, what is fused with the content is the mean of the knowledge alone, whatever the content.
    """

    def __init__(self, *, cross: bool = True) -> None:
        super().__init__()
        self.cross = cross
        self.content, self.knowledge = Layer(), Layer()
        self.query = nn.Linear(DIM, KEYS) if cross else None
        self.key = nn.Linear(DIM, KEYS) if cross else None
        self.value = nn.Linear(DIM, DIM)
        self.pool_content, self.pool_knowledge, self.fuse = MaskAttention(), MaskAttention(), MaskAttention()
        self.hidden, self.dropout = nn.Linear(DIM, HIDDEN), nn.Dropout(DROPOUT)
        self.fake, self.verdict = nn.Linear(HIDDEN, 1), nn.Linear(DIM, 3)

    def forward(
        self, content: Tensor, content_mask: Tensor, knowledge: Tensor, knowledge_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States float [batch, length, DIM], masks bool [batch, length] -> [batch], [batch, 3]."""
        here, told = content_mask.to(content.dtype), knowledge_mask.to(content.dtype)
        bias, told_bias = (here - 1.0) * 1e4, (told - 1.0) * 1e4
        c = self.content(content, bias[:, None, None, :], 0.1)
        k = self.knowledge(knowledge, told_bias[:, None, None, :], 0.1)
        if self.query is not None and self.key is not None:
            scores = self.query(c) @ self.key(k).transpose(-1, -2) * KEYS**-0.5
            read = torch.softmax(scores + told_bias[:, None, :], dim=-1) @ self.value(k)
            mixed = _mean(read, here)
        else:
            mixed = self.value(_mean(k, told))
        both = torch.stack([mixed, self.pool_content(c, bias)], dim=1)
        fused = self.fuse(both, torch.zeros_like(both[:, :, 0]))
        logit = self.fake(self.dropout(torch.relu(self.hidden(fused)))).squeeze(-1)
        return logit, self.verdict(self.pool_knowledge(k, told_bias))

    def start(self, checkpoint: Path) -> None:
        """Both tuned layers become a copy of the checkpoint's sixth (all-MiniLM-L6-v2 `model.safetensors`)."""
        w = {name.removeprefix("bert."): tensor for name, tensor in load_file(checkpoint).items()}
        at = f"encoder.layer.{START}."
        places = (
            ("out", "attention.output.dense"),
            ("norm1", "attention.output.LayerNorm"),
            ("up", "intermediate.dense"),
            ("down", "output.dense"),
            ("norm2", "output.LayerNorm"),
        )
        with torch.no_grad():
            for layer in (self.content, self.knowledge):
                for part in ("weight", "bias"):
                    qkv = [w[f"{at}attention.self.{name}.{part}"] for name in ("query", "key", "value")]
                    getattr(layer.qkv, part).copy_(torch.cat(qkv))
                    for ours, theirs in places:
                        getattr(getattr(layer, ours), part).copy_(w[f"{at}{theirs}.{part}"])


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """x [batch, length, DIM], mask float [batch, length] -> the mean over real places [batch, DIM]."""
    return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
