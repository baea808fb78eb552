"""Rows of a Parquet file in bounded memory: a few kilobytes of it can say one long text a million times.

Texts are read as dictionaries (each once, however often it is said), batches are as large as their rows allow, and rows
of batches that unpack to much are made one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_BATCH_BYTES = 16_000_000
"""Bytes of a batch, unpacked."""


def batches(file: Any, source: Any, columns: Sequence[str], most: int) -> Iterator[Any]:
    """Record batches of at most `most` rows of a `pyarrow.parquet.ParquetFile`, fewer where rows are long.

    `source` is what the file was opened from: a path, or a stream. Raises as pyarrow does.
    """
    import pyarrow.parquet

    if hasattr(source, "seek"):
        source.seek(0)
    texts = _texts(file.schema, columns)
    with pyarrow.parquet.ParquetFile(source, metadata=file.metadata, read_dictionary=texts) as opened:
        rows = max(1, min(most, int(_BATCH_BYTES / max(1.0, _longest(file.metadata, columns)))))
        yield from opened.iter_batches(batch_size=rows, columns=list(columns), use_threads=False)


def parts(batch: Any) -> Iterator[Any]:
    """The batch, or its rows one at a time where together they might take too much."""
    import pyarrow

    if sum(map(_unpacked, batch.columns)) <= _BATCH_BYTES:
        columns = [c.dictionary_decode() if hasattr(c, "dictionary_decode") else c for c in batch.columns]
        yield pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)
    else:
        yield from (batch.slice(at, 1) for at in range(batch.num_rows))


def _unpacked(array: Any) -> int:
    """Bytes that an array may take at most once its dictionaries are undone."""
    import pyarrow
    import pyarrow.compute

    kind = array.type
    if pyarrow.types.is_dictionary(kind):
        longest = pyarrow.compute.max(pyarrow.compute.binary_length(array.dictionary)).as_py()
        return len(array) * (longest or 0)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return _unpacked(array.flatten())
    if pyarrow.types.is_struct(kind):
        return sum(map(_unpacked, array.flatten()))
    return int(array.nbytes)


def _texts(schema: Any, columns: Sequence[str]) -> list[str]:
    leaves = (schema.column(i) for i in range(len(schema)))
    return [one.path for one in leaves if one.physical_type == "BYTE_ARRAY" and one.path.split(".")[0] in columns]


def _longest(metadata: Any, columns: Sequence[str]) -> float:
    """Bytes of a row, unpacked, in the row group where they are the most."""
    longest = 0.0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        chunks = map(group.column, range(group.num_columns))
        size = sum(one.total_uncompressed_size for one in chunks if one.path_in_schema.split(".")[0] in columns)
        longest = max(longest, size / max(1, group.num_rows))
    return longest
