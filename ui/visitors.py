"""Who asks, whether they still wait, and whose turn it is. The one place that looks into Gradio's queue."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import gradio as gr
from gradio.context import LocalContext

PATIENCE = 30
"""Seconds that an answer waits for somebody who reads it."""
GLANCE = 0.25
"""Seconds between two looks at whether a visitor still waits."""
MAX_UNREAD = 4
"""Updates that a page may be behind before no more are made."""
MAX_WAITING = 16
"""Requests of one visitor in one line."""
MAX_UNTOLD = 4_000
"""Sessions with events that Gradio remembers without end where nobody reads the answers."""
CROWDED = "{count} of your requests wait already: ask again when one of them is answered."


class Audience:
    """Whoever waits for the answer to the event that Gradio calls a handler for.

    visitor: their address, as far as the server can tell. Outside of Gradio there is always an audience.
    """

    def __init__(self) -> None:
        blocks, id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
        self._queue = blocks._queue if blocks is not None else None
        self._event = self._queue.event_ids_to_events.get(id or "") if self._queue is not None else None
        client = self._event.request.client if self._event else None
        self.visitor: Hashable = client.host if client else None
        self._read = self._event.enqueue_time if self._event else 0.0

    def left(self) -> bool:
        """Whether nobody waits: the connection ended, or nobody has read for PATIENCE seconds."""
        if self._event is None:
            return False
        if self._unread() == 0:
            self._read = time.monotonic()
        return not self._event.alive or time.monotonic() - self._read > PATIENCE

    def behind(self) -> bool:
        """Whether updates pile up that somebody may still read."""
        return self._event is not None and self._unread() > MAX_UNREAD and not self.left()

    def _unread(self) -> int:
        assert self._queue is not None and self._event is not None
        messages = self._queue.pending_messages_per_session.get(self._event.session_hash)
        return messages.qsize() if messages is not None else 0


class Turns:
    """A line for work of one kind: `limit` at once. A free place goes to the visitor who has the fewest, of
    those to the one who got a place longest ago.

    It belongs to the event loop that serves the page.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._busy: Counter[Hashable] = Counter()
        self._line: list[tuple[Hashable, asyncio.Future[None]]] = []
        self._served: dict[Hashable, int] = {}

    @asynccontextmanager
    async def of(self, audience: Audience) -> AsyncIterator[None]:
        """Waits for a place. Raises gr.Error for a visitor who fills the line,
        CancelledError for one who left.
        """
        visitor = audience.visitor
        waiting = sum(each == visitor for each, _ in self._line)
        if waiting >= MAX_WAITING:
            raise gr.Error(CROWDED.format(count=waiting), print_exception=False)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((visitor, place))
        try:
            self._call()
            while not (await asyncio.wait({place}, timeout=GLANCE))[0]:
                if audience.left():
                    raise asyncio.CancelledError
            yield
        finally:
            if place.done() and not place.cancelled():
                self._busy[visitor] -= 1
            else:
                self._line.remove((visitor, place))
            self._call()
            if not self._line and not self._busy.total():
                self._busy.clear()
                self._served.clear()

    def _call(self) -> None:
        while self._line and self._busy.total() < self.limit:
            visitor, place = entry = min(self._line, key=self._turn)
            self._line.remove(entry)
            self._busy[visitor] += 1
            self._served[visitor] = 1 + max(self._served.values(), default=0)
            place.set_result(None)

    def _turn(self, entry: tuple[Hashable, asyncio.Future[None]]) -> tuple[int, int]:
        return self._busy[entry[0]], self._served.get(entry[0], 0)


@cache
def line(kind: str, limit: int) -> Turns:
    """The line for work of a kind: one for the process, since the pages of all models share the machine."""
    return Turns(limit)


def forget(app: Any, event: str) -> None:
    """Drops what Gradio keeps of a call that is answered: its session, whose name is the event's own."""
    queue, states = app.get_blocks()._queue, app.state_holder
    with states.lock:
        states.session_data.pop(event, None)
        states.time_last_used.pop(event, None)
    queue.pending_messages_per_session.pop(event, None)
    queue.pending_event_ids_session.pop(event, None)
    if len(queue.pending_event_ids_session) > MAX_UNTOLD:
        for session in list(queue.pending_event_ids_session):
            if session not in queue.pending_messages_per_session:
                del queue.pending_event_ids_session[session]
