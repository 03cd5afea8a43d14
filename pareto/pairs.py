"""Preference pairs: read, checked, split by prompt."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import digests
from common.folders import expanded
from common.jsons import JsonObject, shown
from common.reading import lines_of, text_of

log = logging.getLogger(__name__)
MIN_FITTED, MIN_HELD_OUT = 50, 10
"""Pairs that a head is fitted on, and that it is measured by, at least."""
Prompt = str | tuple[tuple[str, str], ...]
"""A user's words, or (role, content) turns."""


class PairError(ValueError):
    """A pairs or prompts file that cannot be used; the message names file and line."""


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt, of which people or a judge preferred `chosen`."""

    prompt: Prompt
    chosen: str
    rejected: str


def read_lines(path: Path | str) -> list[tuple[int, JsonObject]]:
    """Numbered objects of a JSON Lines file (.gz is unpacked). Raises PairError."""
    path = expanded(path)
    if path.is_dir():
        raise PairError(f"{path} is a folder: give a JSON Lines file.")
    try:
        lines = lines_of(text_of(path))
    except FileNotFoundError:
        raise PairError(f"{path} does not exist: give a JSON Lines file.") from None
    except ValueError as error:
        raise PairError(str(error)) from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows += [(number, json.loads(line))] if line.strip() else []
        except (ValueError, RecursionError):
            raise PairError(f"{path}, line {number}, is no JSON: give one JSON object a line.") from None
    if not rows:
        raise PairError(f"{path} is empty: give at least one line.")
    for number, row in rows:
        if not isinstance(row, dict):
            raise PairError(f"{path}, line {number}, is {shown(row)}: give an object.")
    return rows


def read_pairs(path: Path | str) -> list[Pair]:
    """Pairs {"prompt", "chosen", "rejected"}, as texts or as TRL's conversations, in which a prompt is a list
    of turns and an answer a list that ends with one; those whose answers are equal tell nothing and are left
    out, with a warning.

    Raises PairError for a line that is no pair, and where none is left.
    """
    pairs, equal = [], []
    for number, row in read_lines(path):
        chosen, rejected = (_answer(row.get(side)) for side in ("chosen", "rejected"))
        if not (
            isinstance(chosen, str) and isinstance(rejected, str) and chosen.strip() and rejected.strip()
        ):
            raise PairError(f"{path}, line {number}: chosen or rejected is empty or no text: give two texts.")
        if chosen == rejected:
            equal.append(number)
            continue
        pairs.append(Pair(_prompt(row.get("prompt"), f"{path}, line {number}"), chosen, rejected))
    if not pairs:
        raise PairError(
            f"{path}: in all {len(equal)} pairs chosen and rejected are equal: give pairs of two different answers."
        )
    if equal:
        log.warning(
            "%s: %d pairs with equal answers are left out (first in line %d)", path, len(equal), equal[0]
        )
    return pairs


def _answer(value: object) -> object:
    """The text of an answer: itself, or the last turn where that is the assistant's."""
    last = value[-1] if isinstance(value, list) and value else None
    return last.get("content") if isinstance(last, dict) and last.get("role") == "assistant" else value


def _prompt(value: object, where: str) -> Prompt:
    if isinstance(value, str) and value.strip():
        return value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in value)
    ):
        return tuple((turn["role"], turn["content"]) for turn in value)
    raise PairError(
        f"{where}: prompt is of another kind: give a text, or a list of turns with role and content."
    )


def read_prompts(path: Path | str) -> list[tuple[str, str]]:
    """(kind, prompt) of lines {"prompt": ..., "kind": "helpful" or "unsafe"}. Raises PairError."""
    prompts = []
    for number, row in read_lines(path):
        if not (isinstance(row.get("prompt"), str) and row["prompt"].strip()) or row.get("kind") not in (
            "helpful",
            "unsafe",
        ):
            raise PairError(f'{path}, line {number}: give "prompt", a text, and "kind", helpful or unsafe.')
        prompts.append((row["kind"], row["prompt"]))
    return prompts


def held_out(prompt: Prompt, share: float = 0.2) -> bool:
    """Whether a prompt belongs to the held-out part: decided by its hash,
    so that all its pairs go one way.
    """
    return digests.share(json.dumps(prompt).encode()) < share


def check_enough(pairs: Sequence[Pair]) -> None:
    """Raises PairError where they are too few for a head to be fitted and measured."""
    out = sum(held_out(pair.prompt) for pair in pairs)
    if out < MIN_HELD_OUT or len(pairs) - out < MIN_FITTED:
        raise PairError(
            f"{len(pairs)} pairs, {out} of them held out: give at least {MIN_FITTED} to train on and {MIN_HELD_OUT} held-out ones."
        )


def messages(prompt: Prompt) -> str | Sequence[dict[str, str]]:
    """The prompt as LanguageModel.chat_ids takes it."""
    return (
        prompt
        if isinstance(prompt, str)
        else [{"role": role, "content": content} for role, content in prompt]
    )
