"""Errors in OpenAI's form, whether this API, the router or the middleware raised them."""

import json
import logging
import re
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.asked import Refused
from lm.places import NotInMemory
from ui.validation import sentence

log = logging.getLogger(__name__)
PATH = re.compile(r"(/models/[^/]+)?/v1(/|$)")
"""Where this API is, below the app's root path."""
ENDPOINTS = "/v1/models, /v1/chat/completions or /v1/completions"


def problem(error: Exception) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body of an error. For errors that are not the request's fault, it tells the
    kind alone; the log has the rest.
    """
    if not isinstance(error, ValueError):
        log.error("an answer failed", exc_info=error)
        fault = f"The answer failed by a fault of the app ({type(error).__name__}), which its log explains."
        return _body(500, fault)
    message = sentence(error)
    if isinstance(error, NotInMemory):
        return _body(503, message, "model", "model_not_ready")
    if not isinstance(error, Refused):
        return _body(400, message)
    return _body(error.status, message, error.param, error.code)


def refusal(error: Exception) -> JSONResponse:
    """The response for an error."""
    status, body = problem(error)
    return JSONResponse(body, status)


class Formed:
    """Gives the errors of others on this API's paths OpenAI's form: those of the router, of a body that is too
    long, of a model whose page cannot be made.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not PATH.match(path):
            return await self._app(scope, receive, send)
        start: Message | None = None
        held, began = b"", False

        async def form(message: Message) -> None:
            nonlocal start, held, began
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif start is None:
                began = True
                await send(message)
            else:
                held += message["body"]
                if not message.get("more_body"):
                    began = True
                    await _formed(start, held, scope["method"], path)(scope, receive, send)

        # for a client that accepts HTML the error would be a page
        headers = [each for each in scope["headers"] if each[0] != b"accept"]
        try:
            await self._app({**scope, "headers": headers}, receive, form)
        except Exception as error:
            if began:
                raise
            await refusal(error)(scope, receive, send)


def _formed(start: Message, held: bytes, method: str, path: str) -> JSONResponse:
    status = start["status"]
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in start["headers"]
        if name not in (b"content-length", b"content-type")
    }
    content = json.loads(held)
    if "error" not in content:
        _, content = _body(status, _sentence(content["detail"], method, path, headers))
    return JSONResponse(content, status, headers)


def _sentence(detail: str, method: str, path: str, headers: dict[str, str]) -> str:
    if detail == "Not Found":
        return f"There is no endpoint {path!r:.60}: ask {ENDPOINTS}."
    if detail == "Method Not Allowed":
        allowed = ", ".join(sorted(headers["allow"].split(", ")))
        return f"Method is {method!r:.20}: {path:.60} takes {allowed}."
    return detail


def _body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> tuple[int, dict[str, Any]]:
    kinds = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
    kind = kinds.get(status, "invalid_request_error")
    return status, {"error": {"message": message, "type": kind, "param": param, "code": code}}
