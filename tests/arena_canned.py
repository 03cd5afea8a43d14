"""Battles and judges for the arena's tests."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from arena import OPENING, Output, Service, Store, create
from arena.schema import BattleSet


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def answers(prompts: int = 4, policies: tuple[str, ...] = ("base", "formal", "kind")) -> list[Output]:
    """Answers in which a policy can be told by one word: its name, upside down."""
    return [
        Output(
            f"prompt {number}",
            name,
            f"Answer {number} in many words of the style {name[::-1]} here",
            {"plan": name},
        )
        for number in range(prompts)
        for name in policies
    ]


def both(first: str, second: str) -> dict[str, str]:
    """Answers to the opening pair of questions."""
    return {question.key: answer for question, answer in zip(OPENING, (first, second), strict=True)}


def fill(store: Store, **settings: object) -> None:
    create(store, "Set", answers(), **{"repeats": 0.0, **settings})


def judge_all(service: Service, annotator: str, order: tuple[str, ...] = ("base", "kind", "formal")) -> int:
    """Votes for the policy that stands first in `order`, on both questions; returns the number of votes."""
    count = 0
    while (shown := service.next(annotator)) is not None:
        ranks = {
            side: next(n for n, name in enumerate(order) if name[::-1] in text)
            for side, text in (("a", shown.a), ("b", shown.b))
        }
        choice = "tie" if ranks["a"] == ranks["b"] else min(ranks, key=ranks.__getitem__)
        service.vote(shown.battle, annotator, both(choice, choice))
        count += 1
    return count


def listed(store: Store) -> dict[str, bool]:
    """The names of the studies, newest first, and whether each is open."""
    with store.read() as session:
        sets = session.scalars(select(BattleSet).order_by(BattleSet.created_at.desc()))
        return {battles.name: battles.open for battles in sets}


def open_only(store: Store, names: Collection[str]) -> None:
    """Show annotators the battles of these sets, and of no others."""
    with store.write() as session:
        for battles in session.scalars(select(BattleSet)):
            battles.open = battles.name in names
