"""Small trained heads, read from a file and run in numpy: standardise, one hidden layer or none, softmax.

A head is an ensemble: `members` networks of one shape, each fitted to its own bootstrap sample of the training
items (bagging, Breiman 1996). Their mean is the probability; their spread is what the interval is drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Head:
    """`mean`, `scale`: [d]. `w1` [m, d, h], `b1` [m, h]: None without hidden layer; `w2` [m, h or d, k], `b2` [m, k].

    `temperature` divides the logits (Guo et al. 2017, arXiv 1706.04599).
    """

    mean: Array
    scale: Array
    w1: Array | None
    b1: Array | None
    w2: Array
    b2: Array
    temperature: float = 1.0

    def members(self, x: Array) -> Array:
        """x [n, d] -> probabilities of every member [m, n, k]."""
        z = np.clip((x - self.mean) / self.scale, -6, 6)
        hidden = np.broadcast_to(z, (len(self.w2), *z.shape))
        if self.w1 is not None and self.b1 is not None:
            hidden = np.maximum(np.matmul(hidden, self.w1) + self.b1[:, None, :], 0)
        logits = (np.matmul(hidden, self.w2) + self.b2[:, None, :]) / self.temperature
        logits -= logits.max(-1, keepdims=True)
        e = np.exp(logits)
        return np.asarray(e / e.sum(-1, keepdims=True), np.float32)

    def __call__(self, x: Array) -> Array:
        """x [n, d] -> mean probabilities [n, k]."""
        return np.asarray(self.members(x).mean(0), np.float32)

    def arrays(self, name: str) -> dict[str, Array]:
        """What `from_arrays` reads back, keys starting with `name/`."""
        found = {"mean": self.mean, "scale": self.scale, "w2": self.w2, "b2": self.b2}
        if self.w1 is not None and self.b1 is not None:
            found |= {"w1": self.w1, "b1": self.b1}
        found["temperature"] = np.asarray(self.temperature, np.float32)
        return {f"{name}/{key}": np.asarray(value, np.float32) for key, value in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], name: str) -> Head:
        """Raises KeyError if the file has no head of that name."""

        def get(key: str) -> Array:
            return np.asarray(arrays[f"{name}/{key}"], np.float32)

        deep = f"{name}/w1" in arrays
        return cls(
            get("mean"),
            get("scale"),
            get("w1") if deep else None,
            get("b1") if deep else None,
            get("w2"),
            get("b2"),
            float(get("temperature")),
        )
