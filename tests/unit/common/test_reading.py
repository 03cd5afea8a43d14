"""Text files that people bring."""

import gzip
import json

import pytest

from common.reading import lines_of, text_of


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_is_the_same_with_and_without_a_mark(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("Grüße, 世界\r\n".encode(encoding))
    assert text_of(tmp_path / "a.txt") == "Grüße, 世界\r\n"


@pytest.mark.parametrize("content", [b"\xff", b"\xff\xfe\x00", "é".encode("latin-1")])
def test_what_is_no_text_is_one_sentence(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.txt is no UTF-8 text \(byte \d+\): save it as UTF-8\.$"):
        text_of(tmp_path / "a.txt")


def test_a_packed_text_is_unpacked(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("Grüße".encode()))
    assert text_of(tmp_path / "a.txt.gz") == "Grüße"


WHOLE = gzip.compress(b"Hello" * 100, mtime=0)


@pytest.mark.parametrize(
    "content", [b"plain", WHOLE[:-9], WHOLE[:20] + b"\xff\xff" + WHOLE[22:], WHOLE + b"more"]
)
def test_what_is_packed_and_damaged_is_one_sentence(tmp_path, content):
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.txt.gz is no gzip file, or not all of one: copy it again\.$"):
        text_of(tmp_path / "a.txt.gz")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_line_ends_end_lines(end):
    listed = ["a\u2028b", "c\x85d\x0c", '{"e": "\u2029"}']
    assert lines_of(end.join(listed)) == listed
    assert [json.loads(line) for line in lines_of('"\u2028"\n"\x7f"')] == ["\u2028", "\x7f"]
