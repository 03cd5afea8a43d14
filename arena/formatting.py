"""A model's text as the page shows it: every character that was written, as HTML without a tag of its own."""

import re
from collections.abc import Iterator
from html import escape
from itertools import groupby

from arena.diff import shared

_INLINE = re.compile(
    r"(?P<code>(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))"
    r"|(?P<strong>(?<![\w*])\*\*(?=[^\s*]).+?(?<=[^\s*])\*\*(?![\w*])|(?<!\w)__(?=\S)(?!\w+__).+?(?<=\S)__(?!\w))"
    r"|(?P<em>(?<![\w*])\*(?=[^\s*])[^*]+(?<=\S)\*(?![\w*])|(?<!\w)_(?=[^\s_])(?!\w+_)[^_]+(?<=\S)_(?!\w))"
)
_MARKS = re.compile(r"([*_`]+)(.*?)([*_`]+)", re.DOTALL)


def plain(text: str) -> str:
    """The text as it was written, with the one line end that all browsers show."""
    return re.sub(r"\r\n?", "\n", text)


def rich(text: str) -> str:
    """The text with what Markdown's marks ask for (headings, bold, code, tables in columns), the marks
    themselves kept: without its tags this is `plain`, so that nothing a formatter takes for a mark is lost.
    """
    lines = "\n".join(_lines(plain(text)))
    return f"<pre><span>{lines}</span></pre>"  # a line feed right behind <pre> is not shown


def differences(a: str, b: str) -> tuple[str, str]:
    """The two texts, escaped, the words that only one has in <mark>."""
    # words at even places, spaces at odd ones
    left, right = (re.split(r"(\s+)", plain(text)) for text in (a, b))
    same = shared(left[::2], right[::2])
    return _marked(left, same[0]), _marked(right, same[1])


def _lines(text: str) -> Iterator[str]:
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if fence or mark:
            yield f"<code>{escape(line)}</code>"
            closes = mark and mark[1].startswith(fence) and not line.strip(" `~")
            fence = "" if fence and closes else fence or (mark[1] if mark else "")
        elif re.match(r"#{1,6} ", line):
            yield f"<strong>{escape(line)}</strong>"
        else:
            yield f"<code>{escape(line)}</code>" if line.lstrip().startswith("|") else _inline(line)


def _inline(line: str) -> str:
    parts, end = [], 0
    for match in _INLINE.finditer(line):
        kind = next(name for name in ("code", "strong", "em") if match[name])
        marks = _MARKS.fullmatch(match.group())
        words = match.group() if marks is None else marks[2]
        opening, closing = ("", "") if marks is None else (marks[1], marks[3])
        parts += [
            escape(line[end : match.start()]),
            _dim(opening),
            f"<{kind}>{escape(words)}</{kind}>",
            _dim(closing),
        ]
        end = match.end()
    return "".join([*parts, escape(line[end:])])


def _dim(marks: str) -> str:
    return f'<span class="tw-mark">{marks}</span>' if marks else ""


def _marked(parts: list[str], same: set[int]) -> str:
    marked = []
    for differs, places in groupby(range(len(parts[::2])), key=lambda place: place not in same):
        run = [*places]
        before = parts[2 * run[0] - 1] if run[0] else ""
        words = escape("".join(parts[2 * run[0] : 2 * run[-1] + 1]))
        marked += [before, f"<mark>{words}</mark>" if differs and words else words]
    return "".join(marked)
