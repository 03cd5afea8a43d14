"""What a model lacks, said at the head of a tab, with the way to make it."""

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from lab.preparer import Preparer
from ui.parts import part

Renew = tuple[gr.HTML, Callable[[], Mapping[str, Any]]]
"""A part of a tab and the value that it has now."""


def build(preparer: Preparer, tab: str) -> Callable[[Renew | None], None]:
    """Builds the banner in an open tab, where the model lacks what the tab shows. The function that it
    returns connects it, once the tab is built, with the part to be renewed when all is there.
    """
    if tab not in preparer.lacked:
        return lambda renew: None
    banner = part(preparer.state(tab), "shared/prepare", "tw-lacking")

    def connect(renew: Renew | None) -> None:
        shown = [banner] if renew is None else [banner, renew[0]]

        def state() -> Any:
            value = preparer.state(tab)
            if renew is None:
                return value
            return value, {**renew[1](), "renewed": True} if preparer.renewed() else gr.skip()

        def on_start() -> Any:
            preparer.start()
            return state()

        def on_stop() -> Any:
            preparer.stop()
            return state()

        settings: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "concurrency_limit": 8,
        }
        banner.look(state, None, shown, **settings)
        banner.start(on_start, None, shown, **settings)
        banner.stop(on_stop, None, shown, **settings)

    return connect
