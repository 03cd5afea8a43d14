"""One command makes all that the tabs want of a model; killed at any time, it goes on, and several share the work.

A part of the data that ships will do for that: each kind of task is there several times.
"""

import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

from lab.__main__ import main
from lab.lacking import PARTS, lacking
from lab.pace import Pace
from lab.prepare import Preparation
from lab.preparer import Preparer
from lm import load
from lm.paths import lab_folder
from pareto.checkpoint import shipped
from pareto.fleet import Fleet
from pareto.front import stored
from pareto.function import FunctionReward
from pareto.grid import Grid
from pareto.heads import OBJECTIVES, heads
from pareto.pairs import read_prompts
from pareto.parser import parser
from pareto.prepare import Wanted, grid_of, jobs_of, settings_of
from steering import Library, train
from steering.calibration import Calibration
from tests.families import FAMILIES
from tests.forked import Fork
from tests.thinned import thin
from tests.tiny import save, tiny

COMMAND = ("--steps", "1", "--samples", "1")


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A tiny Qwen, and an environment with a cache of its own."""
    folder = save(tmp_path_factory.mktemp("qwen") / "tiny-qwen", FAMILIES["qwen2"]())
    return folder, os.environ | {
        "TRADEWIND_CACHE": str(tmp_path_factory.mktemp("cache")),
        "OMP_NUM_THREADS": "1",
    }


def started(lab, *more: str) -> Fork:
    folder, environment = lab
    words = ["-m", "tests.thinned", "prepare", str(folder), *COMMAND, *more]
    return Fork(words, Path(mkdtemp()) / "log", environment)


def scores(environment) -> int:
    return len(list(Path(environment["TRADEWIND_CACHE"]).glob("labs/*/grid/*/score.json")))


@pytest.mark.slow
def test_one_command_makes_a_lab_killed_it_goes_on_and_two_share_the_rest(lab, monkeypatch):
    folder, environment = lab
    monkeypatch.setenv("TRADEWIND_CACHE", environment["TRADEWIND_CACHE"])
    thin(monkeypatch.setattr)
    first = started(lab)
    while scores(environment) < 2:
        assert first.poll() is None, first.log.read_text()
        time.sleep(0.1)
    first.kill()
    first.wait(20)
    told = first.log.read_text()
    model = load(str(folder))
    library = Library(model)
    assert f"vectors: {len(library.concepts)}" in told and "s a training step" in told
    known = {head.hash for head in heads(model).values()}
    for process in [started(lab, "--part", f"{number}/2") for number in (1, 2)]:
        process.ended()
    front = stored(model)
    assert len(library.concepts) >= 3 and all(map(library.calibrated, library.concepts))
    assert {head.hash for head in heads(model).values()} == known
    assert {point["method"] for point in front.points} == {"base", "linear", "soup", "pgapo", "single"}
    assert len(front.points) == 18 and len(shipped(model)) == 12
    assert lacking(model) == []
    assert "All of tiny-qwen is there" in started(lab).ended()


def test_where_runs_make_their_steps_together_a_lab_trains_them_first_and_then_scores_each(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    thin(monkeypatch.setattr)
    for module in ("lab.prepare", "lab.pace", "pareto.prepare"):
        monkeypatch.setattr(f"{module}.together", lambda stack: True)
    monkeypatch.setattr("pareto.fleet.free_bytes", lambda device: 2**30)
    fleets: list[int] = []
    run = Fleet.run
    monkeypatch.setattr(
        Fleet, "run", lambda fleet, *more: (fleets.append(len(fleet.trainers)), run(fleet, *more))[1]
    )
    model = load(str(save(tmp_path / "qwen", FAMILIES["qwen2"]())))
    wanted = Wanted(steps=1, samples=1)
    preparation = Preparation(model, wanted, ("trade-offs",))
    pace = Pace.of(model, heads=True, trains=True)
    assert fleets == [4]
    tasks = {task.title: task for task in preparation.tasks(pace)}
    assert tasks["12 trainings together"].seconds == pytest.approx(12 * pace.step)
    assert sum(task.kind == "scorings" for task in tasks.values()) == 18
    told: list[str] = []
    preparation.run(pace, lambda state: told.append(state["note"]))
    assert fleets == [4, 12] and len(stored(model).points) == 18
    assert told.index("12 trainings together: done") < told.index("policy base model: done")
    assert all(task.done() for task in preparation.tasks(pace))
    other = replace(settings_of(model, wanted), rows_at_once=1)
    # A grid goes on where another number of answers fits into memory.
    Grid(lab_folder(model.hash, "grid"), model, heads(model), [], [], other, jobs_of(OBJECTIVES, 1), 1)


def test_the_banner_names_the_concepts_that_others_are_ahead_of(monkeypatch, tmp_path):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    model = load(str(save(tmp_path / "qwen", FAMILIES["qwen2"]())))
    library = Library(model)
    preparer = Preparer(library, None, allowed=False)
    state = preparer.state("steer")
    assert state["missing"] and state["concepts"] == []
    none = (0.0,) * model.layers
    measured = Calibration("gcav", (1,), none, none, {}, prompts=1, tokens=1, temperature=0.7)
    first, *others = library.concepts
    vectors = train(model, library.concepts[first])
    for name in others:
        asked = library.concepts[name].hash
        library.keep(name, replace(vectors, concept=name, concept_hash=asked, calibration=measured))
    state = preparer.state("steer")
    assert state["missing"] and state["concepts"] == [first]


def test_a_model_that_cannot_be_trained_gets_reward_heads_by_which_its_policies_are_scored(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    fitted = []
    monkeypatch.setattr("pareto.prepare.fit_head", lambda model, name, tell: fitted.append((model, name)))
    model = load(str(save(tmp_path / "gpt2", FAMILIES["gpt2"]())))
    preparation = Preparation(model, only=("trade-offs",))
    assert "gpt2 is not one of" in preparation.untrained
    preparation.run(Pace(1e-4, 1e-4, 1e-3), lambda state: None)
    assert fitted == [(model, name) for name in OBJECTIVES]
    assert not Preparation(load(str(tiny("llama")))).untrained


def test_a_prepared_lab_trains_on_the_prompts_that_the_shipped_front_was_trained_on(monkeypatch, tmp_path):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    model = load(str(save(tmp_path / "qwen", FAMILIES["qwen2"]())))
    by_length = Wanted(
        steps=1,
        rewards={name: FunctionReward.named("tests.unit.pareto.rewards_here:brevity") for name in OBJECTIVES},
    )
    wanted = parser().parse_args(["grid", "--out", "x"]).prompts
    assert grid_of(model, by_length).prompts == [text for path in wanted for _, text in read_prompts(path)]


@pytest.mark.parametrize(("family", "trains"), [("llama", True), ("granite", False)])
def test_the_page_offers_no_training_of_a_family_that_has_none(monkeypatch, tmp_path, family, trains):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    preparer = Preparer(Library(load(str(tiny(family)), engine="reference")), None, allowed=True)
    assert [preparer.state(part)["makes"] for part in PARTS] == [True, trains]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("org/model", "tradewind prepare org/model"),
        (None, "tradewind prepare"),
        (".", "tradewind prepare 'path/to/my llama'"),
        ("/models/my llama", "tradewind prepare 'path/to/my llama'"),
    ],
)
def test_the_banner_names_a_command_that_finds_the_model_and_tells_no_path(
    monkeypatch, tmp_path, name, command
):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    model = load(str(tiny("llama")))
    model.name = "my llama"
    assert Preparer(Library(model), name, allowed=False).state("steer")["command"] == command


def test_a_family_that_is_not_trained_says_so_in_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["tradewind prepare", str(tiny("gpt2")), "--estimate"])
    assert main() == 0
    [told] = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("No trade-offs but reward heads: ")
    ]
    assert told.endswith(
        "family gpt2 is not one of llama, mistral, qwen2, qwen3: give a model of one of these."
    )
