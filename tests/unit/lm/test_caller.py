"""Work on somebody's behalf: it ends when they leave, and their rows take turns with others'."""

import contextvars
import threading
from dataclasses import replace

import pytest

from lm import Row, Sampling, Stopped, load
from lm.caller import CALLER, Caller
from tests.tiny import tiny

PROMPT = tuple(range(40, 60))


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("llama")))


def rows(count: int, tokens: int = 200) -> list[Row]:
    return [Row(PROMPT, Sampling(1.0, seed, tokens)) for seed in range(count)]


def as_caller(caller: Caller, work):
    def body():
        CALLER.set(caller)
        return work()

    return contextvars.copy_context().run(body)


def test_a_decode_ends_when_its_caller_leaves(model):
    caller = Caller("a")
    decoding = as_caller(caller, lambda: model.decode(rows(2, 400)))
    other = model.decode(rows(1, 60))
    next(iter(decoding))
    caller.left.set()
    for _ in other:
        pass
    assert {run.finish for run in decoding.runs} == {"cancelled"} and len(decoding.runs[0].ids) < 400
    assert other.runs[0].finish == "length"


@pytest.mark.parametrize(
    "work",
    [
        lambda model: model.generate(rows(1, 4)),
        lambda model: model.read([PROMPT]),
        lambda model: model.logprobs([PROMPT], [2]),
        lambda model: model.divergence(PROMPT, 2),
    ],
)
def test_nothing_is_computed_for_who_has_left(model, work):
    caller = Caller("a")
    caller.left.set()
    with pytest.raises(Stopped):
        as_caller(caller, lambda: work(model))
    work(model)


def test_a_visitor_with_many_requests_leaves_places_to_others(model, monkeypatch):
    """Requests of 40 times two rows: a later visitor's row still is in the next step."""
    steps, sample = [], model.engine.sample
    gate = threading.Event()

    def sampled(feeds, draws):
        gate.wait()
        steps.append(len(feeds))
        return sample(feeds, draws)

    monkeypatch.setattr(model.engine, "sample", sampled)
    crowd = [as_caller(Caller("many"), lambda: model.decode(rows(2, 100))) for _ in range(40)]
    mine = as_caller(Caller("one"), lambda: model.decode([replace(rows(1, 3)[0], prompt=(7, 8, 9))]))
    gate.set()
    for _ in mine:
        pass
    both = model._loop.max_rows_of_one + 1
    assert max(steps) == both <= model._loop.max_rows
    assert 3 <= steps.count(both) and both not in steps[6:]
    assert all(not run.finish for decoding in crowd for run in decoding.runs)
    for decoding in crowd:
        decoding.close()
