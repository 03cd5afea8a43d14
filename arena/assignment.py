"""Which battle an annotator sees next: by need, without letting repeats and traps be foreseen."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from arena.schema import Answer, Asked, Battle, BattleSet, Run, Showing, Vote

RESERVED = timedelta(minutes=10)  # a shown battle counts as judged for so long
BEHIND = 3  # an annotator's votes from a battle on, itself among them, before its repeat may come


@dataclass(frozen=True)
class Candidate:
    """A battle an annotator has not judged: votes it has or is about to get, votes wanted, its policies."""

    battle: str
    kind: str
    votes: int
    minimum: int
    policies: tuple[str, str]
    ready: bool = True  # a repeat is ready once `BEHIND` votes were given from its original on
    fresh: bool = True  # no name was revealed to the annotator on its prompt


def choose(
    candidates: Sequence[Candidate], scores: Mapping[str, float], chance: random.Random
) -> Candidate | None:
    """The next battle, None if there is none.

    A kind is drawn in proportion to what is left of it, so that repeats and traps are spread over the
    sitting. Within it come battles short of their minimum; among these those on a prompt of which the
    annotator knows no author yet, for a text may stand in several battles; then those with the fewest votes,
    then those whose policies rank closest by `scores`; equals are drawn by lot.
    """
    ready = [candidate for candidate in candidates if candidate.ready] or list(candidates)
    if not ready:
        return None
    left = Counter(candidate.kind for candidate in ready)
    (kind,) = chance.choices(sorted(left), [left[kind] for kind in sorted(left)])

    def need(candidate: Candidate) -> tuple[bool, bool, int, float, float]:
        first, second = (scores.get(policy, 0.0) for policy in candidate.policies)
        gap = round(abs(first - second), 2)
        return (
            candidate.votes >= candidate.minimum,
            not candidate.fresh,
            candidate.votes,
            gap,
            chance.random(),
        )

    return min((candidate for candidate in ready if candidate.kind == kind), key=need)


def admitted(session: Session, annotator: int | None, key: str, set_id: str | None) -> list[str]:
    """The ids of the sets whose battles are shown to a person: open, for them, and short of their share; of all sets, or
    of the one asked for.
    """
    query = select(BattleSet).where(BattleSet.open, BattleSet.archived_at.is_(None))
    if set_id is not None:
        query = query.where(BattleSet.id == set_id)
    judged = {
        set_id: count
        for set_id, count in session.execute(
            select(Battle.set_id, func.count(Vote.id))
            .join(Vote, Vote.battle_id == Battle.id)
            .where(Vote.annotator_id == annotator, Vote.undone_at.is_(None))
            .group_by(Battle.set_id)
        )
    }
    return [
        study.id
        for study in session.scalars(query)
        if (study.access != "listed" or key in study.members)
        and (study.share is None or judged.get(study.id, 0) < study.share)
    ]


def complete() -> Select:
    """The standing votes (`vote`, `battle`) that answer all questions which their study asks now, and skip not all."""
    current = select(func.count()).where(Asked.set_id == Battle.set_id, Asked.until.is_(None))
    answered = (
        select(func.count())
        .select_from(Answer)
        .join(Asked, Asked.key == Answer.question)
        .where(Answer.vote_id == Vote.id, Asked.set_id == Battle.set_id, Asked.until.is_(None))
    )
    return (
        select(Vote.id.label("vote"), Vote.battle_id.label("battle"))
        .join(Battle, Vote.battle_id == Battle.id)
        .where(
            Vote.undone_at.is_(None),
            Vote.given.any(Answer.value != "skip"),
            answered.correlate(Vote, Battle).scalar_subquery() == current.correlate(Battle).scalar_subquery(),
        )
    )


def candidates(
    session: Session, annotator: int | None, key: str, set_id: str | None, now: datetime
) -> list[Candidate]:
    """Every battle of open sets that the annotator (by id, None for one without votes, and key) has not judged nor put
    together, of one set or of all.
    """
    a, b = aliased(Run), aliased(Run)
    own = select(Vote.battle_id).where(Vote.annotator_id == annotator, Vote.undone_at.is_(None))
    given = (
        select(Vote.battle_id, func.count())
        .where(Vote.id.in_(select(complete().subquery().c.vote)))
        .group_by(Vote.battle_id)
    )
    answered = and_(Vote.battle_id == Showing.battle_id, Vote.annotator_id == Showing.annotator_id)
    awaited = (
        select(Showing.battle_id, func.count())
        .outerjoin(Vote, answered)
        .where(Showing.shown_at > now - RESERVED, Vote.id.is_(None))
        .group_by(Showing.battle_id)
    )
    votes = {battle: count for battle, count in session.execute(given)}
    reserved = {battle: count for battle, count in session.execute(awaited)}
    told = (
        select(Run.prompt)
        .join(Battle, Battle.a_id == Run.id)
        .join(Vote, Vote.battle_id == Battle.id)
        .where(Vote.annotator_id == annotator)
    )
    fresh = a.prompt.not_in(told)
    query = (
        select(Battle.id, Battle.kind, Battle.of_id, BattleSet.minimum, a.policy_name, b.policy_name, fresh)
        .join(BattleSet, Battle.set_id == BattleSet.id)
        .join(a, Battle.a_id == a.id)
        .join(b, Battle.b_id == b.id)
        .where(
            Battle.id.not_in(own),
            BattleSet.id.in_(admitted(session, annotator, key, set_id)),
            or_(Battle.sender.is_(None), Battle.sender != key),
        )
    )
    order = session.scalars(
        select(Vote.battle_id)
        .where(Vote.annotator_id == annotator, Vote.undone_at.is_(None))
        .order_by(Vote.voted_at)
    ).all()
    settled = set(order[: max(0, len(order) - BEHIND + 1)])
    return [
        Candidate(
            battle,
            kind,
            votes.get(battle, 0) + reserved.get(battle, 0),
            minimum,
            (first, second),
            of is None or of in settled,
            bool(new),
        )
        for battle, kind, of, minimum, first, second, new in session.execute(query)
    ]
