"""Votes as a table, the form in which they are ranked and measured."""

from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from arena.questions import OPENING, Question
from arena.schema import Annotator, Answer, Asked, Battle, BattleSet, Policy, Run, Vote

COLUMNS = [
    "battle", "kind", "of", "expected", "prompt", "policy_a", "policy_b", "annotator", "comment", "seconds",
    "voted_at", "revised", "corrected", "tag",
]  # fmt: skip


def votes_frame(session: Session, set_id: str | None = None) -> pd.DataFrame:
    """Standing votes (not undone), one a row, oldest first, of one study, or of all but those under a notice,
    such as an example that no person has judged.

    Columns: `COLUMNS`, and one a question, by its key, NaN where a set does not ask it; `of` is the battle a
        repeat repeats, `expected` a trap's known answer to the first question, `voted_at` in UTC;
        `corrected`: answers that were given anew, `revised`: those after the names were seen; `tag` is the
        prompt's.
    """
    a, b = aliased(Run), aliased(Run)
    query = (
        select(
            Vote.id, Battle.id, Battle.kind, Battle.of_id, Battle.expected, a.prompt, a.policy_name, b.policy_name,
            Annotator.name, Vote.comment, Vote.seconds, Vote.voted_at, Vote.revised, Vote.corrected_at.is_not(None), a.tag,
        )
        .join(Vote, Vote.battle_id == Battle.id)
        .join(Annotator, Vote.annotator_id == Annotator.id)
        .join(BattleSet, Battle.set_id == BattleSet.id)
        .join(a, Battle.a_id == a.id)
        .join(b, Battle.b_id == b.id)
        .where(Vote.undone_at.is_(None))
        .order_by(Vote.voted_at, Battle.id, Annotator.key)
    )  # fmt: skip
    query = (
        query.where(Battle.set_id == set_id) if set_id is not None else query.where(BattleSet.notice == "")
    )
    votes = pd.DataFrame([tuple(row) for row in session.execute(query)], columns=["vote", *COLUMNS])
    answers: dict[str, dict[int, str]] = {question.key: {} for question in questions(session, set_id)}
    for vote, key, value in session.execute(select(Answer.vote_id, Answer.question, Answer.value)):
        if key in answers:
            answers[key][vote] = value
    for key in answers:
        votes[key] = votes["vote"].map(answers[key]).astype(object)
    return votes.drop(columns="vote")


def questions(session: Session, set_id: str | None = None) -> list[Question]:
    """The questions of one study, or of all, oldest first; the opening pair where there is none."""
    query = (
        select(Asked.key, Asked.text)
        .join(BattleSet)
        .order_by(BattleSet.created_at, BattleSet.id, Asked.until.is_not(None), Asked.position, Asked.since)
    )
    query = query.where(Asked.set_id == set_id) if set_id is not None else query.where(BattleSet.notice == "")
    texts: dict[str, str] = {}
    for key, text in session.execute(query):
        texts.setdefault(key, text)
    return [Question(key, text) for key, text in texts.items()] or list(OPENING)


def every_question(session: Session) -> list[Question]:
    """The questions of all studies, whatever stands over them."""
    texts = {key: text for key, text in session.execute(select(Asked.key, Asked.text))}
    return [Question(key, text) for key, text in ({each.key: each.text for each in OPENING} | texts).items()]


def blind(votes: pd.DataFrame) -> pd.DataFrame:
    """The votes that rankings count: on plain battles, given before the names were seen."""
    return votes[(votes["kind"] == "plain") & ~votes["revised"].astype(bool)]


def asked(votes: pd.DataFrame) -> list[str]:
    """The keys of the questions that a table of votes answers."""
    return [column for column in votes.columns if column not in COLUMNS]


def specs(session: Session) -> dict[str, dict[str, Any]]:
    """What each policy is, by name: as its `Entrant` or `Output` told it."""
    return {policy.name: policy.spec for policy in session.scalars(select(Policy))}
