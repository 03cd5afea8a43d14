"""The tables of the arena. A change here needs a migration in `migrations/versions`."""

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
ACCESS = {
    "open": "anybody with the link",
    "signed": "anybody who signs in",
    "listed": "the people on a list",
}
"""Who may judge a set; where nobody signs in, "signed" is "open"."""
REVEALS = {"vote": "after each vote", "end": "at the end", "never": "never"}
"""When annotators are told who wrote what."""

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
    """One generated text. `leak` is what in it names its model, if anything does.

    `turns` are (role, content) of the system prompt and of earlier turns before the prompt; `tag` is a word
    for the prompt, by which results are sliced. `set_id` is the study that keeps it, where no battle shows it.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    policy_name: Mapped[str] = mapped_column(ForeignKey("policies.name"))
    prompt: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    leak: Mapped[str | None] = mapped_column(String(NAME))
    about: Mapped[dict[str, Any]] = mapped_column(JSON)  # seed, tokens, finish, seconds: what is known
    turns: Mapped[list[list[str]]] = mapped_column(JSON, default=list, server_default="[]")
    tag: Mapped[str | None] = mapped_column(String(NAME))
    set_id: Mapped[str | None] = mapped_column(String(32), index=True)

    policy: Mapped[Policy] = relationship()


class BattleSet(Base):
    """A study: battles made together, and how they are judged.

    `open`: whether its battles are shown; `archived_at`: put away, and shown to nobody. `access`: who judges.
        `members` are the keys of the names on the list of "listed". `reveal`: when names are told. `share`:
        battles of one person at most. `version` counts the lists of questions. `notice`: a sentence that
        stands over it wherever it is shown.
    """

    __tablename__ = "sets"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME), unique=True)
    guideline: Mapped[str] = mapped_column(Text)
    minimum: Mapped[int]  # votes wanted for every battle
    created_at: Mapped[datetime] = mapped_column(UTCTime)
    open: Mapped[bool] = mapped_column(default=True, server_default=true())
    archived_at: Mapped[datetime | None] = mapped_column(UTCTime)
    access: Mapped[str] = mapped_column(String(8), default="signed", server_default="signed")
    members: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    reveal: Mapped[str] = mapped_column(String(8), default="vote", server_default="vote")
    share: Mapped[int | None]
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    notice: Mapped[str] = mapped_column(String(200), default="", server_default="")

    listed: Mapped[list["Asked"]] = relationship(
        order_by="Asked.position", cascade="all, delete-orphan", lazy="selectin"
    )

    @property
    def questions(self) -> "list[Asked]":
        """The questions that are asked now."""
        current = [question for question in self.listed if question.until is None]
        return sorted(current, key=lambda question: question.position)


class Asked(Base):
    """A question of a study, whose text never changes once it has been answered.

    It is asked from version `since` of the set's questions on, and no longer from version `until`.
    """

    __tablename__ = "questions"

    set_id: Mapped[str] = mapped_column(ForeignKey("sets.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    position: Mapped[int]
    since: Mapped[int] = mapped_column(default=1, server_default="1")
    until: Mapped[int | None]


class Battle(Base):
    """A prompt and two runs on fixed sides. `id` says nothing of them: it is drawn at random.

    A repeat shows battle `of` again with its sides swapped; a trap has a known answer, `expected`, to the
    first question of its set. `sender` is the key of whoever put the two texts side by side, and does not
    judge them.
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

    An undone vote keeps its row (`undone_at`). `corrected_at` marks answers that were given anew; where the
    names had been seen by then, the vote is `revised`, too, and left out of the blind ranking. `version` is
    that of the questions that it answers; `told`: whether its author was told who wrote the two texts.
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
    corrected_at: Mapped[datetime | None] = mapped_column(UTCTime)
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    told: Mapped[bool] = mapped_column(default=True, server_default=true())

    battle: Mapped[Battle] = relationship()
    annotator: Mapped[Annotator] = relationship()
    given: Mapped[list["Answer"]] = relationship(cascade="all, delete-orphan", lazy="selectin")

    @property
    def answers(self) -> dict[str, str]:
        """Question -> answer."""
        return {answer.question: answer.value for answer in self.given}

    def answer(self, answers: Mapping[str, str], study: BattleSet) -> None:
        """Puts these answers in the place of earlier ones; answers to questions
        that are no longer asked stay.
        """
        standing = {answer.question: answer for answer in self.given}
        for question, value in answers.items():
            if question in standing:
                standing[question].value = value
            else:
                self.given.append(Answer(question=question, value=value))
        current = {question.key for question in study.questions}
        self.given = [
            answer for answer in self.given if answer.question in answers or answer.question not in current
        ]


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
