"""Conditional steering: a plan that is carried out only where the prompt reads as a concept."""

import dataclasses
import json

import pytest
import torch

from lm import Policy
from lm.prompts import prompt_ids
from steering import Plan, PlanError, Target, steer
from steering.controller import Controller
from steering.edits import calibrated_layers, edits, prompt_reading, steering
from steering.plan import Condition
from steering.steer import policy
from steering.sweep import sweep

SETTINGS = {"seed": 3, "max_new_tokens": 8, "temperature": 1.0}
PROMPTS = ("n 3", "number 3 number 3 number 3 number 3", "Why?")


def plan(side: str, p: float) -> Plan:
    return Plan((Target("loud", p0=0.999),), method="gcav", when=Condition("long", side, p))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_plan_whose_condition_holds_is_the_plan_and_one_whose_does_not_is_the_base_model(library, prompt):
    reading = prompt_reading(library, "long", prompt)
    bare = steer(library, prompt, dataclasses.replace(plan("above", 0), when=None), **SETTINGS)
    assert bare["steered"]["text"] != bare["unsteered"]["text"]
    for side, p, holds in (
        ("above", reading, True),
        ("above", reading + 1e-6, False),
        ("below", reading, False),
        ("below", reading + 1e-6, True),
    ):
        both = steer(library, prompt, plan(side, p), **SETTINGS)
        assert both["steered"]["text"] == bare["steered" if holds else "unsteered"]["text"]
        assert both["steered"]["plan"]["reading"] == reading
        assert (both["steered"]["metrics"]["kl"] > 0) == holds


def test_the_reading_is_of_the_prompts_own_words(library):
    model, cav = library.model, library.cav("long")
    before, after = model.chat_span
    ids = prompt_ids(model, PROMPTS[0])
    states = torch.stack(
        [model.read([ids[: end + 1]])[0] for end in range(max(1, before), len(ids) - after)]
    ).mean(0)
    layers = list(calibrated_layers(cav))
    z = torch.stack([states[layer] @ cav.w[layer] + cav.b[layer] for layer in layers]).mean()
    assert prompt_reading(library, "long", PROMPTS[0]) == pytest.approx(float(z.sigmoid()), abs=1e-3)
    assert prompt_reading(library, "long", {"continue": "n"}) <= 1


def test_every_prompt_of_a_policy_and_of_a_sweep_is_read(library):
    readings = [prompt_reading(library, "long", prompt) for prompt in PROMPTS]
    middle = sorted(readings)[1]
    conditional, base = policy(library, plan("above", middle)), Policy(library.model)
    always = policy(library, dataclasses.replace(plan("above", 0), when=None))
    texts = [
        [run.text for run in each.respond(PROMPTS, seed=3, max_new_tokens=8)]
        for each in (conditional, base, always)
    ]
    for reading, ours, plain, steered in zip(readings, *texts, strict=True):
        assert ours == (steered if reading >= middle else plain)
    *_, (_, table) = sweep(library, PROMPTS, plan("above", middle), values=[0.999], max_new_tokens=8)
    gates = table[table.magnitude.notna()].gate.tolist()
    assert [gate > 0 for gate in gates] == [reading >= middle for reading in readings]


def test_a_condition_needs_a_prompt_and_a_concept_that_is_there(library):
    with pytest.raises(PlanError, match="decided for each prompt"):
        edits(plan("above", 0.5), library)
    with pytest.raises(PlanError, match="no concept 'tall'"):
        steering(dataclasses.replace(plan("above", 0.5), when=Condition("tall")), library, "Why?")


@pytest.mark.parametrize(
    "when, says",
    [
        ("long", "give an object with concept, side and p"),
        ({"concept": "long", "over": 1}, "leave any other field out"),
        ({"concept": "", "p": 0.5}, "give its name"),
        ({"concept": "long", "side": "over"}, "give above or below"),
        ({"concept": "long", "p": 2}, "from 0 to 1"),
        ({"concept": "long", "p": True}, "from 0 to 1"),
    ],
)
def test_a_malformed_condition_is_refused(when, says):
    with pytest.raises(PlanError, match=says):
        Plan.from_json({"targets": [{"concept": "loud"}], "when": when})


def test_a_condition_survives_json_and_is_in_the_title():
    whole = plan("below", 0.25)
    assert Plan.from_json(whole.to_json()) == whole and whole.title.endswith("if long is below 0.25")


def test_the_page_tells_why_nothing_was_pushed(library):
    asked = {"prompt": "Why?", "plan": json.loads(plan("above", 1.0).to_json()), "run": 1, **SETTINGS}
    *_, (state, _) = Controller(library).run("tab", asked)
    assert "The prompt reads as long with P" in state["held"] and "nothing was pushed" in state["held"]
