"""Outputs made elsewhere: which column of a table is the prompt, and which hold what the models wrote."""

import json
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena import sheet
from arena.battles import Output
from arena.errors import ArenaError
from arena.schema import NAME, PROMPT, TEXT
from arena.sheet import Row, Sheet
from arena.text import clean, clean_name

OUTSIDE: Mapping[str, Any] = {"outside": True}
"""What is known of a model outside: nothing but its name."""
MAX_MODELS = 12
PROMPTS = ("prompt", "instruction", "question", "query", "input", "user", "request", "messages")
MODELS = ("model", "policy", "generator", "model_name", "model_id", "system_name")
OUTPUTS = ("output", "response", "answer", "completion", "generation", "text", "reply")
SYSTEMS = ("system", "system_prompt", "system prompt")
TAGS = ("tag", "tags", "category", "topic", "slice", "type", "kind", "language", "subset", "source")
APART = ("id", "index", "idx", "uuid", "hash", "date", "time", "score", "rating", "split", "url")


@dataclass(frozen=True)
class Columns:
    """What each column of a table is.

    prompt: a text, or a list of turns with role and content. outputs: what the models wrote; with `model`,
        the one column of outputs beside the one that names the model (a row an output), else a column a
        model, named by it.
    system: the system prompt. tag: a word by which results are sliced.
    """

    prompt: str
    outputs: tuple[str, ...]
    model: str | None = None
    system: str | None = None
    tag: str | None = None

    @property
    def wanted(self) -> list[str]:
        """The columns that are read."""
        named = (self.prompt, *self.outputs, self.model, self.system, self.tag)
        return list(dict.fromkeys(name for name in named if name))


def guess(table: Sheet) -> Columns:
    """Guesses the columns by their names and the first rows, for a person to check."""
    known = {name.strip().casefold(): name for name in reversed(table.columns)}

    def first(names: Iterable[str]) -> str | None:
        return next((known[name] for name in names if name in known), None)

    system, tag, model = first(SYSTEMS), first(TAGS), first(MODELS)
    prompt = first(PROMPTS) or next((name for name in table.columns if _words(table, name)), table.columns[0])
    left = [
        name
        for name in table.columns
        if name not in (prompt, system, tag, model)
        and name.strip().casefold() not in APART
        and not name.startswith(("column ", "Unnamed"))
    ]
    named = [name for name in left if any(word in name.casefold() for word in OUTPUTS)]
    if model is not None and (output := first(OUTPUTS) or next(iter(named or left), None)):
        return Columns(prompt, (output,), model, system, tag)
    texts = [name for name in left if _words(table, name)]
    outputs = named if len(named) > 1 else texts
    return Columns(prompt, tuple(outputs[:MAX_MODELS]), None, system, tag)


def read(path: Path, columns: Columns, *, encoding: str | None = None) -> list[Output]:
    """The outputs of a file or a data set's folder. An empty cell is an output that is not there.

    Raises ArenaError, which tells a bad row by its number; nothing is taken then.
    """
    _check(columns)
    table = sheet.read(path, columns.wanted, encoding=encoding)
    sheet.missing(table, path.name, columns.wanted)
    outputs: list[Output] = []
    places: dict[tuple[Any, ...], tuple[str, str]] = {}
    for number, row in enumerate(table.rows, 1):
        for output in _outputs(row, number, columns):
            question = (output.prompt, output.turns, output.policy)
            place, text = places.setdefault(question, (row.place, output.text))
            if text != output.text:
                raise ArenaError(
                    f"{row.place}: {output.policy!r} answers a prompt that it answers in {place} otherwise: keep one."
                )
            if place == row.place:
                outputs.append(output)
    return outputs


def _check(columns: Columns) -> None:
    if columns.model is None and not 2 <= len(columns.outputs) <= MAX_MODELS:
        raise ArenaError(
            f"{len(columns.outputs)} of the columns hold outputs: name 2 to {MAX_MODELS}, or one and the column of the model."
        )
    if columns.model is not None and len(columns.outputs) != 1:
        raise ArenaError(
            f"{len(columns.outputs)} columns of outputs stand beside the column of the model: give one."
        )
    if len(columns.wanted) < len([name for name in (columns.prompt, *columns.outputs) if name]):
        raise ArenaError("A column is named twice: give each column one part.")


def _outputs(row: Row, number: int, columns: Columns) -> Iterator[Output]:
    texts = {name: _text(row, name, row.cells.get(name)) for name in columns.outputs}
    if not any(text.strip() for text in texts.values()):
        return
    prompt, turns = _asked(row, columns)
    tag = _text(row, columns.tag, row.cells.get(columns.tag)).strip()[:NAME] if columns.tag else ""
    for column, (name, text) in enumerate(texts.items(), 1):
        if text.strip():
            model = name if columns.model is None else _text(row, columns.model, row.cells.get(columns.model))
            yield Output(
                prompt,
                _checked(row, model),
                _bounded(row, f"The output of {model[:NAME]!r}", text, TEXT),
                OUTSIDE,
                {"row": number, "column": column},
                turns,
                tag or None,
            )


def _asked(row: Row, columns: Columns) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The prompt of a row, and the system prompt and earlier turns before it."""
    turns = _turns(row.cells.get(columns.prompt))
    before: list[tuple[str, str]] = []
    if columns.system and (system := _text(row, columns.system, row.cells.get(columns.system))).strip():
        before.append(("system", system))
    if turns is None:
        prompt = _text(row, columns.prompt, row.cells.get(columns.prompt))
    else:
        *earlier, (role, prompt) = turns
        if role not in ("user", "human"):
            raise ArenaError(f"{row.place}: the last turn of the prompt is of {role!r}, not of the user.")
        before += earlier
    if not prompt.strip():
        raise ArenaError(
            f"{row.place} has outputs and no prompt: write one in the column {columns.prompt!r}."
        )
    _bounded(row, "The prompt with its turns", "".join(words for _, words in before) + prompt, PROMPT)
    return prompt, tuple(before)


def _turns(value: Any) -> list[tuple[str, str]] | None:
    """(role, content) of a chat, as a list or as JSON in a text; None where it is none."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list) or not value:
        return None
    pairs = [
        (turn.get("role", turn.get("from")), turn.get("content", turn.get("value")))
        for turn in value
        if isinstance(turn, dict)
    ]
    is_chat = len(pairs) == len(value) and all(isinstance(part, str) for pair in pairs for part in pair)
    return [(str(role), str(words)) for role, words in pairs] if is_chat else None


def _text(row: Row, name: str | None, value: Any) -> str:
    """A cell as text: words as they are, numbers as written, a chat's last turn."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Number):
        return str(value)
    if turns := _turns(value):
        return turns[-1][1]
    raise ArenaError(f"{row.place}: {name!r} holds a {type(value).__name__}, not a text.")


def _bounded(row: Row, label: str, text: str, most: int) -> str:
    with _of_row(row):
        return clean(text, most=most, label=label)


def _checked(row: Row, model: str) -> str:
    with _of_row(row):
        return clean_name(model, label="The name of a model")


@contextmanager
def _of_row(row: Row) -> Iterator[None]:
    """Marks errors raised within as being in this row."""
    try:
        yield
    except ArenaError as error:
        raise ArenaError(f"{row.place}: {error}") from None


def _words(table: Sheet, name: str) -> bool:
    """Whether a column holds texts rather than numbers or single words."""
    cells = [row.cells.get(name) for row in table.rows[:20]]
    return any(isinstance(cell, list) or (isinstance(cell, str) and " " in cell.strip()) for cell in cells)


def shown(value: Any, most: int = 120) -> str:
    """A cell as a sample shows it."""
    text = "" if value is None else value
    if not isinstance(text, str):
        text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]}…"


def sample(table: Sheet, columns: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the first rows, to be looked at before anything is stored."""
    names = list(columns or table.columns)
    return names, [[shown(row.cells.get(name)) for name in names] for row in table.rows[: sheet.SAMPLE]]
