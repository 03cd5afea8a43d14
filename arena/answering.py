"""Answers of policies to prompts, for a study."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from arena.battles import Output
from arena.errors import ArenaError

GROUP = "Policies"


class Responder(Protocol):
    """Anything that answers prompts with runs: objects with `text`, `ids`, `finish` and `seconds`."""

    def check(self, prompt: str, max_new_tokens: int) -> None:
        """Raises ValueError where the prompt cannot be answered."""

    def respond(
        self, prompts: Sequence[str], *, seed: int, max_new_tokens: int, stop: threading.Event
    ) -> Sequence[Any]:
        """One run a prompt; what is there, whole or not, as soon as `stop` is set."""


@dataclass(frozen=True)
class Entrant:
    """A policy, with what is shown about it after a vote: its plan, checkpoint or base model, and `model`.

    group: of the policies with which it is listed.
    """

    policy: Responder
    spec: Mapping[str, Any]
    group: str = GROUP


def generate(
    entrants: Mapping[str, Entrant],
    prompts: Sequence[str],
    *,
    seed: int = 0,
    max_new_tokens: int = 128,
    batch: int = 8,
    stop: threading.Event | None = None,
) -> Iterator[list[Output]]:
    """Every entrant's answer to every prompt, as one list for every call of `respond`.

    A call gets `batch` prompts, and the seed of the first: prompt i is answered with seed + i, whoever
    answers, so that no two prompts share their noise. Closing the iterator ends it at the next list, setting
    `stop` at the next token. Raises ArenaError, before anything is generated, at a prompt that cannot be
    answered.
    """
    stop = stop or threading.Event()
    _check(entrants, prompts, max_new_tokens, stop)
    if stop.is_set():
        return
    for name, entrant in entrants.items():
        for start in range(0, len(prompts), batch):
            part = prompts[start : start + batch]
            try:
                runs = entrant.policy.respond(
                    part, seed=seed + start, max_new_tokens=max_new_tokens, stop=stop
                )
            except ValueError as error:
                raise ArenaError(f"{name!r} cannot answer: {_sentence(error)}") from error
            if stop.is_set():
                return
            yield [
                Output(prompt, name, run.text, entrant.spec, _about(run, seed + start + at))
                for at, (prompt, run) in enumerate(zip(part, runs, strict=True))
            ]


def _check(
    entrants: Mapping[str, Entrant], prompts: Sequence[str], max_new_tokens: int, stop: threading.Event
) -> None:
    """Raises ArenaError at the first prompt that one of the entrants cannot answer."""
    for number, prompt in enumerate(prompts, start=1):
        for name, entrant in entrants.items():
            if stop.is_set():
                return
            try:
                entrant.policy.check(prompt, max_new_tokens)
            except ValueError as error:
                opening = prompt if len(prompt) <= 60 else f"{prompt[:60]}…"
                raise ArenaError(
                    f"Prompt {number} (“{opening}”) cannot be answered by {name!r}: {_sentence(error)}"
                ) from error


def _about(run: Any, seed: int) -> dict[str, Any]:
    return {"seed": seed, "tokens": len(run.ids), "finish": run.finish, "seconds": round(run.seconds, 3)}


def _sentence(error: ValueError) -> str:
    return f"{str(error).rstrip('.')}."
