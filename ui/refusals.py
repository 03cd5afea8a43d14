"""What a caller of the page's events hears where Gradio itself cannot go on: a sentence, where it would say nothing at all."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import gradio as gr

from ui.background import BROKEN

Given = ParamSpec("Given")
Step = Coroutine[Any, Any, Any]
log = logging.getLogger(__name__)
UNFIT = "What came with this call is not what it takes, or names a file that was not uploaded: see Use via API at the foot of the page."


def begin(page: gr.Blocks) -> None:
    """Every error of a page's events is a sentence from now on."""
    page.preprocess_data = _told(page.preprocess_data, UNFIT)  # type: ignore[method-assign]
    page.call_function = _told(page.call_function, BROKEN)  # type: ignore[method-assign]


def _told(step: Callable[Given, Step], says: str) -> Callable[Given, Step]:
    async def told(*args: Given.args, **settings: Given.kwargs) -> Any:
        try:
            return await step(*args, **settings)
        except gr.Error:
            raise
        except Exception as error:
            log.error("an event of the page failed", exc_info=error)
            raise gr.Error(says, print_exception=False) from None

    return told
