"""Values of a command line: bounded, and refused in one sentence that names the argument."""

import argparse
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence on stderr, with exit code 2; it reads `-1,2` as a value, not as
    an option.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._negative_number_matcher = re.compile(r"-[\d.]")
        self._commands: Commands | None = None

    def commands(self) -> "Commands":
        """Where commands are added; a caller must give one of them."""
        self._commands = self.add_subparsers(dest="command", metavar="COMMAND")
        return self._commands

    def parse_args(self, *given: Any, **settings: Any) -> Any:
        """The values; ends the process where the command is missing."""
        values = super().parse_args(*given, **settings)
        if self._commands is not None and values.command is None:
            self.error(f"Command is missing: give one of {', '.join(self._commands.choices)}.")
        return values

    def error(self, message: str) -> NoReturn:
        """Ends the process."""
        self.exit(2, f"error: {message}\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def integer(low: float, high: float) -> Callable[[str], int]:
    """An argparse type: a whole number from low to high."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number: give one from {low:,} to {high:,}."
            ) from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{text} is out of range: give a number from {low:,} to {high:,}."
            )
        return value

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """An argparse type: a number from low to high; infinities and nan are none."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{text} is no number in range: give one from {low:,} to {high:,}."
            )
        return value

    return read
