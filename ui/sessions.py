"""The browser tabs that a desk serves, and what is under way in each."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

MOST_VISITORS = 256


@dataclass
class Tab:
    """One browser tab. stops: of its works under way, by their names."""

    stops: dict[str, threading.Event] = field(default_factory=dict, kw_only=True)

    def take_over(self, work: str) -> threading.Event:
        """Stops what is under way of this work and returns the stop of the next."""
        self.stop(work)
        self.stops[work] = threading.Event()
        return self.stops[work]

    def stop(self, *works: str) -> None:
        """Stops these works; all of them where none is named."""
        for work in works or tuple(self.stops):
            if work in self.stops:
                self.stops[work].set()


Visitor = TypeVar("Visitor", bound=Tab)


class Visitors(Generic[Visitor]):
    """Tabs by session; the longest unseen is stopped and forgotten where there are too many."""

    def __init__(self, new: Callable[[], Visitor], most: int = MOST_VISITORS):
        self._new, self._most = new, most
        self._tabs: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, session: str | None) -> Visitor:
        """The tab of a session."""
        with self._lock:
            tab = self._tabs.pop(session or "", None) or self._new()
            self._tabs[session or ""] = tab
            while len(self._tabs) > self._most:
                self._tabs.popitem(last=False)[1].stop()
            return tab
