"""The circle: people's votes train a reward head, the head trains a checkpoint, the checkpoint goes back to the annotators."""

import json
import sys

import pytest

from arena import Service, Store, studies
from arena.__main__ import main as arena_main
from lab.policies import policies
from lm import load
from pareto.__main__ import main as pareto_main
from pareto.pairs import read_pairs
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
