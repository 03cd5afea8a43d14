"""What one browser tab may ask of the Steer tab's desk, and what it is told."""

import pytest
import torch

from lm import load
from steering import Concept, Library, train
from steering.desk import MOST_OWN_TEXTS, Desk
from tests.tiny import tiny

LOUD = Concept("loud", tuple(f"LOOK AT {n} NOW" for n in range(10)), tuple(f"see {n} later" for n in range(10)), scorer="sentiment")
PLAN = {"targets": [{"concept": "loud", "direction": "amplify", "p0": 0.98}]}
ASKED = {"prompt": "How are you?", "plan": PLAN, "seed": 1, "max_new_tokens": 8, "temperature": 0.0}
TEXTS = {"positive": [f"GO {n}" for n in range(10)], "negative": [f"go {n}" for n in range(10)]}


@pytest.fixture(scope="module")
def library() -> Library:
    model = load(str(tiny("llama")))
    made = Library(model, {})
    made.add(LOUD, train(model, LOUD))
    return made


@pytest.fixture
def desk(library) -> Desk:
    return Desk(library)


# ---- what a visitor may cost

@pytest.mark.parametrize("change, says", [
    ({"positive": [f"GO {n}" for n in range(MOST_OWN_TEXTS + 1)]}, "at most 300 a side"),
    ({"lines": "\n".join(f'{{"positive": "GO {n}", "negative": "go {n}"}}' for n in range(MOST_OWN_TEXTS + 1))}, "at most 300 a side"),
    ({"negative": [f"{n} " + "word " * 700 for n in range(20)]}, "at most 40,000"),
])
def test_a_visitors_concept_is_bounded(desk, change, says):
    *_, last = desk.train("visitor", {"name": "big", **TEXTS, **change})
    assert says in last["problem"] and last["fraction"] is None


# ---- faults

def broken(*args, **settings):
    raise torch.linalg.LinAlgError("cholesky: the input is not positive-definite")


@pytest.mark.parametrize("work, part", [("run", "pair"), ("sweep", "sweep"), ("train", "train")])
def test_a_fault_of_the_app_is_logged_and_ends_the_work_with_one_sentence(desk, monkeypatch, caplog, work, part):
    monkeypatch.setattr(f"steering.desk.{part}", broken)
    *_, last = getattr(desk, work)("visitor", ASKED | TEXTS | {"name": "big"})
    state = last[0] if work == "run" else last
    assert f"This {work} failed" in state["problem"] and "log" in state["problem"] and state["problem"].count(". ") == 0
    assert state.get("phase") == "error" if work == "run" else state["fraction"] is None
    assert "positive-definite" in caplog.text


# ---- order

def test_a_run_that_comes_after_a_newer_one_is_ignored(desk):
    newer = desk.run("visitor", ASKED | {"run": 5})
    state, _ = next(newer)
    assert list(desk.run("visitor", ASKED | {"run": 4})) == []
    *_, (last, _) = newer
    assert (last["phase"], last["run"]) == ("done", 5)
    *_, (again, _) = desk.run("visitor", ASKED | {"run": 6})
    assert (again["phase"], again["run"]) == ("done", 6)
