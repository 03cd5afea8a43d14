"""Middleware between the server and Gradio: it bounds requests, and puts back a path that a proxy removed."""

import re
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.visitors import forget

MAX_FILE, MAX_BODY = 5_000_000, 1_000_000
"""Bytes of an uploaded file, and of the body of any other request."""
ENVELOPE = 100_000
"""Bytes around the one file of an upload."""
ANSWER = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/(?P<event>[^/]+)/?$")


class Rooted:
    """Puts the root path back before a path where a proxy has taken it away: ASGI wants it there.

    Without it, what is mounted under the root path is not found.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if root := urlsplit(scope.get("root_path", "")).path.rstrip("/"):
            path = scope["path"]
            inside = path == root or path.startswith(f"{root}/")
            scope = {**scope, "root_path": root, "path": path if inside else root + path}
        await self._app(scope, receive, send)


class Bounds:
    """Refuses bodies that are too long, also where no length is told,
    and forgets the calls that are answered.
    """

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
        self._left, self._refused, self._answered = most, _too_long(most), False
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
        elif not self._answered:
            self._answered = True
            await self._refused(self._scope, self._receive, self._send)


def _too_long(most: int) -> Response:
    problem = f"The request is longer than {most:,} bytes: send less."
    return JSONResponse({"detail": problem}, 413, {"connection": "close"})
