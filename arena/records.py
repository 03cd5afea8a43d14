"""Votes as a table, the form in which they are ranked and measured."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from arena.schema import Annotator, Battle, Policy, Run, Vote

COLUMNS = [
    "battle", "kind", "of", "expected", "prompt", "policy_a", "policy_b", "annotator", "helpful", "harmless",
    "comment", "seconds", "voted_at", "revised",
]  # fmt: skip


def votes_frame(session: Session, set_id: str | None = None) -> pd.DataFrame:
    """Standing votes (not undone), one a row, oldest first, of one battle set or of all.

    Columns: `COLUMNS`; `of` is the battle a repeat repeats, `expected` a trap's known answer, `voted_at` in
        UTC.
    """
    a, b = aliased(Run), aliased(Run)
    query = (
        select(
            Battle.id, Battle.kind, Battle.of_id, Battle.expected, a.prompt, a.policy_name, b.policy_name,
            Annotator.name, Vote.helpful, Vote.harmless, Vote.comment, Vote.seconds, Vote.voted_at,
            Vote.revised,
        )
        .join(Vote, Vote.battle_id == Battle.id)
        .join(Annotator, Vote.annotator_id == Annotator.id)
        .join(a, Battle.a_id == a.id)
        .join(b, Battle.b_id == b.id)
        .where(Vote.undone_at.is_(None))
        .order_by(Vote.voted_at, Battle.id, Annotator.key)
    )  # fmt: skip
    if set_id is not None:
        query = query.where(Battle.set_id == set_id)
    return pd.DataFrame([tuple(row) for row in session.execute(query)], columns=COLUMNS)


def specs(session: Session) -> dict[str, dict[str, Any]]:
    """What each policy is, by name: as its `Entrant` or `Output` told it."""
    return {policy.name: policy.spec for policy in session.scalars(select(Policy))}
