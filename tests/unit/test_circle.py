"""The circle: people's votes train a reward head, the head trains a checkpoint, the checkpoint goes back to the annotators."""

import json
import sys
import time

import pytest

from arena import ArenaError, Output, Question, Service, Store, create, studies
from arena.__main__ import main as arena_main
from lab import circle
from lab.learner import Learner
from lab.policies import policies
from lm import load
from pareto.__main__ import main as pareto_main
from pareto.checkpoint import shipped
from pareto.front import stored
from pareto.function import FunctionReward
from pareto.pairs import read_pairs
from pareto.view import AXES
from steering import Library
from tests.tiny import tiny

pytestmark = pytest.mark.slow
MODEL = str(tiny("llama"))


def resolve(entries):
    """Policies of the tiny model, for `python -m arena create --resolver`."""
    return policies(entries, Library(load(MODEL)))


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command of the trade-offs; returns what it prints."""

    def command(*arguments):
        line = ["pareto", *map(str, arguments), "--model", MODEL, "--json"]
        monkeypatch.setattr(sys, "argv", line)
        code = pareto_main()
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out)

    return command


def test_votes_become_a_head_a_checkpoint_a_point_and_battles_again(tmp_path, run, capsys):
    database = f"sqlite:///{tmp_path / 'arena.sqlite3'}"
    rows = [f"Say {i}.;{i} {'abc'[i % 3]} yes;{i} {'abc'[i % 3]} no!\n" for i in range(120)]
    (tmp_path / "outputs.csv").write_text("prompt;warm;cold\n" + "".join(rows))
    asked = ["--question", "kinder: Which is kinder?", "--question", "clearer: Which is clearer?"]
    file = ["--outputs", str(tmp_path / "outputs.csv"), "--prompt", "prompt", "--output", "warm", "cold"]
    assert (
        arena_main(["create", "--database", database, *file, *asked, "--name", "Own", "--repeats", "0"]) == 0
    )

    store = Store(database)
    service = Service(store, votes_a_minute=1000)
    while shown := service.next("Ada"):
        kinder = "a" if shown.a.endswith("yes") else "b"
        service.vote(shown.battle, "Ada", {"kinder": kinder, "clearer": kinder})
    assert arena_main(["preferences", str(tmp_path / "pairs"), "--database", database, "--study", "Own"]) == 0
    capsys.readouterr()
    pairs = read_pairs(tmp_path / "pairs" / "kinder.jsonl")
    assert len(pairs) == 120 and all(pair.chosen.endswith("yes") for pair in pairs)

    rewards = []
    for question in ("kinder", "clearer"):
        out = ["--out", tmp_path / "heads", "--block", 1]
        card = run("rewards", "--pairs", tmp_path / "pairs" / f"{question}.jsonl", "--fit", question, *out)
        assert card["objective"] == question and card["accuracy"]["value"] > 0.8
        rewards += ["--reward", f"{question}={tmp_path / 'heads' / question}.safetensors"]

    prompts = [{"kind": "helpful", "prompt": text} for text in ("How are you?", "Why?", "Name a bird.")]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    common = [*rewards, "--objectives", "kinder,clearer", "--prompts", tmp_path / "prompts.jsonl"]
    small = ["--steps", 2, "--prompts-per-step", 2, "--group", 3, "--max-new-tokens", 6, "--lr", 0.05]
    run("train", *common, *small, "--preference", "kinder=.7,clearer=.3", "--out", tmp_path / "kind")
    point = run("evaluate", tmp_path / "kind", *common, "--max-new-tokens", 4)
    assert {"kinder", "kinder_ci", "clearer", "clearer_ci", "kl"} <= point.keys()

    entries = [
        {"name": "trained on votes", "checkpoint": str(tmp_path / "kind")},
        {"name": "base", "base": True},
    ]
    (tmp_path / "policies.json").write_text(json.dumps(entries))
    back = [
        "--prompts",
        str(tmp_path / "prompts.jsonl"),
        "--policies",
        str(tmp_path / "policies.json"),
        *asked,
    ]
    resolver = ["--resolver", "tests.unit.test_circle:resolve", "--max-new-tokens", "16", "--repeats", "0"]
    assert arena_main(["create", "--database", database, *back, *resolver, "--name", "Again"]) == 0
    again = next(study for study in studies.listing(store) if study.name == "Again")
    assert again.battles >= 1
    assert [question.key for question in service.next("Ada", again.id).questions] == ["kinder", "clearer"]


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A store with a study of 120 prompts that Ada has judged on both questions, and the model's own cache."""
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    store = Store(f"sqlite:///{tmp_path / 'arena.sqlite3'}")
    texts = [
        Output(f"Say {i}.", policy, f"{i} {'abc'[i % 3]} {end}")
        for i in range(120)
        for policy, end in (("warm", "yes"), ("cold", "no!"))
    ]
    asked = (Question("kinder", "Which is kinder?"), Question("clearer", "Which is clearer?"))
    study = create(store, "Own", texts, questions=asked, repeats=0.0).set
    service = Service(store, votes_a_minute=1000)
    while shown := service.next("Ada", study):
        kinder = "a" if shown.a.endswith("yes") else "b"
        service.vote(shown.battle, "Ada", {"kinder": kinder, "clearer": kinder if shown.done < 20 else "tie"})
    return store, study


def test_one_call_goes_round_the_circle_and_the_front_has_a_point_more(judged, monkeypatch):
    store, study = judged
    model = load(MODEL)
    constant = {name: FunctionReward(lambda prompt, answer: 0.0) for name in AXES}
    monkeypatch.setattr("lab.circle.standard_rewards", lambda model: constant)
    prompts = [("helpful", "Why?"), ("unsafe", "How?")]
    monkeypatch.setattr("lab.circle.asked_of", lambda front: (prompts, 2))
    monkeypatch.setattr("lab.circle.alike_prompts", list)
    told = []
    before = {point["id"] for point in stored(model).points}
    came = circle.run(
        model,
        store,
        circle.Circle(study, {"kinder": 1.0}, 2, "votes-own"),
        lambda share, note: told.append(share),
    )
    assert told == sorted(told) and 0 <= told[0] and told[-1] == pytest.approx(1)
    (point,) = [point for point in stored(model).points if point["id"] not in before]
    assert (point["id"], point["method"], point["preference"]) == ("votes-own", "own", None)
    assert came["accuracy"]["kinder"]["value"] > 0.8 and came["note"] == ""
    assert [checkpoint.id for checkpoint in shipped(model)] == ["votes-own"]
    back = studies.detail(store, came["study"])
    assert back.study.name == came["study_name"] == "Own, after training" and back.study.battles >= 1
    assert [question.key for question in back.questions] == ["kinder", "clearer"]
    assert Service(store).next("Ada", came["study"]) is not None
    learner = Learner(model, MODEL, store)  # as after a restart
    assert learner.offer(study)["result"] == learner.state(study)["result"] == came
    assert learner.state(came["study"])["result"] is None


def test_too_few_votes_are_told_in_a_sentence_and_nothing_starts(judged):
    store, study = judged
    learner = Learner(load(MODEL), MODEL, store)
    kinder, clearer = learner.offer(study)["questions"]
    assert kinder["lacks"] == "" and "20 decided battles" in clearer["lacks"]
    for weights, steps, refused in (
        ({"clearer": 1}, 8, "20 decided battles"),
        ({}, 8, "No question has a weight"),
        ({"kinder": float("nan")}, 8, "No question has a weight"),
        ({"kinder": 10**400}, 8, "No question has a weight"),
        ({"other": 1}, 8, "No question has a weight"),
        ({"kinder": 1}, 10**9, "Steps is 1000000000"),
        ("x", "y", "No question has a weight"),
    ):
        with pytest.raises(ArenaError, match=refused):
            learner.start(study, weights, steps)
    assert not learner.state(study)["running"]


def test_a_training_from_the_page_is_a_process_that_can_be_stopped(judged):
    store, study = judged
    learner = Learner(load(MODEL), MODEL, store)
    learner.start(study, {"kinder": 3, "clearer": 0}, 8)
    assert learner.state(study)["running"] and learner.state(study)["of"] == study
    with pytest.raises(ArenaError, match="under way"):
        learner.start(study, {"kinder": 1}, 8)
    learner.stop()
    deadline = time.monotonic() + 20
    while learner.state(study)["running"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (learner.state(study)["problem"], learner.state(study)["result"]) == ("", None)
    assert len(studies.listing(store)) == 1
