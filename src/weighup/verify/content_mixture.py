"""A mixture of content experts: one for each kind of claims it was trained on, and a gate that says which kind it is.

Mixture of experts (Jacobs, Jordan, Nowlan & Hinton 1991, doi 10.1162/neco.1991.3.1.79): a gate, a softmax over tokens,
embedding and tone, says how much a claim looks like those of each domain, and by that the experts' probabilities are
averaged. Ours: gate and experts are fitted one after the other, since which domain a training claim is from is known.
An expert adds, with weights and a shift of its own: the log-odds of the model of all domains together; those of a
linear model over grams of its domain alone, where there is enough of it; and a vote.

The vote is of the domain's training claims, each the more the nearer its embedding is (kernel regression, Nadaraya
1964, Watson 1964). What is kept of a claim is its embedding on the first principal axes, a byte each, and its vote; no
text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.verify import weights
from weighup.verify.grams import EXPERT, GATE, Grams, Keys, rows

Array = NDArray[np.float32]
LEAST_SHARE = 0.02  # an expert that the gate gives less is not asked
TERMS = ("union", "own", "vote", "shift")
"""The columns of `Mixture.mix`."""
_FARTHEST = 8.0  # log-odds of one expert
_AT_ONCE = 64  # claims whose nearness to all kept ones is held in memory


@dataclass(frozen=True, slots=True)
class Memory:
    """`axes` [d, k]; for each domain `points` [n, k] of unit length and `votes` [n], above 0 for fake.

    `sharpness` is of the kernel.
    """

    axes: Array
    points: tuple[Array, ...]
    votes: tuple[Array, ...]
    sharpness: float

    def __call__(self, domain: int, vectors: Array) -> Array:
        """The mean vote of the domain's claims, [n], each weighed by exp(sharpness x cosine)."""
        found = np.zeros(len(vectors), np.float32)
        for start in range(0, len(vectors), _AT_ONCE):
            near = unit(vectors[start : start + _AT_ONCE] @ self.axes) @ self.points[domain].T
            weight = np.exp(self.sharpness * (near - near.max(1, keepdims=True)))
            found[start : start + _AT_ONCE] = (weight @ self.votes[domain]) / weight.sum(1)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads back, keys starting with `memory/`; points in a byte, the rest in half precision."""
        points = np.concatenate(self.points)
        return {
            "memory/axes": self.axes.astype(np.float16),
            "memory/points": np.rint(points * (127 / float(np.abs(points).max()))).astype(np.int8),
            "memory/votes": np.concatenate(self.votes).astype(np.float16),
            "memory/sizes": np.asarray([len(votes) for votes in self.votes], np.int32),
            "memory/sharpness": np.asarray([self.sharpness], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: weights.Arrays, width: int, domains: int) -> Memory:
        """`width` is of the embeddings. Raises WeightsError."""
        axes = arrays.take("memory/axes", width, None).astype(np.float32)
        points = unit(arrays.take("memory/points", None, axes.shape[1]).astype(np.float32))
        votes = arrays.take("memory/votes", len(points)).astype(np.float32)
        sizes = arrays.above_zero("memory/sizes", domains).astype(np.int64)
        if sizes.sum() != len(points):
            raise weights.unusable(arrays.path, f"memory/sizes add up to {sizes.sum()}, expected {len(points)}")
        ends = np.cumsum(sizes)[:-1]
        sharpness = float(arrays.above_zero("memory/sharpness", 1)[0])
        return cls(axes, tuple(np.split(points, ends)), tuple(np.split(votes, ends)), sharpness)


@dataclass(frozen=True, slots=True)
class Expert:
    """A domain's own linear model: `grams`, and `dense` [d + t], the weights of embedding and tone beside them."""

    grams: Grams
    dense: Array

    def logits(self, texts: Sequence[str], dense: Array) -> Array:
        """Log-odds of fake, [n]; `dense` [n, d + t] are the texts' embeddings and tone."""
        return self.grams.logits(texts, beside=dense @ self.dense)


@dataclass(frozen=True, slots=True)
class Gate:
    """`keys` [v] and `idf` [v] as in `Grams`; `table` [domains, v], `dense` [domains, d + t], `bias` [domains]."""

    keys: Keys
    idf: Array
    table: Array
    dense: Array
    bias: Array

    def __call__(self, texts: Sequence[str], dense: Array) -> Array:
        """The probability of each domain, [n, domains]."""
        z = dense @ self.dense.T + self.bias
        for i, text in enumerate(texts):
            for places, values in rows(text, GATE, self.keys, self.idf):
                z[i] += self.table[:, places] @ values
        e = np.exp(z - z.max(1, keepdims=True))
        return np.asarray(e / e.sum(1, keepdims=True), np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads back, keys starting with `gate/`; all but keys and biases in half precision."""
        half = {name: getattr(self, name).astype(np.float16) for name in ("idf", "table", "dense")}
        return {"gate/keys": self.keys, "gate/bias": self.bias, **{f"gate/{k}": v for k, v in half.items()}}

    @classmethod
    def from_arrays(cls, arrays: weights.Arrays, width: int, domains: int) -> Gate:
        """`width` is of embedding and tone together. Raises WeightsError."""
        keys = np.asarray(arrays.take("gate/keys", None), np.uint32)
        idf = arrays.above_zero("gate/idf", len(keys))
        table, dense, bias = (
            arrays.take(f"gate/{name}", domains, *shape).astype(np.float32)
            for name, shape in (("table", (len(keys),)), ("dense", (width,)), ("bias", ()))
        )
        return cls(keys, idf, table, dense, bias)


@dataclass(frozen=True, slots=True)
class Mixture:
    """`mix` [domains, len(TERMS)] are each expert's weights; `own` holds the domains that have a model of their own.

    `gate` is None where there is one domain only.
    """

    gate: Gate | None
    mix: Array
    own: Mapping[int, Expert]
    memory: Memory

    def logits(self, texts: Sequence[str], union: Array, vectors: Array, dense: Array) -> Array:
        """Log-odds of fake, [n]: `union` [n] are those of the model of all domains; `dense` [n, d + t]."""
        shares = self.shares(texts, dense)
        mean = np.zeros(len(texts), np.float32)
        for domain in range(shares.shape[1]):
            here = np.flatnonzero(shares[:, domain])
            if len(here):
                terms = self.terms(domain, [texts[i] for i in here.tolist()], union[here], vectors[here], dense[here])
                own = np.clip(terms @ self.mix[domain], -_FARTHEST, _FARTHEST)
                mean[here] += shares[here, domain] / (1 + np.exp(-own))
        return np.asarray(np.log(mean) - np.log1p(-mean), np.float32)

    def terms(self, domain: int, texts: Sequence[str], union: Array, vectors: Array, dense: Array) -> Array:
        """What the expert of a domain adds up, [n, len(TERMS)]."""
        found = np.zeros((len(texts), len(TERMS)), np.float32)
        found[:, 0], found[:, 3] = union, 1
        if domain in self.own:
            found[:, 1] = self.own[domain].logits(texts, dense)
        found[:, 2] = self.memory(domain, vectors)
        return found

    def shares(self, texts: Sequence[str], dense: Array) -> Array:
        """How much each claim looks like those of each domain, [n, domains]; rows add up to 1."""
        if self.gate is None:
            return np.ones((len(dense), 1), np.float32)
        shares = self.gate(texts, dense)
        shares[shares < min(LEAST_SHARE, 1 / shares.shape[1])] = 0
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `read` reads back."""
        found: dict[str, NDArray[Any]] = {"mix": self.mix.astype(np.float32), **self.memory.arrays()}
        if self.gate is not None:
            found |= self.gate.arrays()
        for domain, expert in self.own.items():
            found |= {**expert.grams.arrays(f"own{domain}"), f"own{domain}/dense": expert.dense}
        return found


def read(arrays: weights.Arrays, width: int, tones: int) -> Mixture | None:
    """The mixture of a content.npz, on embeddings of `width` numbers and `tones` of tone; None if it has none.

    Raises WeightsError.
    """
    if "mix" not in arrays.found:
        return None
    mix = arrays.take("mix", None, len(TERMS)).astype(np.float32)
    gate = Gate.from_arrays(arrays, width + tones, len(mix)) if len(mix) > 1 else None
    own = {}
    for domain in range(len(mix)):
        name = f"own{domain}"
        if f"{name}/keys" in arrays.found:
            check_grams(arrays, name, len(EXPERT))
            dense = arrays.take(f"{name}/dense", width + tones).astype(np.float32)
            own[domain] = Expert(Grams.from_arrays(arrays.found, name, EXPERT), dense)
    return Mixture(gate, mix, own, Memory.from_arrays(arrays, width, len(mix)))


def check_grams(arrays: weights.Arrays, name: str, views: int) -> None:
    """Raises WeightsError unless the arrays of that name are a linear model over so many views."""
    known = len(arrays.take(f"{name}/keys", None))
    arrays.above_zero(f"{name}/idf", known)
    arrays.take(f"{name}/table", views, known)
    arrays.take(f"{name}/scalars", 3)


def unit(rows: Array) -> Array:
    """Each row brought to length 1."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), np.float32)
