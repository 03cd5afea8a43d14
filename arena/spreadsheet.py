"""CSV that survives a spreadsheet: nothing in it runs when it is opened,
and what is saved there reads as before.
"""

import csv
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from arena.errors import ArenaError

MAX_BYTES = 200_000_000
MAX_ROWS = 200_000
SEPARATORS = ",;\t|"
TRUTHS = frozenset(
    word.casefold()
    for word in "true false wahr falsch vrai faux verdadero falso vero verdadeiro waar onwaar prawda fałsz истина ложь "
    "істина хибність sant falskt sand falsk sann usann tosi epätosi doğru yanlış pravda nepravda igaz hamis adevărat "
    "fals αληθής ψευδής benar salah đúng sai".split()
)
"""What spreadsheets write for the two truth values, in the languages they speak."""
_MARKS = r"[\s\d.,:/%()'’+\-–$€£¥₩₹₽฿]*"
_NUMBER_OR_DATE = re.compile(rf"(?=.*\d){_MARKS}(?:[^\W\d_]+{_MARKS}){{0,3}}")
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"


def protect(text: str) -> str:
    """`text` as a cell that a spreadsheet leaves as it is: an apostrophe stands before what it would run or
    convert.

    Those are formulas, numbers and dates (a digit, and three words at most), truth values, and what begins
    with an apostrophe already. A text with carriage returns, which a spreadsheet makes line feeds, is written
    in JSON.
    """
    if "\r" not in text and not _converted(text):
        return text
    return "'" + (json.dumps(text, ensure_ascii=False) if "\r" in text or text[0] == '"' else text)


def restore(cell: str) -> str:
    """The text of which `protect` made this cell; another cell as it is,
    with line feeds for its line ends.
    """
    cell = re.sub(r"\r\n?", "\n", cell)
    if not cell.startswith("'"):
        return cell
    text = _from_json(cell[1:]) if cell.startswith("'\"") else cell[1:]
    return text if protect(text) == cell else cell


def heading(name: str) -> str:
    """The name of a column as a cell that runs nothing."""
    return f"'{name}" if _runs(name) or name.startswith("'") else name


def named(cell: str) -> str:
    """The name of which `heading` made this cell; another one as it is."""
    return cell[1:] if heading(cell[1:]) == cell else cell


def write(
    path: Path, columns: Sequence[str], listed: Iterable[Mapping[str, Any]], texts: Collection[str]
) -> None:
    """Rows as RFC 4180 wants them, with the byte order mark by which spreadsheets know UTF-8.

    texts: columns of words, which are protected; the others hold ids, times and numbers.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(map(heading, columns))
        for row in listed:
            lines.writerow(
                [protect(row.get(name) or "") if name in texts else row.get(name) for name in columns]
            )


def read(path: Path, wanted: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a CSV, protected texts restored, whichever spreadsheet saved it: UTF-8 or UTF-16, with or
    without a byte order mark, separated by commas, semicolons, tabs or bars, with empty rows and columns at
    its end.

    Parameters
    ----------
    wanted: columns by which the separator is known; without them it is the one that splits the first row
        most.

    Raises ArenaError, which tells the row as a spreadsheet counts it, the column names being row 1.
    """
    _, lines = rows(path, text_of(path), wanted)
    if not lines:
        raise ArenaError(f"{path.name} is empty. Give a file with a row of column names.")
    header = _header(path, lines)
    return [
        {name: restore(cell) for name, cell in zip(header, _fitted(path, number, cells, header), strict=True)}
        for number, cells in enumerate(lines[1:], start=2)
    ]


def decimal(text: str) -> float:
    """A number with a decimal point, or with a decimal comma as half of Europe writes it. Raises ValueError.

    A lone group of three digits behind a comma may be thousands, and is refused.
    """
    if re.fullmatch(r"\d+,\d+", text) and not re.fullmatch(r"[1-9]\d{0,2},\d{3}", text):
        text = text.replace(",", ".")
    if not re.fullmatch(r"\d+(\.\d*)?([eE][+-]?\d+)?", text):
        raise ValueError(text)
    return float(text)


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises ArenaError."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ArenaError(f"{path.name} has {size:,} bytes; the most is {MAX_BYTES:,}. Give it in parts.")
    content = path.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        return content.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError:
        raise ArenaError(f"{path.name} is not UTF-8 text. Save it as “CSV UTF-8”.") from None


def _runs(text: str) -> bool:
    """Whether a spreadsheet takes it for a formula."""
    return unicodedata.normalize("NFKC", _bare(text)[:1]).startswith(("=", "+", "-", "@"))


def _bare(text: str) -> str:
    return text.strip().strip(_INVISIBLE).strip()


def _converted(text: str) -> bool:
    bare = _bare(text)
    return (
        text.startswith(("\t", "\n", "'"))
        or _runs(text)
        or bare.casefold() in TRUTHS
        or (len(bare) <= 60 and _NUMBER_OR_DATE.fullmatch(bare) is not None)
    )


def _from_json(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def rows(path: Path, text: str, wanted: Sequence[str] = ()) -> tuple[str, list[list[str]]]:
    """The separator of a CSV, and its rows as they stand, without the empty ones at the end.
    Raises ArenaError.
    """
    declared = re.match(r"\"?sep=(.)\"?\r?\n", text)  # a first line by which Excel knows the separator
    if declared:
        text = text[declared.end() :]
    csv.field_size_limit(MAX_BYTES)  # cells are bounded by what they hold, in words that say so
    separator = declared[1] if declared else _separator(text, wanted)
    lines: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True):
            lines.append(row)
            if len(lines) > MAX_ROWS + 1:
                raise ArenaError(f"{path.name} has more than {MAX_ROWS:,} rows. Give it in parts.")
    except csv.Error as error:
        raise ArenaError(f"{path.name}, row {len(lines) + 1} is no CSV: {error}. Save it anew.") from error
    while lines and not any(map(str.strip, lines[-1])):
        lines.pop()
    return separator, lines


def _separator(text: str, wanted: Sequence[str]) -> str:
    """The one that finds the most of the columns wanted; of equals the one by which most of the first rows
    are as long as the header, then the one that splits it most.
    """

    def fit(separator: str) -> tuple[int, bool, int, int]:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            first, *more = itertools.islice(lines, 20)
        except (csv.Error, ValueError):
            return 0, False, 0, 0
        alike = sum(len(cells) == len(first) for cells in more)
        return len({*wanted} & {cell.strip() for cell in first}), len(first) > 1, alike, len(first)

    return max(SEPARATORS, key=fit)


def _header(path: Path, lines: Sequence[Sequence[str]]) -> list[str]:
    names = [name.strip() for name in lines[0]]
    while names and not names[-1]:
        names.pop()
    twice = {name for name in names if names.count(name) > 1}
    if "" in names or twice:
        fault = f"two columns {min(twice)!r}" if twice - {""} else "a column without a name"
        raise ArenaError(f"{path.name} has {fault}. Give each column a name of its own.")
    return names


def _fitted(path: Path, number: int, cells: list[str], header: Sequence[str]) -> list[str]:
    if any(map(str.strip, cells[len(header) :])):
        raise ArenaError(
            f"{path.name}, row {number} has {len(cells)} cells for {len(header)} columns. Put texts with separators in quotes."
        )
    if not any(map(str.strip, cells)):
        raise ArenaError(f"{path.name}, row {number} is empty. Delete it.")
    padded = [*cells, *[""] * (len(header) - len(cells))]  # Excel leaves out empty cells at the end
    return padded[: len(header)]
