"""The whole database as three tables, and back: CSV and Parquet laid out as a Hugging Face dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from arena import judged, parquet, preferences, spreadsheet, values
from arena.card import card
from arena.errors import ArenaError
from arena.pseudonyms import pseudonyms
from arena.questions import ANSWERS, MAX_WORDS, OPENING, Question, checked, parsed, written
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
from arena.text import clean, clean_name, key

Rows = list[dict[str, Any]]

FIELDS = {
    "runs": ("run", "policy", "spec", "prompt", "text", "leak", "about", "turns", "tag"),
    "battles": (
        "battle", "set", "set_id", "guideline", "questions", "minimum", "open", "set_created_at", "kind", "run_a",
        "run_b", "of", "expected", "sender", "access", "members", "reveal", "share", "notice", "archived_at", "history",
    ),
    "votes": (
        "battle", "annotator", "comment", "seconds", "voted_at", "revised", "undone_at", "corrected_at", "version", "told",
    ),
}  # fmt: skip
"""Columns; those of votes stand beside one a question, by its key."""
NEWER: dict[str, Any] = {
    "questions": None,
    "open": True,
    "sender": None,
    "turns": None,
    "tag": None,
    "access": "signed",
    "members": None,
    "reveal": "vote",
    "share": None,
    "notice": "",
    "archived_at": None,
    "history": None,
    "corrected_at": None,
    "version": 1,
    "told": True,
}
"""What older exports lack, and what it was."""
TEXTS = {
    "policy",
    "prompt",
    "text",
    "leak",
    "set",
    "guideline",
    "questions",
    "annotator",
    "comment",
    "sender",
    "turns",
    "tag",
    "members",
    "notice",
    "history",
}
OPTIONAL = {
    "leak", "of", "expected", "undone_at", "questions", "sender", "turns", "tag", "members", "share", "archived_at",
    "history", "corrected_at",
}  # fmt: skip
IDENTITY = {"runs": ("run",), "battles": ("battle",), "votes": ("battle", "annotator")}


def tables(store: Store, *, names: bool, set_id: str | None = None) -> dict[str, Rows]:
    """All runs, battles and votes (undone ones too) as plain rows; times are ISO 8601 in UTC.

    `names`: keep the annotators' names; False puts their pseudonyms. `set_id`: of one study alone.
    """
    with store.read() as session:
        runs = session.scalars(select(Run).options(joinedload(Run.policy)).order_by(Run.id))
        battles = session.scalars(select(Battle).options(joinedload(Battle.set)).order_by(Battle.id))
        votes = session.scalars(
            select(Vote).options(joinedload(Vote.annotator)).order_by(Vote.voted_at, Vote.battle_id, Vote.id)
        )
        rows = {
            "runs": [_run(run) for run in runs],
            "battles": [_battle(battle) for battle in battles],
            "votes": [_vote(vote) for vote in votes],
        }
        if not names:
            known = pseudonyms(session)
            for row in rows["votes"]:
                row["annotator"] = known[row["annotator"]]
            for row in rows["battles"]:
                row["sender"] = row["members"] = None
    return rows if set_id is None else _of(rows, set_id)


def _of(rows: dict[str, Rows], set_id: str) -> dict[str, Rows]:
    battles = [row for row in rows["battles"] if row["set_id"] == set_id]
    ids = {row["battle"] for row in battles}
    runs = {row[side] for row in battles for side in ("run_a", "run_b")}
    return {
        "runs": [row for row in rows["runs"] if row["run"] in runs],
        "battles": battles,
        "votes": [row for row in rows["votes"] if row["battle"] in ids],
    }


def load(store: Store, rows: dict[str, Rows], *, first: int = 1) -> dict[str, int]:
    """Put the rows of `tables` into the store in one transaction; returns how many of each were new.

    What is there already is left alone, under an annotator's name or pseudonym, so loading twice is harmless;
    a vote that differs from the stored one wins if it was given or undone later. Raises ArenaError, with
    nothing stored, at a row that is not valid; the rows of a table are counted from `first`.
    """
    with store.write() as session:
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


def export(
    store: Store, folder: str | Path, *, names: bool = False, set_id: str | None = None
) -> dict[str, int]:
    """Write `data/*.parquet`, `csv/*.csv` and the card `README.md`; returns the rows of each table.

    Names of annotators are replaced unless `names`. `set_id`: one study alone, with its outputs and preferences beside
    the tables.
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
    """Read what `export` wrote (Parquet, or CSV where there is none) into the store; returns the new rows.

    Raises ArenaError, with nothing stored, where a table or a row is not valid.
    """
    columnar = all((Path(folder) / "data" / f"{name}.parquet").is_file() for name in FIELDS)
    rows = {name: [*map(_unflat, _table(Path(folder), name, columnar))] for name in FIELDS}
    return load(store, rows, first=1 if columnar else 2)  # a spreadsheet counts the column names


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


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _run(run: Run) -> dict[str, Any]:
    turns = json.dumps(run.turns, ensure_ascii=False) if run.turns else None
    cells = (
        run.id, run.policy_name, run.policy.spec, run.prompt, run.text, run.leak, run.about, turns, run.tag,
    )  # fmt: skip
    return dict(zip(FIELDS["runs"], cells, strict=True))


def _battle(battle: Battle) -> dict[str, Any]:
    of = battle.set
    questions = [Question(asked.key, asked.text) for asked in of.questions]
    cells = (
        battle.id, of.name, of.id, of.guideline, written(questions), of.minimum, of.open, _iso(of.created_at),
        battle.kind, battle.a_id, battle.b_id, battle.of_id, battle.expected, battle.sender,
        of.access, json.dumps(of.members, ensure_ascii=False) if of.members else None, of.reveal, of.share, of.notice,
        _iso(of.archived_at), _history(of),
    )  # fmt: skip
    return dict(zip(FIELDS["battles"], cells, strict=True))


def _vote(vote: Vote) -> dict[str, Any]:
    cells = (
        vote.battle_id, vote.annotator.name, vote.comment, vote.seconds, _iso(vote.voted_at), vote.revised,
        _iso(vote.undone_at), _iso(vote.corrected_at), vote.version, vote.told,
    )  # fmt: skip
    return {**dict(zip(FIELDS["votes"], cells, strict=True)), **vote.answers}


def _history(of: BattleSet) -> str | None:
    """All questions that a set has had, as JSON, where there was more than one version."""
    listed = [[asked.key, asked.text, asked.position, asked.since, asked.until] for asked in of.listed]
    return json.dumps([of.version, listed], ensure_ascii=False) if of.version > 1 else None


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}


def _unflat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what older exports lack, its empty cells missing values where there may be some: CSV knows texts only."""
    return {name: None if name in OPTIONAL and value == "" else value for name, value in row.items()}


def _columns(name: str, rows: Rows) -> list[str]:
    """The columns of a table: its own, and of votes those of the questions that they answer, behind the annotator."""
    asked = dict.fromkeys(column for row in rows for column in row if column not in FIELDS[name])
    return [*FIELDS[name][:2], *asked, *FIELDS[name][2:]] if asked else [*FIELDS[name]]


def _add_run(session: Session, row: dict[str, Any]) -> bool:
    row = {**NEWER, **row}
    run, spec = values.identifier("run", row["run"]), values.mapping("spec", row["spec"])
    if session.get(Run, run) is not None:
        return False
    name = clean_name(row["policy"], what="The name of a policy")
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
            prompt=clean(row["prompt"], most=PROMPT, what="A prompt"),
            text=clean(row["text"], most=TEXT, what="A text"),
            leak=None if row["leak"] is None else clean(row["leak"], most=NAME, what="A leak"),
            about=values.mapping("about", row["about"]),
            turns=values.turns("turns", row["turns"]),
            tag=None if row["tag"] is None else clean_name(row["tag"], what="A tag"),
        )
    )
    session.flush()
    return True


def _add_battle(session: Session, row: dict[str, Any]) -> bool:
    row = {**NEWER, **row}
    battle, set_id = values.identifier("battle", row["battle"]), values.identifier("set_id", row["set_id"])
    if session.get(Battle, battle) is not None:
        return False
    kind, minimum = (
        values.one_of("kind", row["kind"], KINDS),
        values.whole("minimum", row["minimum"], 1, values.MAX_VOTES),
    )
    created = values.moment("set_created_at", row["set_created_at"])
    if session.get(BattleSet, set_id) is None:
        version, listed = _questions(row)
        session.add(
            BattleSet(
                id=set_id,
                name=_free_name(session, clean_name(row["set"], what="The name of a study")),
                guideline=clean(row["guideline"], most=PROMPT, what="The guideline"),
                minimum=minimum,
                open=values.truth("open", row["open"]),
                created_at=created,
                archived_at=None
                if row["archived_at"] is None
                else values.moment("archived_at", row["archived_at"]),
                access=values.one_of("access", row["access"], tuple(ACCESS)),
                members=[key(name) for name in values.names("members", row["members"])],
                reveal=values.one_of("reveal", row["reveal"], tuple(REVEALS)),
                share=None
                if row["share"] is None
                else values.whole("share", row["share"], 1, values.MAX_VOTES),
                notice=clean(row["notice"], most=MAX_WORDS, what="The notice"),
                version=version,
                listed=listed,
            )
        )
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


def _questions(row: dict[str, Any]) -> tuple[int, list[Asked]]:
    """The version of a set's questions, and all that it has had."""
    if row["history"] is not None:
        version, rows = values.history("history", row["history"])
        checked([Question(each[0], each[1]) for each in rows if each[4] is None])
        for each in rows:
            checked([Question(each[0], each[1])])
        return version, [
            Asked(key=key, text=text, position=position, since=since, until=until)
            for key, text, position, since, until in rows
        ]
    asked: Sequence[Question] = OPENING
    if row["questions"] is not None:
        asked = parsed(clean(row["questions"], most=PROMPT, what="A set's questions"))
    return 1, [Asked(key=each.key, text=each.text, position=place) for place, each in enumerate(asked)]


def _add_vote(session: Session, row: dict[str, Any], names: Mapping[str, str]) -> bool:
    battle, took = values.identifier("battle", row["battle"]), values.seconds("seconds", row["seconds"])
    if (shown := session.get(Battle, battle)) is None:
        raise ArenaError(f"A vote speaks of battle {battle!r}, which the export lacks. Export it anew.")
    row = {**NEWER, **row}
    version = values.whole("version", row["version"], 1, shown.set.version)
    answers = _answers(row, shown.set, version)
    corrected = None if row["corrected_at"] is None else values.moment("corrected_at", row["corrected_at"])
    voted = values.moment("voted_at", row["voted_at"])
    undone = None if row["undone_at"] is None else values.moment("undone_at", row["undone_at"])
    name = clean_name(row["annotator"], what="The name of an annotator")
    name = names.get(name, name)
    person = session.scalars(select(Annotator).where(Annotator.key == key(name))).one_or_none()
    if person is None:
        person = Annotator(key=key(name), name=name, created_at=voted)
        session.add(person)
        session.flush()
    same = select(Vote).where(Vote.battle_id == battle, Vote.annotator_id == person.id)
    standing = session.scalars(same).one_or_none()
    if standing is not None and max(voted, undone or voted, corrected or voted) <= max(
        standing.voted_at, standing.undone_at or standing.voted_at, standing.corrected_at or standing.voted_at
    ):
        return False
    if standing is None and _elsewhere(session, battle, voted, took):
        return False
    vote = standing or Vote(battle_id=battle, annotator_id=person.id)
    vote.answer(answers, shown.set)
    vote.comment = clean(row["comment"], most=COMMENT, what="A comment")
    vote.seconds, vote.voted_at = took, voted
    vote.revised, vote.undone_at = values.truth("revised", row["revised"]), undone
    vote.corrected_at, vote.version, vote.told = corrected, version, values.truth("told", row["told"])
    session.add(vote)
    if session.get(Showing, (battle, person.id)) is None:
        session.add(Showing(battle_id=battle, annotator_id=person.id, shown_at=voted))
    session.flush()
    return standing is None


def _answers(row: dict[str, Any], of: BattleSet, version: int) -> dict[str, str]:
    """The answers of a row: one to each question of its version, and whichever earlier ones it answers besides."""
    answers = {}
    for question in of.listed:
        value = row.get(question.key) or None
        asked = question.since <= version and (question.until is None or version < question.until)
        if asked or value is not None:
            answers[question.key] = values.one_of(question.key, value, ANSWERS)
    return answers


def _elsewhere(session: Session, battle: str, voted: datetime, seconds: float) -> bool:
    """Whether the vote is there under another name: one export was made with names, the other without."""
    same = select(Vote.id).where(Vote.battle_id == battle, Vote.voted_at == voted, Vote.seconds == seconds)
    return session.scalars(same).first() is not None


def _free_name(session: Session, name: str) -> str:
    """`name`, with a number behind it if another set has it."""
    taken = set(session.scalars(select(BattleSet.name)))
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name[:74]} {number}"
    return free
