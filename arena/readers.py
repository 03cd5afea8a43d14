"""The files a battle set is made from: prompts, policies, answers made elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from arena.battles import Output
from arena.errors import ArenaError


def read_prompts(path: Path) -> list[str]:
    """The distinct prompts of a file in its order: a line each, or the field `prompt` of *.jsonl."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if path.suffix == ".jsonl":
        lines = [_json(line, path, number)["prompt"] for number, line in enumerate(lines, start=1)]
    if not lines:
        raise ArenaError(f"{path} holds no prompt. Write one a line.")
    return list(dict.fromkeys(line.strip() for line in lines))


def read_policies(path: Path) -> list[dict[str, Any]]:
    """The entries of a policies file: a name, and just one of `plan`, `checkpoint` and `base`."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ArenaError(f"{path} is not JSON: {error}.") from error
    if not isinstance(entries, list) or len(entries) < 2:
        raise ArenaError(f"{path} must hold a JSON list of at least two policies.")
    for number, entry in enumerate(entries, start=1):
        sources = {"plan", "checkpoint", "base"} & set(entry)
        if not isinstance(entry.get("name"), str) or len(sources) != 1:
            raise ArenaError(
                f'{path}: policy {number} must have "name" and just one of "plan", "checkpoint", "base".'
            )
    if len({entry["name"] for entry in entries}) < len(entries):
        raise ArenaError(f"{path}: two policies have the same name. Give each its own.")
    return entries


def read_runs(path: Path) -> list[Output]:
    """Answers made elsewhere: JSON Lines of `prompt`, `policy`, `text`, and if known `spec` and `about`."""
    outputs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            row = _json(line, path, number)
            if missing := {"prompt", "policy", "text"} - set(row):
                raise ArenaError(f"{path}, line {number} lacks {', '.join(sorted(missing))}.")
            about = row.get("about", {})
            outputs.append(Output(row["prompt"], row["policy"], row["text"], row.get("spec", {}), about))
    return outputs


def _json(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ArenaError(f"{path}, line {number} is not a JSON object: {error}.") from error
    if not isinstance(row, dict):
        raise ArenaError(f"{path}, line {number} is not a JSON object but a {type(row).__name__}.")
    return row
