"""The server around the page: what it serves beside Gradio's own routes, and the bounds of what it takes."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import gradio as gr
import plotly
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ui import background, refusals, states
from ui.document import PREVIEW, WEB, Document
from ui.doors import Door, Doors
from ui.middleware import MAX_FILE, Bounds, Rooted
from ui.refusals import NamedCalls
from ui.startup import without_proxies
from ui.theme import theme

Page = gr.Blocks
MAX_JOBS = 512
"""Events under way at once: more than all limits of the tabs together,
so that none waits for another's place.
"""
MAX_QUEUE = 256
LOOK: dict[str, Any] = {
    "theme": theme(),
    "footer_links": ["api"],
    "run_history": False,
    "show_error": False,
    "ssr_mode": False,
    "max_file_size": MAX_FILE,
    "enable_monitoring": False,
}
"""What Gradio is told of every page."""
MAX_STATES = 2_000
"""Pages whose state Gradio keeps, 12 kB each; an older one is told by the page itself."""


def serve(
    page: gr.Blocks,
    host: str,
    port: int,
    check: Callable[[], object],
    more: Sequence[BaseRoute] = (),
    doors: Mapping[str, Door] | None = None,
    outside: Sequence[Middleware] = (),
) -> None:
    """Serves a page until the process ends. check: raises where the app cannot do its work; /health calls it.
    more: routes beside the page's; doors: to the other pages, see ui.doors.Doors; outside: what stands before
    all pages.
    """
    if gr.utils.get_space() is not None:  # only the Space's own proxy reaches the app, and it tells who asks
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")
    between = [*outside, *([Middleware(Doors, doors=doors)] if doors else [])]
    with without_proxies():
        page.launch(
            prevent_thread_lock=True,
            server_name=f"[{host.strip('[]')}]"
            if ":" in host
            else host,  # IPv6, as addresses of pages have it
            server_port=port,
            share=False,
            favicon_path=WEB / "shared" / "favicon.svg",
            max_threads=MAX_JOBS,
            state_session_capacity=MAX_STATES,
            app_kwargs=_around([_health(check), *more], between),
            **LOOK,
        )
    try:
        page.block_thread()
    finally:
        background.end()


def mounted(page: gr.Blocks, path: str, more: Sequence[BaseRoute] = ()) -> FastAPI:
    """The app of another page, which the same process serves below `path`. more: routes beside the page's."""
    page.max_threads = page._queue.max_thread_count = MAX_JOBS
    page.state_session_capacity = MAX_STATES
    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        app,
        page,
        "",
        root_path=os.environ.get("GRADIO_ROOT_PATH", "").rstrip("/") + path,
        app_kwargs=_around(more),
        **LOOK,
    )
    page.has_launched = True  # else Gradio shows any file of the machine that a caller names
    return app


def _around(more: Sequence[BaseRoute], between: Sequence[Middleware] = ()) -> dict[str, Any]:
    """What stands around every page: routes before its own, and middleware; `between`:
    before what changes documents.
    """
    routes = [
        *more,
        Route("/preview.png", _preview),
        Mount("/tw/plotly", StaticFiles(directory=Path(plotly.__file__).parent / "package_data")),
        Mount("/tw", StaticFiles(directory=WEB)),
    ]
    return {
        "routes": routes,
        "middleware": [
            Middleware(Rooted),
            *between,
            Middleware(Bounds),
            Middleware(Document),
            Middleware(NamedCalls),
        ],
    }


def _health(check: Callable[[], object]) -> Route:
    async def health(request: Request) -> Response:
        try:
            await anyio.to_thread.run_sync(check)
        except Exception as error:
            return JSONResponse({"status": type(error).__name__}, 503)
        return JSONResponse({"status": "ok"})

    return Route("/health", health)


async def _preview(request: Request) -> Response:
    return FileResponse(PREVIEW)


def queued(page: gr.Blocks) -> gr.Blocks:
    """A page whose events all take their turn, and of which no statistics are made at each of them."""
    states.begin()
    refusals.begin(page)
    os.environ |= {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**31)}
    page.queue(max_size=MAX_QUEUE, api_open=False)
    return page
