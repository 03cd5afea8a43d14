"""On whose behalf the model works: a caller may leave before the answer is complete."""

import threading
from collections.abc import Hashable
from contextvars import ContextVar
from dataclasses import dataclass, field
from weakref import WeakSet

_waiting: WeakSet[threading.Event] = WeakSet()
_guard = threading.Lock()


class Stopped(Exception):
    """The work's stop was set, or its caller left, before it was done."""


@dataclass(frozen=True)
class Caller:
    """Somebody who waits for an answer.

    visitor: equal for all callers who are one person, as far as the server can tell; rows of different
    visitors take turns. left: set once nobody waits any more; the work then ends with Stopped.
    """

    visitor: Hashable = None
    left: threading.Event = field(default_factory=threading.Event, compare=False)

    def __post_init__(self) -> None:
        with _guard:
            _waiting.add(self.left)

    def check(self) -> None:
        """Raises Stopped where the caller has left."""
        if self.left.is_set():
            raise Stopped


NOBODY = Caller()
"""The caller where nobody said who calls. It leaves with `dismiss` alone."""
CALLER: ContextVar[Caller] = ContextVar("caller", default=NOBODY)
"""The caller of the work in this context."""


def heed(stop: threading.Event | None = None) -> None:
    """Raises Stopped where a work's stop is set, or its caller has left."""
    CALLER.get().check()
    if stop is not None and stop.is_set():
        raise Stopped


def dismiss() -> None:
    """Everybody leaves, since the program ends: no work is worth waiting for any more."""
    with _guard:
        for left in _waiting:
            left.set()
