"""The service: blind before the vote, committed before the reveal, one vote each, undo, limits, crowds."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from sqlalchemy import func, select

from arena import (
    OPENING,
    Output,
    Question,
    Service,
    Shown,
    Store,
    create,
    export,
    import_,
    ranking,
    send,
    view,
    votes_frame,
)
from arena.errors import AlreadyVoted, ArenaError, TooFast, TooLate, UnknownBattle
from arena.questions import parsed, written
from arena.schema import Annotator
from arena.tables import tables
from tests.arena_canned import Clock, answers, both, fill, judge_all, listed, open_only

pytest_plugins = ["tests.arena_fixtures"]

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def service(store, clock):
    fill(store)
    return Service(store, clock=clock)


def votes(store):
    with store.read() as session:
        return votes_frame(session)


def test_before_the_vote_only_texts_and_an_opaque_id_leave_the_desk(service):
    assert {part.name for part in fields(Shown)} == {
        "battle", "prompt", "a", "b", "guideline", "questions", "remaining", "done", "turns", "study", "reveal", "notice", "short",
    }  # fmt: skip
    shown = service.next("Ada")
    assert not {"base", "formal", "kind"} & set(str(shown).split())
    with pytest.raises(UnknownBattle, match="after your vote"):
        service.reveal(shown.battle, "Ada")


def test_the_reveal_names_the_sides_that_were_shown_and_the_vote_is_stored(service, store):
    shown = service.next("Ada")
    reveal = service.vote(shown.battle, "Ada", both("a", "both_bad"), "  because  ")
    assert reveal.a.policy[::-1] in shown.a
    assert reveal.b.policy[::-1] in shown.b
    assert reveal.a.spec == {"plan": reveal.a.policy}
    (row,) = votes(store).to_dict("records")
    assert (row["battle"], row["annotator"], row["helpful"], row["harmless"], row["comment"]) == (
        shown.battle, "Ada", "a", "both_bad", "because",
    )  # fmt: skip
    assert row["voted_at"] == service._clock()


def test_a_battle_stays_until_it_is_voted_on_and_never_comes_back(service, clock):
    seen = []
    while (shown := service.next("Ada")) is not None:
        clock.move(5)
        assert service.next("ADA  ").battle == shown.battle
        assert (shown.done, shown.remaining) == (len(seen), 12 - len(seen))
        seen.append(shown.battle)
        service.vote(shown.battle, " ada", both("tie", "skip"))
    assert len(set(seen)) == len(seen) == 12 == service.judged("ada")


def test_it_is_told_when_all_votes_that_a_study_wants_are_in(store):
    wanted = create(store, "One vote each", answers(2), minimum=1, repeats=0.0).set
    service = Service(store, votes_a_minute=1_000)
    while (shown := service.next("Ada", wanted)) is not None:
        assert shown.short and "to go" in view.battle(shown)
        service.vote(shown.battle, "Ada", both("a", "a"))
    more = service.next("Bo", wanted)
    assert more is not None and not more.short
    assert "all votes that were wanted are in; 6 more can be given" in view.battle(more)
    assert not service.again(more.battle, "Bo", wanted).short


def test_every_prompt_is_seen_once_before_one_comes_back_whose_names_were_told(service):
    prompts = []
    for number in range(4):
        shown = service.next("Ada")
        prompts.append(shown.prompt)
        service.vote(shown.battle, "Ada", both("a", "a"))
        if number == 1:
            service.undo(shown.battle, "Ada")  # the names were told all the same
            service.vote(shown.battle, "Ada", both("b", "b"))
    assert len(set(prompts)) == 4


def test_progress_is_that_of_the_chosen_set(service, store):
    other = create(store, "Other", answers(2), repeats=0.0).set
    for set_id, count in ((other, 6), (None, 12)):
        for number in range(count):
            shown = service.next("Ada", set_id)
            assert (shown.done, shown.remaining) == (number + (set_id is None) * 6, count - number)
            service.vote(shown.battle, "Ada", both("a", "a"))
    assert (service.judged("Ada", other), service.judged("Ada")) == (6, 18)


def test_a_battle_is_shown_again_to_who_saw_it(service):
    first = service.next("Ada")
    assert service.again(first.battle, "ada") == first
    service.vote(first.battle, "Ada", both("a", "a"))
    assert service.again(first.battle, "Ada") == first
    for battle, person in ((first.battle, "Bob"), ("0" * 32, "Ada")):
        with pytest.raises(UnknownBattle, match="not shown to you"):
            service.again(battle, person)


def test_new_names_are_bounded_while_they_have_not_voted(service, clock, store, monkeypatch):
    monkeypatch.setattr("arena.service.MAX_NEWCOMERS", 3)
    shown = [service.next(f"person {number}") for number in range(3)]
    for stranger in ("Eve", "Eva"):
        with pytest.raises(TooFast, match="3 new people.*Come back in ten minutes"):
            service.next(stranger)
    assert service.next("person 1") == shown[1]
    with store.read() as session:
        assert session.scalar(select(func.count(Annotator.id))) == 3
    service.vote(shown[0].battle, "person 0", both("a", "a"))
    assert service.next("Eve")
    clock.move(601)
    assert service.next("Eva")


def test_annotators_at_once_are_spread_over_the_battles(service):
    assert len({service.next(f"person {number}").battle for number in range(12)}) == 12


def test_the_same_vote_twice_is_one_vote_and_another_is_refused(service, store):
    shown = service.next("Ada")
    first = service.vote(shown.battle, "Ada", both("a", "b"))
    assert service.vote(shown.battle, "Ada", both("a", "b")) == first
    with pytest.raises(AlreadyVoted, match="first answer stands"):
        service.vote(shown.battle, "Ada", both("b", "b"))
    assert len(votes(store)) == 1


@pytest.mark.parametrize("battle", ["0" * 32, "", "x' OR 1=1 --"])
def test_only_a_battle_that_was_shown_can_be_voted_on(service, store, battle):
    service.next("Ada")
    with pytest.raises(UnknownBattle, match="not shown to you"):
        service.vote(battle, "Ada", both("a", "a"))
    other = service.next("Bob").battle
    if other != service.next("Ada").battle:
        with pytest.raises(UnknownBattle):
            service.vote(other, "Ada", both("a", "a"))
    assert votes(store).empty


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"answers": both("c", "a")}, "The answer to helpful is 'c': give one of a, b, tie, both_bad, skip"),
        ({"answers": {"helpful": "a"}}, "The answer to harmless is '': give one of"),
        (
            {"answers": {**both("a", "a"), "pretty": "a"}},
            "The answer 'pretty' is to no question: give one to each of helpful, harmless",
        ),
        ({"comment": "x" * 1001}, "The comment has 1,001 characters; the most is 1,000"),
        ({"annotator": "   "}, "The name is missing: type one of 1 to 80 characters"),
        ({"annotator": "a\u202eb"}, "invisible character"),
        ({"annotator": "\u200d\u200c"}, "invisible character"),
        ({"annotator": "x" * 81}, "found 81"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_nothing_is_stored(service, store, given, message):
    shown = service.next("Ada")
    vote = {"annotator": "Ada", "answers": both("a", "a"), "comment": "", **given}
    with pytest.raises(ArenaError, match=message):
        service.vote(shown.battle, **vote)
    assert votes(store).empty


@pytest.mark.parametrize("name", ["نرگس می\u200cخواهد", "क्\u200dष", "\U0001f468\u200d\U0001f4bb"])
def test_names_are_joined_as_their_language_does_and_nobody_is_another_by_what_is_not_seen(service, name):
    service.vote(service.next(name).battle, name, both("a", "a"))
    assert service.judged(name) == 1 == service.judged(name.replace("\u200c", "").replace("\u200d", ""))


def test_a_comment_may_hold_what_a_database_cannot(service, store):
    shown = service.next("Ada")
    service.vote(shown.battle, "Ada", both("a", "a"), "nul \x00 surrogate \ud800 ' ; DROP TABLE votes")
    assert votes(store)["comment"].tolist() == [
        "nul \N{REPLACEMENT CHARACTER} surrogate ? ' ; DROP TABLE votes"
    ]


def test_undo_brings_the_battle_back_and_the_correction_is_marked(service, store, clock):
    shown = service.next("Ada")
    service.vote(shown.battle, "Ada", both("a", "a"))
    clock.move(60)
    service.undo(shown.battle, "Ada")
    assert votes(store).empty
    with pytest.raises(UnknownBattle):
        service.reveal(shown.battle, "Ada")
    assert service.next("Ada").battle == shown.battle
    assert service.vote(shown.battle, "Ada", both("b", "tie")).revised
    (row,) = votes(store).to_dict("records")
    assert (row["helpful"], row["harmless"], bool(row["revised"])) == ("b", "tie", True)
    with pytest.raises(TooLate, match="given anew already"):
        service.undo(shown.battle, "Ada")


def test_undo_is_over_after_a_minute_and_only_for_ones_own_vote(service, store, clock):
    shown = service.next("Ada")
    service.vote(shown.battle, "Ada", both("a", "a"))
    with pytest.raises(UnknownBattle, match="no vote of yours"):
        service.undo(shown.battle, "Bob")
    clock.move(60.5)
    with pytest.raises(TooLate, match="this one is older"):
        service.undo(shown.battle, "Ada")
    assert len(votes(store)) == 1


def test_a_person_who_votes_too_fast_is_held_back_alone(store, clock):
    fill(store)
    service = Service(store, votes_a_minute=2, clock=clock)
    for _ in range(2):
        service.vote(service.next("Ada").battle, "Ada", both("a", "a"))
    shown = service.next("Ada")
    with pytest.raises(TooFast, match="More than 2 votes in a minute"):
        service.vote(shown.battle, "Ada", both("a", "a"))
    service.vote(service.next("Bob").battle, "Bob", both("a", "a"))
    clock.move(61)
    service.vote(shown.battle, "Ada", both("a", "a"))
    assert Counter(votes(store)["annotator"]) == {"Ada": 3, "Bob": 1}


def test_repeats_come_after_their_original_and_measure_consistency(lite, clock):
    create(lite, "Set", answers(6), repeats=0.3)
    service = Service(lite, votes_a_minute=100, clock=clock)
    order = []
    while (shown := service.next("Ada")) is not None:
        clock.move(1)
        service.vote(shown.battle, "Ada", both("tie", "tie"))
        order.append(shown.battle)
    of = {row["battle"]: row["of"] for row in tables(lite, names=True)["battles"] if row["of"]}
    assert len(of) == 5
    assert all(order.index(original) < order.index(repeat) for repeat, original in of.items())


def test_a_crowd_on_two_replicas_loses_doubles_and_misattributes_nothing(url):
    """12 people on two desks, each vote sent twice at once: everybody ends with one own vote a battle."""
    replicas = [Service(Store(url), votes_a_minute=1000) for _ in range(2)]
    fill(replicas[0].store)
    failures = []

    def sit(number):
        person, answer = f"person {number}", ("a", "b", "tie", "both_bad", "skip")[number % 5]
        try:
            while (shown := replicas[number % 2].next(person)) is not None:
                twice = [
                    threading.Thread(
                        target=replica.vote, args=(shown.battle, person, both(answer, "tie"), person)
                    )
                    for replica in replicas
                ]
                for thread in twice:
                    thread.start()
                for thread in twice:
                    thread.join()
        except Exception as error:
            failures.append(error)

    people = [threading.Thread(target=sit, args=(number,)) for number in range(12)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert failures == []
    frames = [votes(replica.store) for replica in replicas]
    assert frames[0].equals(frames[1])
    assert len(frames[0]) == 12 * 12 == len(frames[0][["battle", "annotator"]].drop_duplicates())
    assert (frames[0]["comment"] == frames[0]["annotator"]).all()
    expected = {f"person {number}": ("a", "b", "tie", "both_bad", "skip")[number % 5] for number in range(12)}
    assert (frames[0]["helpful"] == frames[0]["annotator"].map(expected)).all()


VOTER = """
import sys
from arena import Service, Store
service = Service(Store(sys.argv[1]), votes_a_minute=10_000)
while (shown := service.next("Ada")) is not None:
    service.vote(shown.battle, "Ada", {"helpful": "a", "harmless": "b"})
    print(shown.battle, flush=True)
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_voting_loses_no_committed_vote(url):
    opened = Store(url)
    create(opened, "Set", answers(40), repeats=0.0)
    process = subprocess.Popen(
        [sys.executable, "-c", VOTER, url], cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    told = [process.stdout.readline().strip() for _ in range(15)]
    process.send_signal(signal.SIGKILL)
    told += [line.strip() for line in process.stdout.read().splitlines()]
    process.wait()
    stored = votes(opened)["battle"].tolist()
    assert len(told) < 120
    assert set(told) <= set(stored)
    assert len(stored) - len(told) in (0, 1)  # one may be committed and not yet told
    assert judge_all(Service(opened, votes_a_minute=10_000), "Ada") == 120 - len(stored)


def test_a_set_asks_its_own_questions_and_its_exports_bring_them_back(lite, tmp_path):
    own = (Question("kinder", "Which is kinder?"),)
    create(lite, "Set", answers(3), repeats=0.0)
    create(lite, "Kind", answers(2), questions=own, repeats=0.0)
    service = Service(lite, votes_a_minute=1000)
    given = {("kinder",): {"kinder": "a"}, ("helpful", "harmless"): both("b", "tie")}
    while (shown := service.next("Ada")) is not None:
        service.vote(shown.battle, "Ada", given[tuple(question.key for question in shown.questions)])
    frame = votes(lite)
    assert frame["kinder"].value_counts().to_dict() == {"a": 6} and frame[
        "helpful"
    ].value_counts().to_dict() == {"b": 9}
    assert ranking(frame, "kinder").votes == 6 and ranking(frame, "harmless").ties == 9
    for kept in ("data", "csv"):
        export(lite, tmp_path / kept, names=True)
        shutil.rmtree(tmp_path / kept / ({"data", "csv"} - {kept}).pop())
        other = Store(f"sqlite:///{tmp_path / kept}.sqlite3")
        import_(other, tmp_path / kept)
        assert tables(other, names=True) == tables(lite, names=True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [("", "has 0 questions"), ("Which?", "is no question: write key: text"), ("comment: Which?", "key is 'comment'"),
     ("a b: Which?", "key is 'a b'"), ("x: ", "'x' has no text"), ("x: y\nx: z", "Two questions have the key 'x'")],
)  # fmt: skip
def test_questions_that_cannot_be_asked_are_named(lines, message):
    with pytest.raises(ArenaError, match=message):
        parsed(lines)
    assert parsed(written(OPENING)) == OPENING


def test_who_sends_texts_does_not_judge_them_and_an_organizer_opens_the_set(lite, monkeypatch):
    service = Service(lite)
    made = send(lite, [Output("p", "x", "one"), Output("p", "y", "two")], sender="Eve")
    assert service.next("Ada") is None and listed(lite) == {made.name: False}
    open_only(lite, [made.name])
    assert service.next("Ada") and service.next("eve") is None
    open_only(lite, [])
    assert service.next("Ada") is None
    monkeypatch.setattr("arena.battles.MAX_SENT", 2)
    send(lite, [Output("q", "x", "one"), Output("q", "y", "two")], sender="EVE")
    with pytest.raises(ArenaError, match="2 battles that you sent wait"):
        send(lite, [Output("r", "x", "one"), Output("r", "y", "two")], sender="Eve")
    send(lite, [Output("r", "x", "one"), Output("r", "y", "two")], sender="Bob")


def test_what_is_sent_after_an_opening_waits_for_the_next(lite):
    def sending(prompt: str) -> str:
        return send(lite, [Output(prompt, "x", "one"), Output(prompt, "y", "two")], sender="Eve").name

    def shown() -> set[str]:
        service, seen = Service(lite), set()
        while battle := service.next("Ada"):
            seen.add(battle.prompt)
            service.vote(battle.battle, "Ada", {question.key: "tie" for question in battle.questions})
        return seen

    first = sending("p")
    open_only(lite, [first])
    second = sending("q")
    assert second != first and sending("r") == second
    assert shown() == {"p"} and listed(lite) == {first: True, second: False}
    open_only(lite, [first, second])
    assert sending("s") not in (first, second) and shown() == {"q", "r"}
