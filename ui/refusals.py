"""Sentences for callers of the page's events where Gradio itself fails and would say nothing."""

import logging
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec

import gradio as gr
from gradio.route_utils import FnIndexInferError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.background import BROKEN

Given = ParamSpec("Given")
Step = Coroutine[Any, Any, Any]
log = logging.getLogger(__name__)
NAMED_CALL = re.compile(r"/gradio_api/call/v2/[^/]+/?$")
FAILED = "an event of the page failed"
HELP = "see Use via API at the foot of the page."
UNFIT = f"What came with this call is not what it takes, or names a file that was not uploaded: {HELP}"


def begin(page: gr.Blocks) -> None:
    """From now on every error of a page's events is a sentence, and a caller's mistake is one line of the
    log.
    """
    page.preprocess_data = _speaking(page.preprocess_data, UNFIT, partial(log.warning, UNFIT))  # type: ignore[method-assign]
    page.call_function = _speaking(page.call_function, BROKEN, partial(log.exception, FAILED))  # type: ignore[method-assign]


def _speaking(step: Callable[Given, Step], sentence: str, note: Callable[[], None]) -> Callable[Given, Step]:
    async def run(*args: Given.args, **settings: Given.kwargs) -> Any:
        try:
            return await step(*args, **settings)
        except gr.Error:
            raise
        except Exception:
            note()
            raise gr.Error(sentence, print_exception=False) from None

    return run


class NamedCalls:
    """Answers a call of an endpoint that is not there, or that names its values,
    and too few or others than the endpoint takes, with a sentence.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except FnIndexInferError:
            name = scope["path"].rstrip("/").rpartition("/")[2]
            log.warning("a call was refused, for an endpoint that is not there")
            problem = f"There is no endpoint {name!r:.60}: {HELP}"
            await JSONResponse({"detail": problem}, 404)(scope, receive, send)
        except (TypeError, KeyError) as error:  # Gradio's own call, which looks up the names
            if scope["type"] != "http" or not NAMED_CALL.search(scope["path"]):
                raise
            problem = f"There is no endpoint {error}" if isinstance(error, KeyError) else str(error)
            problem = f"{problem.partition('. ')[0]:.120}: {HELP}"
            log.warning("a call was refused, for its names")
            await JSONResponse({"detail": problem}, 422)(scope, receive, send)
