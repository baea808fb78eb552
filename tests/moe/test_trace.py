"""Routing traces: kept small, written piece by piece, read back the same, and broken files refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput, JobFailed  # noqa: E402
from weighup.moe import trace as traces  # noqa: E402
from weighup.moe.policy import Policy, Rows, control  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import RoutingTrace, joined, pieces, tracing  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TinyMoELM(CONFIG).eval()


def made(layers=2, count=7, k=3, n=5, seed=0, logits=True, labels=True, tokens=True):
    chance = np.random.default_rng(seed)
    indices = np.stack([chance.permuted(np.tile(np.arange(n), (count, 1)), axis=1)[:, :k] for _ in range(layers)])
    indices = indices.astype(np.int16)
    used = 1 + chance.integers(k, size=(layers, count))
    off = np.arange(k) >= used[..., None]
    indices[off] = -1
    weights = chance.random((layers, count, k)).astype(np.float16)
    weights[off] = 0
    return RoutingTrace(
        indices,
        weights,
        chance.normal(size=(layers, count, n)).astype(np.float16) if logits else None,
        n,
        np.sort(chance.integers(3, size=count)).astype(np.int32),
        chance.integers(2, size=count).astype(np.int16) if labels else None,
        ("one", "two") if labels else (),
        chance.integers(256, size=count).astype(np.int32) if tokens else None,
    )


def same(one, other):
    k = max(one.indices.shape[2], other.indices.shape[2])

    def wide(array, fill):
        return np.pad(array, ((0, 0), (0, 0), (0, k - array.shape[2])), constant_values=fill)

    assert np.array_equal(wide(one.indices, -1), wide(other.indices, -1))
    assert np.array_equal(wide(one.weights, 0), wide(other.weights, 0))
    for name in ("logits", "sequences", "labels", "tokens"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert (ours is None) == (theirs is None), name
        assert ours is None or (np.array_equal(ours, theirs) and ours.dtype == theirs.dtype), name
    assert (one.n_experts, one.names) == (other.n_experts, other.names)


@settings(max_examples=15)
@given(
    layers=st.integers(1, 3),
    count=st.integers(1, 20),
    n=st.integers(1, 6),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seed=st.integers(0, 999),
)
def test_parquet_gives_back_what_was_written(tmp_path_factory, layers, count, n, flags, seed):
    trace = made(layers, count, max(1, n - 1), n, seed, *flags)
    path = tmp_path_factory.mktemp("trace") / "deep" / "t.parquet"
    trace.write(path)
    same(RoutingTrace.read(path), trace)
    assert [one.name for one in path.parent.iterdir()] == ["t.parquet"]


def test_a_file_grows_piece_by_piece_and_the_recorder_keeps_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(traces, "_PIECE", 40)
    ids = torch.randint(0, 256, (10, 2, 8))
    path = tmp_path / "t.parquet"
    with torch.no_grad(), tracing(model, names=("a", "b")) as whole, tracing(model, names=("a", "b"), out=path) as told:
        for some in ids:
            for recorder in (whole, told):
                recorder.labels, recorder.tokens = np.array([0, 1]), some.numpy()
            model(some)
            assert sum(len(part) for part in told._parts) < 40
        assert not path.exists()
    found = list(pieces(path))
    assert sum(len(one) for one in found) == 160
    same(joined(found), whole.trace)
    with pytest.raises(InvalidInput, match="nothing was recorded"):
        _ = told.trace


def test_many_tokens_are_read_in_pieces(tmp_path, monkeypatch):
    trace = made(count=50)
    monkeypatch.setattr(traces, "_PIECE", 16)
    trace.write(tmp_path / "t.parquet")
    sizes = [len(one) for one in pieces(tmp_path / "t.parquet")]
    assert sum(sizes) == 50
    assert max(sizes) <= 16
    same(RoutingTrace.read(tmp_path / "t.parquet"), trace)


def test_a_million_tokens_take_at_most_200_megabytes():
    count = 10_000
    trace = RoutingTrace(
        np.zeros((4, count, 2), np.int16),
        np.zeros((4, count, 2), np.float16),
        np.zeros((4, count, 8), np.float16),
        8,
        np.zeros(count, np.int32),
        np.zeros(count, np.int16),
        ("a",),
        np.zeros(count, np.int32),
    )
    assert trace.nbytes * 1_000_000 / count <= 200e6
    assert trace.nbytes == count * (4 * 2 * 2 + 4 * 2 * 2 + 4 * 8 * 2 + 4 + 2 + 4)


def test_what_is_recorded_has_the_types_that_keep_it_small(model):
    with torch.no_grad(), tracing(model) as told:
        model(torch.zeros(2, 8, dtype=torch.long))
    trace = told.trace
    assert (trace.indices.dtype, trace.weights.dtype, trace.logits.dtype) == (np.int16, np.float16, np.float16)
    assert (trace.labels, trace.tokens) == (None, None)
    assert trace.sequences.tolist() == [0] * 16
    with torch.no_grad(), tracing(model, logits=False) as told:
        model(torch.zeros(1, 3, dtype=torch.long))
        model(torch.zeros(1, 5, dtype=torch.long))
    assert told.trace.logits is None
    assert told.trace.sequences.tolist() == [0] * 3 + [1] * 5


def test_unused_slots_are_marked(model):
    with torch.no_grad(), control(model, Rows((Policy(k=1), Policy(k=3)))), tracing(model) as told:
        model(torch.zeros(2, 4, dtype=torch.long))
    used = (told.trace.indices >= 0).sum(-1)
    assert (used == [1] * 4 + [3] * 4).all()
    assert (told.trace.weights[told.trace.indices < 0] == 0).all()
    assert (told.trace.chosen(0).sum(1) == used[0]).all()


def test_parts_of_other_widths_are_joined_and_chosen_from():
    one, other = made(k=2), made(k=3, seed=1)
    both = joined([one, other])
    assert both.indices.shape == (2, 14, 3)
    same(both.at(np.arange(7, 14)), other)
    assert len(both.of("one")) == int((both.labels == 0).sum())
    assert joined([one, made(logits=False)]).logits is None


def test_bad_shapes_and_labels_are_named():
    trace = made()
    with pytest.raises(InvalidInput, match="expert 4 where there are 3"):
        RoutingTrace(np.full((1, 2, 1), 4, np.int16), np.ones((1, 2, 1), np.float16), None, 3, np.zeros(2, np.int32))
    with pytest.raises(InvalidInput, match="shapes differ"):
        RoutingTrace(trace.indices, trace.weights[:, :3], None, 5, trace.sequences)
    with pytest.raises(InvalidInput, match="no label 'three'; there are one, two"):
        trace.of("three")
    with pytest.raises(InvalidInput, match="there are none"):
        made(labels=False).of("one")


def test_sequences_that_cannot_be_are_refused(model):
    with torch.no_grad(), tracing(model) as told:
        told.labels = np.zeros(4, int)
        with pytest.raises(InvalidInput, match="6 tokens are not those of 4"):
            model(torch.zeros(2, 3, dtype=torch.long))


def test_broken_files_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = tmp_path / "good.parquet"
    made(count=300).write(good)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(good.read_bytes()[:-40])
    text = tmp_path / "text.parquet"
    text.write_text("no parquet")
    empty = tmp_path / "empty.parquet"
    empty.write_bytes(b"")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    for path in (cut, text, empty, other, tmp_path / "none.parquet", tmp_path):
        with pytest.raises(InvalidInput, match="is no trace of weighup"):
            RoutingTrace.read(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobFailed, match="cannot write"):
        made().write(tmp_path / "file" / "t.parquet")


def test_an_error_while_writing_leaves_no_part_behind(tmp_path):
    def fail():
        trace = made()
        with traces.TraceFile(tmp_path / "t.parquet", 2, 5, trace.names, True) as out:
            out.add(trace)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert not list(tmp_path.iterdir())
