"""Where the visitor is: the page's address and the arena's study and name keep each other true."""

from typing import Any

from ui.parts import part


class Place:
    """The part of the page that reads the address at the start, tells it as the event 'open', and writes its
    value into the address.
    """

    def __init__(self) -> None:
        self.part = part({}, "compare/place", "tw-place")

    @staticmethod
    def at(study: str, name: str, visit: object = None) -> dict[str, Any]:
        """The value for a study, by its id, and the name of whoever judges it; visit: the number of the event
        'open' that it answers.
        """
        return {"study": study, "name": name, "visit": visit}
