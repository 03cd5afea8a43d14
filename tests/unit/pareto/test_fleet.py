"""Runs that make their steps together: each is what it is alone, and ends where a plain training of its kind ends."""

import pytest
import torch

from lm import LanguageModel, load
from lm.engines.torch.stack import Stack
from pareto.checkpoint import Checkpoint
from pareto.curve import CurveTrainer
from pareto.fleet import Fleet
from pareto.rewards import FunctionReward, Head
from pareto.settings import Settings, SettingsError
from pareto.train import Trainer
from tests.tiny import WIDTH, tiny

PROMPTS = ["How are you?", "Tell me a story.", "What is a boat?", "Be rude to me.", "Why?", "Name a bird."]
SMALL = {"steps": 3, "prompts": 4, "group": 3, "max_new_tokens": 6, "rank": 2, "rows_at_once": 7, "lr": 0.02}
RUNS = {
    "a": {"method": "pgapo", "preference": (0.3, 0.7)},
    "b": {"method": "linear", "preference": (0.8, 0.2), "seed": 5},
    "c": {"method": "mgda", "preference": None, "lr": 0.01},
}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    made = load(str(tiny("llama")))
    made.stack = Stack(made.torch, torch.float32)
    return made


def trainer(model, folder, of=Trainer, *, rewards=None, **settings) -> Trainer:
    heads = {
        name: Head(
            name, model.hash, 0, torch.randn(WIDTH, generator=torch.Generator().manual_seed(k)), 0.0, 1.0
        )
        for k, name in enumerate(("helpful", "harmless"))
    }
    return of(model, rewards or heads, PROMPTS, Settings(**{**SMALL, **settings}), folder, {"name": "test"})


def test_a_run_is_the_same_alone_and_in_a_fleet(model, tmp_path):
    together = [trainer(model, tmp_path / "together" / name, **settings) for name, settings in RUNS.items()]
    rows = []
    Fleet(together).run(lambda run, row: rows.append((run, row["step"])))
    assert len(rows) == 9
    for (name, settings), run in zip(RUNS.items(), together, strict=True):
        alone = trainer(model, tmp_path / "alone" / name, **settings)
        Fleet([alone]).run()
        torch.testing.assert_close(run.theta, alone.theta, atol=1e-5, rtol=1e-3)
        saved = Checkpoint.load(tmp_path / "together" / name, model)
        assert saved.card["steps"] == 3 and [row["step"] for row in saved.curves] == [1, 2, 3]


@pytest.mark.parametrize(
    "of, settings", [(Trainer, RUNS["a"]), (CurveTrainer, {"positions": 2, "preference": None})]
)
def test_a_step_is_the_one_that_a_run_takes_by_itself_on_the_same_answers(
    model, tmp_path, monkeypatch, of, settings
):
    """The decoder apart, a fleet computes nothing of its own."""
    plain = trainer(model, tmp_path / "a", of, **settings)
    batch = plain._sample(plain.asked())
    monkeypatch.setattr(plain, "_sample", lambda asked: batch)
    monkeypatch.setattr(Fleet, "_sample", lambda self, asked, policies: batch)
    run = trainer(model, tmp_path / "b", of, **settings)
    expected, (found,) = plain.advance(), Fleet([run]).advance([run])
    torch.testing.assert_close(run.theta, plain.theta)
    timed = ("sampling_seconds", "seconds", "tokens_per_second")
    assert {key: value for key, value in found.items() if key not in timed} == {
        key: value for key, value in expected.items() if key not in timed
    }


def test_runs_learn_what_they_are_for(model, tmp_path):
    letters = {
        name: FunctionReward(lambda _, answer, letter=letter: answer.count(letter))
        for name, letter in (("helpful", "e"), ("harmless", "a"))
    }
    more = {"steps": 25, "group": 12, "lr": 0.05, "beta": 0.0, "temperature": 1.0}
    runs = [
        trainer(model, tmp_path / name, rewards=letters, preference=ends, **more)
        for name, ends in (("helpful", (1.0, 0.0)), ("harmless", (0.0, 1.0)))
    ]
    Fleet(runs).run()
    for name, run in zip(letters, runs, strict=True):
        curve = [row["reward"][name] for row in run.curves]
        assert sum(curve[-5:]) > sum(curve[:5]) + 0.1


def test_a_fleet_that_was_killed_goes_on(model, tmp_path, monkeypatch):
    monkeypatch.setattr("pareto.fleet.KEPT_EVERY", 0.0)
    whole = [trainer(model, tmp_path / "whole" / name, **settings) for name, settings in RUNS.items()]
    Fleet(whole).run()

    def killed(run, row):
        if row["step"] == 3:
            raise KeyboardInterrupt

    cut = [trainer(model, tmp_path / "cut" / name, **settings) for name, settings in RUNS.items()]
    with pytest.raises(KeyboardInterrupt):
        Fleet(cut).run(killed)
    again = [trainer(model, tmp_path / "cut" / name, **settings) for name, settings in RUNS.items()]
    assert [run.step for run in again] == [2, 2, 2]
    Fleet(again).run()
    for one, other in zip(whole, again, strict=True):
        torch.testing.assert_close(one.theta, other.theta, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name, values", [("steps", (2, 3)), ("group", (2, 3)), ("temperature", (0.5, 1.0))])
def test_runs_that_differ_in_shape_do_not_go_together(model, tmp_path, name, values):
    runs = [trainer(model, tmp_path / str(value), **{name: value}) for value in values]
    with pytest.raises(SettingsError, match=name):
        Fleet(runs)


def test_ppo_goes_alone(model, tmp_path):
    with pytest.raises(SettingsError, match="ppo"):
        Fleet([trainer(model, tmp_path / "a", algorithm="ppo")])
