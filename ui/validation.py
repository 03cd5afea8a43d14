"""Requests of the page and of scripts: numbers within bounds, errors as sentences."""

from collections.abc import Mapping
from typing import Any

MAX_SEED, MAX_TEMPERATURE = 2**32 - 1, 2.0


def bounded(asked: Mapping[str, Any], name: str, least: float, most: float) -> float:
    """The number asked[name]. Raises ValueError where it is none or out of bounds."""
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: give a number from {least:,} to {most:,}")
    return value


def sentence(error: Exception) -> str:
    """An error as the page says it: a capital at the start (but for names such as p0), a stop at the end."""
    text = str(error)
    start = text[:1].upper() if text.split(" ")[0].isalpha() else text[:1]
    return start + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
