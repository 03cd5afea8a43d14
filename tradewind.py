"""The command `tradewind`: the app, or one of the command lines."""

import sys
from importlib import import_module

from common.command import require_folder

ROOMS = {
    "prepare": "make all that the tabs want of a model",
    "steering": "steer from the command line: generate, sweep, train, evaluate, export",
    "pareto": "train, evaluate and compare checkpoints",
    "arena": "make, rank, export and import blind comparisons",
}
USAGE = "usage: tradewind [--model MODEL] [--host HOST] [--port PORT] [--debug]\n" + "".join(
    f"       tradewind {room} ...    {about}\n" for room, about in ROOMS.items()
)


def main() -> int:
    """The exit code of a command."""
    require_folder()
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word in ROOMS:
        sys.argv = [f"tradewind {word}", *sys.argv[2:]]
        room = "lab" if word == "prepare" else word
        return import_module(f"{room}.__main__").main() or 0
    if word in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if word and not word.startswith("-"):
        print(
            f"error: Command is {word!r:.60}: give {', '.join(ROOMS)}, or options of the app.",
            file=sys.stderr,
        )
        return 2
    return import_module("app").main()


if __name__ == "__main__":
    sys.exit(main())
