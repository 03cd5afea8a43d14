"""Parquet from anywhere: bounded by what its metadata tells before a value is read, and by its values while they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from arena.errors import ArenaError
from arena.spreadsheet import MAX_BYTES, MAX_ROWS

BATCH = 1_024
MAX_COLUMNS = 200


def read(path: Path, wanted: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of a file: texts, numbers, truth values, times and nothing.

    wanted: the columns to read, of those that are there; all without it. Raises ArenaError.
    """
    try:
        schema = _bounded(path)
        columns = [name for name in schema.names if not wanted or name in wanted]
        for name in columns:
            if not _plain(schema.field(name).type):
                raise ArenaError(
                    f"{path.name}: column {name} holds {schema.field(name).type}. Give texts, numbers or truth values."
                )
        return [row for batch in _batches(path, schema, columns) for row in batch.to_pylist()]
    except (ValueError, OSError, pa.ArrowException) as error:
        if isinstance(error, ArenaError):
            raise
        raise ArenaError(f"{path.name} cannot be read as Parquet: {error}. Write it anew.") from error


def _bounded(path: Path) -> pa.Schema:
    with pq.ParquetFile(path, thrift_string_size_limit=10**7, thrift_container_size_limit=10**5) as file:
        found, schema = file.metadata, file.schema_arrow
    size = sum(found.row_group(group).total_byte_size for group in range(found.num_row_groups))
    for value, bound, what in (
        (found.num_rows, MAX_ROWS, "rows"),
        (len(schema), MAX_COLUMNS, "columns"),
        (size, MAX_BYTES, "bytes"),
    ):
        if value > bound:
            raise ArenaError(f"{path.name} has {value:,} {what}; the most is {bound:,}. Give it in parts.")
    return schema


def _plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    tests = ("string", "large_string", "boolean", "integer", "floating", "null", "timestamp")
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)


def _batches(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Texts stay dictionaries, so that one that is repeated a million times takes its own room only until it is
    counted.
    """
    texts = [name for name in columns if pa.types.is_string(schema.field(name).type)]
    total = 0
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(BATCH, columns=list(columns)):
            total += sum(map(_bytes, batch.columns))
            if total > MAX_BYTES:
                raise ArenaError(
                    f"{path.name} unfolds to more than {MAX_BYTES:,} bytes of text. Give it in parts."
                )
            yield batch


def _bytes(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary)
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
