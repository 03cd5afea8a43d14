"""/v1/models, /v1/completions and /v1/chat/completions."""

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.requests import Request as Http
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from api.answering import alternatives, answering
from api.asked import Choose, Refused, Request, parse
from api.choice import Choice
from api.errors import problem, refusal
from api.shapes import ScoredTokens, Shape
from lm.caller import CALLER, Caller
from ui.visitors import GLANCE

MAX_REQUESTS, MAX_REQUESTS_OF_ONE = 64, 16
"""Requests answered at once, and those of one address."""
_busy: Counter[Hashable] = Counter()
"""Requests under way by address: one count for the process, since all models share the machine."""


def routes(choose: Choose, listed: Callable[[], Mapping[str, str]]) -> list[Route]:
    """The API's routes. listed: the policies of /v1/models, and the model that each is of."""
    began = int(time.time())

    def model(name: str, owner: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": began, "owned_by": owner}

    async def models(http: Http) -> Response:
        return JSONResponse({"object": "list", "data": [model(*each) for each in listed().items()]})

    async def one_model(http: Http) -> Response:
        name, known = http.path_params["name"], listed()
        if name in known:
            return JSONResponse(model(name, known[name]))
        return refusal(Refused(f"There is no model {name!r:.60}.", "model", 404, "model_not_found"))

    def endpoint(chat: bool) -> Callable[[Http], Any]:
        async def answer(http: Http) -> Response:
            visitor = http.client.host if http.client else None
            if _busy[visitor] >= MAX_REQUESTS_OF_ONE or _busy.total() >= MAX_REQUESTS:
                problem = "Too many requests are being answered: ask again when one of them is."
                return refusal(Refused(problem, None, 429, "rate_limit_exceeded"))
            _busy[visitor] += 1
            caller = Caller(visitor)

            def end() -> None:
                _busy[visitor] -= 1
                caller.left.set()

            try:
                response = await _answer(http, choose, chat, caller)
            except BaseException:
                end()
                raise
            if isinstance(response, _Stream):
                response.then = end
            else:
                end()
            return response

        return answer

    return [
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", one_model),
        Route("/v1/completions", endpoint(chat=False), methods=["POST"]),
        Route("/v1/chat/completions", endpoint(chat=True), methods=["POST"]),
    ]


class _Stream(StreamingResponse):
    """Events of an answer. then: called when they have ended, in whichever way."""

    then: Callable[[], object]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.then()


async def _answer(http: Http, choose: Choose, chat: bool, caller: Caller) -> Response:
    try:
        body = json.loads(await http.body())
    except (ValueError, RecursionError):
        return refusal(Refused("The body is no JSON: send a JSON object."))
    try:
        async with _watched(http, caller):
            request = await _threaded(lambda: parse(body, choose, chat=chat), caller)
        shape = Shape(f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}", request)
        if request.streams:
            return _Stream(_stream(http, request, shape, caller), media_type="text/event-stream")
        async with _watched(http, caller):
            return JSONResponse(await _whole(request, shape, caller))
    except Exception as error:
        return refusal(error)


async def _whole(request: Request, shape: Shape, caller: Caller) -> dict[str, Any]:
    choices = [Choice(index) for index in range(len(request.rows))]
    async with answering(request, caller) as events:
        async for choice, _, _ in events:
            choices[choice.index] = choice
    for choice in choices:
        choice.finish = choice.finish or "length"
    tokens = await _threaded(lambda: [_scored(request, choice) for choice in choices], caller)
    opening = request.policy.model.codec.decode
    texts = [
        (opening(ids) if request.echo else "") + choice.text
        for (ids, _), choice in zip(request.rows, choices, strict=True)
    ]
    return shape.whole(choices, tokens, texts)


def _scored(request: Request, choice: Choice) -> ScoredTokens | None:
    """The tokens of a choice with their log-probabilities: as drawn, or read again where alternatives, or the
    prompt's, are asked for.
    """
    if request.top is None:
        return None
    prompt, sampling = request.rows[choice.index]
    tokens = choice.kept
    if not request.top and not request.echo:
        return [{"id": token.id, "logprob": token.logprob, "top": []} for token in tokens]
    ids = [*prompt, *(token.id for token in tokens)]
    if request.echo:
        first: ScoredTokens = [{"id": ids[0], "logprob": None, "top": []}]
        return first + (alternatives(request, ids, 1, sampling) if len(ids) > 1 else [])
    return alternatives(request, ids, len(prompt), sampling) if tokens else []


async def _stream(http: Http, request: Request, shape: Shape, caller: Caller) -> AsyncIterator[str]:
    choices: dict[int, Choice] = {}
    try:
        async with _watched(http, caller), answering(request, caller) as events:
            async for choice, piece, token in events:
                opens = choice.index not in choices
                choices[choice.index] = choice
                if piece or opens or token is None or request.top is not None:
                    yield _event(shape.chunk(choice, piece, token, opens))
        if request.tells_usage:
            yield _event(shape.last(list(choices.values())))
    except Exception as error:
        yield _event(problem(error)[1])
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


@asynccontextmanager
async def _watched(http: Http, caller: Caller) -> AsyncIterator[None]:
    """Ends the caller's work when the client leaves or the answer is complete."""

    async def watch() -> None:
        while not await http.is_disconnected():
            await asyncio.sleep(GLANCE)
        caller.left.set()

    watching = asyncio.ensure_future(watch())
    try:
        yield
    except BaseException:
        caller.left.set()
        raise
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _threaded(work: Callable[[], Any], caller: Caller) -> Any:
    def body() -> Any:
        CALLER.set(caller)
        return work()

    return await asyncio.to_thread(body)
