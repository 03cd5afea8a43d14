"""Which battle an annotator sees next: by need, without letting repeats and traps be foreseen."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session, aliased

from arena.schema import Answer, Asked, Battle, BattleSet, Run, Showing, Vote

RESERVED = timedelta(minutes=10)  # how long a shown battle counts as judged
DEEPER = 0.25  # of battles shown, one that others have judged already, so that agreement is seen early
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
    given: int = 0  # of the votes, those that it has

    @property
    def short(self) -> bool:
        """Whether it has fewer votes than its study wants."""
        return self.given < self.minimum


def choose(
    candidates: Sequence[Candidate], scores: Mapping[str, float], chance: random.Random
) -> Candidate | None:
    """The next battle, None if there is none.

    A kind is drawn in proportion to what is left of it, so that repeats and traps are spread over the
    sitting. Within it come battles short of their minimum; among these, those on prompts for which no author
    was revealed to the annotator, since a text may stand in several battles; then those with the fewest
    votes, or, a quarter of the time, those with the most; then those whose policies rank closest by `scores`;
    equals are drawn by lot.
    """
    ready = [candidate for candidate in candidates if candidate.ready] or list(candidates)
    if not ready:
        return None
    left = Counter(candidate.kind for candidate in ready)
    deeper = chance.random() < DEEPER
    (kind,) = chance.choices(sorted(left), [left[kind] for kind in sorted(left)])

    def need(candidate: Candidate) -> tuple[bool, bool, int, int, float, float]:
        first, second = (scores.get(policy, 0.0) for policy in candidate.policies)
        gap = round(abs(first - second), 2)
        full = candidate.votes >= candidate.minimum
        return (
            full,
            not candidate.fresh,
            -candidate.given if deeper and not full else 0,
            candidate.votes,
            gap,
            chance.random(),
        )

    return min((candidate for candidate in ready if candidate.kind == kind), key=need)


_SHOWN = select(BattleSet.id, BattleSet.access, BattleSet.members, BattleSet.share, BattleSet.notice).where(
    BattleSet.open, BattleSet.archived_at.is_(None)
)
_JUDGED = (
    select(Battle.set_id, func.count(Vote.id))
    .join(Vote, Vote.battle_id == Battle.id)
    .where(Vote.annotator_id == bindparam("annotator"), Vote.undone_at.is_(None))
    .group_by(Battle.set_id)
)


def admitted(session: Session, annotator: int | None, key: str, set_id: str | None) -> list[str]:
    """The ids of the sets whose battles are shown to a person: open, for them, and short of their share; of
    all sets but those under a notice, such as practice, or of the one asked for.
    """
    judged = {set_id: count for set_id, count in session.execute(_JUDGED, {"annotator": annotator})}
    return [
        study
        for study, access, members, share, notice in session.execute(_SHOWN)
        if (set_id == study or (set_id is None and not notice))
        and (access != "listed" or key in members)
        and (share is None or judged.get(study, 0) < share)
    ]


def complete() -> Select[int, str]:
    """The standing votes (`vote`, `battle`) that answer all questions
    which their study asks now, and skip not all.
    """
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


_A, _B = aliased(Run), aliased(Run)
_OWN = select(Vote.battle_id).where(Vote.annotator_id == bindparam("annotator"), Vote.undone_at.is_(None))
_OWN_IN_ORDER = _OWN.order_by(Vote.voted_at)
_GIVEN = (
    select(Vote.battle_id, func.count())
    .where(Vote.id.in_(select(complete().subquery().c.vote)))
    .group_by(Vote.battle_id)
)
_AWAITED = (
    select(Showing.battle_id, func.count())
    .outerjoin(Vote, and_(Vote.battle_id == Showing.battle_id, Vote.annotator_id == Showing.annotator_id))
    .where(Showing.shown_at > bindparam("since"), Vote.id.is_(None))
    .group_by(Showing.battle_id)
)
_TOLD = (
    select(Run.prompt)
    .join(Battle, Battle.a_id == Run.id)
    .join(Vote, Vote.battle_id == Battle.id)
    .where(Vote.annotator_id == bindparam("annotator"))
)
_UNJUDGED = (
    select(
        *(Battle.id, Battle.kind, Battle.of_id, BattleSet.minimum, _A.policy_name, _B.policy_name),
        _A.prompt.not_in(_TOLD),
    )
    .join(BattleSet, Battle.set_id == BattleSet.id)
    .join(_A, Battle.a_id == _A.id)
    .join(_B, Battle.b_id == _B.id)
    .where(
        Battle.id.not_in(_OWN),
        BattleSet.id.in_(bindparam("sets", expanding=True)),
        or_(Battle.sender.is_(None), Battle.sender != bindparam("key")),
    )
)


def candidates(
    session: Session, annotator: int | None, key: str, set_id: str | None, now: datetime
) -> list[Candidate]:
    """Every battle of open sets that the annotator (by id, None for one without votes, and key) has not
    judged nor put together, of one set or of all.
    """
    person = {"annotator": annotator}
    given = Counter({battle: count for battle, count in session.execute(_GIVEN)})
    votes = given.copy()
    votes.update({battle: count for battle, count in session.execute(_AWAITED, {"since": now - RESERVED})})
    order = session.scalars(_OWN_IN_ORDER, person).all()
    settled = set(order[: max(0, len(order) - BEHIND + 1)])
    values = person | {"key": key, "sets": admitted(session, annotator, key, set_id)}
    return [
        Candidate(
            battle,
            kind,
            votes[battle],
            minimum,
            (first, second),
            of is None or of in settled,
            bool(new),
            given[battle],
        )
        for battle, kind, of, minimum, first, second, new in session.execute(_UNJUDGED, values)
    ]
