"""A log of errors that holds nothing that a visitor wrote: where it happened, and the kind of error."""

import logging
import traceback
from types import TracebackType

from gradio import queueing, routes

Caught = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Discreet(logging.Formatter):
    """Leaves out the message of an exception, since it may quote a prompt."""

    def formatException(self, ei: Caught) -> str:
        """The frames of an exception and its kind."""
        kind, _, trace = ei
        return "".join(traceback.format_tb(trace)) + (kind.__name__ if kind else "")


def begin(debug: bool) -> None:
    """Errors and warnings go to stderr; with debug, more of them, and whole."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        (logging.Formatter if debug else Discreet)("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[handler])
    for module in (queueing, routes):
        vars(module)["traceback"] = _Traceback


class _Traceback:
    """Stands in for the module traceback where Gradio prints an error: it goes to the log instead."""

    @staticmethod
    def print_exc() -> None:
        logging.getLogger("gradio").error("a handler failed", exc_info=True)
