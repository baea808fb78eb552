"""What every layer chose for every token: recorded through a context, kept small, written to Parquet in pieces.

`tracing(model)` hooks the routers (ours or Hugging Face's). A trace holds indices as int16, weights and logits as
float16; an unused slot has index -1. A trace that is given a path writes there as it grows and keeps nothing.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from weighup.errors import InvalidInput, JobFailed
from weighup.moe.sites import Decision, Site, sites

_PIECE = 65_536  # tokens of one write
FORMAT = 1


@dataclass(frozen=True, eq=False)
class RoutingTrace:
    """`indices` int16 [L, T, k], -1 where a slot is unused; `weights` float16 [L, T, k]; `logits` float16 [L, T, N] or
    None; `labels` int16 [T], places in `names` (a token's domain), or None; `tokens` int32 [T] or None; `sequences`
    int32 [T], which tokens belong together."""

    indices: NDArray[np.int16]
    weights: NDArray[np.float16]
    logits: NDArray[np.float16] | None
    n_experts: int
    sequences: NDArray[np.int32]
    labels: NDArray[np.int16] | None = None
    names: tuple[str, ...] = ()
    tokens: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        layers, count, k = self.indices.shape
        if self.weights.shape != (layers, count, k) or len(self.sequences) != count:
            raise InvalidInput(f"trace: shapes differ: indices {self.indices.shape}, weights {self.weights.shape}")
        if count and int(self.indices.max()) >= self.n_experts:
            raise InvalidInput(f"trace: expert {int(self.indices.max())} where there are {self.n_experts}")

    @property
    def layers(self) -> int:
        """How many layers route."""
        return self.indices.shape[0]

    def __len__(self) -> int:
        return self.indices.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        arrays = (self.indices, self.weights, self.logits, self.labels, self.tokens, self.sequences)
        return sum(one.nbytes for one in arrays if one is not None)

    def of(self, label: str) -> RoutingTrace:
        """The tokens of one label. Raises InvalidInput for one that is not there."""
        if self.labels is None or label not in self.names:
            raise InvalidInput(f"trace: has no label {label!r}; there are {', '.join(self.names) or 'none'}")
        return self.at(self.labels == self.names.index(label))

    def at(self, chosen: NDArray[Any]) -> RoutingTrace:
        """The tokens at a mask or places."""
        return RoutingTrace(
            self.indices[:, chosen],
            self.weights[:, chosen],
            None if self.logits is None else self.logits[:, chosen],
            self.n_experts,
            self.sequences[chosen],
            None if self.labels is None else self.labels[chosen],
            self.names,
            None if self.tokens is None else self.tokens[chosen],
        )

    def chosen(self, layer: int) -> NDArray[np.float32]:
        """[T, N]: 1 where a token used an expert of a layer."""
        found = np.zeros((len(self), self.n_experts + 1), np.float32)
        np.put_along_axis(found, self.indices[layer].astype(np.int64) % (self.n_experts + 1), 1.0, axis=1)
        return found[:, :-1]

    def write(self, path: Path) -> None:
        """As Parquet. Raises JobFailed where it cannot be written."""
        with TraceFile(path, self.layers, self.n_experts, self.names, self.logits is not None) as out:
            for at in range(0, len(self), _PIECE):
                out.add(self.at(np.arange(at, min(len(self), at + _PIECE))))

    @classmethod
    def read(cls, path: Path) -> RoutingTrace:
        """From Parquet. Raises InvalidInput for a file that is no trace."""
        parts = list(pieces(path))
        if not parts:
            raise InvalidInput(f"{path}: holds no token")
        return joined(parts)


def joined(parts: Sequence[RoutingTrace]) -> RoutingTrace:
    """Traces of one model, one after the other."""

    def all_of(name: str, axis: int) -> Any:
        arrays = [getattr(one, name) for one in parts]
        return None if any(one is None for one in arrays) else np.concatenate(arrays, axis=axis)

    widest = max(one.indices.shape[2] for one in parts)
    pads = [((0, 0), (0, 0), (0, widest - one.indices.shape[2])) for one in parts]
    indices = np.concatenate([np.pad(o.indices, p, constant_values=-1) for o, p in zip(parts, pads, strict=True)], 1)
    weights = np.concatenate([np.pad(o.weights, p) for o, p in zip(parts, pads, strict=True)], 1)
    first = parts[0]
    return RoutingTrace(
        indices, weights, all_of("logits", 1), first.n_experts, all_of("sequences", 0), all_of("labels", 0),
        first.names, all_of("tokens", 0),
    )  # fmt: skip


class Recorder:
    """Takes what hooks hand on, a forward pass at a time. `label`, `tokens` may be set before each pass."""

    def __init__(self, found: Sequence[Site], names: Sequence[str], logits: bool, out: Path | None) -> None:
        self._sites, self.names, self._keep_logits = found, tuple(names), logits
        self._now: list[Decision | None] = [None] * len(found)
        self._parts: list[RoutingTrace] = []
        self._sequence = 0
        self.labels: NDArray[np.integer[Any]] | None = None
        """[sequences] of the next pass: places in `names`."""
        self.tokens: NDArray[np.integer[Any]] | None = None
        """[sequences, length] of the next pass."""
        self._file = TraceFile(out, len(found), found[0].n_experts, self.names, logits) if out is not None else None
        self._waiting = 0

    def took(self, layer: int, decision: Decision) -> None:
        """One layer's decision; the last layer's ends the pass."""
        self._now[layer] = decision
        if layer == len(self._now) - 1:
            self._end()

    def _end(self) -> None:
        now = [one for one in self._now if one is not None]
        if len(now) != len(self._now):
            raise JobFailed("trace: a layer was passed without a decision; layers that are skipped cannot be traced")
        count = len(now[0].indices)
        widest = max(one.indices.shape[1] for one in now)
        indices = np.full((len(now), count, widest), -1, np.int16)
        weights = np.zeros((len(now), count, widest), np.float16)
        for n, one in enumerate(now):
            k = one.indices.shape[1]
            indices[n, :, :k] = one.indices.detach().numpy()
            weights[n, :, :k] = one.weights.detach().numpy()
            if one.mask is not None:
                off = ~one.mask.numpy()
                indices[n, :, :k][off] = -1
                weights[n, :, :k][off] = 0
        logits = None
        if self._keep_logits:
            logits = torch.stack([one.logits.detach() for one in now]).to(torch.float16).numpy()
        rows = len(self.tokens) if self.tokens is not None else len(self.labels) if self.labels is not None else 1
        if count % rows:
            raise InvalidInput(f"trace: {count} tokens are not those of {rows} sequences of one length")
        each = count // rows
        sequences = (self._sequence + np.repeat(np.arange(rows), each)).astype(np.int32)
        self._sequence += rows
        labels = None if self.labels is None else np.repeat(self.labels, each).astype(np.int16)
        tokens = None if self.tokens is None else np.asarray(self.tokens).reshape(-1)[-count:].astype(np.int32)
        part = RoutingTrace(indices, weights, logits, self._sites[0].n_experts, sequences, labels, self.names, tokens)
        self.labels = self.tokens = None
        self._now = [None] * len(self._now)
        self._parts.append(part)
        self._waiting += count
        if self._file is not None and self._waiting >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        assert self._file is not None
        if self._parts:
            self._file.add(joined(self._parts))
        self._parts, self._waiting = [], 0

    def close(self) -> None:
        """Write what is left."""
        if self._file is not None:
            self._flush()
            self._file.close()

    @property
    def trace(self) -> RoutingTrace:
        """Everything so far. Raises InvalidInput if nothing was passed, or it went to a file."""
        if not self._parts:
            raise InvalidInput("trace: nothing was recorded here")
        if len(self._parts) > 1:
            self._parts = [joined(self._parts)]
        return self._parts[0]


@contextmanager
def tracing(
    model: nn.Module, *, names: Sequence[str] = (), logits: bool = True, out: Path | None = None
) -> Iterator[Recorder]:
    """Record while open. `names`: of the labels; `logits`: keep them; `out`: a Parquet file that it goes to piece by
    piece. Raises InvalidInput for a model that is not known, JobFailed for a file that cannot be written."""
    found = sites(model)
    recorder = Recorder(found, names, logits, out)
    handles = [site.router.register_forward_hook(_hook(site, recorder)) for site in found]
    try:
        yield recorder
    finally:
        for handle in handles:
            handle.remove()
        recorder.close()


def _hook(site: Site, recorder: Recorder) -> Any:
    def taken(module: nn.Module, args: Any, output: Any) -> None:
        recorder.took(site.layer, site.read(output))

    return taken


class TraceFile:
    """A Parquet file that grows: a row a token, list columns `indices_L`, `weights_L`, `logits_L` for layer L."""

    def __init__(self, path: Path, layers: int, n_experts: int, names: Sequence[str], logits: bool) -> None:
        import pyarrow as pa

        self.path, self.layers, self._logits = path, layers, logits
        fields = [("sequence", pa.int32()), ("label", pa.int16()), ("token", pa.int32())]
        for layer in range(layers):
            fields += [(f"indices_{layer}", pa.list_(pa.int16())), (f"weights_{layer}", pa.list_(pa.float16()))]
            if logits:
                fields.append((f"logits_{layer}", pa.list_(pa.float16(), n_experts)))
        told = {"format": FORMAT, "layers": layers, "n_experts": n_experts, "names": list(names), "logits": logits}
        self._schema = pa.schema(fields, metadata={"weighup.trace": json.dumps(told)})
        self._part = path.with_name(f".{path.name}.part")
        self._writer: Any = None

    def add(self, trace: RoutingTrace) -> None:
        """Tokens behind those that are there. Raises JobFailed where it cannot be written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        count = len(trace)
        columns: list[Any] = [
            pa.array(trace.sequences),
            pa.nulls(count, pa.int16()) if trace.labels is None else pa.array(trace.labels),
            pa.nulls(count, pa.int32()) if trace.tokens is None else pa.array(trace.tokens),
        ]
        for layer in range(self.layers):
            used = trace.indices[layer] >= 0
            ends = np.concatenate(([0], used.sum(1).cumsum())).astype(np.int32)
            for array in (trace.indices[layer], trace.weights[layer]):
                columns.append(pa.ListArray.from_arrays(pa.array(ends), pa.array(array[used])))
            if self._logits:
                assert trace.logits is not None
                columns.append(
                    pa.FixedSizeListArray.from_arrays(pa.array(trace.logits[layer].reshape(-1)), trace.n_experts)
                )
        try:
            if self._writer is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        except OSError as error:
            raise JobFailed(f"trace: cannot write {self.path}: {error}") from error

    def close(self) -> None:
        """The file appears whole."""
        if self._writer is not None:
            self._writer.close()
            self._part.replace(self.path)
            self._writer = None

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()
            self._part.unlink(missing_ok=True)


def pieces(path: Path) -> Iterator[RoutingTrace]:
    """The parts of a trace's file, one after the other. Raises InvalidInput for a file that is no trace."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        told = json.loads(file.schema_arrow.metadata[b"weighup.trace"])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path}: is no trace of weighup: {error}") from error
    layers, n, names = told["layers"], told["n_experts"], tuple(told["names"])
    with file:
        for batch in file.iter_batches(batch_size=_PIECE):
            count = batch.num_rows
            lists = [batch.column(f"indices_{layer}") for layer in range(layers)]
            k = max((int(np.diff(one.offsets.to_numpy()).max()) for one in lists), default=1) if count else 1
            indices = np.full((layers, count, k), -1, np.int16)
            weights = np.zeros((layers, count, k), np.float16)
            for layer, one in enumerate(lists):
                used = np.arange(k) < np.diff(one.offsets.to_numpy())[:, None]
                indices[layer][used] = one.flatten().to_numpy(zero_copy_only=False)
                weights[layer][used] = batch.column(f"weights_{layer}").flatten().to_numpy(zero_copy_only=False)
            logits = None
            if told["logits"]:
                logits = np.stack(
                    [
                        batch.column(f"logits_{layer}").flatten().to_numpy(zero_copy_only=False).reshape(count, n)
                        for layer in range(layers)
                    ]
                )
            label, token = batch.column("label"), batch.column("token")
            yield RoutingTrace(
                indices,
                weights,
                logits,
                n,
                batch.column("sequence").to_numpy(),
                None if label.null_count else label.to_numpy(),
                names,
                None if token.null_count else token.to_numpy(),
            )
