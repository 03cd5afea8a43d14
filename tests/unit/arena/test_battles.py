"""Battles: balanced sides, repeats, traps, what is left out; and the draw by need."""

import random
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from arena import ArenaError, Entrant, Output, create, generate, send
from arena.assignment import DEEPER, Candidate, choose
from arena.battles import TRAP
from arena.schema import Battle, Policy, Run
from tests.arena_canned import answers

pytest_plugins = ["tests.arena_fixtures"]


def made(store, kind):
    """(battle, policy on A, policy on B, run A, run B) of every battle of a kind."""
    with store.read() as session:
        battles = session.scalars(select(Battle).where(Battle.kind == kind)).all()
        return [
            (battle, battle.a.policy_name, battle.b.policy_name, battle.a, battle.b) for battle in battles
        ]


@pytest.mark.parametrize("prompts", [1, 2, 7, 10])
def test_every_two_policies_meet_once_a_prompt_and_as_often_on_either_side(lite, prompts):
    create(lite, "Set", answers(prompts), repeats=0.0)
    sides = Counter((a, b) for _, a, b, _, _ in made(lite, "plain"))
    assert sum(sides.values()) == 3 * prompts
    for first, second in (("base", "formal"), ("base", "kind"), ("formal", "kind")):
        assert sides[first, second] + sides[second, first] == prompts
        assert abs(sides[first, second] - sides[second, first]) == prompts % 2


def test_repeats_swap_the_sides_of_their_original(lite):
    create(lite, "Set", answers(5), repeats=0.4)
    repeats = made(lite, "repeat")
    originals = {battle.id: battle for battle, *_ in made(lite, "plain")}
    assert len(repeats) == 6
    for battle, *_ in repeats:
        assert (battle.a_id, battle.b_id) == (originals[battle.of_id].b_id, originals[battle.of_id].a_id)
    assert len({battle.of_id for battle, *_ in repeats}) == 6


def test_a_trap_is_a_run_against_its_own_words_and_knows_the_answer(lite):
    create(lite, "Set", answers(6), repeats=0.0, traps=0.25)
    traps = made(lite, "trap")
    assert len(traps) == 6  # a quarter of 18 + 6
    assert Counter(battle.expected for battle, *_ in traps) == {"a": 3, "b": 3}
    for battle, policy_a, policy_b, a, b in traps:
        whole, broken = (a, b) if battle.expected == "a" else (b, a)
        assert (policy_b if battle.expected == "a" else policy_a) == TRAP
        assert sorted(whole.text.split()) == sorted(broken.text.split())
        assert whole.text.split() != broken.text.split()


def test_ids_are_opaque_and_differ(lite):
    create(lite, "Set", answers(8))
    with lite.read() as session:
        ids = [*session.scalars(select(Battle.id)), *session.scalars(select(Run.id))]
    assert len(set(ids)) == len(ids)
    assert all(len(found) == 32 and set(found) <= set("0123456789abcdef") for found in ids)


def test_equal_texts_and_leaks_are_left_out_and_counted(lite):
    spec = {"model": "org/SmolLM2-135M"}
    outputs = [
        Output("one", "x", "the same"),
        Output("one", "y", " the same\n"),
        Output("two", "x", "I am ChatGPT, hello"),
        Output("two", "y", "Hello"),
        Output("three", "x", "Good"),
        Output("three", "y", "Better"),
        Output("four", "z", "This is smollm2 speaking", spec),
        Output("four", "y", "Nice"),
    ]
    report = create(lite, "Set", outputs, repeats=0.0)
    assert (report.plain, report.same, report.leaks) == (1, 1, 2)
    with lite.read() as session:
        runs = session.scalars(select(Run).where(Run.leak.is_not(None)))
        flagged = {run.prompt: run.leak for run in runs}
    assert flagged == {"two": "I am ChatGPT", "four": "smollm2"}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([Output("p", "x", "one")], "No prompt was answered by two policies"),
        ([Output("p", "x", "one"), Output("p", "y", "one")], "texts are equal"),
        ([Output("p", "x", "I am ChatGPT"), Output("p", "y", "two")], "names its model .“I am ChatGPT”"),
        ([Output("p", "x", "one"), Output("p", "x", "two")], "'x' answers the prompt 'p' twice"),
        ([Output("p", "x", "one", {"n": 1}), Output("q", "x", "two", {"n": 2})], "'x' already stands for"),
        ([Output("p", "x" * 81, "one"), Output("p", "y", "two")], "must have 1 to 80 characters, found 81"),
        ([Output("p", "x", "o" * 20_001), Output("p", "y", "two")], "20,001 characters; the most is 20,000"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_nothing_is_stored(lite, outputs, message):
    with pytest.raises(ArenaError, match=message):
        create(lite, "Set", outputs)
    with lite.read() as session:
        assert session.scalars(select(Run)).all() == []


@pytest.mark.parametrize("setting", [{"minimum": 0}, {"repeats": 1.1}, {"traps": 0.6}])
def test_settings_out_of_range_are_named(lite, setting):
    with pytest.raises(ArenaError, match=f"is {next(iter(setting.values()))}: give a"):
        create(lite, "Set", answers(), **setting)


def test_a_set_name_is_used_once_unless_battles_are_added(lite):
    create(lite, "Set", answers(2))
    with pytest.raises(ArenaError, match="There is a study 'Set' already"):
        create(lite, "Set", answers(3))
    assert create(lite, "Set", answers(3), add=True).set == create(lite, "Set", answers(4), add=True).set


def test_sent_texts_gather_in_one_set_and_a_name_of_another_plan_gets_a_number(lite):
    first = send(lite, [Output("p", "unsteered", "one", {}), Output("p", "steered", "two", {"p0": 0.9})])
    second = send(lite, [Output("p", "unsteered", "one", {}), Output("p", "steered", "three", {"p0": 0.5})])
    assert first.set == second.set
    with lite.read() as session:
        assert {policy.name: policy.spec for policy in session.scalars(select(Policy))} == {
            "unsteered": {},
            "steered": {"p0": 0.9},
            "steered 2": {"p0": 0.5},
        }


def test_the_same_two_texts_are_one_battle_however_often_and_by_whomever_they_are_sent(lite):
    first, second, third = (
        Output("p", name, text) for name, text in (("x", "one"), ("y", "two"), ("z", "three"))
    )
    send(lite, [first, second])
    for again in ([first, second], [second, first], [Output("p", "other", "two"), first]):
        with pytest.raises(
            ArenaError, match="'Sent from the app' holds this battle already: judge it in Compare"
        ):
            send(lite, again)
    report = send(lite, [first, second, third])
    assert (report.plain, report.known) == (2, 1)
    assert create(lite, "Another set", [first, second], repeats=0.0).plain == 1
    assert len(made(lite, "plain")) == 4


def test_two_tabs_that_send_one_battle_at_once_make_it_once(store):
    send(store, [Output("q", "x", "one"), Output("q", "y", "two")])
    told = []

    def tab():
        try:
            told.append(send(store, [Output("p", "x", "one"), Output("p", "y", "two")]).plain)
        except ArenaError as error:
            told.append(str(error).partition(": ")[2])

    tabs = [threading.Thread(target=tab) for _ in range(4)]
    for thread in tabs:
        thread.start()
    for thread in tabs:
        thread.join()
    assert (
        sorted(map(str, told)) == ["1"] + ["judge it in Compare, or change a prompt, a seed or a policy."] * 3
    )


def test_generation_asks_each_policy_in_batches_with_seeds_that_go_on_and_stops_when_closed():
    calls = []

    class Echo:
        def __init__(self, name):
            self.name = name

        def check(self, prompt, max_new_tokens):
            if len(prompt) > 100:
                raise ValueError(f"the prompt has {len(prompt)} characters: at most 100 are taken")

        def respond(self, prompts, *, seed, max_new_tokens, stop):
            calls.append((self.name, list(prompts), seed, max_new_tokens))
            run = type("Run", (), {"ids": [1, 2], "finish": "stop", "seconds": 0.25})
            return [type("Text", (run,), {"text": f"{self.name} {prompt}"})() for prompt in prompts]

    entrants = {name: Entrant(Echo(name), {"plan": name}) for name in ("x", "y")}
    parts = list(generate(entrants, ["1", "2", "3"], seed=7, max_new_tokens=9, batch=2))
    assert calls == [(name, part, seed, 9) for name in "xy" for part, seed in ((["1", "2"], 7), (["3"], 9))]
    about = {"tokens": 2, "finish": "stop", "seconds": 0.25}
    assert parts[0] == [
        Output(prompt, "x", f"x {prompt}", {"plan": "x"}, {"seed": seed, **about})
        for prompt, seed in (("1", 7), ("2", 8))
    ]
    calls.clear()
    running = generate(entrants, ["1", "2", "3"], batch=1)
    next(running)
    running.close()
    assert len(calls) == 1
    calls.clear()
    with pytest.raises(
        ArenaError, match="Prompt 2 .“word word.*…”. cannot be answered by 'x': the prompt has 150 characters"
    ):
        next(generate(entrants, ["1", "word " * 30]))
    assert calls == []


def test_a_stop_is_handed_to_the_policy_and_what_it_broke_off_is_no_answer():
    stop = threading.Event()

    class Stopped:
        def check(self, prompt, max_new_tokens):
            pass

        def respond(self, prompts, *, seed, max_new_tokens, stop):
            stop.set()
            return [SimpleNamespace(text="half", ids=[1], finish="stop", seconds=0.1) for _ in prompts]

    assert list(generate({"x": Entrant(Stopped(), {})}, ["1", "2"], batch=1, stop=stop)) == []
    assert stop.is_set()


def test_what_a_policy_refuses_while_it_answers_is_one_sentence():
    class Refusing:
        def check(self, prompt, max_new_tokens):
            pass

        def respond(self, prompts, *, seed, max_new_tokens, stop):
            raise ValueError("the context is full")

    with pytest.raises(ArenaError, match="'x' cannot answer: the context is full."):
        next(generate({"x": Entrant(Refusing(), {})}, ["1"]))


def candidate(battle, votes=0, policies=("p", "q"), kind="plain", minimum=3, ready=True, fresh=True):
    return Candidate(battle, kind, votes, minimum, policies, ready, fresh, given=votes)


def test_the_draw_prefers_short_battles_then_few_votes_then_close_ranks():
    scores = {"p": 0.0, "q": 3.0, "r": 0.2}
    chance = random.Random(0)
    short = [candidate("full", 1, minimum=1), candidate("short", 2)]
    assert choose(short, scores, chance).battle == "short"
    drawn = Counter(
        choose([candidate("few", 1), candidate("many", 2)], scores, chance).battle for _ in range(4000)
    )
    assert drawn["many"] / 4000 == pytest.approx(DEEPER, abs=0.03), "a quarter goes for agreement"
    full = [candidate("few", 3), candidate("many", 4)]
    assert {choose(full, scores, chance).battle for _ in range(50)} == {"few"}
    assert (
        choose([candidate("far"), candidate("close", policies=("p", "r"))], scores, chance).battle == "close"
    )
    assert choose([], scores, chance) is None


def test_a_prompt_on_which_names_were_told_waits_for_the_others():
    chance = random.Random(3)
    seen = candidate("seen", 0, fresh=False)
    assert choose([seen, candidate("new", 2)], {}, chance).battle == "new"
    assert choose([seen, candidate("new", 3)], {}, chance).battle == "seen"  # the new one has all its votes


def test_equal_need_is_drawn_by_lot_and_kinds_in_proportion():
    chance = random.Random(1)
    equal = [candidate(str(number)) for number in range(4)]
    assert {choose(equal, {}, chance).battle for _ in range(200)} == {"0", "1", "2", "3"}
    mixed = [candidate(str(number)) for number in range(9)] + [candidate("trap", kind="trap")]
    caught = sum(choose(mixed, {}, chance).kind == "trap" for _ in range(4000))
    assert 300 < caught < 500


def test_a_repeat_waits_until_it_is_ready_or_all_that_is_left():
    chance = random.Random(2)
    early = candidate("repeat", kind="repeat", ready=False)
    assert {choose([early, candidate("plain")], {}, chance).battle for _ in range(50)} == {"plain"}
    assert choose([early], {}, chance) == early
