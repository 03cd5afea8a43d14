"""Parquet from anywhere: bounded by its metadata before a value is read, and by its values during the
reading.
"""

from collections import Counter
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


def read(path: Path, wanted: Sequence[str] = (), *, nested: bool = False) -> list[dict[str, Any]]:
    """The rows of a file: texts, numbers, truth values, times and nothing.

    wanted: the columns to read, of those that are there; all without it. nested: take lists and objects, too.
    Raises ArenaError.
    """
    try:
        schema = _bounded(path)
        columns = [name for name in schema.names if not wanted or name in wanted]
        for name in columns:
            if not nested and not _plain(schema.field(name).type):
                raise ArenaError(
                    f"{path.name}: column {name} holds {schema.field(name).type}. Give texts, numbers or truth values."
                )
        return [row for batch in _batches(path, schema, columns) for row in batch.to_pylist()]
    except (ValueError, OverflowError, OSError, pa.ArrowException) as error:
        if isinstance(error, ArenaError):
            raise
        raise _unreadable(path, "Parquet", error) from error


def names(path: Path) -> list[str]:
    """The columns of a file."""
    return list(_bounded(path).names)


def arrow(path: Path, wanted: Sequence[str] = ()) -> tuple[list[dict[str, Any]], str, list[str]]:
    """The same of an Arrow file or stream, as a data set is saved to a disk:
    rows, what it is, its columns.
    """
    try:
        with pa.memory_map(str(path)) as file:
            stream = file.read_at(6, 0) != b"ARROW1"
            table = (pa.ipc.open_stream(file) if stream else pa.ipc.open_file(file)).read_all()
            _distinct(path, table.column_names)
            columns = [name for name in table.column_names if not wanted or name in wanted]
            check_size(path, table.num_rows, len(table.column_names), table.select(columns).nbytes)
            return table.select(columns).to_pylist(), "Arrow", table.column_names
    except (ValueError, OverflowError, OSError, pa.ArrowException) as error:
        if isinstance(error, ArenaError):
            raise
        raise _unreadable(path, "Arrow", error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> ArenaError:
    cause = " ".join(str(error).split()).rstrip(".")[:160]
    return ArenaError(f"{path.name} cannot be read as {kind}: {cause}. Write it anew.")


def _bounded(path: Path) -> pa.Schema:
    with pq.ParquetFile(path, thrift_string_size_limit=10**7, thrift_container_size_limit=10**5) as file:
        metadata, schema = file.metadata, file.schema_arrow
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    check_size(path, metadata.num_rows, len(schema), size)
    _distinct(path, schema.names)
    return schema


def _distinct(path: Path, names: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ArenaError(f"{path.name} has two columns {twice[0][:60]!r}. Give each a name of its own.")


def check_size(path: Path, rows: int, columns: int = 0, size: int = 0) -> None:
    """Raises ArenaError where a table has too many rows, columns or bytes."""
    for value, bound, unit in (
        (rows, MAX_ROWS, "rows"),
        (columns, MAX_COLUMNS, "columns"),
        (size, MAX_BYTES, "bytes"),
    ):
        if value > bound:
            raise ArenaError(f"{path.name} has {value:,} {unit}; the most is {bound:,}. Give it in parts.")


def _plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    tests = ("string", "large_string", "boolean", "integer", "floating", "null", "timestamp")
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)


def _batches(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Texts stay dictionary-encoded, so that a text repeated a million times takes its memory once until it
    is counted.
    """
    with pq.ParquetFile(path) as file:
        leaves = map(file.schema.column, range(len(file.schema)))
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
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
    """Bytes of a column's values where none shares its memory with another."""
    if pa.types.is_map(column.type):
        return sum(map(_bytes, (column.keys, column.items)))
    if pa.types.is_nested(column.type):
        inside = column.flatten()
        return sum(map(_bytes, inside if isinstance(inside, list) else [inside]))
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary)
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
