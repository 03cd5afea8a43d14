"""Decodes the bytes of a text file, whichever program wrote them."""

import codecs
from collections.abc import Sequence

import regex
from charset_normalizer import CharsetMatch, from_bytes

from arena.errors import ArenaError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; those of UTF-32 begin as those of UTF-16 do."""
SPREADSHEETS = (
    "cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp932 cp949 gb18030 big5 mac_roman "
    "koi8_r cp866 euc_jp cp874"
).split()
"""In what spreadsheets save a plain CSV, by the language of the computer, and older programs theirs."""
LATIN = (
    ("cp1252", "äöüß àâæçèéêëîïôœùûüÿ áéíñóúüªº àáâãçéêíóôõúªº àèéìíòóùúªº äåéö åæéø àáèéêëïóöü àçèéíïòóúü"),
    ("cp1254", "âçîöûüğış"),
    ("cp1250", "áčďéěíňóřšťúůýž óąćęłńśźż áéíóöúüőű âîășşţț čćđšž áäčďéíĺľňóôŕšťúýž äöüß"),
    ("iso8859_15", "àâæçèéêëîïôœùûüÿ äöüß áéíñóúüªº äåéöšž àáâãçéêíóôõúªº àèéìíòóùúªº åæéø"),
    ("cp1252", "áæéíðóöúýþ"),
    ("cp1257", "ąčęėįšųūž āčēģīķļņšūž äõöüšž"),
    ("iso8859_2", "áčďéěíňóřšťúůýž óąćęłńśźż áéíóöúüőű âîăşţ čćđšž áäčďéíĺľňóôŕšťúýž"),
    ("mac_roman", "äöüß àâæçèéêëîïôœùûüÿ áéíñóúüªº àáâãçéêíóôõúªº àèéìíòóùúªº äåéö åæéø"),
    ("cp850", "äöüß àâæçèéêëîïôùûüÿ áéíñóúüªº àáâãçéêíóôõúªº àèéìíòóùúªº äåéö åæéø"),
)
"""Encodings and the letters beyond ASCII of each language that is written in them, the likeliest first: where
all letters of a text are of one language, it tells more than a few words' statistics.
"""
SYMBOLS, QUOTES = "©®°±²³¹×½¼¾•™£€", "«»‹›“”„‘‚¿¡§"
MARKS_IN_TEXTS = {*"\xa0·’–—…", *SYMBOLS, *QUOTES}
"""What else beyond ASCII such texts hold."""
UNLIKELY = regex.compile(
    rf"\p{{L}}[{QUOTES}]\p{{L}}|[{SYMBOLS}]\p{{L}}"
    r"|\p{Ll}(?![A-Z])\p{Lu}"
    r"|(?<!\p{L})(?:(?![A-Za-z])\p{L}){2,}(?!\p{L})"
)
"""Where a mark stands in a word, a capital beyond ASCII too, or a word has no letter of ASCII, it is another encoding."""
PYTHONS = {"undefined", "idna", "punycode", "unicode-escape", "raw-unicode-escape"}
"""Codecs for names and for programs, which no file of texts is written in."""
ZEROS = 0.1
"""Least share of zero bytes in UTF-16, whose separators and line ends have one each;
another text may hold a stray one.
"""
WHOLE = 4
"""Whole characters of UTF-8 beyond ASCII for each broken one, from which on a text is
taken for spoiled UTF-8.
"""
SAMPLE = 200_000
"""Bytes from which an encoding is guessed."""


def decode(content: bytes, name: str, encoding: str | None = None) -> tuple[str, str]:
    """The text of a file, and the encoding that was used: the one asked for, or UTF-8, UTF-16, UTF-32 or the
    local one that fits best.

    name: of the file, for the error. Raises ArenaError.
    """
    if encoding is None and (place := _spoiled(content)):
        raise ArenaError(
            f"{name} is UTF-8 but for some bytes, the first in line {place}: save it as “CSV UTF-8”, or name its encoding."
        )
    used = _known(encoding) if encoding else _guessed(content)
    try:
        return content.decode(used).removeprefix("\ufeff"), used.removesuffix("-sig")
    except UnicodeError:
        raise ArenaError(
            f"{name} is no text in {used}: save it as “CSV UTF-8”, or name its encoding."
        ) from None


def _spoiled(content: bytes) -> int | None:
    """The line with the first byte that is not UTF-8, in a text that is UTF-8 otherwise: other encodings
    rarely look like that.
    """
    if 0 in content or _utf8(content):
        return None
    text = content.decode("utf-8", "replace")
    broken = text.count("\ufffd") - content.count("\ufffd".encode())
    if sum(letter > "\x7f" for letter in text) - broken < WHOLE * broken:
        return None
    return 1 + text[: text.index("\ufffd")].count("\n")


def _known(encoding: str) -> str:
    """The standard name of an encoding of texts. Raises ArenaError for other codecs."""
    try:
        name = codecs.lookup(encoding.strip()).name
        b"a".decode(name, "replace")  # not every codec is one of texts
        if name not in PYTHONS:
            return name
        raise LookupError(name)
    except (LookupError, ValueError):
        raise ArenaError(
            f"The encoding is {encoding[:40]!r}: give a name such as utf-8, cp1252 or shift_jis."
        ) from None


def _guessed(content: bytes) -> str:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return encoding
    sample = content[:SAMPLE]
    if sample.count(0) > ZEROS * len(sample) or (0 in sample and not _utf8(content)):
        return "utf-16-le" if sample[1::2].count(0) >= sample[::2].count(0) else "utf-16-be"
    if b"\x1b$" in sample and sample.isascii():
        return "iso2022_jp"
    if _utf8(content):
        return "utf-8"
    if plain := next((name for name, letters in LATIN if _reads_as(sample, name, letters.split())), None):
        return plain
    matches = from_bytes(sample, cp_isolation=[*SPREADSHEETS])
    best = next((match for match in matches if not _shouts(match)), None)
    alike = best.could_be_from_charset if best is not None else []  # these give the same text
    return next((encoding for encoding in SPREADSHEETS if encoding in alike), "cp1252")


def _reads_as(sample: bytes, encoding: str, languages: Sequence[str]) -> bool:
    """Whether all letters of a text are of one language, and it is spelled as languages are."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    beyond = {sign for sign in text if not sign.isascii()}
    letters = {letter.lower()[0] for letter in beyond if letter.isalpha()}
    return (
        any(letters <= {"i", *language} for language in languages)  # lower-case "İ" is an i and a dot
        and all(sign.isalpha() or sign in MARKS_IN_TEXTS for sign in beyond)
        and not UNLIKELY.search(text)
    )


def _shouts(match: CharsetMatch) -> bool:
    """Whether it reads as Russian all in capitals: then the bytes are Hebrew."""
    letters = [letter for letter in str(match) if letter.isalpha() and not letter.isascii()]
    return match.encoding == "koi8_r" and 2 * sum(map(str.isupper, letters)) > len(letters)


def _utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
