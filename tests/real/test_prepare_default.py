"""What ships with the default model can be made anew by the command that makes it for others."""

from lab.pace import Pace
from lab.prepare import Preparation
from lm import load


def test_nothing_is_left_to_make_of_the_default_and_all_of_it_where_it_is_made_anew(monkeypatch, tmp_path):
    model = load()
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    pace = Pace(1e-4, 1e-4, 1e-3, 1e-3)
    assert all(task.done() for task in Preparation(model).tasks(pace))
    anew = Preparation(model, anew=True).tasks(pace)
    assert not any(task.done() for task in anew)
    assert {task.kind for task in anew} == {"vectors", "reward heads", "trainings and scorings", "front"}
