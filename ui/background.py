"""Work that runs in a thread and tells the page how far it is."""

import threading
import time
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import Any, TypeVar

FRAME = 1 / 30
"""Seconds between two updates of a page."""

Result = TypeVar("Result")
Report = Callable[[float], None]


def following(work: Callable[[Report], Result]) -> Generator[float, None, Result]:
    """Runs work(report) in a thread, yields what it reports, and returns or raises as it does."""
    told: SimpleQueue = SimpleQueue()
    outcome: dict[str, Any] = {}

    def body() -> None:
        try:
            outcome["value"] = work(told.put)
        except Exception as error:  # handed on to the caller
            outcome["error"] = error
        told.put(None)

    threading.Thread(target=body, daemon=True).start()
    while (fraction := told.get()) is not None:
        yield fraction
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def left(began: float, fraction: float) -> str:
    """How long work that began at time.monotonic() = `began` will still take; nothing where it is too early
    to say.
    """
    if fraction < 0.05:
        return ""
    return f"{max(1, round((time.monotonic() - began) * (1 - fraction) / fraction))} s left."
