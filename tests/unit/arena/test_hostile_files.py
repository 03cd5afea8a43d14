"""Files from strangers and from strange programs: rows, or one sentence that names file, cause and remedy."""

import bz2
import datetime
import gzip
import io
import json
import lzma
import pickle
import re
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

from arena import ArenaError, sheet
from arena.outside import Columns, guess, read

ROW = {"prompt": "hi there", "a": "x y", "b": "z w"}
BOTH = Columns("prompt", ("a", "b"))
SENTENCE = re.compile(r"[^\n]{1,260}[.?]")


def refused(path, **options) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(ArenaError) as told:
        sheet.read(path, **options)
    assert SENTENCE.fullmatch(str(told.value)) and str(told.value).startswith(path.name)
    return str(told.value)


@pytest.mark.parametrize(
    "names",
    [["a (2)", "a", "a"], ["a", "a", "a (2)"], ["a", "a", "a", "a (2)", "a (2)"], ["", "column 1", ""], ["a (", "a", "a"]],
)  # fmt: skip
def test_no_column_is_lost_to_another_of_its_name(tmp_path, names):
    path = tmp_path / "a.csv"
    cells = [f"cell {number}" for number in range(len(names))]
    path.write_text(",".join(names) + "\n" + ",".join(cells) + "\n")
    table = sheet.read(path)
    assert len(set(table.columns)) == len(names)
    assert [table.rows[0].cells[name] for name in table.columns] == cells
    assert all(name in table.columns for name in names if name)


@pytest.mark.parametrize("header", [",".join(f"c{n}" for n in range(300_000)), ",".join(["a"] * 300_000)])
def test_a_header_without_end_costs_no_time(tmp_path, header):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n" + "x\n" * 1000)
    began = time.process_time()
    assert "300,000 columns; the most is 200" in refused(path)
    assert time.process_time() - began < 5


def test_a_nul_in_a_text_makes_no_utf_16_of_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("prompt,a,b\nhi there,Grün\x00 y,z w\n".encode())
    assert [output.text for output in read(path, BOTH)] == ["Grün\N{REPLACEMENT CHARACTER} y", "z w"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("word", ["plain", "為什麼天空是藍色的", "لماذا السماء زرقاء"])
def test_utf_16_is_known_without_its_mark(tmp_path, encoding, word):
    path = tmp_path / "a.csv"
    path.write_bytes(f"prompt,a,b\n{word},{word} 1,{word} 2\n".encode(encoding))
    assert [output.text for output in read(path, BOTH)] == [f"{word} 1", f"{word} 2"]


def test_a_long_cell_is_refused_by_its_length_like_any_other(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,a,b\nhi there," + "x " * 100_000 + ",z w\n")
    with pytest.raises(
        ArenaError, match=r"a.csv, row 2: The output of 'a' has 200,000 characters; the most is 20,000"
    ):
        read(path, BOTH)


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.ods", "rows.zip", "renamed.csv"])
def test_a_zip_is_told_as_what_it_is(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>" * 100)
    assert "save it as “CSV UTF-8”" in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (json.dumps({"data": [ROW]}, indent=2), "one object over several lines"),
        (json.dumps(ROW, indent=2), "one object over several lines"),
        (json.dumps(ROW, indent=2) + "\n" + json.dumps(ROW, indent=2), "no JSON object"),
        ('{"prompt":' + "[" * 100_000 + "]" * 100_000 + "}", "too deep"),
        ("[" * 100_000, "too deep"),
        ('{"prompt": ' + "9" * 5_000 + "}", "digits"),
        ("[" + "9" * 5_000 + "]", "digits"),
        ('{"prompt": "a"}\nnot json', "line 2 is no JSON object"),
    ],
)
def test_json_is_refused_in_words_of_its_own(tmp_path, content, told):
    (tmp_path / "a.jsonl").write_text(content)
    sentence = refused(tmp_path / "a.jsonl")
    assert told in sentence and "sys." not in sentence and "recursion" not in sentence


@pytest.mark.parametrize(
    "encoding", ["undefined", "punycode", "idna", "\0", "zip", "rot13", "unicode_escape", "hex"]
)
def test_what_is_no_encoding_of_texts_is_refused(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text("prompt,a,b\nhi there,x,--y\n")
    with pytest.raises(
        ArenaError, match=r"^The encoding is .*: give a name such as utf-8, cp1252 or shift_jis\.$"
    ):
        sheet.read(path, encoding=encoding)


def saved(path, table):
    pq.write_table(table, path, compression="zstd")
    return path


def test_parquet_with_a_name_twice_is_refused_by_it(tmp_path):
    table = pa.table([["hi"], ["x"], ["y"]], names=["prompt", "a", "a"])
    assert "two columns 'a'" in refused(saved(tmp_path / "a.parquet", table))


def test_arrow_with_a_name_twice_is_refused_by_it(tmp_path):
    table = pa.table([["hi"], ["x"], ["y"]], names=["prompt", "a", "a"])
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    assert "two columns 'a'" in refused(tmp_path / "a.arrow")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_time_beyond_all_times_is_one_sentence(tmp_path, kind):
    table = pa.table({"prompt": ["hi there"], "t": pa.array([2**62], pa.timestamp("us"))})
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        saved(path, table)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
    refused(path)


LONG, TIMES = "y" * 1_000_000, 220
REPEATED = {
    "binary": lambda: pa.repeat(LONG.encode(), TIMES),
    "large": lambda: pa.repeat(pa.scalar(LONG, pa.large_string()), TIMES),
    "list": lambda: pa.ListArray.from_arrays([0, TIMES], pa.repeat(LONG, TIMES)),
    "chat": lambda: pa.ListArray.from_arrays([0, TIMES], pa.repeat({"role": "user", "content": LONG}, TIMES)),
    "nested": lambda: pa.StructArray.from_arrays([REPEATED["list"]()], ["deep"]),
}
"""Columns of more than 200 MB, made when they are wanted."""


@pytest.mark.parametrize("form", REPEATED)
def test_a_text_repeated_in_any_form_is_refused_before_it_takes_its_room(tmp_path, form):
    column = REPEATED[form]()
    path = saved(tmp_path / "a.parquet", pa.table({"prompt": ["hi"] * len(column), "x": column}))
    assert path.stat().st_size < 1_000_000
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        assert "unfolds to more than 200,000,000 bytes" in refused(path)
    finally:
        pa.set_memory_pool(pa.system_memory_pool())
    assert pool.max_memory() < 100_000_000


@pytest.mark.parametrize("name", ["parquet", "arrow"])
@pytest.mark.parametrize(
    "content", [b"PAR1" + b"\0" * 100 + b"PAR1", b"ARROW1" + b"\xff" * 100, b"\xff" * 50, b"ARROW1"]
)
def test_what_a_library_says_becomes_one_sentence(tmp_path, name, content):
    (tmp_path / f"a.{name}").write_bytes(content)
    refused(tmp_path / f"a.{name}")


def test_dates_and_decimals_of_parquet_are_shown_as_written(tmp_path):
    table = pa.table(
        {"prompt": ["hi there"], "when": [datetime.date(2026, 1, 31)], "a": ["x y"], "b": ["z w"]}
    )
    found = sheet.read(saved(tmp_path / "a.parquet", table))
    assert guess(found).outputs == ("a", "b")
    with io.StringIO() as out:
        json.dump([str(row.cells["when"]) for row in found.rows], out)
        assert out.getvalue() == '["2026-01-31"]'


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}  # fmt: skip


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv"])
def test_packed_files_are_read_alone_and_in_folders(tmp_path, packer, kind):
    separator = {"csv": ",", "tsv": "\t"}.get(kind)
    text = (
        json.dumps(ROW)
        if separator is None
        else "\n".join(map(separator.join, zip(*ROW.items(), strict=True)))
    )
    folder = tmp_path / "set"
    folder.mkdir()
    for part in range(2):
        (folder / f"part-{part}.{kind}{packer}").write_bytes(PACKERS[packer](text.encode()))
    assert [row.cells for row in sheet.read(folder).rows] == [ROW, ROW]
    assert [row.cells for row in sheet.read(folder / f"part-0.{kind}{packer}").rows] == [ROW]


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_packed_and_cut_short_is_refused(tmp_path, packer):
    path = tmp_path / f"a.jsonl{packer}"
    path.write_bytes(PACKERS[packer](json.dumps(ROW).encode() * 50)[:-12])
    assert refused(path) == f"{path.name} cannot be unpacked, it is damaged or not all there: pack it anew."


@pytest.mark.parametrize("packer", PACKERS)
def test_what_unpacks_without_end_is_refused(tmp_path, monkeypatch, packer):
    monkeypatch.setattr(sheet, "MAX_BYTES", 1_000)
    path = tmp_path / f"a.jsonl{packer}"
    path.write_bytes(PACKERS[packer](b" " * 10_000_000))
    assert "more than 1,000 bytes" in refused(path)


def test_feather_is_read_alone_and_in_a_folder(tmp_path):
    feather.write_feather(pa.table({name: [text] for name, text in ROW.items()}), tmp_path / "a.feather")
    assert sheet.read(tmp_path / "a.feather").rows[0].cells == ROW
    assert sheet.read(tmp_path).rows[0].cells == ROW


OTHER = {
    "a.orc": lambda path: orc.write_table(pa.table({name: [text] * 9 for name, text in ROW.items()}), path),
    "a.parquet.gz": lambda path: path.write_bytes(gzip.compress(b"PAR1" + b"x" * 50)),
    "a.npy": lambda path: np.save(path, np.zeros(4)),
    "a.pkl": lambda path: path.write_bytes(pickle.dumps([ROW], protocol=2)),
    "a.pt": lambda path: path.write_bytes(pickle.dumps([ROW], protocol=5)),
    "a.avro": lambda path: path.write_bytes(b"Obj\x01\x04\x16avro.schema"),
    "a.lz4": lambda path: path.write_bytes(b"\x04\x22\x4d\x18d@\xa7"),
    "a.rar": lambda path: path.write_bytes(b"Rar!\x1a\x07\x01"),
    "a.csv": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "a.tsv": lambda path: path.write_bytes(b"\x7fELF\x02\x01\x01\tb\nc\td\n"),
}


@pytest.mark.parametrize("name", OTHER)
def test_files_of_other_programs_are_one_sentence(tmp_path, name):
    OTHER[name](tmp_path / name)
    refused(tmp_path / name)


SPOKEN = {
    "koi8-r": "вопрос,ответ а,ответ б\nКакая сегодня погода в Москве,Сегодня солнечно и тепло,Идёт сильный дождь\n",
    "cp866": "вопрос,ответ а,ответ б\nКакая сегодня погода в Москве,Сегодня солнечно и тепло,Идёт сильный дождь\n",
    "cp1251": "вопрос,ответ а,ответ б\nКакая сегодня погода в Москве,Сегодня солнечно и тепло,Идёт сильный дождь\n",
    "euc_jp": "質問,回答甲,回答乙\n今日の天気はどうですか、東京では,晴れですよ。散歩に行きましょう,雨が降ります。傘を持って\n",
    "shift_jis": "質問,回答甲,回答乙\n今日の天気はどうですか、東京では,晴れですよ。散歩に行きましょう,雨が降ります。傘を持って\n",
    "iso2022_jp": "質問,回答甲,回答乙\n今日の天気はどうですか,晴れですよ,雨が降ります\n",
    "cp874": "คำถาม,คำตอบ ก,คำตอบ ข\nวันนี้อากาศเป็นอย่างไร,วันนี้แดดจ้าและร้อน,ฝนตกหนักมาก\n",
    "cp1255": "שאלה,תשובה א,תשובה ב\nמה מזג האוויר היום בתל אביב,היום שמשי וחם מאוד,יורד גשם חזק\n",
    "gb18030": "问题,回答甲,回答乙\n今天北京的天气怎么样,今天天气晴朗，适合散步,下雨了，请带伞\n",
    "cp949": "질문,답변 가,답변 나\n오늘 서울 날씨가 어떻습니까,오늘은 맑고 따뜻합니다,비가 많이 옵니다\n",
    "cp1252": "frage,antwort a,antwort b\nWie spät ist es für Jürgen?,Es ist fünf – schön!,“Später” sagt er…\n",
}


SHORT = [
    ("cp1254", "Nasıl?,İyi,Kötü"),
    ("cp1254", "Çok güzel bir gün,teşekkürler,İstanbul'da yağmur yağıyor"),
    ("iso8859_15", "Combien ça coûte ?,Cela coûte 20 €.,L'œil"),
    ("iso8859_15", "Mikä on hinta?,5 € kilolta,Šakki"),
    ("cp1252", "Combien ça coûte ?,L’œuvre coûte 5 €,Ça va"),
    ("cp1252", "Hvað er þetta?,Þetta er bók,Ég veit það ekki"),
    ("cp1250", "Jak se máte?,Dobře děkuji,Špatně"),
    ("cp1250", "Co to jest?,Może śnieg,Łódź"),
    ("cp1250", "Hogy vagy?,Jól köszönöm,Őszintén hűvös"),
    ("iso8859_2", "Jak se máte?,Dobře děkuji,Špatně"),
    ("cp1257", "Kaip sekasi?,Ačiū gerai,Šiandien šalta"),
    ("mac_roman", "Wie spät?,Es ist fünf,Für Jürgen"),
    ("cp850", "Wie spät?,Es ist fünf,Für Jürgen"),
]


@pytest.mark.parametrize(("encoding", "line"), SHORT)
def test_a_line_of_a_language_in_latin_letters_is_read_as_it_was_written(tmp_path, encoding, line):
    (tmp_path / "a.csv").write_bytes(f"prompt,a,b\n{line}\n".encode(encoding))
    table = sheet.read(tmp_path / "a.csv")
    assert [*table.rows[0].cells.values()] == line.split(",")
    assert table.about.startswith(f"CSV in {encoding}, ")


@pytest.mark.parametrize("encoding", SPOKEN)
def test_a_short_text_is_read_in_the_encoding_that_its_language_is_written_in(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes(SPOKEN[encoding].encode(encoding))
    table = sheet.read(tmp_path / "a.csv")
    lines = [tuple(line.split(",")) for line in SPOKEN[encoding].splitlines()]
    assert [table.columns, *(tuple(row.cells.values()) for row in table.rows)] == lines


def test_columns_of_keys_and_values_are_read_beside_texts(tmp_path):
    pairs = pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(
        pa.table({**{name: [text] for name, text in ROW.items()}, "pairs": pairs}), tmp_path / "a.parquet"
    )
    assert sheet.read(tmp_path / "a.parquet").rows[0].cells == ROW | {"pairs": [("k", "v")]}
