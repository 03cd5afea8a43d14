"""The commands that README.md, CONTRIBUTING.md and docs/ show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = ("python", "tradewind", "pip", "ruff", "torchrun", "docker", "hf", "mypy")
STANDS_FOR = {"N": "4", "M": "4"}
"""What a word in capitals stands for; every other one is a name."""


class Command(NamedTuple):
    """One command of a page. whole: of a block, so that it can be run as it is printed."""

    page: str
    words: tuple[str, ...]
    whole: bool


def blocks(page: Path, language: str) -> list[str]:
    """What stands in a page's blocks of a language."""
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands() -> list[Command]:
    """Every command, of blocks and of sentences."""
    return [command for page in PAGES for command in _of(page)]


def _of(page: Path) -> Iterator[Command]:
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for words in _split(line):
                yield Command(page.name, words, True)
    for span in re.findall(r"`([^`\n]+)`", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if span.split()[0] in PROGRAMS and len(span.split()) > 1:
            yield from (Command(page.name, words, False) for words in _split(span))


def _split(line: str) -> Iterator[tuple[str, ...]]:
    """The words of a line's commands, without comments and variables of the environment."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word != "&&":
            if words or not re.fullmatch(r"[A-Z_]+=\S*", word):
                words.append(STANDS_FOR.get(word, "sports" if re.fullmatch(r"[A-Z]+", word) else word))
        elif words:
            yield tuple(words)
            words = []
