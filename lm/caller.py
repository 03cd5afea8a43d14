"""On whose behalf the model works: whoever asks may leave before the answer is there."""

import threading
from collections.abc import Hashable
from contextvars import ContextVar
from dataclasses import dataclass, field


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

    def check(self) -> None:
        """Raises Stopped where the caller has left."""
        if self.left.is_set():
            raise Stopped


_NOBODY = Caller()
CALLER: ContextVar[Caller] = ContextVar("caller", default=_NOBODY)
"""The caller of the work in this context. The default never leaves."""
