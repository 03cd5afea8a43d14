"""Where annotators are served: the next battle, the vote, the reveal, the undo.

Everything that tells the sides apart stays behind `Service`: `next` returns texts and an opaque id, and only
a committed `vote` returns a `Reveal`.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from arena import assignment
from arena.errors import (
    AlreadyVoted,
    ArenaError,
    NotServed,
    QuestionsChanged,
    TooFast,
    TooLate,
    UnknownBattle,
)
from arena.questions import ANSWERS
from arena.ranking import strengths
from arena.records import asked, votes_frame
from arena.schema import COMMENT, Annotator, Battle, BattleSet, Run, Showing, Vote
from arena.shown import UNDO, About, Answered, Earlier, Reveal, Shown, revealed, shown
from arena.store import Store
from arena.text import clean, clean_name, key

A_PAGE = 50  # votes of those that a person gave, listed to them at once
MAX_NEWCOMERS = 200  # people who were shown a battle in the last minutes and have never voted
_WHOLE = (joinedload(Battle.a), joinedload(Battle.b), joinedload(Battle.set))
"""What of a battle is read with it, in one query."""
GONE = "There is no study at this address: it was deleted, or the link is not whole."
NOT_SHOWN = "This battle was not shown to you. Ask for the next one, and vote on that."


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

        `set_id` confines the choice to one study. Raises NotServed where that is not for this person.
        """
        now = self._clock()
        with self.store.read() as session:
            if set_id is not None:
                _check_served(session, set_id, key(annotator))
            person = self._known(session, annotator)
            open_ = assignment.candidates(session, person.id if person else None, key(annotator), set_id, now)
            chosen = assignment.choose(open_, self._ranks(session, now), self._chance)
        with self.store.write() as session:
            if person is None:
                self._check_crowd(session, now)
            person = self._person(session, annotator, now)
            pending = self._pending(session, person, set_id)
            battle = pending or (session.get(Battle, chosen.battle, options=_WHOLE) if chosen else None)
            if battle is None:
                return None
            if pending is None:
                session.merge(Showing(battle_id=battle.id, annotator_id=person.id, shown_at=now))
            return shown(battle, open_, _judged(session, annotator, set_id))

    def again(self, battle: str, annotator: str, set_id: str | None = None) -> Shown:
        """A battle as `next` showed it to this annotator, judged since or not; UnknownBattle if it did not.

        For a page that outlives the memory of the app behind it.
        """
        with self.store.read() as session:
            person = self._known(session, annotator)
            if person is None or session.get(Showing, (str(battle), person.id)) is None:
                raise UnknownBattle(NOT_SHOWN)
            vote = self._vote(session, battle, person)
            voted = vote is not None and vote.undone_at is None
            left = self._left(session, person, set_id)
            done = _judged(session, annotator, set_id) - voted
            return replace(shown(session.get_one(Battle, battle), left, done), remaining=len(left) + voted)

    def check(self, set_id: str, annotator: str) -> None:
        """Raises NotServed where a study is not there, not open, or not for this person."""
        with self.store.read() as session:
            _check_served(session, set_id, key(annotator))

    def about(self, set_id: str) -> About:
        """What an annotator may know of a study before they start. Raises NotServed."""
        with self.store.read() as session:
            study = session.get(BattleSet, set_id)
            if study is None:
                raise NotServed(GONE)
            return About(study.name, study.guideline, study.reveal, study.notice)

    def waits(self) -> bool:
        """Whether a study is open, for anybody, that has battles and is under no notice."""
        with self.store.read() as session:
            shown = BattleSet.open & BattleSet.archived_at.is_(None) & (BattleSet.notice == "")
            query = select(Battle.id).join(BattleSet, Battle.set_id == BattleSet.id).where(shown).limit(1)
            return session.scalar(query) is not None

    def judged(self, annotator: str, set_id: str | None = None) -> int:
        """How many battles this annotator has judged, of one study or of all but those under a notice."""
        with self.store.read() as session:
            return _judged(session, annotator, set_id)

    def vote(self, battle: str, annotator: str, answers: Mapping[str, str], comment: str = "") -> Reveal:
        """Commits the answers, one a question of the battle's set, then tell who stood where. Sending the same
        vote again changes nothing.

        Raises UnknownBattle if the battle was not shown to the annotator, AlreadyVoted if another vote of
        theirs stands, TooFast above the rate limit, ArenaError for any other input.
        """
        words = clean(comment, most=COMMENT, label="The comment").strip()
        now = self._clock()
        with self.store.write() as session:
            person = self._person(session, annotator, now)
            showing = session.get(Showing, (str(battle), person.id))
            if showing is None:
                raise UnknownBattle(NOT_SHOWN)
            study = session.get_one(Battle, battle, options=(joinedload(Battle.set),)).set
            _check_answers(study, answers)
            vote = self._vote(session, battle, person)
            if vote is None or vote.undone_at is not None:
                self._check_pace(session, person, now)
                again = vote is not None
                vote = vote or Vote(battle_id=battle, annotator_id=person.id, told=False)
                vote.revised, vote.corrected_at = again and vote.told, now if again else None
                vote.answer(answers, study)
                vote.comment, vote.version = words, study.version
                vote.voted_at, vote.undone_at = now, None
                vote.seconds = (now - showing.shown_at).total_seconds()
                vote.told = vote.told or study.reveal == "vote"
                session.add(vote)
            elif not set(answers.items()) <= set(vote.answers.items()):
                raise AlreadyVoted(
                    "You have judged this battle already, in another tab: your first answer stands."
                )
        return self.reveal(battle, annotator)

    def correct(self, battle: str, annotator: str, answers: Mapping[str, str], comment: str = "") -> Reveal:
        """Puts answers in the place of an earlier vote's. It is marked as corrected and, where the names are
        known by now, as revised: no longer blind. Raises UnknownBattle where there is no vote.
        """
        words = clean(comment, most=COMMENT, label="The comment").strip()
        now = self._clock()
        with self.store.write() as session:
            vote = self._vote(session, battle, self._person(session, annotator, now))
            if vote is None or vote.undone_at is not None:
                raise UnknownBattle("There is no vote of yours on this battle to correct.")
            study = vote.battle.set
            _check_served(session, study.id, key(annotator))
            _check_answers(study, answers)
            self._check_pace(session, vote.annotator, now)
            vote.answer(answers, study)
            vote.comment, vote.version = words, study.version
            vote.corrected_at, vote.revised = now, vote.revised or vote.told
        return self.reveal(battle, annotator)

    def earlier(
        self, annotator: str, set_id: str | None = None, *, page: int = 1, battle: str = ""
    ) -> Answered:
        """A page of the standing votes of a person, of one study or of all; the page that holds a battle,
        where one is named. In a study that tells names at the end they are told here, once everything is
        judged.
        """
        with self.store.write() as session:
            person = self._known(session, annotator)
            if person is None:
                return Answered([], 1, 1)
            query = (
                select(Vote.battle_id)
                .join(Battle, Vote.battle_id == Battle.id)
                .where(Vote.annotator_id == person.id, Vote.undone_at.is_(None))
                .order_by(Vote.voted_at.desc(), Vote.id.desc())
            )
            if set_id is not None:
                query = query.where(Battle.set_id == set_id)
            judged = list(session.scalars(query))
            pages = max(1, -(-len(judged) // A_PAGE))
            page = judged.index(battle) // A_PAGE + 1 if battle in judged else min(max(page, 1), pages)
            listed = judged[A_PAGE * (page - 1) : A_PAGE * page]
            mine = select(Vote).where(Vote.annotator_id == person.id, Vote.battle_id.in_(listed))
            votes = sorted(session.scalars(mine), key=lambda vote: listed.index(vote.battle_id))
            untold = [vote for vote in votes if vote.battle.set.reveal == "end" and not vote.told]
            studies = {vote.battle.set_id for vote in untold}
            finished = {id for id in studies if not self._left(session, person, id)}
            for vote in untold:
                vote.told = vote.battle.set_id in finished
            rows = [
                Earlier(
                    shown(vote.battle, [], 0),
                    revealed(vote),
                    vote.comment,
                    vote.voted_at,
                    vote.corrected_at is not None,
                )
                for vote in votes
            ]
            return Answered(rows, page, pages)

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
            return revealed(vote)

    def undo(self, battle: str, annotator: str) -> None:
        """Takes a vote back within a minute of it; `next` then shows its battle again.

        The names have been seen, so the vote that follows is marked as revised and not counted as blind. A
        revised vote stands.
        """
        now = self._clock()
        with self.store.write() as session:
            vote = self._vote(session, battle, self._person(session, annotator, now))
            if vote is None or vote.undone_at is not None:
                raise UnknownBattle("There is no vote of yours on this battle to undo.")
            if vote.revised or vote.corrected_at is not None:
                raise TooLate("This vote was given anew already: open it under Your answers to correct it.")
            if now > vote.voted_at + UNDO:
                raise TooLate(
                    "A vote can be undone for a minute, and this one is older: open it under Your answers to correct it."
                )
            vote.undone_at = now

    def _left(self, session: Session, person: Annotator, set_id: str | None) -> list[assignment.Candidate]:
        """The battles that a person has not judged, of one study or of all."""
        return assignment.candidates(session, person.id, person.key, set_id, self._clock())

    def _known(self, session: Session, name: str) -> Annotator | None:
        return session.scalars(select(Annotator).where(Annotator.key == key(name))).one_or_none()

    def _person(self, session: Session, name: str, now: datetime) -> Annotator:
        """The annotator of this name, made if new, and locked: a person's requests take turns."""
        mine = select(Annotator).where(Annotator.key == key(name)).with_for_update()
        if (person := session.scalars(mine).one_or_none()) is not None:
            return person
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
            .where(
                Showing.annotator_id == person.id,
                Battle.id.not_in(voted),
                BattleSet.id.in_(assignment.admitted(session, person.id, person.key, set_id)),
            )
            .order_by(Showing.shown_at.desc())
            .options(*_WHOLE)
        )
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


def _check_served(session: Session, set_id: str, person: str) -> None:
    study = session.get(BattleSet, str(set_id)[:32])
    if study is None:
        raise NotServed(GONE)
    if study.archived_at is not None:
        raise NotServed(f"The study “{study.name}” is over: its lead archived it, and all votes are kept.")
    if not study.open:
        raise NotServed(
            f"The study “{study.name}” is closed: its lead opens it when judging begins or goes on."
        )
    if study.access == "listed" and person not in study.members:
        raise NotServed(
            f"The study “{study.name}” is for people on its list: ask its lead to add you, or use the name that is on it."
        )


def _check_answers(study: BattleSet, answers: Mapping[str, str]) -> None:
    keys = [question.key for question in study.questions]
    if set(answers) & {question.key for question in study.listed} - set(keys):
        raise QuestionsChanged("The questions of this study have changed: answer them as they are now.")
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
    own = own.join(Battle, Vote.battle_id == Battle.id)
    if set_id is not None:
        own = own.where(Battle.set_id == set_id)
    else:
        own = own.join(BattleSet).where(BattleSet.notice == "")
    return session.scalar(own) or 0
