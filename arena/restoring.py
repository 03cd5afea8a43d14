"""The rows of an export put into a store: checked, each once, in one transaction."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from arena import values
from arena.battles import put_questions
from arena.errors import ArenaError
from arena.pseudonyms import pseudonyms
from arena.questions import ANSWERS, MAX_WORDS, OPENING, Question, checked, parsed
from arena.schema import (
    ACCESS,
    COMMENT,
    KINDS,
    NAME,
    PROMPT,
    REVEALS,
    TEXT,
    Annotator,
    Asked,
    Battle,
    BattleSet,
    Policy,
    Run,
    Showing,
    Vote,
)
from arena.store import Store
from arena.tables import NEWER, Rows
from arena.text import clean, clean_name, key


def load(store: Store, rows: dict[str, Rows], *, first: int = 1) -> dict[str, int]:
    """Puts the rows of `tables` into the store in one transaction; returns how many of each were new.

    What is there already is left alone, under an annotator's name or pseudonym, so loading twice is harmless;
    a vote that differs from the stored one wins if it was given or undone later. Raises ArenaError, with
    nothing stored, at a row that is not valid; the rows of a table are counted from `first`.
    """
    held: list[object] = []  # a session forgets rows that nobody holds, and would read them again
    with store.write() as session:
        for change in ("pending_to_persistent", "loaded_as_persistent"):
            event.listen(session, change, lambda _, row: held.append(row))
        names = {pseudonym: name for name, pseudonym in pseudonyms(session).items()}
        numbered = {table: [*enumerate(listed, first)] for table, listed in rows.items()}
        originals_first = sorted(numbered["battles"], key=lambda row: row[1]["of"] is not None)
        return {
            "runs": _added("runs", numbered["runs"], lambda row: _add_run(session, row)),
            "battles": _added("battles", originals_first, lambda row: _add_battle(session, row)),
            "votes": _added("votes", numbered["votes"], lambda row: _add_vote(session, row, names)),
        }


def _added(
    table: str, rows: Iterable[tuple[int, dict[str, Any]]], add: Callable[[dict[str, Any]], bool]
) -> int:
    new = 0
    for number, row in rows:
        try:
            new += add(row)
        except ArenaError as error:
            raise ArenaError(f"Row {number} of {table}: {error}") from error
    return new


def _add_run(session: Session, row: dict[str, Any]) -> bool:
    row = {**NEWER, **row}
    run, spec = values.identifier("run", row["run"]), values.mapping("spec", row["spec"])
    if session.get(Run, run) is not None:
        return False
    name = clean_name(row["policy"], label="The name of a policy")
    policy = session.get(Policy, name)
    if policy is None:
        session.add(Policy(name=name, spec=spec))
        session.flush()
    elif policy.spec != spec:
        raise ArenaError(
            f"The policy {name!r} stands for something else here. Import into an empty database."
        )
    session.add(
        Run(
            id=run,
            policy_name=name,
            prompt=clean(row["prompt"], most=PROMPT, label="A prompt"),
            text=clean(row["text"], most=TEXT, label="A text"),
            leak=None if row["leak"] is None else clean(row["leak"], most=NAME, label="A leak"),
            about=values.mapping("about", row["about"]),
            turns=values.turns("turns", row["turns"]),
            tag=None if row["tag"] is None else clean_name(row["tag"], label="A tag"),
            set_id=None if row["set_id"] is None else values.identifier("set_id", row["set_id"]),
        )
    )
    session.flush()
    return True


def _add_battle(session: Session, row: dict[str, Any]) -> bool:
    row = {**NEWER, **row}
    battle, set_id = values.identifier("battle", row["battle"]), values.identifier("set_id", row["set_id"])
    if session.get(Battle, battle) is not None:
        return False
    kind = values.one_of("kind", row["kind"], KINDS)
    minimum = values.whole("minimum", row["minimum"], 1, values.MAX_VOTES)
    created = values.moment("set_created_at", row["set_created_at"])
    if session.get(BattleSet, set_id) is None:
        session.add(_study(session, set_id, minimum, created, row))
        session.flush()
    for side in ("run_a", "run_b"):
        if session.get(Run, values.identifier(side, row[side])) is None:
            raise ArenaError(f"Battle {battle!r} speaks of a run that the export lacks. Export it anew.")
    if row["of"] is not None and session.get(Battle, values.identifier("of", row["of"])) is None:
        raise ArenaError(f"Battle {battle!r} repeats one that the export lacks. Export it anew.")
    session.add(
        Battle(
            id=battle,
            set_id=set_id,
            kind=kind,
            a_id=row["run_a"],
            b_id=row["run_b"],
            of_id=row["of"],
            sender=None if row["sender"] is None else key(row["sender"]),
            expected=values.one_of("expected", row["expected"], ("a", "b") if kind == "trap" else (None,)),
        )
    )
    session.flush()
    return True


def _study(session: Session, set_id: str, minimum: int, created: datetime, row: dict[str, Any]) -> BattleSet:
    """The study that a battle's row tells of."""
    version, listed = _questions(row)
    return BattleSet(
        id=set_id,
        name=_free_name(session, clean_name(row["set"], label="The name of a study")),
        guideline=clean(row["guideline"], most=PROMPT, label="The guideline"),
        minimum=minimum,
        open=values.truth("open", row["open"]),
        created_at=created,
        archived_at=_moment("archived_at", row),
        access=values.one_of("access", row["access"], ACCESS),
        members=[key(name) for name in values.names("members", row["members"])],
        reveal=values.one_of("reveal", row["reveal"], REVEALS),
        share=None if row["share"] is None else values.whole("share", row["share"], 1, values.MAX_VOTES),
        notice=clean(row["notice"], most=MAX_WORDS, label="The notice"),
        version=version,
        listed=listed,
    )


def _moment(column: str, row: dict[str, Any]) -> datetime | None:
    return None if row[column] is None else values.moment(column, row[column])


def _questions(row: dict[str, Any]) -> tuple[int, list[Asked]]:
    """The version of a set's questions, and all that it has had."""
    if row["history"] is not None:
        version, rows = values.history("history", row["history"])
        listed = [
            Asked(key=key, text=text, position=position, since=since, until=until)
            for key, text, position, since, until in rows
        ]
        checked([Question(question.key, question.text) for question in listed if question.until is None])
        for question in listed:
            checked([Question(question.key, question.text)])
        return version, listed
    questions: Sequence[Question] = OPENING
    if row["questions"] is not None:
        questions = parsed(clean(row["questions"], most=PROMPT, label="A set's questions"))
    return 1, put_questions(questions)


def _add_vote(session: Session, row: dict[str, Any], names: Mapping[str, str]) -> bool:
    battle, took = values.identifier("battle", row["battle"]), values.seconds("seconds", row["seconds"])
    if (shown := session.get(Battle, battle)) is None:
        raise ArenaError(f"A vote speaks of battle {battle!r}, which the export lacks. Export it anew.")
    row = {**NEWER, **row}
    version = values.whole("version", row["version"], 1, shown.set.version)
    answers = _answers(row, shown.set, version)
    corrected, undone = _moment("corrected_at", row), _moment("undone_at", row)
    voted = values.moment("voted_at", row["voted_at"])
    name = clean_name(row["annotator"], label="The name of an annotator")
    person = _person(session, names.get(name, name), voted)
    same = select(Vote).where(Vote.battle_id == battle, Vote.annotator_id == person.id)
    standing = session.scalars(same).one_or_none()
    last = max(voted, undone or voted, corrected or voted)
    if standing is not None and last <= _changed(standing):
        return False
    if standing is None and _elsewhere(session, battle, voted, took):
        return False
    vote = standing or Vote(battle_id=battle, annotator_id=person.id)
    vote.answer(answers, shown.set)
    vote.comment = clean(row["comment"], most=COMMENT, label="A comment")
    vote.seconds, vote.voted_at = took, voted
    vote.revised, vote.undone_at = values.truth("revised", row["revised"]), undone
    vote.corrected_at, vote.version, vote.told = corrected, version, values.truth("told", row["told"])
    session.add(vote)
    if session.get(Showing, (battle, person.id)) is None:
        session.add(Showing(battle_id=battle, annotator_id=person.id, shown_at=voted))
    session.flush()
    return standing is None


def _person(session: Session, name: str, met: datetime) -> Annotator:
    """The annotator of a name, made if new."""
    person = session.scalars(select(Annotator).where(Annotator.key == key(name))).one_or_none()
    if person is None:
        person = Annotator(key=key(name), name=name, created_at=met)
        session.add(person)
        session.flush()
    return person


def _changed(vote: Vote) -> datetime:
    """When a vote was given, undone or corrected last."""
    return max(vote.voted_at, vote.undone_at or vote.voted_at, vote.corrected_at or vote.voted_at)


def _answers(row: dict[str, Any], of: BattleSet, version: int) -> dict[str, str]:
    """The answers of a row: one to each question of its version,
    and the earlier ones that it answers too.
    """
    answers = {}
    for question in of.listed:
        value = row.get(question.key) or None
        due = question.since <= version and (question.until is None or version < question.until)
        if due or value is not None:
            answers[question.key] = values.one_of(question.key, value, ANSWERS)
    return answers


def _elsewhere(session: Session, battle: str, voted: datetime, seconds: float) -> bool:
    """Whether the vote is stored under another name, where one export was made with names and the other
    without.
    """
    same = select(Vote.id).where(Vote.battle_id == battle, Vote.voted_at == voted, Vote.seconds == seconds)
    return session.scalars(same).first() is not None


def _free_name(session: Session, name: str) -> str:
    """`name`, with a number behind it if another set has it."""
    used = set(session.scalars(select(BattleSet.name)))
    later = (f"{name[: NAME - 6]} {number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], later) if free not in used)
