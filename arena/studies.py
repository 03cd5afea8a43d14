"""Studies for their leads: list, rename, edit, archive, duplicate, delete; progress, and who judges."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import chain, count

import pandas as pd
from sqlalchemy import delete as remove
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from arena.agreement import annotators
from arena.assignment import complete
from arena.battles import TRAP, balance, new_id, put_questions, repeat
from arena.errors import ArenaError, of_field
from arena.questions import MAX_WORDS, Question, checked
from arena.records import votes_frame
from arena.schema import NAME, Answer, Asked, Battle, BattleSet, Policy, Run, Showing, Vote
from arena.service import GONE
from arena.settings import Settings
from arena.store import Store
from arena.text import clean, clean_name

ENOUGH = 400
"""Studies that are listed at once."""


@dataclass(frozen=True)
class Study:
    """A study in the list.

    state: open, closed (not shown to annotators) or archived. battles: plain ones; `done` of them have the
        votes wanted.
    votes, wanted: votes that count towards it, and how many there are to be. people: who voted.
    """

    id: str
    name: str
    state: str
    created_at: datetime
    battles: int
    done: int
    votes: int
    wanted: int
    people: int
    notice: str


@dataclass(frozen=True)
class Detail:
    """A study as it is edited."""

    study: Study
    settings: Settings
    questions: tuple[Question, ...]
    version: int


def listing(store: Store) -> list[Study]:
    """The newest ENOUGH studies, newest first, archived ones last."""
    with store.read() as session:
        query = select(BattleSet).order_by(BattleSet.created_at.desc(), BattleSet.id).limit(ENOUGH)
        studies = session.scalars(query).all()
        rows = _counted(session, [study.id for study in studies])
        listed = [_study(study, *rows[study.id]) for study in studies]
    return sorted(listed, key=lambda study: study.state == "archived")


def detail(store: Store, set_id: str) -> Detail:
    """Raises ArenaError where there is none of this id."""
    with store.read() as session:
        study = get(session, set_id)
        settings = Settings(**{field.name: getattr(study, field.name) for field in fields(Settings)})
        questions = tuple(Question(asked.key, asked.text) for asked in study.questions)
        return Detail(
            _study(study, *_counted(session, [study.id])[study.id]), settings, questions, study.version
        )


def get(session: Session, set_id: str) -> BattleSet:
    """The study of an id. Raises ArenaError."""
    study = session.get(BattleSet, str(set_id)[:32])
    if study is None:
        raise ArenaError(GONE)
    return study


def rename(store: Store, set_id: str, name: str) -> str:
    """Gives a study another name, which no other may have; returns it."""
    with of_field("name"):
        plain = clean_name(name, label="The name of the study")
    with store.write() as session, of_field("name"):
        namesake = session.scalars(select(BattleSet).where(BattleSet.name == plain)).one_or_none()
        if namesake is not None and namesake.id != set_id:
            raise ArenaError(f"There is a study {plain!r} already. Give this one another name.")
        get(session, set_id).name = plain
    return plain


def edit(store: Store, set_id: str, settings: Settings, questions: Sequence[Question]) -> int:
    """Changes how a study is judged; returns the version of its questions.

    A question that has been answered is never rewritten: with a new text it becomes a new question, under a
    new key, and the answers that were given stay with the old one.
    """
    with of_field("questions"):
        asked = checked(questions)
    with store.write() as session:
        study = get(session, set_id)
        settings.put(study, asked)
        asked = tuple(_same(study, question) for question in asked)
        if [(each.key, each.text) for each in asked] == [(each.key, each.text) for each in study.questions]:
            return study.version
        if _answered(session, study):
            study.version += 1
            _retire(study, asked)
        else:
            study.listed.clear()
            session.flush()
            study.listed.extend(put_questions(asked))
        return study.version


def free_name(store: Store, name: str) -> str:
    """The name, or with a number behind it where a study has it already."""
    with store.read() as session:
        used = {*session.scalars(select(BattleSet.name))}
    stem = re.sub(r" \d+$", "", name)[: NAME - 6] or "Battles"
    return next(free for free in chain([name], (f"{stem} {n}" for n in count(2))) if free not in used)


def show(store: Store, set_id: str, shown: bool) -> None:
    """Shows a study's battles to annotators, or no longer."""
    with store.write() as session:
        get(session, set_id).open = shown


def archive(store: Store, set_id: str, away: bool = True) -> None:
    """Puts a study away: nobody is shown its battles, and all its votes stay. Or takes it out again."""
    with store.write() as session:
        get(session, set_id).archived_at = datetime.now(UTC) if away else None


def duplicate(store: Store, set_id: str, name: str) -> str:
    """The same outputs, questions and settings under a new name, on sides that are drawn anew, without votes;
    returns its id.
    """
    plain = clean_name(name, label="The name of the study")
    with store.write() as session:
        old = get(session, set_id)
        if session.scalars(select(BattleSet).where(BattleSet.name == plain)).one_or_none():
            raise ArenaError(f"There is a study {plain!r} already. Give the copy another name.")
        copied = {field.name: getattr(old, field.name) for field in fields(Settings)}
        new = BattleSet(
            id=new_id(),
            name=plain,
            created_at=datetime.now(UTC),
            open=False,
            notice="",
            listed=put_questions([Question(asked.key, asked.text) for asked in old.questions]),
            **copied,
        )
        session.add(new)
        session.flush()
        _copy(session, old.id, new.id)
        return new.id


def delete(store: Store, set_id: str) -> dict[str, int]:
    """Deletes a study with its votes, and the outputs that no other study shows; returns how many of each."""
    with store.write() as session:
        study = get(session, set_id)
        battles = select(Battle.id).where(Battle.set_id == study.id)
        votes = select(Vote.id).where(Vote.battle_id.in_(battles))
        runs = {
            run
            for pair in session.execute(select(Battle.a_id, Battle.b_id).where(Battle.set_id == study.id))
            for run in pair
        }
        counts = {
            "votes": session.scalar(select(func.count()).select_from(votes.subquery())) or 0,
            "battles": session.scalar(select(func.count()).select_from(battles.subquery())) or 0,
        }
        session.execute(remove(Answer).where(Answer.vote_id.in_(votes)))
        session.execute(remove(Vote).where(Vote.battle_id.in_(battles)))
        session.execute(remove(Showing).where(Showing.battle_id.in_(battles)))
        session.execute(remove(Battle).where(Battle.set_id == study.id, Battle.of_id.is_not(None)))
        session.execute(remove(Battle).where(Battle.set_id == study.id))
        session.execute(remove(Run).where(Run.set_id == study.id))
        session.delete(study)
        session.flush()
        counts["runs"] = _forget(session, runs)
        return counts


def progress(store: Store, set_id: str) -> pd.DataFrame:
    """A row a person who voted in a study or is on its list, most votes first.

    Columns: those of `agreement.annotators`; `pace`, votes an hour while they judged (pauses of more than ten
        minutes left out); `last`, when they voted last (UTC); `corrected`, how many votes they corrected.
    """
    with store.read() as session:
        study = get(session, set_id)
        votes = votes_frame(session, set_id)
        people = annotators(votes)
        listed = [
            name for name in study.members if name not in {str(n).casefold() for n in people["annotator"]}
        ]
    rows = [votes[votes["annotator"] == name] for name in people["annotator"]]
    people["pace"] = [_pace(own) for own in rows]
    people["last"] = [own["voted_at"].max() for own in rows]
    people["corrected"] = [int(own["corrected"].sum()) for own in rows]
    waiting = pd.DataFrame({"annotator": listed, "votes": 0, "repeats": 0, "traps": 0, "corrected": 0})
    return pd.concat([people, waiting], ignore_index=True) if listed else people


def _pace(votes: pd.DataFrame) -> float:
    """Votes an hour."""
    gaps = votes["voted_at"].sort_values().diff().dt.total_seconds().dropna()
    working = gaps[gaps <= 600]
    return round(3600 * len(working) / working.sum(), 1) if working.sum() else float("nan")


def _study(study: BattleSet, battles: int, done: int, votes: int, people: int) -> Study:
    state = "archived" if study.archived_at else "open" if study.open else "closed"
    wanted = battles * study.minimum
    return Study(
        study.id, study.name, state, study.created_at, battles, done, votes, wanted, people, study.notice
    )


def _counted(session: Session, ids: Sequence[str]) -> dict[str, tuple[int, int, int, int]]:
    """Id -> plain battles, those with the votes wanted, votes that count towards it, people who voted."""
    counted = dict.fromkeys(ids, (0, 0, 0, 0))
    votes_given = complete().subquery()
    per_battle = (
        select(Battle.set_id, BattleSet.minimum, func.count(votes_given.c.vote).label("votes"))
        .join(BattleSet, Battle.set_id == BattleSet.id)
        .outerjoin(votes_given, votes_given.c.battle == Battle.id)
        .where(Battle.set_id.in_(ids), Battle.kind == "plain")
        .group_by(Battle.id, Battle.set_id, BattleSet.minimum)
    )
    people = {
        set_id: count
        for set_id, count in session.execute(
            select(Battle.set_id, func.count(Vote.annotator_id.distinct()))
            .join(Vote, Vote.battle_id == Battle.id)
            .where(Vote.undone_at.is_(None))
            .group_by(Battle.set_id)
        )
    }
    for set_id, minimum, votes in session.execute(per_battle):
        battles, done, total, _ = counted[set_id]
        counted[set_id] = battles + 1, done + (votes >= minimum), total + min(votes, minimum), 0
    return {set_id: (*row[:3], people.get(set_id, 0)) for set_id, row in counted.items()}


def _answered(session: Session, study: BattleSet) -> bool:
    voted = select(Vote.id).join(Battle, Vote.battle_id == Battle.id).where(Battle.set_id == study.id)
    return session.scalars(voted.limit(1)).first() is not None


def _same(study: BattleSet, question: Question) -> Question:
    """The question under its current key, which changed if its text was rewritten."""
    for each in study.questions:
        if each.text == question.text and re.fullmatch(re.escape(question.key[:28]) + r"_\d+", each.key):
            return Question(each.key, each.text)
    return question


def _retire(study: BattleSet, asked: Sequence[Question]) -> None:
    """The questions of a new version: equal ones go on, others end,
    and new ones get keys that were never used.
    """
    going = {each.key: each for each in study.questions}
    used = {each.key for each in study.listed}
    going_on = set()
    for place, question in enumerate(asked):
        same = going.get(question.key)
        if same is not None and same.text == question.text:
            same.position = place
            going_on.add(question.key)
            continue
        key, number = question.key, 2
        while key in used:
            key, number = f"{question.key[:28]}_{number}", number + 1
        used.add(key)
        study.listed.append(Asked(key=key, text=question.text, position=place, since=study.version))
    for key, old in going.items():
        if key not in going_on:
            old.until = study.version


def _copy(session: Session, old: str, new: str) -> None:
    query = select(Battle).where(Battle.set_id == old).options(joinedload(Battle.a), joinedload(Battle.b))
    battles = list(session.scalars(query.order_by(Battle.id)))
    plain = balance(new, [(battle.a, battle.b) for battle in battles if battle.kind == "plain"])
    session.add_all(plain)
    session.flush()
    copies = {frozenset((copy.a_id, copy.b_id)): copy for copy in plain}
    for battle in battles:
        if battle.kind == "repeat":
            first = copies[frozenset((battle.a_id, battle.b_id))]
            session.add(repeat(first))
        elif battle.kind == "trap":
            session.add(
                Battle(
                    id=new_id(),
                    set_id=new,
                    kind="trap",
                    a_id=battle.a_id,
                    b_id=battle.b_id,
                    expected=battle.expected,
                )
            )
    for run in session.scalars(select(Run).where(Run.set_id == old)).all():
        copied = {column.key: getattr(run, column.key) for column in Run.__table__.columns}
        session.add(Run(**copied | {"id": new_id(), "set_id": new}))
    session.flush()


def _forget(session: Session, runs: set[str]) -> int:
    """Deletes those runs that stand in no battle, and the policies that have none left."""
    used = {run for pair in session.execute(select(Battle.a_id, Battle.b_id)) for run in pair}
    unused = sorted(runs - used)
    for start in range(0, len(unused), 500):
        session.execute(remove(Run).where(Run.id.in_(unused[start : start + 500])))
    session.execute(remove(Policy).where(Policy.name.not_in(select(Run.policy_name)), Policy.name != TRAP))
    return len(unused)


def mark(store: Store, set_id: str, notice: str) -> None:
    """The sentence that stands over a study wherever it is shown."""
    with store.write() as session:
        get(session, set_id).notice = clean(notice, most=MAX_WORDS, label="The notice")
