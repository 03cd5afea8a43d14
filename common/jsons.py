"""JSON as it comes from outside: a file, a request, a database."""

import json
import sys
from typing import Any, TypeAlias, TypeGuard

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object whose fields nobody has checked yet: whoever reads one checks it, or knows who wrote it."""


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a number, and a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


MAX_SHOWN = 60
_WRITER = json.JSONEncoder(ensure_ascii=False, default=repr)


def shown(value: object) -> str:
    """A value as error messages show it: a text in quotes, all else in JSON; a long one is cut."""
    text = ""
    for piece in [repr(value)] if isinstance(value, str) else _WRITER.iterencode(value):
        text += piece
        if len(text) > MAX_SHOWN:  # the rest may be large, and deeper than Python goes
            return f"{text[:MAX_SHOWN]}…"
    return text
