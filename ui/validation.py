"""Requests of the page and of scripts: numbers within bounds, errors as sentences."""

from collections.abc import Mapping
from typing import Any, TypedDict

from common.jsons import shown


class FieldError(ValueError):
    """A value that cannot be taken; field: the name of the control that holds it."""

    def __init__(self, field: str, text: str):
        super().__init__(text)
        self.field = field


def bounded(fields: Mapping[str, Any], name: str, least: float, most: float) -> float:
    """The number fields[name]. Raises FieldError where it is none or out of bounds."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise FieldError(name, f"{_begun(name)} is {shown(value)}: give a number from {least:,} to {most:,}.")
    return value


def whole(fields: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """The same of a whole number."""
    value = bounded(fields, name, least, most)
    if value != int(value):
        raise FieldError(name, f"{_begun(name)} is {value}: give a whole number from {least:,} to {most:,}.")
    return int(value)


def nucleus(top_p: float) -> str:
    """What a summary says about top_p, after the temperature."""
    return f", top p {top_p:g}" if top_p < 1 else ""


def sentence(error: Exception) -> str:
    """An error as a sentence of the page: it begins with a capital, except for names such as p0, and ends
    with a full stop.
    """
    text = _begun(str(getattr(error, "message", error)))  # Gradio's str(error) is quoted
    return text + ("" if text.endswith((".", "!", "?")) else ".")


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:] if text.split(" ")[0].isalpha() else text


class Wrong(TypedDict):
    """A sentence, and the field that it is about, if any."""

    problem: str
    field: str | None


def wrong(error: Exception) -> Wrong:
    """The message to the page about an error."""
    return {"problem": sentence(error), "field": getattr(error, "field", None)}
