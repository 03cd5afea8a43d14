"""The page's document before its scripts arrive: what a link to it shows, its style,
and a still picture of its frame.
"""

import re
from html import escape
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASSETS = Path(__file__).parents[1] / "assets"
WEB, PREVIEW = ASSETS / "web", ASSETS / "screenshot.png"
SHEETS = ("shared/base.css", "steer/steer.css", "compare/compare.css", "tradeoffs/tradeoffs.css")
TITLE = "Tradewind"
ABOUT = "Steer a language model live, see what it costs, and judge the answers blind."
CARDS = re.compile(r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')
MANIFEST = re.compile(r'<link rel="manifest"[^>]*>\s*')


def head(address: str) -> str:
    """What a link to the page at this address shows elsewhere, and the sheets of its style."""
    card = {
        "og:type": "website",
        "og:title": TITLE,
        "og:description": ABOUT,
        "og:url": f"{address}/",
        "og:image": f"{address}/preview.png",
    }
    lines = [f'<meta property="{name}" content="{escape(value)}" />' for name, value in card.items()]
    lines += [
        f'<meta name="description" content="{ABOUT}" />',
        '<meta name="twitter:card" content="summary_large_image" />',
        '<link rel="icon" type="image/svg+xml" href="tw/shared/favicon.svg" />',
        *(f'<link rel="stylesheet" href="tw/{sheet}" />' for sheet in SHEETS if (WEB / sheet).exists()),
    ]
    return "\n".join(lines)


def dressed(html: str, address: str) -> str:
    """Gradio's document with our head, and a still frame of the page until its scripts draw it."""
    skeleton = (WEB / "shared" / "skeleton.html").read_text(encoding="utf-8")
    html = MANIFEST.sub("", CARDS.sub("", html))
    html = html.replace("</head>", f"{head(address)}\n</head>", 1)
    return re.sub(r"(<body[^>]*>)", lambda body: body[1] + skeleton, html, count=1)


class Document:
    """Dresses the document that Gradio serves at the root."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) not in ("", "/"):
            return await self._app(scope, receive, send)
        start: Message = {}
        body = b""

        async def collected(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            headers = MutableHeaders(raw=start["headers"])
            if headers.get("content-type", "").startswith("text/html") and body:
                body = dressed(body.decode(), _address(scope)).encode()
                headers["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, collected)


def _address(scope: Scope) -> str:
    """The page's own address as the outside sees it."""
    request = Request(scope)
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme).split(",")[0].strip()
    host = request.headers.get("x-forwarded-host", request.headers.get("host", "")).split(",")[0].strip()
    return f"{scheme}://{host}{scope.get('root_path', '')}"
