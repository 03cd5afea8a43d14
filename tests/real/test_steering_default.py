"""Steering the embedded default model with the vectors that ship."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lm import Edit, Row, Sampling, load
from lm.engines.base import Feed
from lm.prompts import prompt_ids
from steering import CAV, Library, Plan, Target, shipped, steer
from steering.__main__ import main
from steering.cav import Settings, best_layers
from steering.edits import steering
from steering.library import SHIPPED
from steering.metrics import grams, moved
from steering.prompt_sets import held_out
from steering.scorers import scorer
from tests.tiny import tiny

ROOT = Path(__file__).parents[2]
PROMPTS = (
    "What should I do this weekend?",
    "Tell me about your neighbor.",
    "Give me some advice for a new job.",
)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(load())


@pytest.mark.parametrize("name", shipped())
def test_shipped_vectors_fit_the_model_the_concepts_and_the_settings(library, name):
    cav = CAV.load(SHIPPED / f"{name}.safetensors")
    assert (cav.model_hash, cav.concept_hash, cav.settings) == (
        library.model.hash,
        shipped()[name].hash,
        Settings(),
    )
    assert cav.accuracy[list(best_layers([cav]))].min() > 0.85
    assert cav.shuffled.mean() < 0.65 and cav.random.mean() < 0.7
    assert name not in library.missing()


@pytest.mark.parametrize("name", shipped())
def test_every_concept_has_60_pairs(name):
    assert min(len(shipped()[name].positive), len(shipped()[name].negative)) >= 60


LENGTH_TELLS = {"pirate": 0.75}
"""Concepts whose texts differ in length: a pirate says a sentence in more words."""


@pytest.mark.parametrize("name", shipped())
def test_length_does_not_tell_the_sides_apart(name):
    sides = [
        torch.tensor([len(text) for text in side])
        for side in (shipped()[name].positive, shipped()[name].negative)
    ]
    cut = torch.cat(sides).float().median()
    share = ((sides[0] > cut).float().mean() + (sides[1] <= cut).float().mean()) / 2
    assert 0.4 < share < LENGTH_TELLS.get(name, 0.6)


@pytest.mark.parametrize(
    "name, direction, p0",
    [("sentiment", "amplify", 0.999), ("sentiment", "remove", 0.001), ("formality", "remove", 0.05)],
)
def test_steering_moves_an_independent_score(library, name, direction, p0):
    plan = Plan.from_json({"targets": [{"concept": name, "direction": direction, "p0": p0}]})
    judge = scorer(shipped()[name].scorer)
    both = [steer(library, prompt, plan, max_new_tokens=32) for prompt in PROMPTS]
    before, after = (
        sum(judge(one[side]["text"]) for one in both) / len(both) for side in ("unsteered", "steered")
    )
    assert after > before if direction == "amplify" else after < before
    assert sum(one["steered"]["metrics"]["kl"] for one in both) / len(both) < 1.5


def test_a_plan_that_asks_for_nothing_changes_nothing(library):
    plan = Plan.from_json(
        {
            "targets": [{"concept": "sports", "direction": "amplify", "p0": 0.5}],
            "method": "fixed",
            "strength": 0,
        }
    )
    both = steer(library, PROMPTS[0], plan, max_new_tokens=24, temperature=0.8, seed=11)
    assert both["steered"]["tokens"] == both["unsteered"]["tokens"] and both["steered"]["metrics"]["kl"] == 0


def test_train_records_the_position_and_writes_beside_nothing_that_ships(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    rows = [
        {"positive": f"WOW, NUMBER {i} IS GREAT!!!", "negative": f"Number {i} is fine."} for i in range(12)
    ]
    (tmp_path / "loud.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (
        main(
            [
                "train",
                str(tmp_path / "loud.jsonl"),
                "--position",
                "last",
                "--model",
                str(tiny("llama")),
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)["loud"]
    assert told["settings"]["position"] == "last" == CAV.load(told["written"]).settings.position
    assert (
        told["written"].startswith(str(tmp_path / "cache" / "trained"))
        and not (SHIPPED / "loud.safetensors").exists()
    )


def test_a_concept_of_ones_own_is_trained_and_steered_from_the_command_line(tmp_path, capsys):
    rows = [
        {"positive": f"WOW, NUMBER {i} IS GREAT!!!", "negative": f"Number {i} is fine."} for i in range(12)
    ]
    (tmp_path / "loud.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = json.dumps({"targets": [{"concept": "loud", "p0": 0.999}]})
    asked = [
        "generate",
        "--prompt",
        "Tell me about rain.",
        "--plan",
        plan,
        "--max-new-tokens",
        "12",
        "--json",
    ]
    vectors = ["--vectors", str(tmp_path / "loud.safetensors")]
    assert main(["train", str(tmp_path / "loud.jsonl"), "--out", str(tmp_path), "--json"]) == 0
    assert main([*asked, *vectors]) == 2
    assert "does not ship: give its texts with --concepts" in capsys.readouterr().err
    assert main([*asked, *vectors, "--concepts", str(tmp_path / "loud.jsonl")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steered"]["text"] != told["unsteered"]["text"] and told["steered"]["metrics"]["gate"] > 0


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_concept_has_a_calibrated_range(name):
    known = CAV.load(SHIPPED / f"{name}.safetensors").calibration
    assert known is not None and known.chosen and known.base is not None
    for curve in known.curves.values():
        assert 0 < curve.fluent <= curve.max_budget
        assert curve.dose(curve.max_budget) > curve.dose(curve.max_budget / 8) > curve.off


def test_the_gate_keeps_to_a_budget_within_half_on_average(library):
    chosen = Plan.from_json({"targets": [{"concept": "sentiment"}], "budget": 0.1})
    lines = (ROOT / "assets" / "prompts" / "held_out.jsonl").read_text().splitlines()
    prompts = [line["prompt"] for line in map(json.loads, lines) if line["kind"] == "helpful"][:8]
    told = [
        steer(library, prompt, chosen, max_new_tokens=24, temperature=0.7, seed=i)["steered"]["metrics"]["kl"]
        for i, prompt in enumerate(prompts)
    ]
    assert 0.05 < sum(told) / len(told) < 0.15


def held_reading(
    library: Library, rows: list[list[int]], answers: list[int], held: str, p0: float, *, holds: bool
) -> float:
    """The reading of a concept after the pushes towards sports, in deviations; held, or only read."""
    known = library.cav(held).calibration
    plan = Plan((Target("sports", p0=p0),), hold=(held,) if holds else ())
    pushes = steering(plan, library).edits
    both = tuple(_reading_too(edit, library.cav(held)) for edit in pushes)
    readings = []
    for row, answer in zip(rows, answers, strict=True):
        feed = Feed(library.model.engine.open(len(row), both, None, answer - 1), row, want=len(row) - answer)
        [trace] = library.model.engine.forward([feed])[1]
        after = moved(trace["z"][..., :2].astype(float), trace["eps"][..., :2].astype(float), grams(both))
        spread = [known.spread[edit.layer] for edit in both]
        readings.append((after[..., 1] / spread).mean())
    return sum(readings) / len(readings)


def _reading_too(edit: Edit, cav: CAV) -> Edit:
    """The same edit, which reads one more concept and pushes nothing for it."""
    more = {
        "read": cav.w[edit.layer],
        "bias": cav.b[edit.layer],
        "push": cav.direction[edit.layer],
        "goal": torch.tensor(0.0),
        "sense": torch.tensor(0),
    }
    return replace(
        edit,
        **{
            name: torch.cat([getattr(edit, name), value[None].to(getattr(edit, name).dtype)])
            for name, value in more.items()
        },
    )


@pytest.mark.parametrize("held", ["sentiment", "formality"])
def test_what_is_held_stays_within_a_tenth_of_a_deviation_while_another_concept_is_swept(library, held):
    """`pytest -s` prints the table of docs/results-steering.md."""
    plain = [prompt_ids(library.model, prompt) for prompt in held_out(library.concepts["sports"], 10)]
    runs = library.model.generate([Row(ids, Sampling(0.7, i, 16)) for i, ids in enumerate(plain)])
    rows = [[*ids, *run.ids] for ids, run in zip(plain, runs, strict=True)]
    answers = [len(ids) for ids in plain]
    moves = {}
    for holds in (False, True):
        off, *levels = (
            held_reading(library, rows, answers, held, p0, holds=holds)
            for p0 in (1e-6, 0.5, 0.9, 0.99, 0.999)
        )
        moves[holds] = [level - off for level in levels]
        told = " | ".join(f"{move:+.2f}" for move in moves[holds])
        print(f"| {held}, {'held' if holds else 'not held'} | {told} |")
    assert max(map(abs, moves[True])) < 0.1 and max(map(abs, moves[True])) < max(map(abs, moves[False])) / 2
