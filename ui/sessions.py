"""The browser tabs that a controller serves, and what is under way in each."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

MAX_SESSIONS = 256
MAX_IDLE = 3600.0
"""Seconds after which a tab that has asked for nothing is forgotten."""


@dataclass
class Session:
    """One browser tab, and what is under way in it.

    stops: of its works, by their names; one is here as long as its work holds it. seen: when the tab last
        asked for something.
    """

    stops: MutableMapping[str, threading.Event] = field(default_factory=WeakValueDictionary, kw_only=True)
    seen: float = field(default_factory=time.monotonic, kw_only=True)

    def take_over(self, work: str) -> threading.Event:
        """Stops what is under way of this work and returns the stop of the next."""
        self.stop(work)
        stop = self.stops[work] = threading.Event()
        return stop

    def stop(self, *works: str) -> None:
        """Stops these works; all of them where none is named."""
        for work in works or tuple(self.stops):
            if (stop := self.stops.get(work)) is not None:
                stop.set()


Own = TypeVar("Own", bound=Session)


class Sessions(Generic[Own]):
    """Sessions by their keys. Forgotten are those that were idle for long and, where there are too many, the
    longest unseen; never one with work under way.
    """

    def __init__(self, new: Callable[[], Own], most: int = MAX_SESSIONS, idle: float = MAX_IDLE):
        self._new, self._most, self._idle = new, most, idle
        self._sessions: OrderedDict[str, Own] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def of(self, key: str | None) -> Own:
        """The session of a key, made where there is none."""
        with self._lock:
            session = self._sessions.pop(key or "", None) or self._new()
            session.seen = time.monotonic()
            self._forget()
            self._sessions[key or ""] = session
            return session

    def stop(self, key: str | None, *works: str) -> None:
        """Stops works of a session, where there is one."""
        with self._lock:
            session = self._sessions.get(key or "")
        if session is not None:
            session.stop(*works)

    def _forget(self) -> None:
        long_ago = time.monotonic() - self._idle
        for key, session in list(self._sessions.items()):
            if session.seen > long_ago and len(self._sessions) < self._most:
                return
            if not session.stops:
                del self._sessions[key]
