"""Values of imported rows: each as the store wants it, or an ArenaError that names it and its remedy."""

import json
import math
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, NoReturn

from arena.errors import ArenaError
from arena.spreadsheet import decimal

MAX_VOTES = 1_000_000  # votes wanted for one battle; any database's integer holds it
MAX_JSON = 100_000  # characters of a spec
MAX_DEPTH = 20  # of nested objects and lists


def json_object(line: str, place: str) -> dict[str, Any]:
    """The columns and values that a line of a file holds; place: the file and the line."""
    try:
        cells = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArenaError(f"{place} is no JSON object: {unlike_json(error)}.") from None
    if not isinstance(cells, dict):
        raise ArenaError(f"{place} is no JSON object but a {type(cells).__name__}: write columns and values.")
    return cells


def unlike_json(error: ValueError | RecursionError) -> str:
    """Why a text is not JSON."""
    if isinstance(error, RecursionError):
        return "its lists and objects lie too deep in each other"
    return str(error) if isinstance(error, json.JSONDecodeError) else "a number has too many digits"


def identifier(name: str, value: Any) -> str:
    """An id: up to 32 letters and digits."""
    if not (isinstance(value, str) and value.isalnum() and len(value) <= 32):
        _refuse(name, value, "an id has up to 32 letters and digits, as it was exported")
    return str(value)


def one_of(name: str, value: Any, allowed: Collection[str | None]) -> Any:
    """`value`, which must be one of those allowed."""
    if not (value is None or isinstance(value, str)) or value not in allowed:
        listed = f"one of {', '.join(map(str, allowed))}" if len(allowed) > 1 else "nothing"
        _refuse(name, value, f"give {listed}")
    return value


def truth(name: str, value: Any) -> bool:
    """True or False, or a spreadsheet's English TRUE and FALSE."""
    known = {"true": True, "false": False}.get(str(value).strip().casefold())
    if not isinstance(value, (bool, str)) or known is None:
        _refuse(name, value, "write True or False")
    return bool(known)


def moment(name: str, value: Any) -> datetime:
    """A time of ISO 8601 with its time zone, in UTC."""
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        pass
    _refuse(name, value, "write a time with its zone, as 2026-01-31T12:00:00+00:00")


def seconds(name: str, value: Any) -> float:
    """How long something took; in a text also with a decimal comma."""
    try:
        number = decimal(value.strip()) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
        _refuse(name, value, "give a number from 0, as 12.5")
    return float(number)


def whole(name: str, value: Any, least: int, most: int) -> int:
    """A whole number within bounds."""
    number = float(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        _refuse(name, value, f"give a whole number from {least:,} to {most:,}")
    return number


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A JSON object of bounded length and depth, itself or as text."""
    read = _json(value) if isinstance(value, str) and len(value) <= MAX_JSON else value
    if not isinstance(read, dict):
        _refuse(name, value, f"give a JSON object of at most {MAX_JSON:,} characters")
    if _deeper(read, MAX_DEPTH):
        _refuse(name, "too deep", f"a JSON object holds at most {MAX_DEPTH} levels")
    if len(json.dumps(read)) > MAX_JSON:
        _refuse(name, "too long", f"give a JSON object of at most {MAX_JSON:,} characters")
    return read


def turns(name: str, value: Any) -> list[list[str]]:
    """(role, content) of a chat, as JSON; none where there is nothing."""
    listed = _list(name, value)
    for turn in listed:
        if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(part, str) for part in turn)):
            _refuse(name, value, "give JSON pairs of role and content")
    return listed


def names(name: str, value: Any) -> list[str]:
    """Names, as a JSON list; none where there is nothing."""
    listed = _list(name, value)
    if not all(isinstance(name, str) for name in listed):
        _refuse(name, value, "give a JSON list of names")
    return listed


def history(name: str, value: Any) -> tuple[int, list[list[Any]]]:
    """The version of a set's questions, and [key, text, position, since, until] of each that it has had."""
    parts = _list(name, value)
    kinds: tuple[Any, ...] = (str, str, int, int, (int, type(None)))
    rows = parts[1] if len(parts) == 2 and isinstance(parts[1], list) else None
    complete = rows is not None and all(
        isinstance(row, list)
        and len(row) == 5
        and all(isinstance(part, kind) for part, kind in zip(row, kinds, strict=True))
        for row in rows
    )
    if not complete or not isinstance(parts[0], int) or len({row[0] for row in rows or []}) < len(rows or []):
        _refuse(name, value, "leave it as it was exported")
    return parts[0], rows or []


def _list(name: str, value: Any) -> list[Any]:
    if value is None:
        return []
    listed = _json(value) if isinstance(value, str) and len(value) <= MAX_JSON else None
    if not isinstance(listed, list) or _deeper(listed, MAX_DEPTH):
        _refuse(name, value, f"give a JSON list of at most {MAX_JSON:,} characters")
    return listed


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(part, levels - 1) for part in parts)


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _refuse(name: str, value: Any, remedy: str) -> NoReturn:
    shown = str(value)
    shown = shown if len(shown) <= 40 else shown[:40] + "…"
    raise ArenaError(f"{name} is {repr(shown) if isinstance(value, str) else shown}: {remedy}.")
