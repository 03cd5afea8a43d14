"""The files a study is made from: prompts, policies, answers made elsewhere."""

import json
from pathlib import Path
from typing import Any

from arena.battles import Output
from arena.errors import ArenaError
from arena.values import json_object
from common.reading import lines_of, text_of


def read_prompts(path: Path) -> list[str]:
    """The distinct prompts of a file in its order: a line each, or the field `prompt` of *.jsonl."""
    lines = _lines(path)
    if path.suffix == ".jsonl":
        for number, line in lines.items():
            lines[number] = prompt = json_object(line, f"{path}, line {number}").get("prompt", "")
            if not isinstance(prompt, str) or not prompt.strip():
                raise ArenaError(
                    f'{path}, line {number} has no "prompt" with a text. Write {{"prompt": "..."}} on each line.'
                )
    if not lines:
        raise ArenaError(f"{path} holds no prompt. Write one a line.")
    return list(dict.fromkeys(line.strip() for line in lines.values()))


KINDS = ("plan", "checkpoint", "mix", "base")


def read_policies(path: Path) -> list[dict[str, Any]]:
    """The entries of a policies file: a name, and just one of KINDS."""
    try:
        entries = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ArenaError(f"{path} is not JSON: {error}.") from error
    if not isinstance(entries, list) or len(entries) < 2:
        raise ArenaError(f"{path} must hold a JSON list of at least two policies.")
    for number, entry in enumerate(entries, start=1):
        is_named = isinstance(entry, dict) and isinstance(entry.get("name"), str)
        if not is_named or len({*KINDS} & set(entry)) != 1:
            raise ArenaError(f'{path}: policy {number} must have "name" and just one of {", ".join(KINDS)}.')
    if len({entry["name"] for entry in entries}) < len(entries):
        raise ArenaError(f"{path}: two policies have the same name. Give each its own.")
    return entries


def read_runs(path: Path) -> list[Output]:
    """Answers made elsewhere: JSON Lines of `prompt`, `policy`, `text`, and if known `spec` and `about`."""
    outputs = []
    for number, line in _lines(path).items():
        row = json_object(line, f"{path}, line {number}")
        if missing := {"prompt", "policy", "text"} - set(row):
            raise ArenaError(f"{path}, line {number} lacks {', '.join(sorted(missing))}.")
        spec, about = row.get("spec", {}), row.get("about", {})
        if not isinstance(spec, dict) or not isinstance(about, dict):
            raise ArenaError(f"{path}, line {number}: spec and about must be JSON objects.")
        outputs.append(Output(row["prompt"], row["policy"], row["text"], spec, about))
    return outputs


def _text(path: Path) -> str:
    try:
        return text_of(path)
    except ValueError as error:
        raise ArenaError(str(error)) from None


def _lines(path: Path) -> dict[int, str]:
    """The lines that are not empty, by their numbers."""
    return {number: line for number, line in enumerate(lines_of(_text(path)), 1) if line.strip()}
