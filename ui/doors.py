"""Several pages behind one server: one at its root, the others below /models/,
each made when somebody first asks for it.
"""

import asyncio
from collections.abc import Mapping
from html import escape
from typing import Any, Protocol
from urllib.parse import quote

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.document import WEB

BELOW = "/models/"
LISTED, OPENING = "models.json", "opening.json"
GLANCE = 0.1
"""Seconds between two looks at whether a page is made."""
UNKNOWN = "There is no model {name} here: choose one of these."


class Door(Protocol):
    """A page that may not be made yet.

    page: serves it, once it is made; problem, waits: what kept it from being made, for good or for now.
    """

    label: str
    page: FastAPI | None
    problem: str
    waits: str

    @property
    def opening(self) -> bool:
        """Whether the page is being made."""
        ...

    def open(self) -> None:
        """Begins to make the page, where nobody does."""
        ...

    def state(self) -> dict[str, Any]:
        """What the pages tell of it."""
        ...


class Doors:
    """Hands a request to the page that its path names. Of a page that is not made yet, the document tells how
    far it is, and all else waits for it.
    """

    def __init__(self, app: ASGIApp, doors: Mapping[str, Door]) -> None:
        """doors: by the last part of their address; the first is
        that of the page at the root, which is `app`.
        """
        self._app, self._doors, self._first = app, doors, next(iter(doors))
        self._lives: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and path == f"/{LISTED}":
            return await self._listed()(scope, receive, send)
        if scope["type"] != "http" or not path.startswith(BELOW):
            return await self._app(scope, receive, send)
        slug, slash, below = path.removeprefix(BELOW).partition("/")
        if slash and slug not in self._doors:
            problem = UNKNOWN.format(name=f"{slug:.60}")
            return await _refused(scope, problem, 404)(scope, receive, send)
        if elsewhere := self._elsewhere(scope, slug, slash, below):
            return await RedirectResponse(elsewhere)(scope, receive, send)
        if below == LISTED:
            return await self._listed()(scope, receive, send)
        await self._through(slug, below)(scope, receive, send)

    def _elsewhere(self, scope: Scope, slug: str, slash: str, below: str) -> str:
        """Where a request is redirected to; empty where it stays."""
        root, query = scope.get("root_path", ""), scope["query_string"].decode("latin-1")
        query = query and f"?{query}"
        if slug == self._first:
            return f"{root}/{quote(below)}{query}"
        if not slash:
            return f"{root}{BELOW}{slug}/{query}"
        if below.startswith("login/") or below == "logout":  # a person signs in once, for all pages
            return f"{root}/{below}?_target_url={quote(f'{root}{BELOW}{slug}/?tab=compare', safe='')}"
        return ""

    def _through(self, slug: str, below: str) -> ASGIApp:
        door = self._doors[slug]

        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            reads = scope["method"] in ("GET", "HEAD")
            if below == OPENING or (door.page is None and below == "" and reads):
                return await self._waited(door, below == OPENING)(scope, receive, send)
            if problem := await self._opened(door):
                return await JSONResponse({"detail": problem}, 503)(scope, receive, send)
            assert door.page is not None
            await self._lives_on(slug, door.page)
            await door.page(scope, receive, send)

        return served

    def _listed(self) -> Response:
        return JSONResponse(
            [door.state() for door in self._doors.values()], headers={"cache-control": "no-store"}
        )

    def _waited(self, door: Door, as_json: bool) -> Response:
        """A page's progress. Whoever asks for it first begins it; after a failure, the next visitor begins it
        again.
        """
        if not as_json or not door.problem:
            door.open()
        headers = {"cache-control": "no-store", "retry-after": "2"}
        if as_json:
            return JSONResponse(door.state(), headers=headers)
        return HTMLResponse(waiting(door.label), 503, headers)

    async def _opened(self, door: Door) -> str:
        """Waits until a page is made; what keeps it from being made."""
        if door.page is None:
            door.open()
        while door.opening:
            await asyncio.sleep(GLANCE)
        return "" if door.page else door.problem or door.waits

    async def _lives_on(self, slug: str, page: FastAPI) -> None:
        """Runs an app's startup once, which its own server would run."""
        if slug not in self._lives:
            begun = asyncio.Event()

            async def life() -> None:
                async with page.router.lifespan_context(page):
                    begun.set()
                    await asyncio.Event().wait()

            self._lives[slug] = asyncio.create_task(life())
            await begun.wait()


def waiting(label: str, problem: str = "") -> str:
    """The document of a page that is not made yet, or that is not there."""
    html = (WEB / "shared" / "waiting.html").read_text(encoding="utf-8")
    return html.replace("{model}", escape(label)).replace("{problem}", escape(problem))


def _refused(scope: Scope, problem: str, status: int) -> Response:
    if b"text/html" in dict(scope["headers"]).get(b"accept", b""):
        return HTMLResponse(waiting("No such model", problem), status)
    return JSONResponse({"detail": problem}, status)
