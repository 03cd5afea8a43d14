"""Outputs from anywhere: every habit of files is read alike, every bad row is told by its number, nothing is half taken."""

import csv
import gzip
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena import ArenaError, create, export, import_, sheet, studies
from arena.__main__ import main
from arena.outside import Columns, guess, read
from arena.spreadsheet import write
from arena.store import Store
from arena.tables import tables

pytest_plugins = ["tests.arena_fixtures"]

ROWS = [
    ("Wie kocht man Öl?", "Gar nicht; *5*4*3*.", "Langsam,\nsehr “langsam”."),
    ("Was ist 2 + 2?", "=4", "'4'"),
    ("Über?", "", "Nur eine Antwort\u00a0hier"),
]
WIDE = Columns("prompt", ("model a", "model b"))
OUTPUTS = [
    (prompt, name, text)
    for prompt, *texts in ROWS
    for name, text in zip(("model a", "model b"), texts, strict=True)
    if text
]


def text_of(separator=",", end="\n", rows=ROWS, header=("prompt", "model a", "model b")) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, lineterminator=end).writerows([header, *rows])
    return file.getvalue()


def records(rows=ROWS, header=("prompt", "model a", "model b")):
    return [dict(zip(header, row, strict=True)) for row in rows]


def seen(outputs):
    return [(output.prompt, output.policy, output.text) for output in outputs]


WRITERS = {
    "plain.csv": lambda path: path.write_text(text_of(), "utf-8"),
    "excel-german.csv": lambda path: path.write_text(text_of(";", "\r\n"), "cp1252", newline=""),
    "bom.csv": lambda path: path.write_text(text_of(";", "\r\n"), "utf-8-sig", newline=""),
    "unicode.txt": lambda path: path.write_text(text_of("\t", "\r\n"), "utf-16", newline=""),
    "no-mark.tsv": lambda path: path.write_bytes(text_of("\t").encode("utf-16-le")),
    "told.csv": lambda path: path.write_text("sep=|\r\n" + text_of("|", "\r\n"), "utf-8", newline=""),
    "holes.csv": lambda path: path.write_text(
        text_of(rows=[ROWS[0], ("", "", ""), *ROWS[1:], ("", "", "")]), "utf-8"
    ),
    "index.csv": lambda path: pd.DataFrame(records()).to_csv(path),
    "packed.csv.gz": lambda path: path.write_bytes(gzip.compress(text_of().encode())),
    "lines.jsonl": lambda path: path.write_text("\n".join(map(json.dumps, records())), "utf-8"),
    "lines.jsonl.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, records())).encode())),
    "array.json": lambda path: path.write_text(json.dumps(records(), ensure_ascii=False), "utf-8"),
    "table.parquet": lambda path: pd.DataFrame(records()).to_parquet(path),
    "ours.csv": lambda path: write(path, ["prompt", "model a", "model b"], records(), {"prompt", "model a", "model b"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_outputs_come_from_every_file(tmp_path, name):
    WRITERS[name](tmp_path / name)
    assert seen(read(tmp_path / name, WIDE)) == OUTPUTS


@pytest.mark.parametrize("kind", ["parquet", "saved", "jsonl"])
def test_a_data_sets_folder_is_read(tmp_path, kind):
    folder = tmp_path / "set"
    if kind == "saved":
        datasets = pytest.importorskip("datasets")
        datasets.DatasetDict({"train": datasets.Dataset.from_list(records())}).save_to_disk(str(folder))
    else:
        (folder / "data").mkdir(parents=True)
        (folder / "README.md").write_text("---\n---\n")
        (folder / "dataset_infos.json").write_text("{}")
        for part in range(2):
            frame = pd.DataFrame(records()[2 * part : 2 * part + 2])
            path = folder / "data" / f"train-0000{part}-of-00002.{kind}"
            frame.to_parquet(path) if kind == "parquet" else frame.to_json(path, orient="records", lines=True)
    assert seen(read(folder, WIDE)) == OUTPUTS


def test_the_long_form_is_the_same_outputs(tmp_path):
    rows = [{"model": name, "prompt": prompt, "response": text} for prompt, name, text in OUTPUTS]
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    columns = guess(sheet.read(path))
    assert columns == Columns("prompt", ("response",), "model")
    assert sorted(seen(read(path, columns))) == sorted(OUTPUTS)


def test_columns_are_guessed_by_name_and_content(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("id,Category,Instruction,gpt,claude,score\n1,x,Say it now,It is said,So be it,3\n")
    assert guess(sheet.read(path)) == Columns("Instruction", ("gpt", "claude"), tag="Category")


def test_chats_keep_their_turns_and_system_prompts(tmp_path):
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Who?"},
    ]
    rows = [{"messages": chat, "a": [*chat, {"role": "assistant", "content": "I."}], "b": 4, "topic": "self"}]
    pd.DataFrame(rows).to_parquet(tmp_path / "chat.parquet")
    (tmp_path / "chat.csv").write_text(
        text_of(rows=[(json.dumps(chat), "I.", "4")], header=("messages", "a", "b"))
    )
    turns = tuple((turn["role"], turn["content"]) for turn in chat[:-1])
    for name in ("chat.parquet", "chat.csv"):
        outputs = read(tmp_path / name, Columns("messages", ("a", "b")))
        assert seen(outputs) == [("Who?", "a", "I."), ("Who?", "b", "4")]
        assert {output.turns for output in outputs} == {turns}
    with_system = read(
        tmp_path / "chat.parquet", Columns("topic", ("a", "b"), system="messages", tag="topic")
    )
    assert {(output.turns, output.tag) for output in with_system} == {((("system", "Who?"),), "self")}


@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.text(), st.text()),
        min_size=1,
        max_size=4,
        unique_by=lambda row: row[0],
    )
)
def test_every_text_comes_as_it_was_written(tmp_path_factory, rows):
    def kept(text):
        return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()

    rows = [tuple(text.replace("\r", "\n") for text in row) for row in rows]
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in records(rows)))
    wanted = [
        (kept(prompt), name, kept(text))
        for prompt, *texts in rows
        for name, text in zip(("model a", "model b"), texts, strict=True)
        if text.strip()
    ]
    if all(prompt.strip() and not prompt.lstrip().startswith("[{") for prompt, *_ in rows) and len(
        {(prompt, name) for prompt, name, _ in wanted}
    ) == len(wanted):
        outputs = read(path, WIDE) if wanted else []
        assert [(kept(o.prompt), o.policy, o.text) for o in outputs] == wanted


BAD = [
    ("a.csv", "prompt,model a,model b\np,1,2\nq,1,2,3\n", "a.csv, row 3 has 4 cells for 3 columns"),
    ("a.csv", "prompt,model a,model b\n\np,1,2\n,1,2\n", "a.csv, row 4 has outputs and no prompt"),
    ("a.csv", 'prompt,model a,model b\np,"1,2\n', "a.csv, row 2 is no CSV"),
    ("a.csv", "prompt,model a\np,1\n", "has no column 'model b': it has 'prompt', 'model a'"),
    ("a.csv", "prompt,model a,model b\n", "no row below its column names"),
    ("a.csv", "", "is empty"),
    ("a.csv", f"prompt,model a,model b\np,{'x' * 20_001},2\n", "row 2: The output of 'model a' has 20,001 characters"),
    ("a.csv", f"prompt,model a,model b\n{'x' * 8_001},1,2\n", "row 2: The prompt with its turns has 8,001 characters"),
    ("a.csv", "prompt,model a,model b\np,1,2\nq,1,2\np,1,3\n", "row 4: 'model b' answers a prompt that it answers in a.csv, row 2 otherwise"),
    ("a.jsonl", '{"prompt": "p", "model a": "1", "model b": "2"}\n{"prompt": 3,\n', "a.jsonl, line 2 is no JSON object"),
    ("a.jsonl", '{"prompt": "p", "model a": {"x": 1}, "model b": "2"}\n', "a.jsonl, line 1: 'model a' holds a dict"),
    ("a.json", '[{"prompt": "p", "model a": "1", "model b": "2"}, 7]', "a.json, row 2 is no JSON object"),
]  # fmt: skip


ELSE = {
    "old.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "o.pdf": b"%PDF-1.7\n" + bytes(range(256)),
    "o.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "o.db": b"SQLite format 3\0" + bytes(200),
    "o.pkl": b"\x80\x04\x95" + bytes(50),
    "page.xls": b"<html><table><tr><td>prompt</td></tr></table></html>",
    "o.rtf": b"{\\rtf1\\ansi prompt,a,b\\par}",
}


@pytest.mark.parametrize("name", ELSE)
def test_what_is_no_table_of_text_is_called_what_it_is(tmp_path, name):
    (tmp_path / name).write_bytes(ELSE[name])
    with pytest.raises(ArenaError, match=rf"{name} is (a|packed) .*: save it as “CSV UTF-8”") as told:
        sheet.read(tmp_path / name)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("header", ["[prompt],a,b", "{prompt},a,b", "[1],a,b"])
def test_a_column_of_a_csv_may_begin_with_a_bracket(tmp_path, header):
    (tmp_path / "o.csv").write_text(f"{header}\np,1,2\n")
    assert sheet.read(tmp_path / "o.csv").columns == tuple(header.split(","))


def test_utf_8_with_a_broken_byte_is_told_by_its_line_and_not_read_as_something_else(tmp_path):
    path = tmp_path / "o.csv"
    path.write_bytes("prompt,a,b\né,ü,ö\nß,“x”,y\n".encode() + b"q,\xff,z\n")
    with pytest.raises(ArenaError, match="o.csv is UTF-8 but for some bytes, the first in line 4: save it"):
        sheet.read(path)
    assert sheet.read(path, encoding="latin-1").rows[2].cells["a"] == "ÿ"


@pytest.mark.parametrize("name, content, message", BAD)
def test_a_bad_row_is_told_by_its_number_and_nothing_is_stored(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_text(content)
    database = f"sqlite:///{tmp_path / 'arena.sqlite3'}"
    asked = ["create", "--database", database, "--outputs", str(tmp_path / name)]
    assert main([*asked, "--prompt", "prompt", "--output", "model a", "model b"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    with Store(database).read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM runs").scalar() == 0


def test_the_command_line_takes_columns_or_tells_its_guess(tmp_path, capsys):
    path = tmp_path / "o.csv"
    path.write_text(text_of(";"), "cp1252")
    assert main(["columns", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "3 rows, CSV in cp1252, separated by semicolons" in shown
    assert "--prompt prompt --output 'model a' --output 'model b'" in shown and "Gar nicht" in shown
    database = f"sqlite:///{tmp_path / 'arena.sqlite3'}"
    asked = [
        "create",
        "--database",
        database,
        "--outputs",
        str(path),
        "--question",
        "kinder: Which is kinder?",
    ]
    assert main(asked) == 0
    created = json.loads(capsys.readouterr().out)
    assert (created["plain"], created["name"]) == (2, "Battles")  # the third prompt has one output
    with Store(database).read() as session:
        assert session.connection().exec_driver_sql("SELECT key FROM questions").all() == [("kinder",)]


def test_a_parquet_file_that_lies_about_its_size_is_refused(tmp_path, monkeypatch):
    pd.DataFrame(records()).to_parquet(tmp_path / "big.parquet")
    monkeypatch.setattr("arena.parquet.MAX_ROWS", 2)
    with pytest.raises(ArenaError, match="big.parquet has 3 rows; the most is 2"):
        read(tmp_path / "big.parquet", WIDE)


def test_outputs_leave_in_the_order_in_which_they_came(store, tmp_path):
    header = ("prompt", "zebra", "ant", "mule")
    rows = [(f"Question {n}?", f"z {n}", f"a {n}", f"m {n}") for n in (9, 2, 11, 1, 7, 3)]
    path = tmp_path / "in.csv"
    path.write_text(text_of(rows=rows, header=header), "utf-8")
    made = create(store, "Ordered", read(path, Columns("prompt", header[1:])), repeats=0.2, traps=0.2)
    export(store, tmp_path / "out", set_id=made.set)
    table = pd.read_parquet(tmp_path / "out" / "outputs.parquet")
    assert tuple(table.columns[:4]) == header
    assert [*table[[*header]].itertuples(index=False, name=None)] == rows


def test_prompts_that_nobody_is_shown_leave_with_the_others(store, tmp_path):
    header = ("prompt", "tag", "zebra", "ant")
    rows = [
        ("Equal?", "x", "Yes", "Yes"),
        ("Shown?", "y", "Yes", "No"),
        ("Told?", "x", "I am ChatGPT", "Hm"),
        ("Alone?", "y", "Yes", None),
    ]
    path = tmp_path / "in.csv"
    path.write_text(text_of(rows=rows, header=header), "utf-8")
    made = create(store, "All", read(path, Columns("prompt", header[2:], tag="tag")), repeats=0.0)
    assert (made.plain, made.same, made.leaks) == (1, 1, 1)
    elsewhere = Store(f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}")
    copy = studies.duplicate(store, made.set, "Copy")

    def left(of: Store, study: str, folder: str) -> list[tuple]:
        export(of, tmp_path / folder, set_id=study)
        table = pd.read_parquet(tmp_path / folder / "outputs.parquet")
        assert table["votes"].tolist() == [0] * len(rows)
        return [
            *table.astype(object).where(table.notna(), None)[[*header]].itertuples(index=False, name=None)
        ]

    assert left(store, made.set, "out") == rows
    import_(elsewhere, tmp_path / "out")
    assert left(elsewhere, made.set, "again") == rows
    studies.delete(store, made.set)
    assert left(store, copy, "copy") == rows
    studies.delete(store, copy)
    assert not tables(store, names=True)["runs"]
