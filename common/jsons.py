"""JSON as it comes from outside: a file, a request, a database."""

import sys
from typing import Any, TypeAlias, TypeGuard

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object whose fields nobody has checked yet: whoever reads one checks it, or knows who wrote it."""


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a number, and a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max
