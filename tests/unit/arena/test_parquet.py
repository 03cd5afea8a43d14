"""Parquet from strangers: bounded before and while it is read."""

import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arena import ArenaError
from arena.parquet import read


def saved(path, columns):
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


def test_values_come_as_they_are(tmp_path):
    columns = {"x": ["a", None, "c"], "n": [1, 2, None], "t": [True, False, None], "none": pa.nulls(3)}
    assert read(saved(tmp_path / "a.parquet", columns), ("x", "n", "t", "none", "absent")) == [
        {"x": "a", "n": 1, "t": True, "none": None},
        {"x": None, "n": 2, "t": False, "none": None},
        {"x": "c", "n": None, "t": None, "none": None},
    ]


def repeated(text, count):
    """A text so many times, in the room of one."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([text]))


def test_a_million_rows_are_refused_by_their_number(tmp_path):
    path = saved(tmp_path / "a.parquet", {"x": repeated("y" * 1000, 300_000)})
    assert path.stat().st_size < 50_000
    with pytest.raises(ArenaError, match="a.parquet has 300,000 rows; the most is 200,000"):
        read(path)


def test_a_text_repeated_is_refused_before_it_takes_its_room(tmp_path):
    path = saved(tmp_path / "a.parquet", {"x": repeated("y" * 20_000, 100_000)})
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    with pytest.raises(ArenaError, match="unfolds to more than 200,000,000 bytes of text"):
        read(path)
    assert (
        pa.total_allocated_bytes() - before < 50_000_000
        and tracemalloc.get_traced_memory()[1] < 1_000_000_000
    )
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ([[1, 2]], "list<"),
        ([{"a": 1}], "struct<"),
        ([b"raw"], "binary"),
        ([pa.scalar(5, pa.duration("s"))], "duration"),
    ],
)
def test_nested_and_raw_columns_are_named(tmp_path, column, told):
    with pytest.raises(ArenaError, match=f"column x holds {told}.*Give texts, numbers or truth values"):
        read(saved(tmp_path / "a.parquet", {"x": column}))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_one_sentence(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ArenaError, match="^a.parquet cannot be read as Parquet"):
        read(tmp_path / "a.parquet")


def test_too_many_columns_are_counted(tmp_path):
    with pytest.raises(ArenaError, match="has 201 columns; the most is 200"):
        read(saved(tmp_path / "a.parquet", {f"c{number}": [1] for number in range(201)}))
