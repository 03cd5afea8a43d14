"""Values of imported rows: each as the store wants it, or an ArenaError that names it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from arena.errors import ArenaError

MOST_VOTES = 1_000_000  # wanted for one battle; what a database's integer surely holds


def identifier(value: Any) -> str:
    """An id: up to 32 letters and digits."""
    if not (isinstance(value, str) and value.isalnum() and len(value) <= 32):
        raise ArenaError(f"{str(value)[:40]!r} is not an id (up to 32 letters and digits). Export it anew.")
    return value


def one_of(what: str, value: Any, allowed: Sequence[str | None]) -> Any:
    """`value`, which must be one of those allowed."""
    if value not in allowed:
        raise ArenaError(f"{what} must be {_listed(allowed)}, found {str(value)[:40]!r}.")
    return value


def _listed(allowed: Sequence[str | None]) -> str:
    return f"one of {', '.join(map(str, allowed))}" if len(allowed) > 1 else "empty"


def moment(what: str, value: Any) -> datetime:
    """A time of ISO 8601 with its time zone, in UTC."""
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        pass
    raise ArenaError(
        f"{what} is {str(value)[:40]!r}, no time or one that has no time zone. Write it as 2026-01-31T12:00:00+00:00."
    )


def seconds(value: Any) -> float:
    """How long a vote took."""
    if not isinstance(value, (int, float)) or not (math.isfinite(value) and value >= 0):
        raise ArenaError(f"seconds must be a number from 0, found {str(value)[:40]!r}.")
    return float(value)


def votes_wanted(value: Any) -> int:
    """The minimum of a battle set."""
    if not isinstance(value, int) or not 1 <= value <= MOST_VOTES:
        raise ArenaError(
            f"minimum must be a whole number from 1 to {MOST_VOTES:,}, found {str(value)[:40]!r}."
        )
    return value


def mapping(what: str, value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ArenaError(f"{what} must be a JSON object, found {str(value)[:40]!r}.")
    return value
