"""Folders laid out as a Hugging Face dataset, in CSV and Parquet:
the database written to one, and read back.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from arena import judged, parquet, preferences, spreadsheet
from arena.card import card
from arena.errors import ArenaError
from arena.restoring import load
from arena.store import Store
from arena.tables import FIELDS, NEWER, OPTIONAL, TEXTS, Rows, tables


def export(
    store: Store, folder: str | Path, *, names: bool = False, set_id: str | None = None
) -> dict[str, int]:
    """Writes `data/*.parquet`, `csv/*.csv` and the card `README.md`; returns the rows of each table.

    Names of annotators are replaced unless `names`. `set_id`: one study alone, with its outputs and
    preferences beside the tables.
    """
    target = Path(folder)
    rows = tables(store, names=names, set_id=set_id)
    for part in ("data", "csv"):
        (target / part).mkdir(parents=True, exist_ok=True)
    for name, table in rows.items():
        columns, flat = _columns(name, table), [*map(_flat, table)]
        pd.DataFrame(flat, columns=columns).to_parquet(target / "data" / f"{name}.parquet", index=False)
        spreadsheet.write(target / "csv" / f"{name}.csv", columns, flat, TEXTS)
    (target / "README.md").write_text(card(rows), encoding="utf-8")
    if set_id is not None:
        judged.write(store, target, set_id)
        preferences.write(store, target / "preferences", set_id)
    return {name: len(table) for name, table in rows.items()}


def import_(store: Store, folder: str | Path) -> dict[str, int]:
    """Reads what `export` wrote (Parquet, or CSV where there is none) into the store; returns the new rows.

    Raises ArenaError, with nothing stored, where a table or a row is not valid.
    """
    columnar = all((Path(folder) / "data" / f"{name}.parquet").is_file() for name in FIELDS)
    rows = {name: [*map(_unflat, _table(Path(folder), name, columnar))] for name in FIELDS}
    return load(store, rows, first=1 if columnar else 2)  # in CSV the column names are row 1


def _table(folder: Path, name: str, columnar: bool) -> Rows:
    file = folder / "data" / f"{name}.parquet" if columnar else folder / "csv" / f"{name}.csv"
    if not file.is_file():
        raise ArenaError(
            f"{folder} holds neither data/{name}.parquet nor csv/{name}.csv. Give an exported folder."
        )
    rows = parquet.read(file) if columnar else spreadsheet.read(file, FIELDS[name])
    if rows and (missing := set(FIELDS[name]) - set(NEWER) - set(rows[0])):
        raise ArenaError(f"The table {name} lacks the columns {', '.join(sorted(missing))}. Export it anew.")
    return rows


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}


def _unflat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what older exports lack, its empty cells missing values where there may be some:
    CSV knows texts only.
    """
    return {name: None if name in OPTIONAL and value == "" else value for name, value in row.items()}


def _columns(name: str, rows: Rows) -> list[str]:
    """The columns of a table: its own, and of votes those of the questions that they answer,
    behind the annotator.
    """
    questions = dict.fromkeys(column for row in rows for column in row if column not in FIELDS[name])
    return [*FIELDS[name][:2], *questions, *FIELDS[name][2:]] if questions else [*FIELDS[name]]
