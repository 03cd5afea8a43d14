"""Concepts that are held: what is pushed changes none of their readings, and the rest of a push is the nearest there is."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from steering import Plan, PlanError, Target, steer
from steering.controller import Controller
from steering.edits import edits

SETTINGS = {"seed": 3, "max_new_tokens": 8, "temperature": 1.0}


def plan(method: str, *hold: str, **more) -> Plan:
    strength = 2.0 if method == "fixed" else None
    return Plan((Target("loud", p0=0.999),), method=method, strength=strength, hold=hold, **more)


@pytest.mark.parametrize("method", ["auto", "gcav", "diffmean", "fixed"])
def test_a_push_has_no_part_along_which_what_is_held_is_read(library, method):
    free, held = edits(plan(method), library), edits(plan(method, "long"), library)
    for before, after in zip(free, held, strict=True):
        read = library.cav("long").w[after.layer]
        assert abs(float(before.push[0] @ read)) > 1e-3 * float(read.norm())
        assert abs(float(after.push[0] @ read)) < 1e-5 * float(read.norm())
        assert float(after.push.norm()) == pytest.approx(1, abs=1e-5)
        unit = read / read.norm()
        nearest = before.push[0] - (before.push[0] @ unit) * unit
        torch.testing.assert_close(after.push[0], nearest / nearest.norm())
        for field in ("read", "bias", "goal", "sense"):
            torch.testing.assert_close(getattr(after, field), getattr(before, field))


def test_the_goal_is_reached_all_the_same(library):
    told = steer(library, "Why?", plan("gcav", "long"), **SETTINGS)
    assert np.array(told["steered"]["trace"]["after"]).min() > 0.99
    assert told["steered"]["text"] != told["unsteered"]["text"]


def test_a_plan_that_holds_nothing_is_the_plan_of_before(library):
    assert json.loads(plan("auto").to_json())["hold"] == []
    again = Plan.from_json({"targets": [{"concept": "loud", "p0": 0.999}]})
    assert again == plan("auto")


def test_what_is_held_survives_json_and_is_in_the_title():
    held = plan("auto", "long")
    assert Plan.from_json(held.to_json()) == held and held.title == "more loud 0.999, long held"
    assert held.concepts == ("loud", "long")


@pytest.mark.parametrize(
    ("hold", "says"),
    [
        ("long", "Hold is 'long': give a list"),
        ([3], "give a list of concepts' names"),
        ([""], "give a list of concepts' names"),
        (["long", "long"], "Hold names long twice: give it once."),
        (["a", "b", "c", "b", "d", "a"], "Hold names b twice: give it once."),
        (["a", "b", "c", "d"], "Hold names 4 concepts: give at most 3."),
        ([3, ["a"]], r'Hold is \[3, \["a"\]\]: give a list'),
        (7, "Hold is 7: give a list"),
        ("x" * 9_000, r"^.{,120}$"),
        (["loud"], "Hold names loud, which is steered"),
    ],
)
def test_a_malformed_hold_is_refused(hold, says):
    with pytest.raises(PlanError, match=says):
        Plan.from_json({"targets": [{"concept": "loud"}], "hold": hold})


def test_a_concept_that_is_not_there_cannot_be_held(library):
    with pytest.raises(PlanError, match="pirates"):
        edits(plan("auto", "pirates"), library)


def test_where_nothing_is_left_to_steer_along_it_is_said(library):
    twin = dataclasses.replace(library.concepts["loud"], name="twin")
    library.add(twin, dataclasses.replace(library.cav("loud"), concept="twin"))
    try:
        with pytest.raises(
            PlanError, match="nothing to steer along at layer .*: twin is read along the same"
        ):
            edits(plan("gcav", "twin"), library)
    finally:
        del library.concepts["twin"]


def test_the_page_learns_what_is_held(library):
    asked = {"prompt": "Why?", "run": 1, "plan": json.loads(plan("auto", "long").to_json()), "seed": 1}
    *_, (state, _) = Controller(library).run(None, asked | {"max_new_tokens": 8, "temperature": 0.0})
    assert state["phase"] == "done" and "'hold': ['long']" in state["snippet"]
