"""Methods compared on the page, over prompts and seeds that a visitor chooses."""

import threading

import pytest

from lm import Stopped
from steering import Library, Plan
from steering.calibrate import Extent, calibrate
from steering.controller import Controller
from steering.methods import MAX_PROMPTS, Cases, compare
from tests.unit.steering.conftest import LONG, LOUD

PROMPTS = ["How are you?", "Why?", "Tell me."]
PLAN = {"targets": [{"concept": "loud", "direction": "amplify"}], "budget": 0.1}
ASKED = {"prompt": "How are you?", "plan": PLAN, "seed": 1, "max_new_tokens": 6, "temperature": 1.0}
METHODS = {"prompts": PROMPTS, "seeds": [0, 4]}


@pytest.fixture(scope="module")
def calibrated(library) -> Library:
    own = Library(library.model, {})
    own.add(LOUD, library.cav("loud"))
    own.add(LOUD, calibrate(own, "loud", extent=Extent(prompts=3, tokens=6), search=False))
    own.add(LONG, library.cav("long"))
    return own


@pytest.fixture
def controller(calibrated) -> Controller:
    return Controller(calibrated)


def test_the_chart_has_a_line_and_a_band_a_method_and_is_drawn_as_it_comes(controller):
    _, *states, last = controller.sweep("visitor", ASKED | {"methods": METHODS})
    assert [state["fraction"] for state in states] == [pytest.approx(2 / 3)] and last["fraction"] is None
    assert states[0]["chart"]["note"].startswith("2 prompts") and last["chart"]["note"].startswith(
        "3 prompts, 2 seeds, 6 tokens"
    )
    data = last["chart"]["figure"]["data"]
    lines = {line["name"]: line for line in data if "name" in line}
    assert list(lines) == [
        "default",
        "constant push",
        "GCAV of the paper",
        "request, both",
        "default + request",
        "base",
    ]
    assert len(data) == 2 * len(lines) - 1 and lines["base"]["x"] == [0]
    default = lines["default"]
    assert default["x"] == sorted(default["x"]) and len(default["customdata"]) == len(default["x"]) > 1
    assert last["chart"]["title"].startswith("More loud: ")
    rows = last["chart"]["table"]["rows"]
    assert len(rows) == 1 + sum(len(line["x"]) for name, line in lines.items() if name != "base")


def test_the_points_are_those_of_the_frontier_from_the_command_line(calibrated):
    from steering.frontier import METHODS as EVERY
    from steering.frontier import Comparison, frontier, of

    *_, (_, chart) = compare(
        calibrated, Plan.from_json(PLAN), Cases.parse(METHODS), max_new_tokens=6, temperature=1.0
    )
    comparison = Comparison(calibrated, "loud", "amplify", methods=EVERY, tokens=6, temperature=1.0)
    *_, (_, results) = frontier(comparison, [(prompt, seed) for prompt in PROMPTS for seed in (0, 4)])
    line = next(line for line in chart["figure"]["data"] if line.get("name") == "default")
    assert line["y"] == pytest.approx([texts.score.mean() for texts in of(results, "default")], abs=1e-4)
    assert line["x"] == pytest.approx([texts.kl.mean() for texts in of(results, "default")], abs=1e-4)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"prompts": ["one", " one "]}, "Prompts are 1 different lines: give 2 to 12."),
        (
            {"prompts": [str(n) for n in range(MAX_PROMPTS + 1)]},
            "Prompts are 13 different lines: give 2 to 12.",
        ),
        ({"prompts": ["a", "b" * 4001]}, "A prompt has 4,001 characters: give at most 4,000 each."),
        ({"prompts": "How?"}, "Prompts must be a list of texts: give one a line."),
        ({"seeds": []}, "Seeds are 0 different numbers: give 1 to 3."),
        ({"seeds": [1, 2, 3, 4]}, "Seeds are 4 different numbers: give 1 to 3."),
        (
            {"seeds": [1.5]},
            "Seeds must be whole numbers from 0 to 4294967295: give them with spaces between.",
        ),
        ({"seeds": [-1]}, "Seeds must be whole numbers from 0 to 4294967295: give them with spaces between."),
    ],
)
def test_what_is_asked_is_bounded(controller, change, says):
    *_, last = controller.sweep("visitor", ASKED | {"methods": METHODS | change})
    assert last == {"fraction": None, "problem": says}


def test_a_concept_that_no_scorer_judges_is_told_in_one_sentence(controller):
    plan = {"targets": [{"concept": "long"}]}
    *_, last = controller.sweep("visitor", ASKED | {"plan": plan, "methods": METHODS})
    assert last["problem"].startswith("Long has no independent scorer")


def test_it_ends_where_the_visitor_stops_it(controller, calibrated):
    states = controller.sweep("visitor", ASKED | {"methods": METHODS})
    next(states), next(states)
    controller.stop("visitor", "sweep")
    assert list(states) == [{"fraction": None, "note": "Stopped."}]
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        next(
            compare(
                calibrated,
                Plan.from_json(PLAN),
                Cases.parse(METHODS),
                max_new_tokens=6,
                temperature=0,
                stop=stop,
            )
        )
