"""Texts that come from outside: bounded, and free of what a database cannot hold."""

import re
import unicodedata

from arena.errors import ArenaError
from arena.schema import NAME

JOINERS = str.maketrans("", "", "\u200c\u200d")
"""Invisible, but letters of Persian, Hindi and of emoji join by them."""


def clean(text: str, *, most: int, label: str) -> str:
    """`text` with lone surrogates and NULs replaced; ArenaError if it has more than `most` characters."""
    if not isinstance(text, str):
        raise ArenaError(f"{label} must be a text, found {type(text).__name__}.")
    if len(text) > most:
        raise ArenaError(f"{label} has {len(text):,} characters; the most is {most:,}. Shorten it.")
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def clean_name(name: str, *, label: str = "The name") -> str:
    """A name on one line: normalized, spaces joined, 1 to 80 characters, no control characters."""
    plain = re.sub(
        r"\s+", " ", unicodedata.normalize("NFKC", clean(name, most=4 * NAME, label=label))
    ).strip()
    if not plain:
        raise ArenaError(f"{label} is missing: type one of 1 to {NAME} characters.")
    if len(plain) > NAME:
        raise ArenaError(f"{label} must have 1 to {NAME} characters, found {len(plain)}.")
    visible = plain.translate(JOINERS)
    if not visible or any(unicodedata.category(character) in ("Cc", "Cf") for character in visible):
        raise ArenaError(f"{label} holds an invisible character; type it with letters, digits and spaces.")
    return plain


def key(name: str) -> str:
    """The form that all spellings of a person's name share, and letters that look alike."""
    return clean_name(name).translate(JOINERS).casefold()
