"""The outputs of a study in the shape in which they came, a row a prompt and a column a model,
with what people think of them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from arena import spreadsheet
from arena.battles import TRAP
from arena.records import blind, questions, votes_frame
from arena.schema import Battle, Run
from arena.slices import SCORES
from arena.store import Store


def judged(store: Store, set_id: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows: `prompt` (JSON turns where it is a chat), `tag`, a column a model, `votes`, and
    behind them
    `QUESTION: MODEL`, the share of its comparisons on this prompt that a model won, a tie being half a win.

    Rows and models stand in the order of the file from which they came, else models in that of their names.
    Only blind votes on plain battles count. `python -m arena create --outputs` reads it back.
    """
    with store.read() as session:
        votes, listed = votes_frame(session, set_id), questions(session, set_id)
        query = (
            select(Battle).where(Battle.set_id == set_id).options(joinedload(Battle.a), joinedload(Battle.b))
        )
        battles = {battle.id: battle for battle in session.scalars(query.order_by(Battle.id))}
        kept = session.scalars(select(Run).where(Run.set_id == set_id)).all()
    shown = [run for battle in battles.values() for run in (battle.a, battle.b) if run.policy_name != TRAP]
    runs = [*shown, *kept]
    lines = {_prompt(run): _number(run, "row") for run in runs}
    models = _models(runs)
    scored = [f"{question.key}: {model}" for question in listed for model in models]
    texts = _columns(models, {"prompt", "tag", "votes", *scored})
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        row = rows.setdefault(_prompt(run), {"prompt": _prompt(run), "tag": run.tag, "votes": 0})
        row[texts[run.policy_name]] = run.text
    won: dict[tuple[str, str], list[float]] = {}
    for vote in blind(votes).to_dict("records"):
        battle = battles[vote["battle"]]
        rows[_prompt(battle.a)]["votes"] += 1
        for question in listed:
            if (score := SCORES.get(vote[question.key])) is not None:
                for run, share in ((battle.a, score), (battle.b, 1 - score)):
                    column = f"{question.key}: {run.policy_name}"
                    won.setdefault((_prompt(run), column), []).append(share)
    for (prompt, column), scores in won.items():
        rows[prompt][column] = round(sum(scores) / len(scores), 4)
    tags = ["tag"] if any(row["tag"] for row in rows.values()) else []
    return ["prompt", *tags, *texts.values(), "votes", *scored], sorted(
        rows.values(), key=lambda row: lines[row["prompt"]]
    )


def _columns(models: Sequence[str], taken: set[str]) -> dict[str, str]:
    """The column of each model's texts: its name, with a word behind it where another column is called so."""
    columns: dict[str, str] = {}
    for model in models:
        column = model
        while column in taken or (column != model and column in models):
            column += " (model)"
        columns[model] = column
    return columns


def write(store: Store, folder: str | Path, set_id: str) -> int:
    """Writes `outputs.csv` and `outputs.parquet`; returns the rows."""
    columns, rows = judged(store, set_id)
    texts = {name for name in columns if name != "votes" and ": " not in name} | {
        name for name in columns if any(isinstance(row.get(name), str) for row in rows)
    }
    spreadsheet.write(Path(folder) / "outputs.csv", columns, rows, texts)
    pd.DataFrame(rows, columns=columns).to_parquet(Path(folder) / "outputs.parquet", index=False)
    return len(rows)


def _models(runs: Sequence[Run]) -> list[str]:
    """The models in the order of their columns, else of their first rows, else of their names."""
    places: dict[str, tuple[float, float, str]] = {}
    for run in runs:
        place = _number(run, "column"), _number(run, "row"), run.policy_name
        places[run.policy_name] = min(places.get(run.policy_name, place), place)
    return sorted(places, key=lambda model: places[model])


def _number(run: Run, name: str) -> float:
    """Where it stood in its file; 0 where nobody knows."""
    value = run.about.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _prompt(run: Any) -> str:
    if not run.turns:
        return str(run.prompt)
    turns = [{"role": role, "content": words} for role, words in [*run.turns, ("user", run.prompt)]]
    return json.dumps(turns, ensure_ascii=False)
