"""The whole database as three tables of plain rows: runs, battles, votes."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from arena.pseudonyms import pseudonyms
from arena.questions import Question, written
from arena.schema import Battle, BattleSet, Run, Vote
from arena.store import Store

Rows = list[dict[str, Any]]

FIELDS = {
    "runs": ("run", "policy", "spec", "prompt", "text", "leak", "about", "turns", "tag", "set_id"),
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
    "set_id": None,
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
    "leak", "of", "expected", "undone_at", "questions", "sender", "turns", "tag", "set_id", "members", "share", "archived_at",
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
        "runs": [row for row in rows["runs"] if row["run"] in runs or row["set_id"] == set_id],
        "battles": battles,
        "votes": [row for row in rows["votes"] if row["battle"] in ids],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _run(run: Run) -> dict[str, Any]:
    turns = json.dumps(run.turns, ensure_ascii=False) if run.turns else None
    cells = (
        run.id, run.policy_name, run.policy.spec, run.prompt, run.text, run.leak, run.about, turns, run.tag,
        run.set_id,
    )  # fmt: skip
    return dict(zip(FIELDS["runs"], cells, strict=True))


def _battle(battle: Battle) -> dict[str, Any]:
    of = battle.set
    questions = [Question(question.key, question.text) for question in of.questions]
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
    listed = [[each.key, each.text, each.position, each.since, each.until] for each in of.listed]
    return json.dumps([of.version, listed], ensure_ascii=False) if of.version > 1 else None
