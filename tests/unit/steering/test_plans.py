"""Plans, strengths and steered decodes on a tiny random model."""

import ast
import dataclasses
import json
import math
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from common.statistics import estimate
from lm import Edit, Policy, load
from lm.codec import Codec
from lm.edits.edit import MAX_PUSH
from lm.edits.trace import MAX_TARGETS, REACHED, UNREACHABLE
from lm.engines.base import Feed
from lm.prompts import PromptError
from steering import Library, Plan, PlanError, Target, pair, shipped, steer, train
from steering.control_vectors import export
from steering.controller import Controller
from steering.edits import calibrated_layers, edits, steering
from steering.evaluate import evaluate, labelled
from steering.metrics import measure
from steering.plan import MAX_TARGETS as PLAN_TARGETS
from steering.scorers import Head, fit_head, scorer
from steering.snippet import snippet
from steering.steer import finish, policy
from steering.sweep import sweep
from tests.oracles import closed_form, least_strengths
from tests.tiny import LAYERS, tiny
from tests.unit.steering.conftest import LONG, LOUD

PROMPT = "How are you?"


def plan(p0: float = 0.999, direction: str = "amplify", concept: str = "loud", **more) -> Plan:
    return Plan((Target(concept, direction, p0),), **({"method": "gcav"} | more))


def run(library: Library, chosen: Plan, **more) -> dict:
    return steer(library, PROMPT, chosen, max_new_tokens=12, temperature=1.0, seed=3, **more)


# ---- plans

PLANS = st.builds(
    Plan,
    targets=st.lists(
        st.builds(
            Target,
            st.sampled_from("abcdefgh"),
            st.sampled_from(["amplify", "remove"]),
            st.floats(1e-6, 1 - 1e-6),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda target: target.concept,
    ).map(tuple),
    layers=st.one_of(st.just("auto"), st.lists(st.integers(0, 90), min_size=1, unique=True).map(tuple)),
    method=st.sampled_from(["gcav", "diffmean"]),
    scope=st.sampled_from(["all", "answer"]),
    cap=st.one_of(st.none(), st.floats(0.01, 1)),
)


@given(PLANS)
@settings(max_examples=60)
def test_a_plan_is_its_json(made):
    assert Plan.from_json(made.to_json()) == made
    assert hash(Plan.from_json(json.loads(made.to_json()))) == hash(made)


GOOD = {"targets": [{"concept": "loud", "direction": "amplify", "p0": 0.9}]}


def target(**change) -> dict:
    return {"targets": [GOOD["targets"][0] | change]}


@pytest.mark.parametrize(
    "bad, word",
    [
        ("{", "JSON"),
        ("[" * 9_000, "JSON"),
        ("x" * 20_000, "10,000"),
        ("[]", "object"),
        ([], "object"),
        ({}, "targets"),
        ({"targets": []}, "targets"),
        ({"targets": {}}, "targets"),
        ({"targets": [1]}, "targets"),
        ({"targets": GOOD["targets"] * 2}, "twice"),
        ({"targets": [{"concept": str(n)} for n in range(4)]}, "4 targets"),
        *((target(p0=p0), "p0") for p0 in (0, 1, -0.5, float("nan"), "0.5", True, None)),
        (target(direction="more"), "direction"),
        (target(direction=[]), "direction"),
        (target(concept=""), "concept"),
        (target(concept=3), "concept"),
        (target(extra=1), "target"),
        *(
            (GOOD | {"layers": layers}, "layers")
            for layers in ([], [-1], [1.5], ["1"], [[1]], 5, None, "all")
        ),
        (GOOD | {"layers": [1, 1]}, "once"),
        (GOOD | {"method": "magic"}, "method"),
        (GOOD | {"method": {}}, "method"),
        (GOOD | {"method": "fixed"}, "strength"),
        (GOOD | {"strength": 1}, "strength"),
        *(
            (GOOD | {"method": "fixed", "strength": strength}, "strength")
            for strength in (-1, float("inf"), float("nan"), "1")
        ),
        (GOOD | {"scope": "none"}, "scope"),
        *((GOOD | {"cap": cap}, "cap") for cap in (0, float("nan"), "1", -1)),
        (GOOD | {"colour": 1}, "colour"),
    ],
)
def test_bad_plans_are_refused_with_the_argument_named(bad, word):
    with pytest.raises(PlanError, match=f"(?i){word}"):
        Plan.from_json(bad)


def test_plans_that_do_not_fit_the_model_are_refused(library):
    with pytest.raises(PlanError, match="no concept 'nobody'"):
        edits(plan(concept="nobody"), library)
    with pytest.raises(PlanError, match=f"0 to {LAYERS - 1}"):
        edits(plan(layers=(0, LAYERS)), library)


def test_contradicting_targets_are_refused(library):
    cav = library.cav("loud")
    both = Library(library.model, {})
    both.add(LOUD, cav)
    both.add(dataclasses.replace(LOUD, name="same"), dataclasses.replace(cav, concept="same"))
    opposed = Plan((Target("loud", "amplify", 0.99), Target("same", "remove", 0.01)))
    with pytest.raises(PlanError, match="contradict"):
        edits(opposed, both)
    assert not steering(opposed, both).feasible and steering(opposed, both).cosines[
        "loud / same"
    ] == pytest.approx(1, abs=1e-5)
    assert steering(plan(), both).feasible


def test_targets_that_nearly_contradict_are_told_where_nothing_was_pushed(library):
    cav, both = library.cav("loud"), Library(library.model, {})
    noise = torch.randn(cav.w.shape, generator=torch.Generator().manual_seed(0))
    both.add(LOUD, cav)
    both.add(
        dataclasses.replace(LOUD, name="same"),
        dataclasses.replace(cav, concept="same", w=cav.w * (1 + 1e-2 * noise)),
    )
    targets = [
        {"concept": "loud", "direction": "amplify", "p0": 0.98},
        {"concept": "same", "direction": "remove", "p0": 0.02},
    ]
    asked = {
        "prompt": PROMPT,
        "plan": {"targets": targets, "method": "gcav"},
        "seed": 1,
        "max_new_tokens": 12,
        "temperature": 1.0,
    }
    *_, (state, _) = Controller(both).run("visitor", asked)
    assert (
        state["unsteered"] and "no push reaches all targets" in state["held"] and "drop one" in state["held"]
    )
    assert "no push was needed" not in state["note"]


# ---- strengths


@given(
    st.floats(-30, 30), st.floats(1e-6, 1 - 1e-6), st.floats(0.01, 10), st.sampled_from(["amplify", "remove"])
)
@settings(max_examples=100)
def test_the_closed_form_reaches_p0_exactly_or_does_nothing(z, p0, norm, direction):
    goal = math.log(p0 / (1 - p0))
    eps = closed_form(z, goal, norm, direction)
    after = z + eps * norm
    assert after >= goal - 1e-6 if direction == "amplify" else after <= goal + 1e-6
    assert eps == 0 or after == pytest.approx(goal, abs=1e-6)
    assert eps >= 0 if direction == "amplify" else eps <= 0
    sense = 1 if direction == "amplify" else -1
    program = np.array([z]), np.array([[norm]]), np.array([goal]), np.array([sense])
    assert least_strengths(*program)[0] == pytest.approx(eps, abs=1e-6)
    one = torch.ones(1, 1, dtype=torch.float64)
    solver = Edit(
        0, norm * one, torch.zeros(1), one, torch.tensor([goal], dtype=torch.float64), torch.tensor([sense])
    )
    applied, solved = solver.strengths(torch.tensor([[z]], dtype=torch.float64))
    assert solved[0] and applied[0, 0].item() == pytest.approx(eps, abs=1e-6)


@pytest.mark.parametrize("angle", [1e-1, 1e-2, 1e-3, 1e-4])
def test_almost_parallel_targets_are_solved_exactly(angle):
    random = torch.Generator().manual_seed(0)
    first, across = torch.linalg.qr(torch.randn(64, 2, generator=random, dtype=torch.float64))[0].T
    push = torch.stack([first, math.cos(angle) * first + math.sin(angle) * across]).float()
    sense = torch.tensor([1, -1])
    opposed = Edit(0, 2 * push, torch.zeros(2), push, torch.tensor([4.0, -4.0]), sense)
    z = torch.tensor([[0.5, 0.25], [-3.0, 2.0]])
    eps, solved = opposed.strengths(z)
    assert solved.all()
    for row, found in zip(z.double().numpy(), eps.double().numpy(), strict=True):
        gram = 2 * push.double().numpy() @ push.double().numpy().T
        exact = np.linalg.solve(gram, np.array([4.0, -4.0]) - row)
        np.testing.assert_allclose(found, exact, rtol=1e-5)


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("noise", [1e-1, 3e-2, 1e-2, 1e-3, 1e-5])
def test_almost_parallel_targets_are_reached_or_told_and_never_pushed_out_of_sight(library, engine, noise):
    model = load(str(tiny("llama")), engine=engine)
    cav, both = library.cav("loud"), Library(model, {})
    bent = cav.w * (1 + noise * torch.randn(cav.w.shape, generator=torch.Generator().manual_seed(0)))
    both.add(LOUD, dataclasses.replace(cav, model_hash=model.hash))
    both.add(
        dataclasses.replace(LOUD, name="same"),
        dataclasses.replace(cav, concept="same", w=bent, model_hash=model.hash),
    )
    opposed = Plan(
        (Target("loud", "amplify", 0.98), Target("same", "remove", 0.02)), layers=(1,), method="gcav"
    )
    made = pair(both, PROMPT, opposed, max_new_tokens=12, temperature=1.0, seed=1)
    for _ in made.decoding:
        pass
    trace, [edit] = np.stack(made.decoding.runs[1].trace)[:, 0], made.sides[1].edits
    z, eps = (trace[name][:, :2].astype(float) for name in ("z", "eps"))
    reached, unreachable = (trace["outcome"] == outcome for outcome in (REACHED, UNREACHABLE))
    size = np.linalg.norm(eps @ edit.push.double().numpy(), axis=1)
    assert np.all(reached | unreachable) and np.all(size <= MAX_PUSH * trace["norm"] * 1.001)
    assert np.all(eps[unreachable] == 0)
    after = z + eps @ edit.gram.numpy().T
    assert np.all(((after - edit.goal.numpy()) * edit.sense.numpy())[reached] > -1e-2)
    assert reached.any() if noise == 1e-1 else unreachable.all()


# ---- decodes


@pytest.mark.parametrize(
    "chosen",
    [
        plan(1e-6),
        plan(1 - 1e-6, "remove"),
        plan(method="fixed", strength=0.0, p0=0.5),
        plan(1e-6, method="diffmean", layers=(0, 1, 2), scope="answer"),
    ],
    ids=["amplify", "remove", "fixed", "diffmean"],
)
def test_a_gate_that_never_fires_equals_unsteered_token_for_token(library, chosen):
    made = pair(library, PROMPT, chosen, max_new_tokens=12, temperature=1.0, seed=3)
    for _ in made.decoding:
        pass
    unsteered, steered = made.decoding.runs
    assert not np.stack(steered.trace)["eps"].any()
    assert steered.ids == unsteered.ids and steered.logprobs == unsteered.logprobs
    plain = Policy(library.model, temperature=1.0).respond([PROMPT], seed=3, max_new_tokens=12)[0]
    assert unsteered.ids == plain.ids


def test_steering_reaches_its_goal_where_it_writes(library):
    both = run(library, plan(0.999))
    trace, plain = both["steered"]["trace"], both["unsteered"]["trace"]
    after = np.array(trace["after"])
    assert after.min() > 0.99 and np.array(trace["before"]).min() < 0.99
    assert np.all((np.array(trace["eps"]) > 0) == (np.array(trace["before"]) < after))
    assert both["steered"]["text"] != both["unsteered"]["text"]
    assert not np.any(plain["eps"]) and plain["before"] == plain["after"]
    assert trace["layers"] == plain["layers"] and len(trace["before"]) == len(both["steered"]["tokens"])


def test_the_contracts_object(library):
    both = json.loads(json.dumps(run(library, plan())))
    for side in ("unsteered", "steered"):
        metrics = both[side]["metrics"]
        assert (
            both[side].keys() >= {"text", "tokens", "metrics"}
            and "".join(both[side]["tokens"]) == both[side]["text"]
        )
        assert (
            metrics.keys() >= {"nll", "kl", "repetition", "tokens_per_second", "scores"}
            and 0 <= metrics["scores"]["loud"] <= 1
        )
    assert both["unsteered"]["metrics"]["kl"] == 0 < both["steered"]["metrics"]["kl"]
    assert both["unsteered"]["metrics"]["gate"] == 0 < both["steered"]["metrics"]["gate"]


def test_nll_of_the_unsteered_row_is_that_of_its_own_tokens(library):
    made = pair(library, PROMPT, plan(), max_new_tokens=12, temperature=1.0, seed=3)
    for _ in made.decoding:
        pass
    unsteered, steered = finish(library, made)
    assert unsteered.metrics.nll == pytest.approx(-np.mean(unsteered.run.logprobs), abs=1e-5)
    assert steered.metrics.kl > 0 and steered.metrics.kl95 >= steered.metrics.kl


def test_a_cap_holds_and_is_told(library):
    both = run(library, plan(0.999, cap=0.01))
    assert np.max(both["steered"]["trace"]["share"]) <= 0.01 * 1.001
    assert both["steered"]["metrics"]["capped"] > 0 and np.min(both["steered"]["trace"]["after"]) < 0.99


def test_fixed_strength_counts_class_gaps(library):
    cav, [edit] = library.cav("loud"), edits(plan(method="fixed", strength=1.5, p0=0.5, layers=(1,)), library)
    torch.testing.assert_close(edit.fixed[0] * edit.push[0], 1.5 * cav.gap[1] * cav.diffmean[1])
    [away] = edits(plan(method="fixed", direction="remove", strength=1.5, p0=0.5, layers=(1,)), library)
    assert torch.equal(away.fixed, -edit.fixed)


def test_several_targets_are_all_reached(library):
    both = run(
        library,
        Plan((Target("loud", "amplify", 0.99), Target("long", "remove", 0.05)), layers=(1,), method="gcav"),
    )
    after = np.array(both["steered"]["trace"]["after"])[:, 0]
    assert after[:, 0].min() > 0.985 and after[:, 1].max() < 0.055


def test_stop_cancels_and_an_empty_run_is_no_measurement(library):
    stop = threading.Event()
    stop.set()
    made = pair(library, PROMPT, plan(), max_new_tokens=200, stop=stop)
    for _ in made.decoding:
        pass
    assert [one.finish for one in made.decoding.runs] == ["cancelled", "cancelled"]
    with pytest.raises(ValueError, match="no tokens"):
        measure(library.model, [type(made.decoding.runs[0])((1,))], [()], [], temperature=1.0)


def test_two_sessions_at_once_get_what_each_gets_alone(library):
    plans = [plan(0.999), plan(0.01, "remove", "long"), plan(0.9, layers=(2,))]
    alone = [run(library, one) for one in plans]
    together: dict[int, dict] = {}
    threads = [
        threading.Thread(target=lambda i=i, one=one: together.update({i: run(library, one)}))
        for i, one in enumerate(plans)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, one in enumerate(alone):
        assert (
            together[i]["steered"]["tokens"] == one["steered"]["tokens"]
            and together[i]["steered"]["trace"] == one["steered"]["trace"]
        )


@pytest.mark.parametrize(
    "change, word",
    [
        ({"prompt": "  "}, "empty"),
        ({"prompt": "x" * 5_000}, "5,000 characters"),
        ({"prompt": "é" * 1_500}, "tokens"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": -3}, "max_new_tokens"),
        ({"max_new_tokens": 10**9}, "max_new_tokens"),
        ({"temperature": -1}, "Temperature"),
        ({"temperature": float("nan")}, "Temperature"),
        ({"seed": -1}, "Seed"),
    ],
)
def test_bad_requests(library, change, word):
    with pytest.raises(ValueError, match=word):
        steer(library, **({"prompt": PROMPT, "plan": plan()} | change))
    assert issubclass(PromptError, ValueError)


def test_a_sessions_own_concepts_stay_with_it(library):
    session = library.session()
    session.add(
        dataclasses.replace(LOUD, name="mine"), dataclasses.replace(library.cav("loud"), concept="mine")
    )
    assert "mine" in session.concepts and "mine" not in library.concepts
    assert session.cav("mine").concept == "mine"
    with pytest.raises(PlanError, match="no concept"):
        library.session().cav("mine")


# ---- sweep, evaluation, export, snippet, policy


def test_a_sweep_equals_single_runs(library):
    chosen = plan()
    settings = {"seed": 3, "max_new_tokens": 12, "temperature": 1.0}
    [(share, table)] = sweep(library, [PROMPT], chosen, values=[0.9, 0.999], bands=[(0,), (1, 2)], **settings)
    assert share == 1
    assert len(table) == 5 and pd.isna(table.magnitude[0])
    single = run(library, plan(0.999, layers=(1, 2)))["steered"]
    [row] = table[(table.magnitude == 0.999) & (table.layers == "1 2")].to_dict("records")
    assert (row["text"], row["nll"], row["kl"]) == (
        single["text"],
        single["metrics"]["nll"],
        single["metrics"]["kl"],
    )


def test_a_sweep_has_bounds(library):
    with pytest.raises(PlanError, match="at most"):
        next(sweep(library, [PROMPT] * 60, plan()))
    with pytest.raises(PlanError, match="prompt"):
        next(sweep(library, [], plan()))


def test_evaluation_compares_methods_and_the_request_beside_steering(library):
    found = evaluate(library, plan(), [PROMPT, "Why?"], max_new_tokens=8)
    assert set(found["methods"]) == {"unsteered", "prompted", "prompted + gcav", "fixed", "gcav"}
    for numbers in found["methods"].values():
        assert set(numbers) >= {"score", "kl", "nll", "repetition"}
        assert all(low <= mean <= high for mean, low, high in numbers.values())


@pytest.mark.parametrize("method, more", [("diffmean", {}), ("fixed", {"strength": 0.5})])
def test_an_evaluation_calls_a_method_by_its_name(library, method, more):
    found = evaluate(library, plan(method=method, **more), [PROMPT], max_new_tokens=6)
    assert set(found["methods"]) == {"unsteered", "prompted", f"prompted + {method}", method, "fixed"}
    assert found["fixed_strength"] == 0.5 if method == "fixed" else found["fixed_strength"] > 0


def test_where_a_template_refuses_a_system_message_the_request_is_in_the_users_alone(library, monkeypatch):
    """Gemma's chat template refuses a system message."""
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}{{ messages[0]['content'] }}>"
    monkeypatch.setattr(library.model.tokenizer, "chat_template", refusing)
    monkeypatch.setattr(library.model, "codec", Codec("refusing", library.model.tokenizer))
    asked, exact = [], library.model.generate
    monkeypatch.setattr(
        library.model, "generate", lambda rows, **more: asked.append(rows) or exact(rows, **more)
    )
    evaluate(library, plan(), [PROMPT], max_new_tokens=4)
    assert (
        library.model.tokenizer.decode(asked[1][0].prompt)
        == f"{PROMPT}\n\nAnswer in a way that is very loud.>"
    )
    both = steer(library, PROMPT, plan(), rival="request", max_new_tokens=4)
    assert both["requested"]["text"] is not None


def test_labelled_texts_far_from_the_threshold_keep_their_order(library, tmp_path):
    path, sides = tmp_path / "l.jsonl", ((True, LOUD.positive), (False, LOUD.negative))
    path.write_text(
        "\n".join(json.dumps({"text": text, "label": int(side)}) for side, texts in sides for text in texts)
    )
    cav = library.cav("loud")
    moved = dataclasses.replace(cav, w=cav.w * 10, b=cav.b * 10 + 200)
    found = labelled(library, moved, path)
    assert found["accuracy"][0] == 0.5 and found["accuracy_at_median"][0] > 0.9


def test_bootstrap_intervals_cover_the_mean():
    mean, low, high = estimate(np.random.default_rng(0).normal(1, 1, 400).tolist())
    assert low < 1 < high and high - low == pytest.approx(2 * 1.96 / 20, rel=0.15) and low < mean < high


def test_export_writes_the_directions(library, tmp_path):
    cav = library.cav("loud")
    plain = load_file(export(cav, tmp_path / "v.safetensors"))
    assert all(torch.equal(plain[f"direction.{layer}"], cav.direction[layer]) for layer in range(LAYERS))
    reader = GGUFReader(export(cav, tmp_path / "v.gguf", method="diffmean"))
    assert bytes(reader.fields["general.architecture"].parts[-1]) == b"controlvector"
    layers = [layer for layer in calibrated_layers(cav) if layer]
    assert [tensor.name for tensor in reader.tensors] == [f"direction.{layer}" for layer in layers]
    for layer, tensor in zip(layers, reader.tensors, strict=True):
        np.testing.assert_array_equal(tensor.data, (cav.diffmean[layer] * cav.gap[layer]).numpy())
    with pytest.raises(ValueError, match="gguf or .safetensors"):
        export(cav, tmp_path / "v.txt")


def test_the_snippet_is_a_program_with_the_plan_and_the_prompt(library):
    chosen, prompt = plan(layers=(1, 2), cap=0.3), 'say {"a": null}\n'
    code = snippet(prompt, chosen, model=None, seed=4, max_new_tokens=9, temperature=0.5)
    calls = {ast.unparse(node.func): node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)}
    assert Plan.from_json(ast.literal_eval(calls["Plan.from_json"].args[0])) == chosen
    assert ast.literal_eval(calls["steer"].args[1]) == prompt
    assert {word.arg: word.value.value for word in calls["steer"].keywords} == {
        "seed": 4,
        "max_new_tokens": 9,
        "temperature": 0.5,
    }


def test_the_snippet_learns_what_is_not_shipped(library, tmp_path, monkeypatch):
    lines = [
        json.dumps({"positive": a, "negative": b}) for a, b in zip(LOUD.positive, LOUD.negative, strict=True)
    ]
    (tmp_path / "loud.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    code = snippet(
        PROMPT, plan(layers=(1,)), model=str(tiny("llama")), seed=3, max_new_tokens=12, temperature=1.0
    )
    names: dict = {}
    exec(code, names)
    assert names["both"]["steered"]["tokens"] == run(library, plan(layers=(1,)))["steered"]["tokens"]
    assert "train" not in snippet(
        PROMPT, plan(concept="film"), model=None, seed=3, max_new_tokens=12, temperature=1.0
    )


def test_a_policy_answers_as_the_page_does(library):
    page = run(library, plan())["steered"]
    answer = dataclasses.replace(policy(library, plan()), temperature=1.0).respond(
        [PROMPT, "Why?"], seed=3, max_new_tokens=12
    )
    assert answer[0].text == page["text"] and len(answer) == 2


@pytest.mark.parametrize(
    "name, high, low",
    [
        ("vader", "What a wonderful, happy day!", "This is terrible and sad."),
        ("profanity", "you are a stupid idiot", "The committee meets on Monday."),
        ("sentiment", "What a wonderful, happy day!", "This is terrible and sad."),
        ("formality", "We respectfully request additional information.", "hey dude, gonna chill lol!"),
        ("sports", "The goalkeeper won the match and the league.", "The soup needs more salt and pepper."),
        ("film", "The director cut the last scene of the movie.", "The soup needs more salt and pepper."),
        ("children", "The toddler drew a castle at nursery.", "The pensioner filed his tax return."),
        ("science", "The enzyme was isolated in the laboratory.", "The market opens at nine on Monday."),
    ],
)
def test_scorers_order_clear_cases(name, high, low):
    assert scorer(name)(high) > 0.7 > 0.4 > scorer(name)(low)
    assert 0 <= scorer(name)("") <= 1


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_concept_has_a_scorer_that_is_no_vector(name):
    concept = shipped()[name]
    assert concept.scorer and 0 <= scorer(concept.scorer)(concept.positive[0]) <= 1


def test_a_head_is_one_file_with_its_held_out_accuracy(tmp_path, monkeypatch):
    concept = shipped()["sports"]
    head = fit_head("mine", concept.positive[:30], concept.negative[:30], "a test")
    assert head.n == 60 and 0.8 < head.accuracy <= 1
    head.save(tmp_path)
    monkeypatch.setattr("steering.scorers.HEADS", tmp_path)
    assert Head.load("mine") == head


def test_labelled_texts_are_read_with_their_labels(library, tmp_path):
    path = tmp_path / "l.jsonl"
    rows = [
        {"text": text, "label": int(side)}
        for side, texts in ((True, LOUD.positive), (False, LOUD.negative))
        for text in texts
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    found = labelled(library, library.cav("loud"), path)
    assert found["n"] == 20 and found["accuracy"][0] > 0.9
    path.write_text(json.dumps(rows[0]) + "\n{}")
    with pytest.raises(ValueError, match="line 2"):
        labelled(library, library.cav("loud"), path)
    path.write_text(json.dumps(rows[0]))
    with pytest.raises(ValueError, match="give some of both"):
        labelled(library, library.cav("loud"), path)


# ---- what is never pushed


@pytest.mark.parametrize("engine", ["native", "batched", "reference"])
@pytest.mark.parametrize("scope", ["all", "answer"])
def test_template_and_sink_are_not_pushed(monkeypatch, engine, scope):
    model = load(str(tiny("llama")), engine=engine)
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}ok: "
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    before, after = model.chat_span
    ids = model.chat_ids(PROMPT)
    assert model.tokenizer.decode(ids[:before]).endswith("<user>")
    assert model.tokenizer.decode(ids[len(ids) - after :]).endswith("ok: ")
    library = Library(model, {})
    library.add(LOUD, train(model, LOUD))
    applied = edits(plan(0.9999, layers=(1,), scope=scope), library)
    start = len(ids) - 1 if scope == "answer" else before
    slots = [model.engine.open(len(ids), edit, None, len(ids) - 1) for edit in (applied, ())]
    logits, base = (model.engine.forward([Feed(slot, ids, want=len(ids))])[0] for slot in slots)
    assert np.array_equal(logits[:start], base[:start])
    assert all(not np.array_equal(logits[at], base[at]) for at in range(start, len(ids)))


OFF = [
    plan(1e-6),
    plan(1 - 1e-6, "remove"),
    plan(method="auto", budget=0.0),
    plan(method="gcav", budget=0),
    plan(method="fixed", budget=0.0),
    plan(method="fixed", strength=0.0),
]


@pytest.mark.parametrize("chosen", OFF, ids=lambda chosen: f"{chosen.method} {chosen.budget}")
@pytest.mark.parametrize("scope", ["all", "answer"])
def test_off_is_the_base_text_bit_for_bit(library, chosen, scope):
    """Even where every token reads below the left end of the slider."""
    cav = library.cav("loud")
    far = Library(library.model, {})
    shift = -40.0 if chosen.targets[0].sense > 0 else 40.0
    far.add(LOUD, dataclasses.replace(cav, b=cav.b + shift))
    both = run(far, dataclasses.replace(chosen, scope=scope))
    assert both["steered"]["tokens"] == both["unsteered"]["tokens"]
    assert not np.any(both["steered"]["trace"]["eps"]) and both["steered"]["metrics"]["kl"] == 0
    assert both["steered"]["metrics"]["nll"] == both["unsteered"]["metrics"]["nll"]


@pytest.mark.parametrize("engine", ["native", "batched", "reference"])
def test_a_target_that_is_off_is_read_beside_one_that_is_not(engine):
    model = load(str(tiny("llama")), engine=engine)
    library = Library(model, {})
    for concept in (LOUD, LONG):
        library.add(concept, train(model, concept))
    chosen = Plan((Target("loud", "amplify", 1e-6), Target("long", "amplify", 0.999)), layers=(1,))
    eps = np.array(run(library, chosen)["steered"]["trace"]["eps"])[:, 0]
    assert not eps[:, 0].any() and (eps[:, 1] > 0).any()


def test_the_edits_of_a_plan_are_made_once(library, monkeypatch):
    built, exact = [], Edit.__post_init__
    monkeypatch.setattr(Edit, "__post_init__", lambda edit: built.append(edit) or exact(edit))
    run(library, plan(layers=(0, 1)))
    assert len(built) == 4  # two that push, and for the base row two that read


def test_a_plan_takes_as_many_targets_as_an_edit():
    assert PLAN_TARGETS == MAX_TARGETS


def test_a_plan_knows_neither_library_nor_model():
    tree = ast.parse(Path("steering/plan.py").read_text())
    assert not any(
        isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("steering", "lm"))
        for node in ast.walk(tree)
    )


def test_a_text_to_be_continued_is_pushed_from_its_second_token_on(monkeypatch):
    model = load(str(tiny("llama")))
    library = Library(model, {})
    library.add(LOUD, train(model, LOUD))
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}ok: "
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    before, _ = model.chat_span
    starts = [
        {edit.start for edit in edits(plan(), library, asked)}
        for asked in (
            PROMPT,
            {"continue": PROMPT},
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
        )
    ]
    assert before > 1 and starts == [{before}, {1}, {1}]
