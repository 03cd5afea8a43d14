"""The study that ships: answers of the shipped checkpoints, judged by a language model and marked as such."""

from __future__ import annotations

from pathlib import Path

from arena import parquet
from arena.exchange import import_
from arena.schema import BattleSet
from arena.store import Store

FOLDER = Path(__file__).parents[1] / "assets" / "judgements"
NAME = "Example: four policies, 40 prompts"
NOTICE = "Judged by a language model, not by people: an example of what a study looks like."


def add(store: Store) -> str:
    """Adds the example, closed to annotators, if it is not there; returns its id. Raises ArenaError."""
    set_id = str(parquet.read(FOLDER / "data" / "battles.parquet", ["set_id"])[0]["set_id"])
    import_(store, FOLDER)
    with store.write() as session:
        study = session.get_one(BattleSet, set_id)
        if not study.notice:
            study.name, study.notice, study.open = NAME, NOTICE, False
    return set_id
