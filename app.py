"""Tradewind: reads the settings, and launches the app."""

import os
import signal
import sys
from argparse import Namespace
from typing import NoReturn

from common.arguments import Parser, integer
from ui import listening, proxies  # noqa: F401  # before Gradio
from ui.startup import MAX_PORT, attempt, check_address

MAX_IN_MEMORY = 1_000
PATIENCE = 4
"""Seconds that a process which is told to end has for it until it is told again."""
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
"""Values of a variable that is a switch."""


def settings() -> Namespace:
    """Command line over environment over defaults; an empty variable counts as none."""
    parser = Parser(description="Tradewind: steer a language model, and see what it costs.")
    parser.add_argument(
        "--model",
        nargs="+",
        metavar="MODEL",
        help="hub ids or folders of the models that visitors may choose, the first at the start; the embedded model is always among them",
    )
    parser.add_argument(
        "--models-in-memory",
        type=integer(1, MAX_IN_MEMORY),
        default=os.environ.get("TRADEWIND_MODELS_IN_MEMORY") or "1",
        metavar="N",
        help="how many of them are in memory at once (default: 1)",
    )
    parser.add_argument("--host", default=listening.HOST or "127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port",
        type=integer(1, MAX_PORT),
        default=listening.PORT or "7860",
        help="port to listen on",
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        default=_switched_on(parser, "TRADEWIND_PREPARE"),
        help="visitors may start what `tradewind prepare` does, where the model lacks it",
    )
    parser.add_argument("--debug", action="store_true", help="say more in the log where something fails")
    return parser.parse_args()


def _switched_on(parser: Parser, name: str) -> bool:
    """Whether a variable says yes; ends the process where it says neither yes nor no."""
    value = os.environ.get(name, "").strip()
    if value.lower() not in (*YES, *NO):
        parser.error(f"{name} is {value!r}: give 1, or 0.")
    return value.lower() in YES


def start(options: Namespace) -> None:
    """Launches the app. Raises ValueError where it cannot listen."""
    check_address(options.host, options.port)
    from lab.launch import launch  # seconds of imports, which no wrong setting waits for

    launch(options)


def main() -> int:
    """Serves the page; what keeps it from starting becomes one sentence with the remedy, and exit code 2."""
    options = settings()
    if sys.platform == "win32":  # where no signal tells a process to end
        return attempt(lambda: start(options), options.debug)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _end)
    try:
        return attempt(lambda: start(options), options.debug)
    finally:
        signal.alarm(0)


def _end(*_: object) -> NoReturn:
    """Ends the process in order, as a Space that is stopped: the mirror pushes the last votes at exit. Python drops
    what is raised while it frees an object, so that it is tried again.
    """
    signal.alarm(PATIENCE)
    sys.exit()


if __name__ == "__main__":
    sys.exit(main())
