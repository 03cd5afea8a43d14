"""Work that runs in threads of its own, while whoever waits for it holds none,
and that ends when they leave.
"""

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

import gradio as gr

from lm import Decoding
from lm.caller import CALLER, Caller, Stopped, dismiss
from ui.visitors import GLANCE, Audience, Turns

log = logging.getLogger(__name__)
FRAME = 1 / 30
"""Seconds between two updates of a page that is alone."""
FRAMES = 60
"""Updates a second of all pages together."""
WORK = "work"
"""The name of the threads that work."""
ENDING = 5.0
"""Seconds that work has to end when the app ends."""
BROKEN = "This failed by a fault of the app, which its log explains: try again, or change the request."

Result = TypeVar("Result")
State = TypeVar("State")
Arguments = TypeVarTuple("Arguments")
Report = Callable[[float], None]
_live = 0


def frame() -> float:
    """Seconds between two updates of a page now: FRAME, and more where many pages are updated."""
    return max(FRAME, _live / FRAMES)


def reading(decoding: Decoding) -> str:
    """The progress of a decode whose prompts are still being read, before its first token."""
    longest = max(len(row.prompt) for row in decoding.rows)
    return f"Reading the prompt of {longest:,} tokens: {100 * decoding.read:.0f} %."


async def answer(work: Callable[[], Result], turns: Turns) -> Result:
    """Runs work in a thread when it is the visitor's turn. Where they leave, lm.CALLER tells it to stop."""
    async with _attended(turns) as (caller, audience):
        job = _threaded(work, caller)
        while not (await asyncio.wait({job}, timeout=GLANCE))[0]:
            if audience.left():
                caller.left.set()
        return job.result()


async def stream(work: Callable[[], Iterator[State]], turns: Turns) -> AsyncIterator[State]:
    """Yields what work yields in a thread: a state is made when the page has taken the one before."""
    global _live
    async with _attended(turns) as (caller, audience):
        states: asyncio.Queue[State] = asyncio.Queue()
        loop, taken = asyncio.get_running_loop(), threading.Semaphore(0)

        def body() -> None:
            for state in (iterator := work()):
                _post(loop, states.put_nowait, state)
                taken.acquire()
                if caller.left.is_set():
                    iterator.close() if isinstance(iterator, Generator) else None
                    return

        job = _threaded(body, caller)
        _live += 1
        try:
            while not job.done() or not states.empty():
                taking = asyncio.ensure_future(states.get())
                either: set[asyncio.Future[Any]] = {taking, job}
                await asyncio.wait(either, timeout=GLANCE, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    yield taking.result()
                    while audience.behind():
                        await asyncio.sleep(FRAME)
                    taken.release()
                taking.cancel()
                if audience.left():
                    caller.left.set()
            job.result()
        finally:
            _live -= 1
            caller.left.set()
            taken.release()


@asynccontextmanager
async def _attended(turns: Turns) -> AsyncIterator[tuple[Caller, Audience]]:
    audience = Audience()
    caller = Caller(audience.visitor)
    async with turns.of(audience):
        try:
            yield caller, audience
        except (gr.Error, ValueError):
            raise
        except Stopped:
            raise gr.Error("Stopped: nobody waited for it.", print_exception=False) from None
        except Exception as error:
            log.error("work failed", exc_info=error)
            raise gr.Error(BROKEN, print_exception=False) from None
        finally:
            caller.left.set()


def _threaded(work: Callable[[], Result], caller: Caller) -> "asyncio.Future[Result]":
    loop = asyncio.get_running_loop()
    job: asyncio.Future[Result] = loop.create_future()

    def settle(set_: Callable[[Any], None], outcome: Any) -> None:
        if not job.cancelled():
            set_(outcome)

    def body() -> None:
        CALLER.set(caller)
        try:
            value = work()
        except BaseException as error:  # handed on to whoever waits
            _post(loop, settle, job.set_exception, error)
        else:
            _post(loop, settle, job.set_result, value)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(body,), name=WORK, daemon=True).start()
    return job


def end() -> None:
    """Ends all work, as if everybody had left. Work that went on would keep the program alive, or end in an
    abort.
    """
    dismiss()
    until = time.monotonic() + ENDING
    for thread in threading.enumerate():
        if thread.name == WORK:
            thread.join(max(0.0, until - time.monotonic()))


def _post(loop: asyncio.AbstractEventLoop, function: Callable[[*Arguments], None], *args: *Arguments) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *args)


def following(work: Callable[[Report], Result]) -> Generator[float, None, Result]:
    """Runs work(report) in a thread, yields what it reports, and returns or raises as it does."""
    reported: SimpleQueue[float | None] = SimpleQueue()
    outcome: Future[Result] = Future()

    def body() -> None:
        try:
            outcome.set_result(work(reported.put))
        except Exception as error:  # handed on to the caller
            outcome.set_exception(error)
        reported.put(None)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(body,), name=WORK, daemon=True).start()
    while (fraction := reported.get()) is not None:
        yield fraction
    return outcome.result()


def left(began: float, fraction: float) -> str:
    """How long work that began at time.monotonic() = `began` will still take; nothing where it is too early
    to say.
    """
    if fraction < 0.05:
        return ""
    return f"{max(1, round((time.monotonic() - began) * (1 - fraction) / fraction))} s left."
