"""Text files that people bring."""

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


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_line_ends_end_lines(end):
    listed = ["a\u2028b", "c\x85d\x0c", '{"e": "\u2029"}']
    assert lines_of(end.join(listed)) == listed
    assert [json.loads(line) for line in lines_of('"\u2028"\n"\x7f"')] == ["\u2028", "\x7f"]
