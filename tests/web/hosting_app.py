"""A page with handlers of every kind around our server, and endpoints that say what is left of them."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
from starlette.routing import Route  # noqa: F401

from lm.caller import CALLER
from ui.background import answer, following, stream
from ui.server import queued, serve
from ui.visitors import Turns

turns = Turns(40)


def states():
    number = 0
    while not CALLER.get().left.wait(0.02):
        yield {"state": number}
        number += 1


def working() -> str:
    CALLER.get().left.wait(60)
    CALLER.get().check()
    return "done"


async def streamed():
    async for state in stream(states, turns):
        yield state


async def silent():
    """A stream that says nothing for long, as training does."""
    async for state in stream(lambda: following(lambda report: working()), turns):
        yield {"state": state}


async def answered() -> str:
    return await answer(working, turns)


async def kept() -> bool:
    """Work in a thread that Python waits for at its end, as it does for the loop that decodes."""
    return await answer(lambda: ThreadPoolExecutor(1).submit(CALLER.get().left.wait, 60).result(), turns)


def echo(text: str) -> int:
    return len(text)


def left() -> dict:
    return {
        "workers": sum(thread.name == "work" for thread in threading.enumerate()),
        "sessions": len(page.app.state_holder.session_data),
        "memory": int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }


with gr.Blocks(analytics_enabled=False) as page:
    for work in (streamed, silent, answered, kept, echo, left):
        gr.api(work, api_name=work.__name__, concurrency_limit=None)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    serve(queued(page), "127.0.0.1", int(sys.argv[1]), check=time.time)
