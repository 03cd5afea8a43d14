"""Text files that people bring: UTF-8 with or without a byte order mark, UTF-16 with one, packed by gzip or
not, with any line ends.
"""

import codecs
import gzip
import re
import zlib
from pathlib import Path

WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_of(path: Path) -> str:
    """The text of a file (.gz is unpacked), without its mark. Raises ValueError with one sentence, OSError."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, zlib.error, EOFError):
            raise ValueError(f"{path} is no gzip file, or not all of one: copy it again.") from None
    try:
        return content.decode("utf-16" if content.startswith(WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text (byte {error.start:,}): save it as UTF-8.") from None


def lines_of(text: str) -> list[str]:
    """The lines of a text. Unlike str.splitlines, it does not split at what may stand within a line of JSON,
    such as U+2028.
    """
    return re.split(r"\r\n|\r|\n", text)
