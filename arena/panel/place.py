"""Where the visitor is: keeps the page's address and the arena's study and name in step."""

from typing import Any

from gradio.events import Dependency

from ui.parts import part


class Place:
    """The part of the page that reads the address at the start, tells it as the event 'open', and writes its
    value into the address.
    """

    def __init__(self) -> None:
        self.part = part({}, "compare/place", "tw-place")

    def failed(self, opened: Dependency) -> None:
        """Tells the part where the answer to its event failed."""
        opened.failure(None, js="() => document.dispatchEvent(new CustomEvent('tw:place-failed'))")

    @staticmethod
    def at(study: str, name: str, visit: object = None, refused: str = "") -> dict[str, Any]:
        """The value for a study, by its id, and the name of whoever judges it; visit: the number of the event
        'open' that it answers; refused: why the study that the address names cannot be opened.
        """
        return {"study": study, "name": name, "visit": visit, "refused": refused}
