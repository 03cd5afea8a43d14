"""Values of the command line: read, bounded, and refused in one sentence that names the argument."""

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""What an objective may be called."""


def objective(text: str) -> str:
    """An argparse type: what an objective may be called."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of an objective: give small letters, digits, _ and -"
        )
    return text


def share(text: str) -> tuple[int, int]:
    """An argparse type: I/N, part I of N, as (I, N)."""
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if not match or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part: give I/N with I from 1 to N, as in 2/4.")
    return int(match[1]), int(match[2])


def weights(texts: Sequence[str], objectives: Sequence[str]) -> tuple[float, ...]:
    """A preference as it is written: "helpful=.9,harmless=.1", or numbers in the order of the objectives.

    Parameters
    ----------
    texts
        words of the argument; commas and blanks both separate them.
    objectives
        all of them, in the order of `pareto.settings.ordered`.

    Raises
    ------
    ValueError
        where an objective is unknown, missing or named twice, or a weight is no number from 0 to 1.
    """
    parts = [part for text in texts for part in re.split(r"[,\s]+", text) if part]
    names, values = zip(*(part.rpartition("=")[::2] for part in parts), strict=True) if parts else ((), ())
    known = sorted(names) == sorted(objectives)
    if not known and (any(names) or len(values) != len(objectives)):
        example = ",".join(f"{name}={1 / len(objectives):.3g}" for name in objectives)
        raise ValueError(
            f"--preference is {' '.join(texts)!r}: give each of {', '.join(objectives)} a weight, as in {example}."
        )
    by_name = dict(zip(names if known else objectives, map(_weight, values), strict=True))
    return tuple(by_name[name] for name in objectives)


def _weight(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"--preference has the weight {text!r}: give numbers from 0 to 1 that sum to 1.")
    return value


def replacements(words: Sequence[str]) -> dict[str, str]:
    """What --reward names, by objective. Raises ValueError where an entry is not OBJECTIVE=WHAT."""
    chosen: dict[str, str] = {}
    for entry in words:
        objective, _, spec = entry.partition("=")
        if not NAME.fullmatch(objective) or not spec:
            raise ValueError(
                f"--reward is {entry!r}: give OBJECTIVE=WHAT, as in brevity=my_module:short, "
                "the objective in small letters."
            )
        if objective in chosen:
            raise ValueError(f"--reward names {objective} twice: give one reward an objective.")
        chosen[objective] = spec
    return chosen


def writable(folder: Path, argument: str) -> None:
    """Checks that a folder can be made and written to, before anything is computed. Raises ValueError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"{argument} is {folder}, which cannot be written to ({error.strerror}): give another folder."
        ) from None
