"""A page with handlers of every kind around our server, and endpoints that say what is left of them."""

import os
import sys
import threading
import time

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


def echo(text: str) -> int:
    return len(text)


def left() -> dict:
    return {
        "workers": sum(thread.name == "work" for thread in threading.enumerate()),
        "sessions": len(page.app.state_holder.session_data),
        "memory": int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }


with gr.Blocks(analytics_enabled=False) as page:
    for work in (streamed, silent, answered, echo, left):
        gr.api(work, api_name=work.__name__, concurrency_limit=None)

if __name__ == "__main__":
    serve(queued(page), "127.0.0.1", int(sys.argv[1]), check=time.time)
