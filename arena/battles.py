"""Making battles: which outputs meet, on which sides, which are repeated, and which are traps."""

import itertools
import json
import random
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, joinedload

from arena.errors import ArenaError, of_field
from arena.leaks import leak
from arena.questions import OPENING, Question, checked
from arena.schema import NAME, PROMPT, TEXT, Asked, Battle, BattleSet, Policy, Run
from arena.settings import Settings
from arena.store import Store
from arena.text import clean, clean_name, key

MAX_SENT = 30  # battles of one person that wait for an organizer
MAX_BATTLES = 50_000  # of one request
MIN_TRAP = 6  # different words that a text needs for its shuffling to be obvious
TRAP = "scrambled words"
SENT = "Sent from the app"
"""The study of what other tabs send."""

_sides = random.SystemRandom()  # never seeded, so that nobody can compute the sides


@dataclass(frozen=True)
class Output:
    """One answer that can enter a battle. `about` (seed, tokens, finish) is told after the vote.

    turns: (role, content) of the system prompt and of earlier turns before the prompt. tag: a word for the
        prompt, by which results are sliced.
    """

    prompt: str
    policy: str
    text: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    turns: tuple[tuple[str, str], ...] = ()
    tag: str | None = None


@dataclass(frozen=True)
class Made:
    """What `create` made, and what it left out: pairs of equal texts, of a text that names its model, and
    those that the set holds already.
    """

    set: str
    name: str
    plain: int
    repeats: int
    traps: int
    same: int
    leaks: int
    known: int


def create(
    store: Store,
    name: str,
    outputs: Sequence[Output],
    *,
    questions: Sequence[Question] = OPENING,
    repeats: float = 0.1,
    traps: float = 0.0,
    add: bool = False,
    sender: str | None = None,
    **settings: Any,
) -> Made:
    """Stores the outputs, and a battle for every two policies that answered the same prompt.

    Parameters
    ----------
    questions: what is asked of every battle.
    settings: those of `settings.Settings`: guideline, minimum, access, members, reveal, share.
    repeats: share (0 to 1) of the battles shown again with swapped sides, to measure an annotator's
        consistency.
    traps: share (0 to 0.5) of all battles that has a known answer: a run beside its own words, shuffled.
    add: put the battles into the set of this name if there is one; its other settings stay.
    sender: who put the texts side by side, and so does not judge them. Annotators see nothing that an
        organizer has not opened: where the set of this name is open, what is sent waits in the next, “name
        2”, and one person has no more than MAX_SENT battles that wait.

    Sides are drawn at random, and for every two policies each stands on either side equally often (but for
    one battle when their number is odd). A set holds two texts for one prompt once. Raises ArenaError if
    nothing new can be compared, or a name already has another meaning.
    """
    _check(repeats, traps)
    with of_field("name"):
        title = clean_name(name, label="The name of the study")
    with of_field("questions"):
        listed = checked(questions)
    outputs = [_clean(output) for output in outputs]
    with store.write() as session:
        name = _name(session, title, sender)
        study = _set(session, name, listed, Settings(**settings), add, sender is None)
        new, left_out = _pairs(session, study, outputs)
        plain = balance(study.id, new)
        if sender is not None:
            _sent_by(session, plain, key(sender))
        again = [repeat(first) for first in _sides.sample(plain, round(repeats * len(plain)))]
        caught = _traps(session, study.id, new, ceil(traps / (1 - traps) * (len(plain) + len(again))))
        for battles in (plain, again, caught):
            session.add_all(battles)
            session.flush()
        return Made(study.id, study.name, len(plain), len(again), len(caught), **left_out)


def _pairs(
    session: Session, study: BattleSet, outputs: Sequence[Output]
) -> tuple[list[tuple[Run, Run]], dict[str, int]]:
    """The pairs of runs that make new battles of a set, and how many were left out, by why. The set keeps the
    runs of which no pair is shown. Raises ArenaError.
    """
    runs = _runs(session, outputs)
    pairs = [pair for by_policy in runs.values() for pair in itertools.combinations(by_policy.values(), 2)]
    if len(pairs) > MAX_BATTLES:
        raise ArenaError(
            f"{len(pairs):,} pairs of outputs are more than a set takes at once ({MAX_BATTLES:,}): "
            "give fewer prompts or models."
        )
    distinct = [pair for pair in pairs if pair[0].text.strip() != pair[1].text.strip()]
    blind = [pair for pair in distinct if pair[0].leak is None and pair[1].leak is None]
    if not blind:
        raise ArenaError(_nothing(pairs, distinct, runs))
    held = _held(session, study.id)
    new = [pair for pair in blind if _texts(*pair) not in held]
    if not new:
        raise ArenaError(
            f"The study {study.name!r} holds this battle already: judge it in Compare, or change a prompt, a seed or a policy."
        )
    shown = {run.id for pair in blind for run in pair}
    for run in itertools.chain.from_iterable(by_policy.values() for by_policy in runs.values()):
        run.set_id = None if run.id in shown else study.id
    same, leaks, known = len(pairs) - len(distinct), len(distinct) - len(blind), len(blind) - len(new)
    return new, {"same": same, "leaks": leaks, "known": known}


def repeat(first: Battle, set_id: str | None = None) -> Battle:
    """The battle again, with its sides swapped: in its own set, or in another."""
    return Battle(
        id=new_id(),
        set_id=set_id or first.set_id,
        kind="repeat",
        a_id=first.b_id,
        b_id=first.a_id,
        of_id=first.id,
    )


def send(store: Store, outputs: Sequence[Output], *, sender: str | None = None) -> Made:
    """One battle, or one for every two of the outputs, from anything in the app. They gather in SENT.

    A policy's name that stands for another plan already gets a number behind it.
    """
    with store.read() as session:
        known = {policy.name: _canonical(policy.spec) for policy in session.scalars(select(Policy))}
    named = []
    for output in outputs:
        for number in itertools.count(1):
            free = output.policy if number == 1 else f"{output.policy[: NAME - 5]} {number}"
            if known.setdefault(free, _canonical(output.spec)) == _canonical(output.spec):
                break
        named.append(replace(output, policy=free))
    return create(store, SENT, named, minimum=1, repeats=0.0, add=True, sender=sender)


def _name(session: Session, name: str, sender: str | None) -> str:
    """The set that battles go to: for a sender, the first of “name”, “name 2” and so on
    that was not opened yet.
    """
    if sender is None:
        return name
    seen = (
        select(BattleSet.id).where(or_(BattleSet.open, BattleSet.archived_at.is_not(None))).with_for_update()
    )
    later = (f"{name[: NAME - 7]} {number}" for number in itertools.count(2))
    return next(
        free
        for free in itertools.chain([name], later)
        if session.scalar(seen.where(BattleSet.name == free)) is None
    )


def _sent_by(session: Session, battles: Sequence[Battle], sender: str) -> None:
    waiting = (
        select(func.count(Battle.id))
        .join(BattleSet)
        .where(Battle.sender == sender, ~BattleSet.open, BattleSet.archived_at.is_(None))
    )
    if (session.scalar(waiting) or 0) + len(battles) > MAX_SENT:
        raise ArenaError(
            f"{MAX_SENT} battles that you sent wait already, as many as one person may: ask an organizer to open them."
        )
    for battle in battles:
        battle.sender = sender


def _check(repeats: float, traps: float) -> None:
    for kind, share, most in (("repeats", repeats, 1), ("traps", traps, 0.5)):
        if not 0 <= share <= most:
            raise ArenaError(f"The share of {kind} is {share}: give a number from 0 to {most}.")


def _clean(output: Output) -> Output:
    return Output(
        clean(output.prompt, most=PROMPT, label="A prompt"),
        clean_name(output.policy, label="The name of a policy"),
        clean(output.text, most=TEXT, label=f"The answer of {output.policy!r}"),
        dict(output.spec),
        dict(output.about),
        tuple((clean_name(role), clean(words, most=PROMPT, label="A turn")) for role, words in output.turns),
        None if output.tag is None else clean_name(output.tag, label="A tag"),
    )


def _canonical(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True)


def new_id() -> str:
    """32 random hexadecimal digits that no spreadsheet takes for a number such as 12e45."""
    return secrets.choice("abcdf") + secrets.token_hex(16)[1:]


def _set(
    session: Session,
    name: str,
    questions: Sequence[Question],
    settings: Settings,
    add: bool,
    opened: bool,
) -> BattleSet:
    # two that add to one set take turns
    named = select(BattleSet).where(BattleSet.name == name).with_for_update()
    study = session.scalars(named).one_or_none()
    if study is not None and not add:
        with of_field("name"):
            raise ArenaError(f"There is a study {name!r} already. Give the new one another name.")
    if study is not None:
        return study
    study = BattleSet(
        id=new_id(),
        name=name,
        created_at=datetime.now(UTC),
        open=opened,
        listed=put_questions(questions),
    )
    settings.put(study, questions)
    session.add(study)
    session.flush()
    return study


def put_questions(questions: Sequence[Question]) -> list[Asked]:
    """The first version of a set's questions, as they are stored."""
    return [
        Asked(key=question.key, text=question.text, position=position)
        for position, question in enumerate(questions)
    ]


def _policy(session: Session, name: str, spec: Mapping[str, Any]) -> None:
    known = session.get(Policy, name)
    if known is None:
        session.add(Policy(name=name, spec=dict(spec)))
        session.flush()
    elif _canonical(known.spec) != _canonical(spec):
        raise ArenaError(
            f"The policy {name!r} already stands for {_canonical(known.spec)}. Give this one another name."
        )


Asking = tuple[str, tuple[tuple[str, str], ...]]
"""A prompt, and the turns before it."""


def _runs(session: Session, outputs: Sequence[Output]) -> dict[Asking, dict[str, Run]]:
    """Prompt and turns -> policy -> stored run."""
    runs: dict[Asking, dict[str, Run]] = defaultdict(dict)
    for output in outputs:
        _policy(session, output.policy, output.spec)
        by_policy = runs[output.prompt, output.turns]
        if output.policy in by_policy:
            raise ArenaError(
                f"{output.policy!r} answers the prompt {output.prompt[:60]!r} twice. Keep one answer."
            )
        run = Run(
            id=new_id(),
            policy_name=output.policy,
            prompt=output.prompt,
            text=output.text,
            leak=leak(output.text, output.policy, output.spec),
            about=dict(output.about),
            turns=[list(turn) for turn in output.turns],
            tag=output.tag,
        )
        session.add(run)
        by_policy[output.policy] = run
    session.flush()
    return runs


def _texts(first: Run, second: Run) -> tuple[str, str, frozenset[str]]:
    """The two texts that an annotator sees, whoever wrote them and on whichever side."""
    return first.prompt, json.dumps(first.turns), frozenset((first.text, second.text))


def _held(session: Session, set_id: str) -> set[tuple[str, str, frozenset[str]]]:
    battles = select(Battle).where(Battle.set_id == set_id, Battle.kind == "plain")
    loaded = session.scalars(battles.options(joinedload(Battle.a), joinedload(Battle.b)))
    return {_texts(battle.a, battle.b) for battle in loaded}


def _nothing(pairs: list[Any], distinct: list[Any], runs: Mapping[Asking, Mapping[str, Run]]) -> str:
    if not pairs:
        return "No prompt was answered by two policies. Give at least two policies for the same prompt."
    if not distinct:
        return "The texts are equal, so there is nothing to compare. Change a plan, a seed or a prompt."
    words = next(run.leak for by_policy in runs.values() for run in by_policy.values() if run.leak)
    return f"A text names its model (“{words}”), so the battle would not be blind. Use another prompt."


def balance(set_id: str, pairs: Sequence[tuple[Run, Run]]) -> list[Battle]:
    """A battle for every pair; of the n battles of two policies, each order has n/2."""
    groups: dict[tuple[str, str], list[tuple[Run, Run]]] = defaultdict(list)
    for first, second in pairs:
        if first.policy_name > second.policy_name:
            first, second = second, first
        groups[first.policy_name, second.policy_name].append((first, second))
    battles = []
    for group in groups.values():
        odd = _sides.randrange(2)
        swaps = [(index + odd) % 2 == 0 for index in range(len(group))]
        _sides.shuffle(swaps)
        for (first, second), swap in zip(group, swaps, strict=True):
            a, b = (second, first) if swap else (first, second)
            battles.append(Battle(id=new_id(), set_id=set_id, kind="plain", a_id=a.id, b_id=b.id))
    return battles


def _traps(session: Session, set_id: str, pairs: Sequence[tuple[Run, Run]], count: int) -> list[Battle]:
    """Battles of a run against its own words, shuffled: the intact side is better, certainly."""
    intact = {run.id: run for pair in pairs for run in pair if len(set(run.text.split())) >= MIN_TRAP}
    chosen = _sides.sample(sorted(intact), min(count, len(intact)))
    if chosen:
        _policy(session, TRAP, {"trap": "the words of the other side, shuffled"})
    battles = []
    for index, run_id in enumerate(chosen):
        run = intact[run_id]
        words = run.text.split()
        while words == run.text.split():
            _sides.shuffle(words)
        broken = Run(
            id=new_id(),
            policy_name=TRAP,
            prompt=run.prompt,
            text=" ".join(words),
            leak=None,
            about={},
            turns=run.turns,
            tag=run.tag,
        )
        session.add(broken)
        session.flush()
        a, b, expected = (run, broken, "a") if index % 2 else (broken, run, "b")
        battles.append(
            Battle(id=new_id(), set_id=set_id, kind="trap", a_id=a.id, b_id=b.id, expected=expected)
        )
    return battles
