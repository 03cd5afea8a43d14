"""Decoding for a client: each choice in a thread of its own, all in the batched loop that the page shares."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from api.asked import Request
from api.choice import Choice
from lm import Row, Run, Sampling, Token
from lm.caller import CALLER, Caller

Event = tuple[Choice, str, Token | None]
"""A choice, the text that is new in it, and the token that brought it (None at its end)."""
_Posted = tuple[int, Token | Run | BaseException]


@asynccontextmanager
async def answering(request: Request, caller: Caller) -> AsyncIterator[AsyncIterator[Event]]:
    """Decodes all choices; leaving the context ends their rows at the next token."""
    posts: asyncio.Queue[_Posted] = asyncio.Queue()
    stops = [threading.Event() for _ in request.rows]
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    context.run(CALLER.set, caller)

    def body(index: int, row: Row) -> None:
        def post(event: Token | Run | BaseException) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(posts.put_nowait, (index, event))

        try:
            decoding = request.policy.model.decode([row], stop=stops[index])
            for step in decoding:
                for token in step:
                    post(token)
            post(decoding.runs[0])
        except Exception as error:  # handed on to the caller
            post(error)

    try:
        for index, (ids, sampling) in enumerate(request.rows if request.generates else ()):
            policy, follows = request.policy, 0 if request.chat else len(ids)
            row = Row(ids, sampling, policy.edits_for(list(ids)), policy.adapter, follows=follows)
            threading.Thread(
                target=context.copy().run, args=(body, index, row), name="answer", daemon=True
            ).start()
        yield _events(request, posts, stops)
    finally:
        for stop in stops:
            stop.set()


async def _events(
    request: Request, posts: "asyncio.Queue[_Posted]", stops: list[threading.Event]
) -> AsyncIterator[Event]:
    choices = [Choice(index, request.stops) for index in range(len(stops))]
    left = len(choices) if request.generates else 0
    while left:
        index, what = await posts.get()
        choice = choices[index]
        if isinstance(what, BaseException):
            raise what
        if isinstance(what, Run):
            left -= 1
            yield choice, choice.end(what.finish), None
        elif not choice.finish:
            piece = choice.take(what)
            if choice.finish:
                stops[index].set()
            yield choice, piece, what


def alternatives(request: Request, ids: list[int], start: int, sampling: Sampling) -> list[dict[str, Any]]:
    """Of each token from `start` on: id, logprob, and the likeliest others as (id, logprob).

    Teacher-forced under the policy, at the temperature that the tokens were drawn at.
    """
    policy = request.policy
    [logprobs] = policy.model.logprobs(
        [ids],
        [start],
        edits=[policy.edits_for(list(ids[:start]))],
        adapters=[policy.adapter],
        temperature=sampling.temperature or 1.0,
    )
    best = logprobs.topk(request.top or 0)
    return [
        {
            "id": id,
            "logprob": float(logprobs[at, id]),
            "top": list(zip(best.indices[at].tolist(), best.values[at].tolist(), strict=True)),
        }
        for at, id in enumerate(ids[start:])
    ]
