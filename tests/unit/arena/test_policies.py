"""What the app lets meet in Compare: plans, checkpoints and the plain model, on a tiny model without vectors."""

import threading

import pytest

from arena import ArenaError, generate
from lab import policies as lab_policies
from lm import load
from steering import Library
from tests.tiny import tiny


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    return Library(load(str(tiny("qwen2"))))


def test_the_list_of_policies_trains_no_vector(library):
    entrants = lab_policies.roster(library)
    steered = [name for name, each in entrants.items() if each.group != lab_policies.GROUPS[0]]
    assert steered == list(lab_policies.plans(library))
    assert entrants["more sentiment 0.999"].group == lab_policies.GROUPS[1], "by the title of its plan"
    assert entrants["less sentiment 0.001"].group == lab_policies.GROUPS[2]
    assert {each.group for each in entrants.values()} == {*lab_policies.GROUPS}
    assert set(library.missing()) == set(library.concepts)


def test_a_prompt_that_is_too_long_is_named_before_anything_is_decoded(library, monkeypatch):
    monkeypatch.setattr(
        library.model, "decode", lambda *rows, **settings: pytest.fail("something was decoded")
    )
    entrants = lab_policies.policies([{"name": "one", "base": True}, {"name": "two", "base": True}], library)
    for prompt, reason in (
        ("long " * 90, "The prompt has 450 tokens, with 128 new ones more than the 512"),
        ("x" * 4001, "4,001 characters"),
    ):
        with pytest.raises(ArenaError, match=f"Prompt 2 .*{reason}"):
            next(generate(entrants, ["short", prompt]))


def test_a_plan_that_cannot_be_applied_is_named_before_anything_is_decoded(library):
    plan = {"targets": [{"concept": "weather", "direction": "amplify", "p0": 0.9}]}
    entrants = lab_policies.policies([{"name": "one", "base": True}, {"name": "two", "plan": plan}], library)
    with pytest.raises(ArenaError, match="by 'two': There is no concept 'weather'"):
        next(generate(entrants, ["short"]))


def test_a_stop_ends_the_decoding_at_the_next_token(library):
    (entrant,) = lab_policies.policies([{"name": "one", "base": True}], library).values()
    stop = threading.Event()
    stop.set()
    (run,) = entrant.policy.respond(["Hello"], seed=0, max_new_tokens=400, stop=stop)
    assert len(run.ids) < 5
    (run,) = entrant.policy.respond(["Hello"], seed=0, max_new_tokens=9, stop=threading.Event())
    assert len(run.ids) == 9
