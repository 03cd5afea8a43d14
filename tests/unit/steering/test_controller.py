"""What one browser tab may ask of the Steer tab's controller, and what it is told."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from common.jsons import shown
from steering import Concept, Plan, steer
from steering.charts import dose
from steering.controller import Controller
from steering.teaching import MAX_TEXTS
from tests.unit.steering.conftest import LOUD

PLAN = {"targets": [{"concept": "loud", "direction": "amplify", "p0": 0.98}]}
ASKED = {"prompt": "How are you?", "plan": PLAN, "seed": 1, "max_new_tokens": 8, "temperature": 0.0}
TEXTS = {"positive": [f"GO {n}" for n in range(10)], "negative": [f"go {n}" for n in range(10)]}


@pytest.fixture
def controller(library) -> Controller:
    return Controller(library)


# ---- what a visitor may cost


@pytest.mark.parametrize(
    "change, says",
    [
        ({"positive": [f"GO {n}" for n in range(MAX_TEXTS + 1)]}, "at most 300 a side"),
        (
            {
                "lines": "\n".join(
                    f'{{"positive": "GO {n}", "negative": "go {n}"}}' for n in range(MAX_TEXTS + 1)
                )
            },
            "at most 300 a side",
        ),
        ({"negative": [f"{n} " + "word " * 700 for n in range(20)]}, "at most 40,000"),
    ],
)
def test_a_visitors_concept_is_bounded(controller, change, says):
    *_, last = controller.train("visitor", {"name": "big", **TEXTS, **change})
    assert says in last["problem"] and last["fraction"] is None


# ---- faults


def broken(*args, **settings):
    raise torch.linalg.LinAlgError("cholesky: the input is not positive-definite")


@pytest.mark.parametrize(
    "work, part", [("run", "stage.pair"), ("sweep", "controller.sweep"), ("train", "controller.learned")]
)
def test_a_fault_of_the_app_is_logged_and_ends_the_work_with_one_sentence(
    controller, monkeypatch, caplog, work, part
):
    monkeypatch.setattr(f"steering.{part}", broken)
    *_, last = getattr(controller, work)("visitor", ASKED | TEXTS | {"name": "big"})
    state = last[0] if work == "run" else last
    assert (
        f"This {work} failed" in state["problem"]
        and "log" in state["problem"]
        and state["problem"].count(". ") == 0
    )
    assert state.get("phase") == "error" if work == "run" else state["fraction"] is None
    assert "positive-definite" in caplog.text


# ---- order


def test_a_run_that_comes_after_a_newer_one_is_ignored(controller):
    newer = controller.run("visitor", ASKED | {"run": 5})
    state, _ = next(newer)
    assert list(controller.run("visitor", ASKED | {"run": 4})) == []
    *_, (last, _) = newer
    assert (last["phase"], last["run"]) == ("done", 5)
    *_, (again, _) = controller.run("visitor", ASKED | {"run": 6})
    assert (again["phase"], again["run"]) == ("done", 6)


def test_it_is_told_that_a_long_prompt_is_read(controller):
    states = [state for state, _ in controller.run("visitor", ASKED | {"prompt": "Well, " * 60})]
    first, *_, last = states
    assert first["note"].startswith("Reading the prompt of ") and not first["steered"], first
    assert "Reading" not in last["note"]
    [*states] = controller.run("visitor", ASKED)
    assert not any("Reading" in state.get("note", "") for state, _ in states)


# ---- what is drawn


def two(first: float, second: float) -> dict:
    """A plan for both concepts."""
    return {
        "targets": [{"concept": "loud", "p0": first}, {"concept": "long", "p0": second}],
        "layers": [0, 1],
        "method": "gcav",
    }


def done(controller: Controller, **change) -> tuple[dict, dict]:
    """The last state of a run, and its heat map."""
    *_, (state, heat) = controller.run("visitor", ASKED | change)
    assert state["phase"] == "done", state
    return state, heat


def test_a_push_for_the_second_target_alone_is_drawn_and_named(controller):
    state, heat = done(controller, plan=two(1e-6, 0.99))
    assert heat["title"].startswith("8 of 8 tokens were pushed for long, most at layer")
    assert np.array(heat["figure"]["data"][0]["z"]).any()
    rows = {
        name: [row[2:] for row in heat["table"]["rows"] if row[1] == name]
        for name in ("loud", "long", "all, |Σ ε v|")
    }
    assert not np.any(rows["loud"]) and np.allclose(np.abs(rows["long"]), rows["all, |Σ ε v|"])
    assert any(token[3] > 0 for token in state["steered"])


def test_a_push_for_both_targets_has_the_length_of_the_whole_write(controller, library):
    plan = Plan.from_json(two(0.99, 0.99))
    told = steer(library, ASKED["prompt"], plan, seed=1, max_new_tokens=8)["steered"]
    state, heat = done(controller, plan=two(0.99, 0.99))
    share, writes = np.array(told["trace"]["share"]), np.array(heat["figure"]["data"][0]["z"]).T
    eps = np.array(told["trace"]["eps"])
    directions = np.stack(
        [[library.cav(name).direction[layer].numpy() for name in ("loud", "long")] for layer in (0, 1)]
    )
    np.testing.assert_allclose(
        writes, np.linalg.norm(np.einsum("tlk,lkd->tld", eps, directions), axis=-1), atol=2e-3
    )
    assert "loud and long" in heat["title"] and np.all(writes < np.abs(eps).sum(-1) + 1e-3)
    np.testing.assert_allclose([token[3] for token in state["steered"]], share.max(1), atol=1e-4)
    assert told["metrics"]["strength"] == pytest.approx(share[share > 0].mean(), rel=1e-4)


def test_without_a_push_the_title_says_no_more_than_is_so(controller):
    _, heat = done(controller, plan=two(1e-6, 1e-6))
    assert heat["title"] == "No token of the answer was pushed: both texts are the same"


def test_a_concept_without_a_judge_has_its_cost_drawn_alone(controller):
    asked = ASKED | {"plan": {"targets": [{"concept": "long"}], "layers": [1]}}
    *_, last = controller.sweep("visitor", asked)
    chart = last["chart"]
    assert {line["name"] for line in chart["figure"]["data"]} == {"KL"} and "yaxis" not in chart["figure"][
        "layout"
    ]
    assert "no independent judge" in chart["note"] and chart["title"].startswith("The text moves up to")
    assert chart["table"]["columns"] == [
        "magnitude",
        "layers",
        "kl",
        "nll",
        "repetition",
        "gate",
        "strength",
        "text",
    ]


def test_what_a_scorer_cannot_tell_stands_beside_its_score(library):
    warned = dataclasses.replace(LOUD, caveat="It cannot hear.")
    own = library.session()
    own.add(warned, library.cav("loud"))
    for whose, says in ((Controller(own), True), (Controller(library), False)):
        *_, (state, _) = whose.run("visitor", ASKED)
        [hint] = [row[1] for row in state["rows"] if row[0] == "loud, judged from outside"]
        assert hint.endswith("It cannot hear.") == says


def test_a_sweep_of_the_page_takes_the_thirds_of_the_model_beside_the_chosen_layers(controller):
    asked = ASKED | {"plan": PLAN | {"layers": [0, 1]}, "bands": True}
    states = list(controller.sweep("visitor", asked))
    chart, told = states[-1]["chart"], [state["fraction"] for state in states[:-1]]
    assert told == sorted(told) and len(set(told)) > 9
    lines = [line["name"] for line in chart["figure"]["data"]]
    assert lines[::2] == ["chosen layers", "layer 0", "layer 1", "layer 2", "base model"]
    assert {row[1] for row in chart["table"]["rows"]} == {"", "0 1", "0", "1", "2"} and len(
        chart["table"]["rows"]
    ) == 1 + 4 * 9
    *_, plain = controller.sweep("visitor", asked | {"bands": False})
    assert [line["name"] for line in plain["chart"]["figure"]["data"]] == ["steered", "KL", "base model"]
    *_, third = controller.sweep("visitor", asked | {"plan": PLAN | {"layers": [0]}})
    assert {row[1] for row in third["chart"]["table"]["rows"]} == {"", "0", "1", "2"}


def test_top_p_narrows_what_is_drawn_and_is_told(controller):
    def text(state: dict) -> list[str]:
        return [token.text for side in ("unsteered", "steered") for token in state[side]]

    drawn = {"temperature": 1.5, "seed": 3}
    greedy, (narrow, _) = done(controller)[0], done(controller, **drawn, top_p=0.0)
    whole, same = done(controller, **drawn)[0], done(controller, **drawn, top_p=1.0)[0]
    assert text(narrow) == text(greedy) != text(whole) == text(same)
    assert "top p 0." in narrow["note"] and "top p" not in whole["note"]
    assert "top_p=0.0" in narrow["snippet"] and "top_p" not in whole["snippet"] + same["snippet"]
    *_, chart = controller.sweep("visitor", ASKED | drawn | {"top_p": 0.0})
    *_, likeliest = controller.sweep("visitor", ASKED)
    swept = [[row[2] for row in each["chart"]["table"]["rows"]] for each in (chart, likeliest)]
    assert swept[0] == swept[1]  # the scores: KL is that of the whole distribution at its temperature


@pytest.mark.parametrize("top_p", [-0.1, 1.01, float("nan"), "0.9", None, True, [0.9]])
def test_a_top_p_that_is_none_is_one_sentence_by_its_field(controller, top_p):
    *_, (state, _) = controller.run("visitor", ASKED | {"top_p": top_p})
    assert (
        state["field"] == "top_p"
        and state["problem"] == f"top_p is {shown(top_p)}: give a number from 0 to 1."
    )


def test_cosines_are_told_on_the_page_and_in_the_answer(controller, library):
    cosine = float(
        np.mean(
            [library.cav("loud").direction[layer] @ library.cav("long").direction[layer] for layer in (0, 1)]
        )
    )
    state, _ = done(controller, plan=two(0.9, 0.9))
    assert state["cosines"]["loud / long"] == pytest.approx(cosine, abs=1e-5)
    both = json.loads(
        json.dumps(steer(library, ASKED["prompt"], Plan.from_json(two(0.9, 0.9)), max_new_tokens=4))
    )
    assert both["steered"]["plan"] == {
        "layers": [0, 1],
        "cosines": {"loud / long": pytest.approx(cosine, abs=1e-5)},
        "feasible": True,
    }
    assert done(controller)[0]["cosines"] == {}


@pytest.mark.parametrize(
    ("scores", "title"),
    [
        ([0.0, 0.6, 0.1], "Sports rises from .00 to .60 at .5, at 0.20 nats a token"),
        ([0.1, 0.3, 0.7], "Sports rises from .00 to .70, at 0.30 nats a token"),
        ([0.0, 0.6, 0.6], "Sports rises from .00 to .60, at 0.30 nats a token"),
        ([0.0, 0.0, 0.0], "Sports stays at .00, at 0.30 nats a token"),
        ([0.6, 0.1, 0.7], "Sports goes up and down between .00 and .70, from .00 in the base model"),
    ],
)
def test_a_doses_title_tells_what_the_sweep_did_at_most(scores, title):
    frame = pd.DataFrame(
        {
            "magnitude": [None, 0.1, 0.5, 0.9],
            "layers": ["", "8 9", "8 9", "8 9"],
            "sports": [0.0, *scores],
            "kl": [0.0, 0.1, 0.2, 0.3],
        }
    )
    sports = Concept("sports", LOUD.positive, LOUD.negative, high="about sport", scorer="sports")
    assert dose(frame, Plan.from_json({"targets": [{"concept": "sports"}]}), [sports])["title"] == title


def test_a_sweep_of_two_concepts_shows_both_and_says_which_has_no_judge():
    frame = pd.DataFrame(
        {
            "magnitude": [None, 0.1, 0.5, 0.1, 0.5],
            "layers": ["", "8 9", "8 9", "3", "3"],
            "loud": [0.0, 0.2, 0.6, 0.1, 0.1],
            "long": [0.5, 0.4, 0.3, 0.5, 0.5],
            "kl": [0.0, 0.1, 0.2, 0.1, 0.1],
        }
    )
    loud, long = (Concept(name, LOUD.positive, LOUD.negative, scorer=name) for name in ("loud", "long"))
    chart = dose(frame, Plan.from_json(two(0.9, 0.9)), [loud, long])
    assert chart["title"] == (
        "Loud rises from .00 to .60, most by the chosen layers, at 0.20 nats a token; long from .50 to .30"
    )
    assert "Of the other layers loud alone is drawn." in chart["note"]
    lines = {line["name"]: line["y"] for line in chart["figure"]["data"] if line.get("yaxis") != "y2"}
    assert lines["long, chosen layers"] == [0.4, 0.3] and lines["loud, layer 3"] == [0.1, 0.1]
    assert {"loud", "long"} <= {*chart["table"]["columns"]}
    waves = {"loud": [0.4, 0.9, 0.1, 0.7], "long": [0.5, 0.4, 0.3, 0.4], "kl": [0.0, 0.1, 0.2, 0.3]}
    waving = pd.DataFrame({"magnitude": [None, 0.1, 0.5, 0.9], "layers": ["", "8", "8", "8"], **waves})
    assert dose(waving, Plan.from_json(two(0.9, 0.9)), [loud, long])["title"] == (
        "Loud goes up and down between .10 and .90, from .40 in the base model; long between .30 and .50"
    )
    unjudged = dose(frame.drop(columns="long"), Plan.from_json(two(0.9, 0.9)), [loud, long])
    assert "No independent judge scores long." in unjudged["note"]
