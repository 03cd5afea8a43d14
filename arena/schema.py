"""The tables of the arena. A change here needs a migration in `migrations/versions`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    true,
    types,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

KINDS = ("plain", "repeat", "trap")

NAME, PROMPT, TEXT, COMMENT = 80, 8_000, 20_000, 1_000  # most characters stored of each


class UTCTime(types.TypeDecorator[datetime]):
    """An aware time, stored in UTC; naive times are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored time must have a time zone, found {value!r}; use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base with named constraints, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Policy(Base):
    """What wrote a run: a name and the plan, checkpoint or base model behind it."""

    __tablename__ = "policies"

    name: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)


class Run(Base):
    """One generated text. `leak` is what in it names its model, if anything does."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    policy_name: Mapped[str] = mapped_column(ForeignKey("policies.name"))
    prompt: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    leak: Mapped[str | None] = mapped_column(String(NAME))
    about: Mapped[dict[str, Any]] = mapped_column(
        JSON
    )  # seed, token count, finish, seconds: whatever is known

    policy: Mapped[Policy] = relationship()


class BattleSet(Base):
    """Battles made together, and how they are to be judged."""

    __tablename__ = "sets"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME), unique=True)
    guideline: Mapped[str] = mapped_column(Text)
    minimum: Mapped[int]  # votes wanted for every battle
    created_at: Mapped[datetime] = mapped_column(UTCTime)
    open: Mapped[bool] = mapped_column(default=True, server_default=true())  # whether its battles are shown

    questions: Mapped[list[Asked]] = relationship(
        order_by="Asked.position", cascade="all, delete-orphan", lazy="selectin"
    )


class Asked(Base):
    """A question of a battle set."""

    __tablename__ = "questions"

    set_id: Mapped[str] = mapped_column(ForeignKey("sets.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    position: Mapped[int]


class Battle(Base):
    """A prompt and two runs on fixed sides. `id` says nothing of them: it is drawn at random.

    A repeat shows battle `of` again with its sides swapped; a trap has a known answer, `expected`, to the first
    question of its set. `sender` is the key of whoever put the two texts side by side, and does not judge them.
    """

    __tablename__ = "battles"
    __table_args__ = (CheckConstraint("kind IN ('plain', 'repeat', 'trap')", name="kind"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    set_id: Mapped[str] = mapped_column(ForeignKey("sets.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    a_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    b_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    of_id: Mapped[str | None] = mapped_column(ForeignKey("battles.id"))
    expected: Mapped[str | None] = mapped_column(String(8))
    sender: Mapped[str | None] = mapped_column(String(NAME * 3))

    set: Mapped[BattleSet] = relationship()
    a: Mapped[Run] = relationship(foreign_keys=[a_id])
    b: Mapped[Run] = relationship(foreign_keys=[b_id])


class Annotator(Base):
    """A person who votes. `key` is the name folded, so that "Ada" and "ada" are one person."""

    __tablename__ = "annotators"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(NAME * 3), unique=True)
    name: Mapped[str] = mapped_column(String(NAME))
    created_at: Mapped[datetime] = mapped_column(UTCTime)


class Showing(Base):
    """A battle put before an annotator: only these can be voted on, and it comes back after a reload."""

    __tablename__ = "showings"

    battle_id: Mapped[str] = mapped_column(ForeignKey("battles.id"), primary_key=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id"), primary_key=True)
    shown_at: Mapped[datetime] = mapped_column(UTCTime)


class Vote(Base):
    """One annotator's answers for one battle.

    An undone vote keeps its row (`undone_at`), for its names have been seen: the answers that replace it are
    marked `revised` and are left out of the blind ranking.
    """

    __tablename__ = "votes"
    __table_args__ = (
        UniqueConstraint("battle_id", "annotator_id"),
        Index("ix_votes_annotator_voted", "annotator_id", "voted_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    battle_id: Mapped[str] = mapped_column(ForeignKey("battles.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id"))
    comment: Mapped[str] = mapped_column(Text)
    seconds: Mapped[float]  # from showing to commit
    voted_at: Mapped[datetime] = mapped_column(UTCTime)
    revised: Mapped[bool] = mapped_column(default=False)
    undone_at: Mapped[datetime | None] = mapped_column(UTCTime)

    battle: Mapped[Battle] = relationship()
    annotator: Mapped[Annotator] = relationship()
    given: Mapped[list[Answer]] = relationship(cascade="all, delete-orphan", lazy="selectin")

    @property
    def answers(self) -> dict[str, str]:
        """Question -> answer."""
        return {answer.question: answer.value for answer in self.given}

    def answer(self, answers: Mapping[str, str]) -> None:
        """Put these answers in the place of those given before."""
        standing = {answer.question: answer for answer in self.given}
        for question, value in answers.items():
            if question in standing:
                standing[question].value = value
            else:
                self.given.append(Answer(question=question, value=value))
        self.given = [answer for answer in self.given if answer.question in answers]


class Answer(Base):
    """What a vote says to one question."""

    __tablename__ = "answers"
    __table_args__ = (CheckConstraint("value IN ('a', 'b', 'tie', 'both_bad', 'skip')", name="value"),)

    vote_id: Mapped[int] = mapped_column(ForeignKey("votes.id"), primary_key=True)
    question: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(8))


class Secret(Base):
    """What this database alone knows: `pseudonyms`, the key of the names in its exports, as 64 hex digits."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))
