"""What an annotator may know: a battle before the vote, without names, and who stood where after it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from arena.assignment import Candidate
from arena.questions import Question
from arena.schema import Battle, Vote

UNDO = timedelta(seconds=60)


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
    turns: tuple[tuple[str, str], ...] = ()
    study: str = ""
    reveal: str = "vote"
    notice: str = ""
    short: bool = True  # a battle that they have not judged has fewer votes than its study wants


@dataclass(frozen=True)
class About:
    """What an annotator may know of a study before they start."""

    name: str
    guideline: str
    reveal: str
    notice: str


@dataclass(frozen=True)
class Side:
    """Who stood on a side: told after the vote."""

    policy: str
    spec: dict[str, Any]
    about: dict[str, Any]


@dataclass(frozen=True)
class Reveal:
    """What follows a vote: the answers that are committed, until when they can be undone (UTC), and the names
    behind the battle, None where the study does not tell them now.
    """

    battle: str
    a: Side | None
    b: Side | None
    answers: dict[str, str]
    undo_until: datetime
    revised: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: each side's policy, spec and about, the answers by their questions,
        and the time as ISO 8601.
        """
        plain = asdict(self)
        return {**plain, **plain.pop("answers"), "undo_until": self.undo_until.isoformat()}


@dataclass(frozen=True)
class Earlier:
    """A vote that an annotator gave before, with its battle as it was shown; `reveal` as after the vote."""

    shown: Shown
    reveal: Reveal
    comment: str
    voted_at: datetime
    corrected: bool


@dataclass(frozen=True)
class Answered:
    """A page of the votes that an annotator gave before, the latest first."""

    votes: list[Earlier]
    page: int
    pages: int


def shown(battle: Battle, left: Sequence[Candidate], done: int) -> Shown:
    """A battle as it is shown: texts, and nothing that tells the sides apart.

    left: the battles that the annotator has not judged; done: how many they have.
    """
    questions = tuple(Question(question.key, question.text) for question in battle.set.questions)
    study = battle.set
    return Shown(
        battle=battle.id,
        prompt=battle.a.prompt,
        a=battle.a.text,
        b=battle.b.text,
        guideline=study.guideline,
        questions=questions,
        remaining=max(len(left), 1),
        done=done,
        turns=tuple((role, words) for role, words in battle.a.turns),
        study=study.name,
        reveal=study.reveal,
        notice=study.notice,
        short=any(candidate.short for candidate in left),
    )


def revealed(vote: Vote) -> Reveal:
    """What follows a vote."""
    runs = (vote.battle.a, vote.battle.b)
    a, b = (Side(run.policy_name, run.policy.spec, run.about) if vote.told else None for run in runs)
    until = vote.voted_at if vote.revised or vote.corrected_at else vote.voted_at + UNDO
    return Reveal(vote.battle_id, a, b, vote.answers, until, vote.revised)
