"""What steering costs: curves, budgets, and the calibration that makes them."""

import dataclasses
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from lm import Row, Sampling, Stopped, load
from steering import CAV, Concept, Library, Plan, PlanError, Target, steer, train
from steering import frontier as frontiers
from steering import frontier_tables as tables
from steering.calibrate import Bench, Extent, calibrate, candidates, choose, trial
from steering.calibration import Calibration, Curve, Point
from steering.controller import Controller
from steering.edits import calibrated_layers, edits
from steering.prompt_sets import held_out, training
from steering.requests import wish
from steering.snippet import snippet
from steering.sweep import usual
from steering.view import broken, costs, opening
from tests.tiny import LAYERS, tiny

LOUD = Concept(
    "loud",
    tuple(f"LOOK AT {n} NOW" for n in range(10)),
    tuple(f"see {n} later" for n in range(10)),
    scorer="sentiment",
)
SMALL = Extent(prompts=4, tokens=8, temperature=1.0)


@pytest.fixture(scope="module")
def library() -> Library:
    model = load(str(tiny("llama")))
    made = Library(model, {})
    made.add(LOUD, train(model, LOUD))
    made.add(LOUD, calibrate(made, "loud", extent=SMALL, search=False))
    return made


def plan(budget: float | None, direction: str = "amplify", **more) -> Plan:
    return Plan((Target("loud", direction),), budget=budget, **more)


def points(*kls: float, broken: float = 0.0) -> tuple[Point, ...]:
    return tuple(Point(float(i), kl, 0.0, 0.0, broken) for i, kl in enumerate(kls))


# ---- curves


@given(st.lists(st.floats(0, 2), min_size=1, max_size=6), st.floats(0, 2))
@settings(max_examples=80)
def test_more_budget_is_never_a_smaller_dose(kls, budget):
    curve = Curve(points(*kls))
    assert curve.off <= curve.dose(budget) <= len(kls) - 1
    assert curve.dose(budget) <= curve.dose(budget * 1.5) and curve.dose(0) == curve.off
    rising = np.maximum.accumulate(kls)
    assert all(curve.dose(float(kl)) <= i for i, kl in enumerate(rising))


def test_a_measured_kl_gives_its_dose_back():
    curve = Curve(points(0.01, 0.1, 0.1, 0.4))
    assert [curve.dose(kl) for kl in (0.01, 0.1, 0.4)] == pytest.approx([0, 1, 3])
    assert curve.dose(9.0) == 3


def test_where_the_text_breaks():
    curve = Curve((*points(0.1), Point(1.0, 0.3, 0.0, 0.0, 0.1), Point(2.0, 0.5, 0.0, 0.0, 0.6)))
    assert curve.whole == 0.1 and curve.max_budget == 0.5
    assert curve.fluent == pytest.approx(0.3 + 0.2 * (0.2 - 0.1) / (0.6 - 0.1))
    assert Curve(points(0.1, 0.2)).fluent == Curve(points(0.1, 0.2)).whole == 0.2
    assert Curve(points(0.1, broken=0.4)).fluent == pytest.approx(0.05)


# ---- budgets in plans


@pytest.mark.parametrize(
    "bad, word",
    [
        ({"budget": -0.1}, "budget"),
        ({"budget": "1"}, "budget"),
        ({"budget": float("nan")}, "budget"),
        ({"budget": True}, "budget"),
        ({"budget": 0.1, "method": "fixed", "strength": 1}, "strength"),
        ({"method": "fixed"}, "budget"),
    ],
)
def test_bad_budgets_are_refused(bad, word):
    with pytest.raises(PlanError, match=f"(?i){word}"):
        Plan.from_json({"targets": [{"concept": "loud"}]} | bad)


@given(st.one_of(st.none(), st.floats(0, 10)), st.sampled_from(["auto", "gcav", "diffmean"]))
@settings(max_examples=30)
def test_a_budget_is_in_the_plans_json(budget, method):
    chosen = plan(budget, method=method)
    assert Plan.from_json(chosen.to_json()) == chosen


def test_budgets_that_cannot_be_met_are_refused_in_a_sentence(library):
    cav = library.cav("loud")
    most = cav.calibration.curve("auto", "amplify").max_budget
    with pytest.raises(PlanError, match="give at most"):
        edits(plan(most * 1.01), library)
    with pytest.raises(PlanError, match="no calibration"):
        edits(plan(0.1, method="gcav"), library)
    bare = Library(library.model, {})
    bare.add(LOUD, dataclasses.replace(cav, calibration=None))
    with pytest.raises(PlanError, match="steering calibrate loud"):
        edits(plan(0.1), bare)


@pytest.mark.parametrize("method", ["auto", "fixed"])
@pytest.mark.parametrize("direction", ["amplify", "remove"])
def test_more_budget_pushes_more(library, method, direction):
    most = library.cav("loud").calibration.curve(method, direction).max_budget

    def push(share: float) -> float:
        chosen = plan(most * share, direction, method=method)
        told = steer(library, "How are you?", chosen, max_new_tokens=12, temperature=1.0, seed=3)["steered"]
        return told["metrics"]["kl"]

    low, middle, high = push(0.0), push(0.3), push(1.0)
    assert low == 0 < middle < high


def test_several_targets_share_a_budget(library):
    both = Library(library.model, {})
    both.add(LOUD, library.cav("loud"))
    both.add(dataclasses.replace(LOUD, name="same"), dataclasses.replace(library.cav("loud"), concept="same"))
    [first, *_] = edits(Plan((Target("loud"), Target("same")), budget=0.02), both)
    [alone, *_] = edits(plan(0.01), library)
    assert first.goal.tolist() == pytest.approx([float(alone.goal[0])] * 2)


# ---- calibration


def test_a_calibration_is_kept_in_the_vectors_file(library, tmp_path):
    cav = library.cav("loud")
    cav.save(tmp_path / "v.safetensors")
    assert CAV.load(tmp_path / "v.safetensors").calibration == cav.calibration
    assert Calibration.from_dict(cav.calibration.to_dict()) == cav.calibration


@pytest.mark.parametrize(
    "change",
    [
        {"curves": []},
        {"curves": {"auto amplify": {"points": [], "off": -4.0}}},
        {"curves": {"auto amplify": {"points": "none", "off": -4.0}}},
        {"curves": {"auto amplify": {"points": [{"dose": "1"}], "off": -4.0}}},
        {"curves": {"auto amplify": {"points": [], "off": None}}},
        {"layers": []},
        {"layers": "12"},
        {"layers": [LAYERS]},
        {"layers": [1.0]},
        {"mean": "none"},
        {"spread": [float("nan")]},
        {"prompts": "many"},
        {"temperature": None},
    ],
)
def test_a_saved_calibration_that_nothing_can_be_computed_with_is_refused(library, tmp_path, change):
    cav, path = library.cav("loud"), tmp_path / "v.safetensors"
    cav.save(path)
    with safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about["calibration"] = json.dumps(cav.calibration.to_dict() | change)
    save_file(tensors, path, about)
    with pytest.raises(
        ValueError, match=r"^v\.safetensors is no concept vector of Tradewind \(.*\): train it again\.$"
    ):
        CAV.load(path)


def test_a_calibration_tells_what_was_measured(library):
    known = library.cav("loud").calibration
    assert (known.prompts, known.tokens, known.temperature) == (4, 8, 1.0)
    assert set(known.curves) == {f"{m} {d}" for m in ("auto", "fixed") for d in ("amplify", "remove")}
    assert len(known.mean) == len(known.spread) == LAYERS and min(known.spread) > 0
    assert known.layers == calibrated_layers(dataclasses.replace(library.cav("loud"), calibration=None))
    for curve in known.curves.values():
        doses = [point.dose for point in curve.points]
        assert doses == sorted(doses) and curve.points[-1].kl > curve.points[0].kl
        assert all(0 <= point.broken <= 1 and 0 <= point.score <= 1 for point in curve.points)


def test_candidates_are_compared_at_equal_kl_and_the_choice_is_told(library):
    bench = Bench(library.model, LOUD, dataclasses.replace(library.cav("loud"), calibration=None), SMALL)
    steps = []
    direction, layers, told = choose(bench, lambda: steps.append(1))
    assert direction in ("diffmean", "gcav") and layers and len(steps) == len(candidates(bench.cav))
    assert "0.15 nats" in told and "diffmean" in told and "gcav" in told


@pytest.mark.parametrize("concept", [LOUD, dataclasses.replace(LOUD, name="toxicity")])
def test_calibrations_prompts_are_none_of_the_evaluations(concept):
    asked, kept = set(training(concept, 40)), set(held_out(concept, 40))
    assert len(asked) == len(kept) == 40
    assert not asked & kept and not asked & set(
        Path("benchmarks/steering_prompts.txt").read_text().splitlines()
    )


def test_a_calibration_stops(library):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        calibrate(library, "loud", extent=SMALL, stop=stop)


def test_the_sweep_of_a_budget_is_even_in_cost(library):
    values = usual(plan(0.1), library)
    assert np.allclose(np.diff(values), values[0], atol=2e-4) and len(values) == 8
    assert values[-1] == pytest.approx(
        library.cav("loud").calibration.curve("auto", "amplify").fluent, abs=1e-4
    )


def test_what_the_page_knows_of_costs(library):
    known = costs(library.cav("loud"))["auto amplify"]
    assert known["points"][0][:2] == [-4.0, 0.0] and 0 < known["most"] <= known["end"]
    assert costs(dataclasses.replace(library.cav("loud"), calibration=None)) == {}


def test_a_concept_of_ones_own_opens_where_no_text_broke(library):
    texts = {"positive": [f"GO {n}" for n in range(10)], "negative": [f"go {n}" for n in range(10)]}
    *_, last = Controller(library).train("visitor", {"name": "mine", **texts})
    done = last["done"]
    cost = done["costs"]["auto amplify"]
    assert 0 < done["opens"] <= max(0.25, cost["whole"]) and "opens at" in last["note"]
    assert "10 examples a side are few" in last["note"]


def test_a_concept_that_breaks_at_once_opens_gently():
    broken = Curve(points(0.8, 1.2, broken=1.0))
    known = Calibration("diffmean", (1,), (0.0,), (1.0,), {"auto amplify": broken}, 1, 1, 1.0)
    cav = dataclasses.replace(_cav(), calibration=known)
    assert opening(cav) == pytest.approx(0.2) and opening(_cav()) is None


def _cav() -> CAV:
    model = load(str(tiny("llama")))
    return train(model, LOUD)


# ---- frontiers


ASKED = ["How are you?", "Why?", "Tell me."]


def frontier_bench(library, **changes) -> frontiers.Comparison:
    return frontiers.Comparison(library, "loud", "amplify", **{"tokens": 6, "temperature": 1.0} | changes)


def measured(bench, asked, *args, **settings) -> list[frontiers.Result]:
    *_, (share, results) = frontiers.frontier(bench, asked, *args, **settings)
    assert share == 1
    return results


def costs_of(results, method: str) -> list[float]:
    return [texts.kl.mean() for texts in results if texts.method == method]


def test_a_frontier_compares_methods_and_requests_at_their_kl(library):
    results = measured(frontier_bench(library), frontiers.spread(ASKED, [0]))
    methods = list(dict.fromkeys(texts.method for texts in results))
    requests = [f"request, {place}" for place in ("user", "system", "both")]
    assert methods == [
        "base",
        *requests,
        "default",
        "constant push",
        "GCAV of the paper",
        "default + request",
    ]
    assert not results[0].kl.any() and all(texts.kl.mean() > 0 for texts in results[1:4])
    for method in ("default", "constant push"):
        costs_ = costs_of(results, method)
        assert len(costs_) >= 2 and costs_[0] < costs_[-1]
    table = tables.markdown("loud", "amplify", results)
    assert table.count("\n| ") == 1 + len(results) and "At 0.1 nats a token" in table
    row, _, counts, steps = tables.summary([("loud", "amplify", results)]).splitlines()[2:]
    assert row.startswith("| loud, more |") and "nan" not in row
    assert counts.count("of 1, mean") == 2
    rising = tables.rising(results, "amplify")
    falling = tables.rising(results, "remove")
    assert len(rising) == len(costs_of(results, "default")) and not any(
        map(min, zip(rising, falling, strict=True))
    )
    assert steps.endswith(f"in {sum(rising)} of {len(rising)} steps.")


def test_a_frontier_of_plain_text_continues_it_and_has_the_request_before_it(library, tmp_path):
    path, asked = tmp_path / "texts.jsonl", frontiers.spread(ASKED, [3])
    results = measured(frontier_bench(library, continued=True), asked, path)
    assert [texts.method for texts in results][:2] == ["base", "request, before"]
    model, sampling = library.model, Sampling(1.0, 3, 6)
    texts = {(text.method, text.prompt): text for text in frontiers.load(path)[1]}
    for method, request in (("base", ""), ("request, before", wish(LOUD, "amplify") + "\n\n")):
        for prompt in ASKED:
            [run] = model.generate([Row(tuple(model.text_ids(request + prompt)), sampling)])
            assert texts[method, prompt].text == run.text
    with pytest.raises(ValueError, match="another model, scorer or length"):
        measured(frontier_bench(library), asked, path)


def test_a_frontier_that_was_stopped_goes_on_and_ends_as_one_that_was_not(library, tmp_path, monkeypatch):
    monkeypatch.setattr(frontiers, "TOGETHER", 1)
    bench, path = frontier_bench(library), tmp_path / "texts.jsonl"
    asked = frontiers.spread(ASKED, [0, 1])
    assert asked == [(ASKED[0], 0), (ASKED[1], 1), (ASKED[2], 0)]
    whole = measured(bench, asked, tmp_path / "whole.jsonl")
    stop = threading.Event()
    with pytest.raises(Stopped):
        for share, part in frontiers.frontier(bench, asked, path, together=1, stop=stop):
            assert share == pytest.approx(1 / 3) and len(part[0].score) == 1
            stop.set()
    path.write_text(path.read_text().rsplit("\n", 2)[0] + '\n{"method": "cut')
    again = measured(frontier_bench(library), asked, path)
    assert frontiers.to_dict(again) == frontiers.to_dict(whole)
    assert sorted(path.read_text().splitlines()) == sorted(
        (tmp_path / "whole.jsonl").read_text().splitlines()
    )
    with pytest.raises(ValueError, match="another model, scorer or length"):
        measured(frontier_bench(library, tokens=7), asked, path)


def test_after_a_new_calibration_only_what_it_changed_is_measured_again(library, tmp_path):
    path, asked = tmp_path / "texts.jsonl", frontiers.spread(ASKED, [0])
    measured(frontier_bench(library, methods=["base", "default", "constant push"]), asked, path)
    before = frontiers.load(path)[1]
    known = library.cav("loud").calibration
    moved = dataclasses.replace(known, mean=tuple(value + 1 for value in known.mean))
    other = Library(library.model, {})
    other.add(LOUD, dataclasses.replace(library.cav("loud"), calibration=moved))
    measured(frontier_bench(other, methods=["base", "default", "constant push"]), asked, path)
    fresh = frontiers.load(path)[1][len(before) :]
    assert fresh and {text.method for text in fresh} == {"default"}


def test_equal_kl_is_read_between_the_settings():
    def texts(method: str, kl: float, score: float) -> frontiers.Result:
        return frontiers.Result(method, "", *(np.full(4, value) for value in (score, kl, 1.0, 0.0)))

    results = [texts("base", 0.0, 0.2), texts("a", 0.4, 0.6), texts("b", 0.025, 0.3), texts("b", 0.1, 0.9)]
    assert tables.at_equal_kl(results, "a") == pytest.approx(0.2 + 0.4 * 0.5)
    assert tables.at_equal_kl(results, "b") == pytest.approx(0.9)


def test_what_cannot_be_judged_has_no_frontier(library):
    bare = Library(library.model, {})
    bare.add(dataclasses.replace(LOUD, scorer=None), library.cav("loud"))
    with pytest.raises(PlanError, match="no independent scorer"):
        frontiers.Comparison(bare, "loud", "amplify")


def test_the_snippet_of_a_taught_concept_finds_its_budget_again(library, tmp_path, monkeypatch):
    lines = [
        json.dumps({"positive": a, "negative": b}) for a, b in zip(LOUD.positive, LOUD.negative, strict=True)
    ]
    (tmp_path / "loud.jsonl").write_text("\n".join(lines))
    own = Library(library.model, {})
    own.add(
        dataclasses.replace(LOUD, scorer=None), dataclasses.replace(library.cav("loud"), calibration=None)
    )
    own.add(own.concepts["loud"], trial(own, "loud"))
    chosen = plan(own.cav("loud").calibration.curve("auto", "amplify").max_budget / 2)
    settings_ = {"seed": 3, "max_new_tokens": 8, "temperature": 1.0}
    code = snippet("Why?", chosen, model=str(tiny("llama")), **settings_)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["both"]["steered"]["text"] == steer(own, "Why?", chosen, **settings_)["steered"]["text"]


def test_a_frontier_of_what_needs_no_budget_needs_no_calibration(library):
    bare = Library(library.model, {})
    bare.add(LOUD, dataclasses.replace(library.cav("loud"), calibration=None))
    results = measured(
        frontier_bench(bare, methods=["base", "GCAV of the paper"]), frontiers.spread(ASKED, [0])
    )
    assert [texts.method for texts in results] == ["base", *["GCAV of the paper"] * 2]
    assert "ahead" not in tables.markdown("loud", "amplify", results)
    with pytest.raises(PlanError, match="calibration"):
        frontier_bench(bare)


def test_a_text_that_breaks_is_told_with_a_remedy() -> None:
    def side(repetition: float, nll: float) -> SimpleNamespace:
        return SimpleNamespace(metrics=SimpleNamespace(repetition=repetition, nll=nll))

    base = side(0.15, 1.0)
    assert broken(base, side(0.15, 1.9)) == ""
    assert broken(side(0.02, 1.0), side(0.1, 1.0)) == ""
    circles = broken(base, side(0.92, 0.1))
    assert (
        "goes in circles: 92 % of its three-token sequences come back" in circles
        and "Ask for less" in circles
    )
    assert "1.5 nats a token more" in broken(base, side(0.0, 2.5))
