"""Where annotators are served: the next battle, the vote, the reveal, the undo.

Everything that tells the sides apart stays behind `Service`: `next` returns texts and an opaque id, and only a
committed `vote` returns a `Reveal`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from arena import assignment
from arena.errors import AlreadyVoted, ArenaError, TooFast, TooLate, UnknownBattle
from arena.questions import ANSWERS, Question
from arena.ranking import strengths
from arena.records import asked, votes_frame
from arena.schema import COMMENT, Annotator, Asked, Battle, BattleSet, Run, Showing, Vote
from arena.store import Store
from arena.text import clean, clean_name, key

UNDO = timedelta(seconds=60)
MAX_NEWCOMERS = 200  # people who were shown a battle in the last minutes and have never voted
NOT_SHOWN = "This battle was not shown to you. Ask for the next one, and vote on that."


@dataclass(frozen=True)
class Shown:
    """What an annotator may know of a battle before the vote."""

    battle: str
    prompt: str
    a: str
    b: str
    guideline: str
    questions: tuple[Question, ...]
    remaining: int  # battles this annotator has not judged, of the set asked for, this one among them
    done: int  # battles of it this annotator has judged


@dataclass(frozen=True)
class Side:
    """Who stood on a side: told after the vote."""

    policy: str
    spec: dict[str, Any]
    about: dict[str, Any]


@dataclass(frozen=True)
class Reveal:
    """The names behind a battle, the answers that are committed, and until when they can be undone (UTC)."""

    battle: str
    a: Side
    b: Side
    answers: dict[str, str]
    undo_until: datetime
    revised: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: each side's policy, spec and about, the answers by their questions, and the time as ISO 8601."""
        plain = asdict(self)
        return {**plain, **plain.pop("answers"), "undo_until": self.undo_until.isoformat()}


class Service:
    """Serves any number of annotators at once, from any number of replicas on one database.

    Parameters
    ----------
    votes_a_minute: most votes of one person in 60 seconds.
    clock: the time, aware; for tests.
    """

    def __init__(
        self,
        store: Store,
        *,
        votes_a_minute: int = 30,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = store
        self.votes_a_minute = votes_a_minute
        self._clock = clock
        self._chance = random.SystemRandom()
        self._scores: dict[str, float] = {}
        self._scored_at: datetime | None = None

    def next(self, annotator: str, set_id: str | None = None) -> Shown | None:
        """The battle to judge, None when all are judged. The same one until it is voted on.

        `set_id` confines the choice to one battle set.
        """
        now = self._clock()
        with self.store.read() as session:
            person = self._known(session, annotator)
            open_ = assignment.candidates(session, person.id if person else None, key(annotator), set_id, now)
            chosen = assignment.choose(open_, self._ranks(session, now), self._chance)
        with self.store.write() as session:
            if person is None:
                self._check_crowd(session, now)
            person = self._person(session, annotator, now)
            pending = self._pending(session, person, set_id)
            battle = pending or (session.get(Battle, chosen.battle) if chosen else None)
            if battle is None:
                return None
            if pending is None:
                session.merge(Showing(battle_id=battle.id, annotator_id=person.id, shown_at=now))
            return _shown(battle, max(len(open_), 1), _judged(session, annotator, set_id))

    def again(self, battle: str, annotator: str, set_id: str | None = None) -> Shown:
        """A battle as `next` showed it to this annotator, judged since or not; UnknownBattle if it did not.

        For a page that outlives the memory of the app behind it.
        """
        with self.store.read() as session:
            person = self._known(session, annotator)
            if person is None or session.get(Showing, (str(battle), person.id)) is None:
                raise UnknownBattle(NOT_SHOWN)
            vote = self._vote(session, battle, person)
            given = vote is not None and vote.undone_at is None
            left = len(assignment.candidates(session, person.id, person.key, set_id, self._clock())) + given
            return _shown(session.get_one(Battle, battle), left, _judged(session, annotator, set_id) - given)

    def judged(self, annotator: str, set_id: str | None = None) -> int:
        """How many battles this annotator has judged, of one battle set or of all."""
        with self.store.read() as session:
            return _judged(session, annotator, set_id)

    def vote(self, battle: str, annotator: str, answers: Mapping[str, str], comment: str = "") -> Reveal:
        """Commit the answers, one a question of the battle's set, then tell who stood where. Sending the same vote
        again changes nothing.

        Raises UnknownBattle if the battle was not shown to the annotator, AlreadyVoted if another vote of
        theirs stands, TooFast above the rate limit, ArenaError for any other input.
        """
        words = clean(comment, most=COMMENT, what="The comment").strip()
        now = self._clock()
        with self.store.write() as session:
            person = self._person(session, annotator, now)
            shown = session.get(Showing, (str(battle), person.id))
            if shown is None:
                raise UnknownBattle(NOT_SHOWN)
            _check_answers(session.get_one(Battle, battle).set.questions, answers)
            found = self._vote(session, battle, person)
            if found is None or found.undone_at is not None:
                self._check_pace(session, person, now)
                vote = found or Vote(battle_id=battle, annotator_id=person.id, revised=False)
                vote.revised = found is not None
                vote.answer(answers)
                vote.comment = words
                vote.voted_at, vote.undone_at = now, None
                vote.seconds = (now - shown.shown_at).total_seconds()
                session.add(vote)
            elif found.answers != dict(answers):
                raise AlreadyVoted(
                    "You have judged this battle. Undo that vote first, within a minute of it."
                )
        return self.reveal(battle, annotator)

    def reveal(self, battle: str, annotator: str) -> Reveal:
        """Who stood where, for a battle on which this annotator's vote is committed; else UnknownBattle."""
        with self.store.read() as session:
            vote = session.scalars(
                select(Vote)
                .join(Annotator)
                .where(
                    Vote.battle_id == str(battle), Annotator.key == key(annotator), Vote.undone_at.is_(None)
                )
                .options(
                    joinedload(Vote.battle).joinedload(Battle.a).joinedload(Run.policy),
                    joinedload(Vote.battle).joinedload(Battle.b).joinedload(Run.policy),
                )
            ).one_or_none()
            if vote is None:
                raise UnknownBattle("The names are told after your vote on this battle.")
            a, b = (
                Side(run.policy_name, run.policy.spec, run.about) for run in (vote.battle.a, vote.battle.b)
            )
            until = vote.voted_at if vote.revised else vote.voted_at + UNDO
            return Reveal(battle, a, b, vote.answers, until, vote.revised)

    def undo(self, battle: str, annotator: str) -> None:
        """Take a vote back within a minute of it; `next` then shows its battle again.

        The names have been seen, so the vote that follows is marked as revised and not counted as blind. A
        revised vote stands.
        """
        now = self._clock()
        with self.store.write() as session:
            vote = self._vote(session, battle, self._person(session, annotator, now))
            if vote is None or vote.undone_at is not None:
                raise UnknownBattle("There is no vote of yours on this battle to undo.")
            if vote.revised:
                raise TooLate("This vote was undone and given anew already; it stands.")
            if now > vote.voted_at + UNDO:
                raise TooLate("A vote can be undone for a minute; this one is older and stands.")
            vote.undone_at = now

    def _known(self, session: Session, name: str) -> Annotator | None:
        return session.scalars(select(Annotator).where(Annotator.key == key(name))).one_or_none()

    def _person(self, session: Session, name: str, now: datetime) -> Annotator:
        """The annotator of this name, made if new, and locked: a person's requests take turns."""
        mine = select(Annotator).where(Annotator.key == key(name)).with_for_update()
        if (found := session.scalars(mine).one_or_none()) is not None:
            return found
        try:
            with session.begin_nested():
                session.add(Annotator(key=key(name), name=clean_name(name), created_at=now))
        except IntegrityError:  # another replica met the same person at this moment
            pass
        return session.scalars(mine).one()

    def _vote(self, session: Session, battle: str, person: Annotator) -> Vote | None:
        mine = select(Vote).where(Vote.battle_id == str(battle), Vote.annotator_id == person.id)
        return session.scalars(mine).one_or_none()

    def _pending(self, session: Session, person: Annotator, set_id: str | None) -> Battle | None:
        """The battle shown to the annotator that waits for a vote."""
        voted = select(Vote.battle_id).where(Vote.annotator_id == person.id, Vote.undone_at.is_(None))
        query = (
            select(Battle)
            .join(Showing, Showing.battle_id == Battle.id)
            .join(BattleSet)
            .where(Showing.annotator_id == person.id, Battle.id.not_in(voted), BattleSet.open)
            .order_by(Showing.shown_at.desc())
        )
        if set_id is not None:
            query = query.where(Battle.set_id == set_id)
        return session.scalars(query.limit(1)).one_or_none()

    def _check_pace(self, session: Session, person: Annotator, now: datetime) -> None:
        recent = session.scalar(
            select(func.count()).where(
                Vote.annotator_id == person.id, Vote.voted_at > now - timedelta(seconds=60)
            )
        )
        if (recent or 0) >= self.votes_a_minute:
            raise TooFast(f"More than {self.votes_a_minute} votes in a minute. Take a breath, then go on.")

    def _check_crowd(self, session: Session, now: datetime) -> None:
        """Every new name makes an annotator and reserves a battle: a bound on those that may never vote."""
        waiting = session.scalar(
            select(func.count(Showing.annotator_id.distinct())).where(
                Showing.shown_at > now - assignment.RESERVED,
                Showing.annotator_id.not_in(select(Vote.annotator_id)),
            )
        )
        if (waiting or 0) >= MAX_NEWCOMERS:
            raise TooFast(
                f"{waiting} new people were shown a battle and have not voted yet. Come back in ten minutes."
            )

    def _ranks(self, session: Session, now: datetime) -> dict[str, float]:
        """Strengths of the policies, at most 30 seconds old: enough to choose close pairs."""
        if self._scored_at is None or now - self._scored_at > timedelta(seconds=30):
            votes = votes_frame(session)
            self._scores = strengths(votes, asked(votes)[0])
            self._scored_at = now
        return self._scores


def _shown(battle: Battle, remaining: int, done: int) -> Shown:
    questions = tuple(Question(question.key, question.text) for question in battle.set.questions)
    texts = (battle.a.prompt, battle.a.text, battle.b.text)
    return Shown(battle.id, *texts, battle.set.guideline, questions, remaining, done)


def _check_answers(questions: Sequence[Asked], answers: Mapping[str, str]) -> None:
    keys = [question.key for question in questions]
    if strange := sorted(set(answers) - set(keys)):
        raise ArenaError(
            f"The answer {str(strange[0])[:40]!r} is to no question: give one to each of {', '.join(keys)}."
        )
    for question in keys:
        if answers.get(question) not in ANSWERS:
            raise ArenaError(
                f"The answer to {question} is {str(answers.get(question, ''))[:40]!r}: give one of {', '.join(ANSWERS)}."
            )


def _judged(session: Session, annotator: str, set_id: str | None) -> int:
    own = (
        select(func.count(Vote.id))
        .join(Annotator)
        .where(Annotator.key == key(annotator), Vote.undone_at.is_(None))
    )
    if set_id is not None:
        own = own.join(Battle, Vote.battle_id == Battle.id).where(Battle.set_id == set_id)
    return session.scalar(own) or 0
