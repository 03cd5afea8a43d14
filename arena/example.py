"""The study that ships: answers of the shipped checkpoints, judged by a language model and marked as such; and the same
answers unjudged, for practice.
"""

from pathlib import Path

from sqlalchemy import select

from arena import parquet, studies
from arena.exchange import import_
from arena.schema import BattleSet
from arena.store import Store

FOLDER = Path(__file__).parents[1] / "assets" / "judgements"
NAME = "Example: four policies, 40 prompts"
NOTICE = "Judged by a language model, not by people: an example of what a study looks like."
PRACTICE = "Practice: four policies, 40 prompts"
PRACTICE_NOTICE = "For practice: these votes count for no other study."


def add(store: Store) -> str:
    """Adds the example, closed to annotators, if it is not there; returns its id. Raises ArenaError."""
    set_id = str(parquet.read(FOLDER / "data" / "battles.parquet", ["set_id"])[0]["set_id"])
    import_(store, FOLDER)
    with store.write() as session:
        study = session.get_one(BattleSet, set_id)
        if not study.notice:
            study.name, study.notice, study.open = NAME, NOTICE, False
    return set_id


def practise(store: Store) -> str:
    """The id of the study for practice, which is made when it is first asked for. Raises ArenaError."""
    with store.read() as session:
        practice = session.scalars(select(BattleSet.id).where(BattleSet.name == PRACTICE)).one_or_none()
    if practice is None:
        practice = studies.duplicate(store, add(store), PRACTICE)
        studies.mark(store, practice, PRACTICE_NOTICE)
        studies.show(store, practice, True)
    return practice
