"""A grid of trainings: its jobs, four processes of which one is killed, and the front that comes of it."""

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lm import load
from lm.engines.torch.stack import Stack
from lm.policy import PolicyError
from pareto import checkpoint, picks
from pareto.__main__ import main
from pareto.checkpoint import Checkpoint, CheckpointError
from pareto.combiners import COMBINERS
from pareto.compare import END
from pareto.fleet import Fleet
from pareto.front import Front
from pareto.grid import CURVE, UNTRAINED, Grid, plan
from pareto.policy import ends, mixed, policies
from pareto.rewards import FunctionReward
from pareto.session import Session
from pareto.settings import BOUNDS, Settings, SettingsError
from tests.forked import Fork
from tests.tiny import tiny
from tests.unit.pareto import rewards_here

HERE = "tests.unit.pareto.rewards_here"
HELD_OUT = [("helpful", "Hello."), ("unsafe", "Bye."), ("helpful", "Why?")]
SMALL = {"steps": 2, "prompts": 2, "group": 2, "max_new_tokens": 4, "rank": 1}


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("llama")), engine="rows")


def grid(
    model, folder: Path, names=("helpful", "harmless"), preferences=((0.5, 0.5),), seeds=(0,), **more
) -> Grid:
    rewards = {name: FunctionReward(getattr(rewards_here, name)) for name in names}
    settings = Settings(preference=(1 / len(names),) * len(names), **{**SMALL, **more})
    return Grid(
        folder, model, rewards, ["Hello.", "Bye."], HELD_OUT, settings, plan(names, preferences, seeds), 1
    )


def test_every_method_has_the_same_preferences_and_seeds():
    jobs = plan(("helpful", "harmless"), [(0.1, 0.9), (0.5, 0.5)], (0, 1, 2))
    assert len({job.id for job in jobs}) == len(jobs)
    places = {(job.method, job.preference): 0 for job in jobs}
    counts = Counter((job.method, job.preference, job.p) for job in jobs)
    assert {method for method, _ in places} == {"base", "single", "soup", "curve", *COMBINERS}
    assert set(counts.values()) == {1, 3} and counts["base", None, None] == 1
    for method in ("pgapo", "linear", "normalized", "soup"):
        assert {place for of, place in places if of == method} == {(0.1, 0.9), (0.5, 0.5)}
    assert {place for of, place in places if of == "curve"} == {(0.1, 0.9), (0.5, 0.5), (1, 0), (0, 1)}


@pytest.mark.parametrize("parts", [1, 2, 4, 7])
def test_parts_share_all_jobs_and_keep_soups_with_their_ends(model, tmp_path, parts):
    made = grid(model, tmp_path, seeds=(0, 1))
    shared = [made.part(number, parts) for number in range(1, parts + 1)]
    assert sorted(job.id for part in shared for job in part) == sorted(job.id for job in made.jobs)
    for part in shared:
        soups = {job.seed for job in part if job.method == "soup"}
        assert soups == {job.seed for job in part if job.method == END}


def words(folder: Path, prompts: Path, *more: str) -> list[str]:
    settings = [
        f"--{'prompts-per-step' if name == 'prompts' else name.replace('_', '-')}={value}"
        for name, value in SMALL.items()
    ]
    rewards = [f"--reward={name}={HERE}:{name}" for name in ("helpful", "harmless")]
    files = ["--out", str(folder), "--prompts", str(prompts), "--held-out", str(prompts)]
    asked = [
        "grid",
        "--model",
        str(tiny("llama")),
        *files,
        *settings,
        *rewards,
        "--seeds=1",
        "--samples=1",
        "--json",
    ]
    return ["-m", "pareto", *asked, "--preference", "0.5", "0.5", *more]


@pytest.mark.slow
def test_four_processes_of_which_one_is_killed_give_what_one_gives(model, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"kind": kind, "prompt": text}) + "\n" for kind, text in HELD_OUT))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def started(name: str, *more: str) -> Fork:
        return Fork(words(tmp_path / "four", prompts, *more), tmp_path / name, environment, tmp_path / "log")

    parts = [started(f"part{n}", f"--part={n}/4") for n in range(1, 5)]
    while parts[1].poll() is None and not list((tmp_path / "four").glob("*-s0/state.safetensors")):
        time.sleep(0.02)
    parts[1].kill()
    for part in parts:
        part.wait(600)
    assert [part.poll() for part in parts] == [0, -signal.SIGKILL, 0, 0], [
        (tmp_path / f"part{n}").read_text()[-500:] for n in range(1, 5)
    ]
    told = json.loads(started("again").ended())
    assert told["done"] == told["jobs"] and told["steps_left"] == 0 and told["seconds_left"] == 0

    one = Grid(
        tmp_path / "one",
        model,
        {name: FunctionReward(getattr(rewards_here, name)) for name in ("helpful", "harmless")},
        [text for _, text in HELD_OUT],
        HELD_OUT,
        Settings(**SMALL),
        plan(("helpful", "harmless"), [(0.5, 0.5)], [0]),
        1,
    )
    one.run(one.jobs)
    for job in one.jobs:
        if job.method not in (*UNTRAINED, CURVE):
            cards = [
                json.loads((tmp_path / side / job.id / "card.json").read_text()) for side in ("one", "four")
            ]
            assert cards[0]["adapter_sha256"] == cards[1]["adapter_sha256"], job.id
    fronts = [Front.load(tmp_path / side / "front.json").to_dict() for side in ("one", "four")]
    assert [each["helpful"] for each in fronts[0]["points"]] == [
        each["helpful"] for each in fronts[1]["points"]
    ]


def test_trainings_together_make_one_grid_however_many_they_are(tmp_path, monkeypatch):
    model, sizes = load(str(tiny("llama")), engine="native"), []
    model.stack = Stack(model.torch, torch.float32)
    advance = Fleet.advance
    monkeypatch.setattr(Fleet, "advance", lambda self, runs: sizes.append(len(runs)) or advance(self, runs))
    thetas = {}
    for at_once in (2, 5):
        sizes.clear()
        made = grid(model, tmp_path / str(at_once), group=6, max_new_tokens=8)
        folders = {
            job.unit if job.method == CURVE else job.id for job in made.jobs if job.method not in UNTRAINED
        }
        made.run(made.jobs, at_once=at_once)
        assert all(made.done(job) for job in made.jobs)
        assert max(sizes) == at_once and sum(sizes) == SMALL["steps"] * len(folders)
        thetas[at_once] = {
            str(card.relative_to(made.folder)): Checkpoint.load(card.parent, model).adapter.parts
            for card in made.folder.rglob("card.json")
        }
        assert len(thetas[at_once]) == len(folders) + 1  # a curve has two ends
    for id, parts in thetas[2].items():
        for key, halves in parts.items():
            for one, other in zip(halves, thetas[5][id][key], strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_points_are_means_over_seeds_and_runs_are_kept(model, tmp_path):
    made = grid(model, tmp_path, seeds=(0, 1))
    made.run([job for job in made.jobs if job.method in ("base", END, "soup")])
    points = {point["id"]: point for point in made.front().to_dict()["points"]}
    assert list(points) == ["base", "helpful", "harmless", "soup-0.5"]
    for point in points.values():
        runs = point["runs"]
        assert point["seeds"] == [run["seed"] for run in runs] == ([0] if point["id"] == "base" else [0, 1])
        assert point["helpful"] == pytest.approx(sum(run["helpful"] for run in runs) / len(runs))
        assert point["helpful_ci"][0] <= point["helpful"] <= point["helpful_ci"][1]


def test_a_seed_of_each_point_ships_in_16_bits_with_the_front(model, tmp_path):
    made = grid(model, tmp_path / "grid", seeds=(0, 1))
    made.run([job for job in made.jobs if job.method in ("base", END, "soup")])
    told = made.ship(tmp_path / "shipped", tmp_path / "shipped.json")
    assert told == {"shipped": ["helpful", "harmless"], "left": []}
    for id in told["shipped"]:
        small, whole = tmp_path / "shipped" / id, tmp_path / "grid" / f"{id}-s0"
        found = checkpoint.find(id, model, tmp_path / "shipped")
        assert (small / checkpoint.ADAPTER).stat().st_size < 0.7 * (whole / checkpoint.ADAPTER).stat().st_size
        assert len(found.curves) == found.card["steps"] == SMALL["steps"]
        for key, halves in checkpoint.Checkpoint.load(whole, model).adapter.parts.items():
            for mine, theirs in zip(found.adapter.parts[key], halves, strict=True):
                torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=1e-4)
    points = Front.load(tmp_path / "shipped.json").to_dict()["points"]
    assert [point["id"] for point in points] == ["base", "helpful", "harmless", "soup-0.5"]


def test_a_third_objective_makes_a_grid_and_a_front(model, tmp_path):
    """With no change to the library: its reward is a function of the test's."""
    names, place = ("helpful", "harmless", "brevity"), (0.2, 0.3, 0.5)
    made = grid(model, tmp_path, names, [place])
    assert {"brevity-s0", "pgapo-0.2-0.3-s0", "soup-0.2-0.3-s0"} <= {job.id for job in made.jobs}
    made.run([job for job in made.jobs if job.method in ("base", END, "soup", "pgapo")])
    front = Front.load(tmp_path / "front.json").to_dict()
    assert front["objectives"] == list(names) and len(front["points"]) == 6
    assert all("brevity_ci" in point for point in front["points"])


def test_a_folder_of_another_grid_is_not_gone_on_with(model, tmp_path):
    grid(model, tmp_path)
    grid(model, tmp_path)
    with pytest.raises(SettingsError, match="settings"):
        grid(model, tmp_path, lr=0.01)
    with pytest.raises(SettingsError, match="jobs"):
        grid(model, tmp_path, seeds=(0, 1))


def test_a_job_that_another_process_holds_is_left_to_it(model, tmp_path):
    import fcntl

    made = grid(model, tmp_path)
    with open(tmp_path / "base.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        made.run(made.jobs[:1])
        assert not made.done(made.jobs[0])
    made.run(made.jobs[:1])
    assert made.done(made.jobs[0])


def test_all_numbers_of_settings_have_bounds():
    numbers = {name for name, value in vars(Settings()).items() if isinstance(value, (int, float))} | {
        "first"
    }
    assert numbers == set(BOUNDS)


def test_a_curve_is_one_training_that_costs_what_the_points_of_a_method_cost(model, tmp_path):
    made = grid(model, tmp_path, preferences=((0.3, 0.7), (0.6, 0.4)))
    jobs = [job for job in made.jobs if job.method == CURVE]
    made.run(jobs)
    cards = [json.loads(path.read_text()) for path in (tmp_path / "curve-s0").glob("*/card.json")]
    assert {tuple(card["preference"]) for card in cards} == {(1.0, 0.0), (0.0, 1.0)}
    for card in cards:
        settings = card["hyperparameters"]
        assert (
            settings["prompts"] == 2 * SMALL["prompts"] and settings["prompts"] % settings["positions"] == 0
        )
    points = {point["id"]: point for point in made.front().to_dict()["points"]}
    assert set(points) == {"curve-0.3", "curve-0.6", "curve-1", "curve-0"}
    left = grid(model, tmp_path, preferences=((0.3, 0.7), (0.6, 0.4))).status()
    assert left["done"] == len(jobs) and left["steps_left"] == SMALL["steps"] * (
        len(made.jobs) - len(jobs) - 1 - 2
    )


def test_the_ends_of_a_curve_ship_and_answer_at_every_preference(model, tmp_path):
    made = grid(model, tmp_path / "grid")
    made.run([job for job in made.jobs if job.method in ("base", CURVE)])
    shipped = made.ship(tmp_path / "checkpoints", tmp_path / "front.json")
    assert shipped["shipped"] == ["curve-1", "curve-0"]
    ends = [Checkpoint.load(tmp_path / "checkpoints" / id, model) for id in shipped["shipped"]]
    session = Session(Front.load(tmp_path / "front.json"), {end.id: end for end in ends})
    assert session.ends("curve") == tuple(ends) and session.ends("soup") is None
    assert all(session.answers(point) for point in session.front.points)
    assert (session.name("curve:0.25"), session.name("curve-0.5")) == ("curve:0.25", "curve:0.5")
    known = policies(model, session.checkpoint, session.checkpoints.values)
    for name in ("curve:0.25", "mix:curve-1+curve-0@0.25", {"mix": "curve:0.25"}):
        policy = known(name)
        assert (policy.name, policy.about["name"]) == ("mix:curve-1+curve-0@0.25", "curve 0.25 : 0.75")
    about = mixed(model, *ends, 0.25).about
    assert about["method"] == "curve" and about["preference"] == [0.25, 0.75]
    scored = {point["id"]: point["name"] for point in session.front.points}
    live = {
        f"curve-{weight:g}": picks.card(session, pick := f"curve:{weight}", known(pick))["name"]
        for weight in (0, 0.5, 1)
    }
    assert live == {id: scored[id] for id in live}, "a live place is written as a scored one is"
    assert (
        about["name"] == picks.side(session, "curve:0.25", known("curve:0.25"))["name"] == "curve 0.25 : 0.75"
    )
    with pytest.raises(CheckpointError, match="soup"):
        known("soup:0.25")


def test_a_policy_is_scaled_from_the_base_model_through_what_was_trained_to_beyond_it(model, tmp_path):
    made = grid(model, tmp_path / "grid")
    made.run([job for job in made.jobs if job.method in ("base", CURVE)])
    made.ship(tmp_path / "checkpoints", tmp_path / "front.json")
    ends = {id: Checkpoint.load(tmp_path / "checkpoints" / id, model) for id in ("curve-1", "curve-0")}
    session = Session(Front.load(tmp_path / "front.json"), ends)
    known = policies(model, session.checkpoint, session.checkpoints.values)
    names = ("checkpoint:curve-0*1.5", "mix:curve-1+curve-0@0.25*1.5", "curve:0.250*1.5")
    for name, id in zip(names, ("curve-0*1.5", "curve-1+curve-0@0.25*1.5", "curve:0.25*1.5"), strict=True):
        policy, trained = known(name), known(name.removesuffix("*1.5"))
        for key, (a, b) in policy.adapter.parts.items():
            torch.testing.assert_close(
                b @ a, 1.5 * trained.adapter.parts[key][1] @ trained.adapter.parts[key][0]
            )
        assert policy.about == {
            **trained.about,
            "id": id,
            "name": f"{trained.about['name']} × 1.5",
            "method": "scaled",
        }
        assert policy.spec == {**trained.spec, "scale": 1.5}
        assert known(id).about == policy.about, "the id of a scaled point is a name of its policy"
        assert session.answers(policy.about)
        assert not Session(session.front, {"curve-1": ends["curve-1"]}).answers(policy.about)
    assert known("curve:0.25*1").about == known("curve:0.25").about
    for name in ("curve:0.25*0", "checkpoint:curve-1*0", "mix:curve-1+curve-0@0.25*.0"):
        still = known(name)
        assert still.spec == known("base").spec and still.about == known("base").about and not still.adapter
        head = picks.side(session, name, still)
        assert head == picks.side(session, "base", known("base")) | {"id": name}
        scored, base = (picks.card(session, pick, known(pick)) for pick in (name, "base"))
        assert scored == base | {"id": name}
    with pytest.raises(PolicyError, match="no curve"):
        known("curve:2*0")
    for wrong in (
        "curve:0.25*-1",
        "curve:0.25*3.01",
        "curve:0.25*",
        "curve:0.25*2*2",
        "curve-0*nan",
        "base*2",
    ):
        with pytest.raises(PolicyError, match="scale"):
            known(wrong)


def test_a_mix_has_ends_of_the_same_objectives(model):
    def end(id: str, preference: tuple[float, ...], *objectives: str) -> SimpleNamespace:
        card = {"preference": preference, "objectives": objectives}
        return SimpleNamespace(id=id, card=card, on_curve=False)

    helpful, harmless = (
        end(id, place, "helpful", "harmless") for id, place in (("h", (1.0, 0.0)), ("n", (0.0, 1.0)))
    )
    votes = [end("a", (1.0,), "kinder"), end("b", (0.0, 1.0), "kinder", "clearer")]
    assert ends("soup", [*votes, helpful, harmless]) == (helpful, harmless)
    assert ends("soup", [*votes, helpful]) is None
    own = end("c", (1.0, 0.0), "kinder", "clearer")
    assert ends("soup", [*votes, own]) == (own, votes[1])


def test_a_grid_whose_settings_suit_no_curve_goes_without_one(tmp_path, monkeypatch):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"kind": kind, "prompt": text}) + "\n" for kind, text in HELD_OUT))
    _, *asked = words(tmp_path / "ppo", prompts, "--algorithm=ppo", "--status")
    monkeypatch.setattr(sys, "argv", asked)
    assert main() == 0
    jobs = json.loads((tmp_path / "ppo" / "manifest.json").read_text())["jobs"]
    assert jobs and CURVE not in {job["method"] for job in jobs}
