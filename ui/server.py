"""The server around the page: what it serves beside Gradio's own routes, and the bounds of what it takes."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import anyio
import gradio as gr
import plotly
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.startup import without_proxies
from ui.theme import theme
from ui.visitors import forget

WEB = Path(__file__).parents[1] / "assets" / "web"
SHEETS = ("shared/base.css", "steer/steer.css", "compare/compare.css", "tradeoffs/tradeoffs.css")
HEAD = "\n".join(f'<link rel="stylesheet" href="tw/{sheet}">' for sheet in SHEETS if (WEB / sheet).exists())
MAX_FILE, MAX_BODY = 5_000_000, 1_000_000
"""Bytes of an uploaded file, and of the body of any other request."""
ENVELOPE = 100_000
"""Bytes around the one file of an upload."""
MAX_JOBS = 512
"""Events under way at once: more than all limits of the tabs together, so that none waits for another's place."""
MAX_QUEUE = 256
MAX_STATES = 256
"""Pages whose state Gradio keeps, some hundred kilobytes each; an older one is told by the page itself."""
ANSWER = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/(?P<event>[^/]+)/?$")


class Bounds:
    """Refuses bodies that are too long, also where no length is told, and forgets the calls that are answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        most = MAX_FILE + ENVELOPE if scope["path"].endswith("/gradio_api/upload") else MAX_BODY
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            return await _too_long(most)(scope, receive, send)
        body = _Body(most, scope, receive, send)
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            if scope["method"] == "GET" and (answer := ANSWER.search(scope["path"])):
                forget(scope["app"], answer["event"])


class _Body:
    """A request whose body is counted as it comes, and answered here where it is too long."""

    def __init__(self, most: int, scope: Scope, receive: Receive, send: Send) -> None:
        self._left, self._refused, self._told = most, _too_long(most), False
        self._scope, self._receive, self._send = scope, receive, send

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413)
        return message

    async def send(self, message: Message) -> None:
        if self._left >= 0:
            await self._send(message)
        elif not self._told:
            self._told = True
            await self._refused(self._scope, self._receive, self._send)


def _too_long(most: int) -> Response:
    problem = f"The request is longer than {most:,} bytes: send less."
    return JSONResponse({"detail": problem}, 413, {"connection": "close"})


def serve(page: gr.Blocks, host: str, port: int, check: Callable[[], object]) -> None:
    """Serves a page until the process ends. check: raises where the app cannot do its work; /health calls it."""

    async def health(request: Request) -> Response:
        try:
            await anyio.to_thread.run_sync(check)
        except Exception as error:
            return JSONResponse({"status": type(error).__name__}, 503)
        return JSONResponse({"status": "ok"})

    routes = [
        Route("/health", health),
        Mount("/tw/plotly", StaticFiles(directory=Path(plotly.__file__).parent / "package_data")),
        Mount("/tw", StaticFiles(directory=WEB)),
    ]
    with without_proxies():
        page.launch(
            prevent_thread_lock=True,
            server_name=host,
            server_port=port,
            share=False,
            theme=theme(),
            head=HEAD,
            footer_links=["api"],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            max_file_size=MAX_FILE,
            max_threads=MAX_JOBS,
            state_session_capacity=MAX_STATES,
            enable_monitoring=False,
            app_kwargs={"routes": routes, "middleware": [Middleware(Bounds)]},
        )
    page.block_thread()


def queued(page: gr.Blocks) -> gr.Blocks:
    """A page whose events all take their turn, and of which no statistics are made at each of them."""
    os.environ |= {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**31)}
    return page.queue(max_size=MAX_QUEUE, api_open=False)
