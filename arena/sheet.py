"""Rows and columns from anywhere: CSV of any spreadsheet, JSON Lines, JSON, Parquet, Arrow,
a folder of a data set.
"""

import bz2
import gzip
import itertools
import json
import lzma
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from arena import parquet, spreadsheet
from arena.encoding import decode
from arena.errors import ArenaError
from arena.parquet import MAX_COLUMNS
from arena.spreadsheet import MAX_BYTES, MAX_ROWS
from arena.values import json_object, unlike_json

SAMPLE = 3
"""Rows that are shown before a file is taken."""
PARTS = (
    (".arrow", ".feather"),
    (".parquet",),
    (".jsonl", ".ndjson"),
    (".json",),
    (".csv",),
    (".tsv",),
)
"""Kinds of files of which a data set's folder is made; one folder holds one kind, the first of these."""
PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.input_stream(str(path), compression="zstd"),
}
"""How packed files begin, and what unpacks them."""
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
"""Of packed files."""
OTHERS = {
    b"PK\x03\x04": "a spreadsheet's own file or a zip",
    b"\xd0\xcf\x11\xe0": "a spreadsheet's own file",
    b"7z\xbc\xaf": "packed by 7-Zip",
    b"Rar!": "packed by RAR",
    b"\x04\x22\x4d\x18": "packed by LZ4",
    b"Obj\x01": "an Avro file",
    b"FEA1": "a Feather file of the first version",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"SQLite": "a database",
    b"\x80\x02": "a pickle, which can run code",
    b"\x80\x03": "a pickle, which can run code",
    b"\x80\x04": "a pickle, which can run code",
    b"\x80\x05": "a pickle, which can run code",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF": "an HDF5 file",
}
"""How files of other programs begin, and what they are."""
TWICE = {b"PAR1": "Parquet, packed once more", b"ARROW1": "Arrow, packed once more"}
NOT_DATA = {"dataset_info.json", "dataset_dict.json", "state.json", "dataset_infos.json"}


@dataclass(frozen=True)
class Row:
    """A row's cells by their columns, and where it stands, as `a.csv, row 7`."""

    place: str
    cells: dict[str, Any]


@dataclass(frozen=True)
class Sheet:
    """columns: their names, in order. about: how the file was read, for whoever checks it."""

    columns: tuple[str, ...]
    rows: list[Row]
    about: str


def read(path: Path, wanted: Sequence[str] = (), *, encoding: str | None = None) -> Sheet:
    """The rows of a file or of a folder of files with the same columns.

    Parameters
    ----------
    wanted: the columns that are needed; of Parquet and Arrow no others are read. All without it.
    encoding: of a text file, where its guess is wrong.

    Raises ArenaError, which tells a bad row by its number.
    """
    if not path.exists():
        raise ArenaError(f"{path} is not there: give a file, or the folder of a data set.")
    if not path.is_dir():
        return _file(path, wanted, encoding)
    sheets = [_file(part, wanted, encoding) for part in _parts(path)]
    for sheet in sheets[1:]:
        if set(sheet.columns) != set(sheets[0].columns):
            raise ArenaError(f"The files of {path.name} have different columns: give one of them.")
    rows = [row for sheet in sheets for row in sheet.rows]
    parquet.check_size(path, len(rows))
    return Sheet(sheets[0].columns, rows, f"{len(sheets)} files; {sheets[0].about}")


def missing(sheet: Sheet, name: str, wanted: Sequence[str]) -> None:
    """Raises ArenaError where a wanted column is not there."""
    for column in wanted:
        if column not in sheet.columns:
            raise ArenaError(
                f"{name} has no column {column!r}: it has {', '.join(map(repr, sheet.columns[:20]))}."
            )


def _parts(folder: Path) -> list[Path]:
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and file.name not in NOT_DATA
        and not any(part.startswith((".", "_", "cache-")) for part in file.relative_to(folder).parts)
    ]
    for suffixes in PARTS:
        if parts := [file for file in files if _kind(file) in suffixes]:
            return parts
    known = ", ".join(itertools.chain(*PARTS))
    raise ArenaError(f"{folder} holds no data: give a folder with {known} files.")


def _kind(file: Path) -> str:
    """What a file is by its name, packed or not."""
    return Path(file.stem if file.suffix in SUFFIXES else file.name).suffix.lower()


def _file(path: Path, wanted: Sequence[str], encoding: str | None) -> Sheet:
    with path.open("rb") as file:
        head = file.read(6)
    if head[:4] == b"PAR1":
        return _numbered(path, parquet.read(path, wanted, nested=True), "Parquet", parquet.names(path))
    if head in (b"ARROW1", b"\xff\xff\xff\xff" + head[4:]):
        return _numbered(path, *parquet.arrow(path, wanted))
    _refuse_others(path, head, OTHERS)
    content = _content(path)
    _refuse_others(path, content[:6], OTHERS | TWICE)
    text, used = decode(content, path.name, encoding)
    if text.lstrip()[:9].lower().startswith(("<html", "<!doctype", "<table", "<?xml", "{\\rtf")):
        raise ArenaError(
            f"{path.name} is a page or document, whatever its name says: save it as “CSV UTF-8”."
        )
    if _kind(path) in (".csv", ".tsv") and not _is_json(text):  # a column's name may begin with a bracket
        return _csv(path, text, used, wanted)
    if text.lstrip()[:1] == "[":
        return _json(path, text, used)
    if text.lstrip()[:1] == "{":
        return _lines(path, text, used)
    return _csv(path, text, used, wanted)


def _refuse_others(path: Path, head: bytes, others: Mapping[bytes, str]) -> None:
    if kind := next((kind for start, kind in others.items() if head.startswith(start)), None):
        raise ArenaError(f"{path.name} is {kind}: save it as “CSV UTF-8”, or unpack it first.")


def _is_json(text: str) -> bool:
    """Whether the first line, or the whole text, is JSON."""
    start = text.lstrip()[:1]
    return bool(start) and start in "[{" and (_parses(text.lstrip().split("\n", 1)[0]) or _parses(text))


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is packed, bounded either way."""
    with path.open("rb") as plain:
        head = plain.read(6)
    unpacked = next((opener for start, opener in PACKED.items() if head.startswith(start)), None)
    try:
        with unpacked(path) if unpacked else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (zlib.error, lzma.LZMAError, EOFError, OSError):
        raise ArenaError(
            f"{path.name} cannot be unpacked, it is damaged or not all there: pack it anew."
        ) from None
    if len(content) > MAX_BYTES:
        raise ArenaError(f"{path.name} has more than {MAX_BYTES:,} bytes. Give it in parts.")
    return content


def _csv(path: Path, text: str, encoding: str, wanted: Sequence[str]) -> Sheet:
    separator, lines = spreadsheet.rows(path, text)
    filled = [(number, cells) for number, cells in enumerate(lines, start=1) if any(map(str.strip, cells))]
    if not filled:
        raise ArenaError(f"{path.name} is empty: give a file with a row of column names.")
    (_, names), *body = filled
    while len(names) > MAX_COLUMNS and not names[-1].strip():
        names.pop()
    parquet.check_size(path, len(body), len(names))
    columns = _named(names)
    if any(
        unicodedata.category(letter) == "Cc" for name in columns for letter in name if letter not in "\t\r\n"
    ):
        raise ArenaError(
            f"{path.name} has column names with control characters, as files of other programs do: save it as “CSV UTF-8”."
        )
    for number, cells in body:
        if any(map(str.strip, cells[len(columns) :])):
            raise ArenaError(
                f"{path.name}, row {number} has {len(cells)} cells for {len(columns)} columns: put texts with "
                "separators in quotes."
            )
    padded = [(number, [*cells, *[""] * (len(columns) - len(cells))]) for number, cells in body]
    texts = [[cells[place] for _, cells in padded] for place in range(len(columns))]
    named = [cells for name, cells in zip(columns, texts, strict=True) if not wanted or name in wanted]
    if all(spreadsheet.protect(spreadsheet.restore(cell)) == cell for cells in named for cell in cells):
        texts = [[*map(spreadsheet.restore, cells)] for cells in texts]  # the arena wrote this file
    rows = [
        Row(f"{path.name}, row {number}", {name: texts[place][at] for place, name in enumerate(columns)})
        for at, (number, _) in enumerate(padded)
    ]
    shown = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}.get(separator, repr(separator))
    return _sheet(path, columns, rows, f"CSV in {encoding}, separated by {shown}")


def _named(header: Sequence[str]) -> list[str]:
    """Names for all columns: `column 1` where there is none, `score (2)` for the second of a name."""
    stripped = [spreadsheet.named(cell.strip()) for cell in header]
    names: list[str] = []
    for place, cell in enumerate(stripped, start=1):
        first = cell or f"column {place}"
        used = {*names, *stripped[place:]} if first in names or not cell else set()
        later = (f"{first} ({number})" for number in itertools.count(2))
        names.append(next(name for name in itertools.chain([first], later) if name not in used))
    return names


def _lines(path: Path, text: str, encoding: str) -> Sheet:
    if text.split("\n", 1)[0].strip() == "{" and _whole(text):
        raise ArenaError(
            f"{path.name} is one object over several lines: write a list of objects, or an object a line."
        )
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            rows.append(Row(f"{path.name}, line {number}", json_object(line, f"{path.name}, line {number}")))
            if len(rows) > MAX_ROWS:
                raise ArenaError(f"{path.name} has more than {MAX_ROWS:,} lines. Give it in parts.")
    return _sheet(path, _columns(row.cells for row in rows), rows, f"JSON Lines in {encoding}")


def _json(path: Path, text: str, encoding: str) -> Sheet:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArenaError(f"{path.name} is no JSON: {unlike_json(error)}. Save it anew.") from None
    rows = []
    for number, cells in enumerate(listed, start=1):
        if not isinstance(cells, dict):
            raise ArenaError(f"{path.name}, row {number} is no JSON object: write columns and values.")
        rows.append(Row(f"{path.name}, row {number}", cells))
    return _sheet(path, _columns(row.cells for row in rows), rows, f"JSON in {encoding}")


def _whole(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _columns(rows: Iterator[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for cells in rows for name in cells))


def _numbered(path: Path, rows: list[dict[str, Any]], about: str, columns: Sequence[str]) -> Sheet:
    numbered = [Row(f"{path.name}, row {number}", cells) for number, cells in enumerate(rows, start=1)]
    return _sheet(path, columns, numbered, about)


def _sheet(path: Path, columns: Sequence[str], rows: list[Row], about: str) -> Sheet:
    parquet.check_size(path, len(rows), len(columns))
    if not rows:
        raise ArenaError(f"{path.name} has no row below its column names: give at least one.")
    return Sheet(tuple(columns), rows, about)
