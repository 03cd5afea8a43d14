"""Gradio's state of a page, without the copy of every part's settings that it makes for links to a page's
state: this page
has none of those, and the copies cost more than most calls and hold some 370 kB a page."""

from types import SimpleNamespace
from typing import Any

from gradio import state_holder
from gradio.blocks import Blocks


class Lean(state_holder.SessionState):
    """What a page's session holds: its parts where they differ from the page's,
    and the values of its states.
    """

    def __init__(self, blocks: Blocks) -> None:
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))  # type: ignore[arg-type]

    def _update_config(self, key: int) -> None: ...

    def _update_value_in_config(self, key: int, value: Any) -> None: ...


def begin() -> None:
    """Sessions that begin from now on are lean."""
    vars(state_holder)["SessionState"] = Lean
