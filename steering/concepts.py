"""Concepts: a name, a description, and texts that have it beside texts that lack it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TypedDict, Unpack

from common import digests
from common.jsons import shown
from common.reading import lines_of, text_of
from lm.unicode import well_formed

SHIPPED = Path(__file__).parent.parent / "assets" / "concepts"
MAX_BYTES = 5_000_000
MAX_CHARACTERS = 4_000
MIN_TEXTS = 8
"""Fewest texts a side: below it, held-out accuracy says nothing."""
MAX_TEXTS = 2_000


class ConceptError(ValueError):
    """A concept that cannot be used; the message says where and why."""


class Details(TypedDict, total=False):
    """Fields of a Concept beside its texts."""

    description: str
    low: str
    high: str
    scorer: str | None
    more: str
    less: str
    caveat: str


@dataclass(frozen=True)
class Concept:
    """Contrastive texts. Texts of the same index make a pair (same subject, other pole) where the sides are
    of one length.

    low, high: what the negative and the positive side are called; scorer: an independent scorer
    (steering.scorers), if any; more, less: sentences that ask a model for it, and for its contrary; caveat:
    what its scorer cannot tell. source: where its vectors come from in place of texts, which it then lacks.
    """

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    description: str = ""
    low: str = ""
    high: str = ""
    scorer: str | None = None
    more: str = ""
    less: str = ""
    caveat: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 60 or not self.name.isprintable():
            raise ConceptError(
                f"The concept's name is {self.name[:80]!r}: give 1 to 60 printable characters."
            )
        for side in () if self.source else ("positive", "negative"):
            texts = getattr(self, side)
            if len(texts) < MIN_TEXTS:
                raise ConceptError(
                    f"{self.name}: the {side} side has {len(texts)} texts: "
                    f"give at least {MIN_TEXTS}, better 100."
                )
            if len(texts) > MAX_TEXTS:
                raise ConceptError(
                    f"{self.name}: the {side} side has {len(texts)} texts: give at most {MAX_TEXTS}."
                )
        shared = set(self.positive) & set(self.negative)
        if shared:
            raise ConceptError(
                f"{self.name}: {len(shared)} texts stand on both sides, "
                f"such as {min(shared)[:60]!r}: remove them."
            )
        if not self.high:
            object.__setattr__(self, "high", self.name)
        if not self.low:
            object.__setattr__(self, "low", f"not {self.high}")

    @cached_property
    def hash(self) -> str:
        """16 hex digits that change with the texts, or with the source."""
        contents = [self.positive, self.negative, *([self.source] if self.source else [])]
        return digests.short(json.dumps(contents).encode())

    @classmethod
    def parse(cls, text: str, name: str, **details: Unpack[Details]) -> "Concept":
        """A concept from JSON Lines, each an object with a "positive" text, a "negative" one, or both."""
        if len(text) > MAX_BYTES:
            raise ConceptError(f"{name}: {len(text):,} characters are too many: give at most {MAX_BYTES:,}.")
        sides: dict[str, list[str]] = {"positive": [], "negative": []}
        for number, line in enumerate(lines_of(text), 1):
            if line.strip():
                for side, value in _line(line, f"{name}, line {number}").items():
                    sides[side].append(value)
        return cls(name, tuple(sides["positive"]), tuple(sides["negative"]), **details)

    @classmethod
    def load(cls, path: str | Path, name: str | None = None, **details: Unpack[Details]) -> "Concept":
        """Reads a JSON Lines file; the concept is called `name`, or as the file."""
        path = Path(path)
        if not path.is_file():
            raise ConceptError(f"{path} is no file: give a concept file in JSON Lines.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConceptError(f"{path.name} has {size:,} bytes: give at most {MAX_BYTES:,}.")
        try:
            text = text_of(path)
        except ValueError as error:
            raise ConceptError(str(error)) from None
        return cls.parse(text, name or path.stem, **details)

    @classmethod
    def from_texts(
        cls, name: str, positive: Sequence[str], negative: Sequence[str], **details: Unpack[Details]
    ) -> "Concept":
        """A concept from plain texts; empty ones are left out."""
        sides = {
            side: tuple(_text(text.strip(), f"{name}, a {side} text") for text in texts if text.strip())
            for side, texts in (("positive", positive), ("negative", negative))
        }
        return cls(name, sides["positive"], sides["negative"], **details)


def _line(line: str, where: str) -> dict[str, str]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConceptError(
            f"{where} is no JSON ({getattr(error, 'msg', 'too deep, or a number too long')}): give one object a line."
        ) from None
    if not isinstance(value, dict) or not value.keys() & {"positive", "negative"}:
        raise ConceptError(f'{where} has no such object: give one with "positive", "negative" or both.')
    return {
        side: _text(value[side], f"{where}, {side}") for side in ("positive", "negative") if side in value
    }


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConceptError(f"{where} is {shown(value)}: give a text that is not empty.")
    if len(value) > MAX_CHARACTERS:
        raise ConceptError(f"{where} has {len(value):,} characters: give at most {MAX_CHARACTERS:,}.")
    if "\x00" in value:
        raise ConceptError(f"{where} holds a NUL character: give plain text.")
    return well_formed(value)


@cache
def shipped() -> dict[str, Concept]:
    """The concepts of assets/concepts, by name."""
    about = json.loads((SHIPPED / "concepts.json").read_text("utf-8"))
    return {name: Concept.load(SHIPPED / f"{name}.jsonl", name, **details) for name, details in about.items()}
