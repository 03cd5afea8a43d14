"""What the desks of several tabs share: input within bounds, work that tells how far it is, errors as sentences."""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from queue import SimpleQueue
from typing import Any, TypeVar

from lm.model import LanguageModel

MOST_CHARACTERS, MOST_PROMPT_TOKENS, MOST_NEW_TOKENS = 4_000, 1_024, 512
MOST_SEED, MOST_TEMPERATURE = 2**32 - 1, 2.0
FRAME = 1 / 30
"""Seconds between two updates of a page."""

Result = TypeVar("Result")
Report = Callable[[float], None]


class PromptError(ValueError):
    """A prompt that cannot be answered; the message says why."""


def prompt_ids(model: LanguageModel, prompt: str) -> tuple[int, ...]:
    """The prompt within the chat template. Raises PromptError where it is empty or too long."""
    if not prompt.strip():
        raise PromptError("the prompt is empty: write what the model shall answer")
    if len(prompt) > MOST_CHARACTERS:
        raise PromptError(f"the prompt has {len(prompt):,} characters: at most {MOST_CHARACTERS:,} are taken")
    ids = model.chat_ids(prompt)
    if len(ids) > MOST_PROMPT_TOKENS:
        raise PromptError(f"the prompt has {len(ids):,} tokens: at most {MOST_PROMPT_TOKENS:,} are taken")
    return tuple(ids)


def bounded(asked: Mapping[str, Any], name: str, least: float, most: float) -> float:
    """The number asked[name]. Raises ValueError where it is none or out of bounds."""
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: give a number from {least:,} to {most:,}")
    return value


def following(work: Callable[[Report], Result]) -> Generator[float, None, Result]:
    """Runs work(report) in a thread, yields what it reports, and returns or raises as it does."""
    told: SimpleQueue = SimpleQueue()
    outcome: dict[str, Any] = {}

    def body() -> None:
        try:
            outcome["value"] = work(told.put)
        except Exception as error:  # handed on to the caller
            outcome["error"] = error
        told.put(None)

    threading.Thread(target=body, daemon=True).start()
    while (fraction := told.get()) is not None:
        yield fraction
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def left(began: float, fraction: float) -> str:
    """How long work that began at time.monotonic() = `began` will still take; nothing where it is too early to say."""
    if fraction < 0.05:
        return ""
    return f"{max(1, round((time.monotonic() - began) * (1 - fraction) / fraction))} s left."


def sentence(error: Exception) -> str:
    """An error as the page says it: a capital at the start (but for names such as p0), a stop at the end."""
    text = str(error)
    start = text[:1].upper() if text.split(" ")[0].isalpha() else text[:1]
    return start + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
