"""What stands beside the unsteered and the steered text: the request in words, concepts that are watched, an answer that
goes on from a chosen beginning, and one token under the lens.
"""

import dataclasses
import json

import numpy as np
import pytest
from scipy.special import expit

from lm import Policy, Row, Sampling
from lm.codec import PromptError
from lm.prompts import prompt_ids
from steering import Library, Plan, PlanError, Target, pair, steer
from steering.controller import Controller
from steering.inspector import inspect
from steering.requests import requested, wish
from steering.steer import finish
from tests.tiny import LAYERS
from tests.unit.steering.conftest import LONG, LOUD

PROMPT = "How are you?"
SETTINGS = {"seed": 3, "max_new_tokens": 10, "temperature": 1.0}


def plan(p0: float = 0.999, **more) -> Plan:
    return Plan((Target("loud", p0=p0),), **({"method": "gcav", "layers": (1, 2)} | more))


def run(library: Library, chosen: Plan, **more):
    started = pair(library, PROMPT, chosen, **SETTINGS | more)
    for _ in started.decoding:
        pass
    return started


# ---- the request


def test_the_request_stands_in_both_messages_beside_what_is_there():
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    asked = requested(chat, [wish(dataclasses.replace(LOUD, more="Shout."), "amplify")])
    assert asked.to_json() == [
        {"role": "system", "content": "Be brief.\n\nShout."},
        {"role": "user", "content": "Why?\n\nShout."},
    ]
    assert wish(LOUD, "remove") == "Answer in a way that is very not loud."
    with pytest.raises(PromptError, match="plain text"):
        requested({"continue": "Once"}, ["Shout."])


@pytest.mark.parametrize("rival, steered", [("request", False), ("both", True)])
def test_the_rival_is_the_model_asked_in_words_alone_or_steered_too(library, rival, steered):
    both = steer(library, PROMPT, plan(), rival=rival, **SETTINGS)
    asked = requested(PROMPT, [wish(LOUD, "amplify")])
    alone = steer(library, asked, plan(), **SETTINGS)
    assert both["requested"]["text"] == alone["steered" if steered else "unsteered"]["text"]
    assert both["requested"]["metrics"]["kl"] > 0
    without = steer(library, PROMPT, plan(), **SETTINGS)
    assert {side: both[side]["text"] for side in without} == {side: without[side]["text"] for side in without}
    with pytest.raises(PlanError, match="Rival is 'shout'"):
        steer(library, PROMPT, plan(), rival="shout")


# ---- watching


def test_what_is_watched_is_read_and_changes_nothing(library):
    bare, watched = run(library, plan()), run(library, plan(), watch=["long"])
    assert [each.ids for each in watched.decoding.runs] == [each.ids for each in bare.decoding.runs]
    *_, (state, _) = Controller(library).run("tab", asked(plan(), watch=["long"]))
    cav = library.cav("long")
    for side, drawn in enumerate((state["unsteered"], state["steered"])):
        run_ = watched.decoding.runs[side]
        z = np.stack(run_.trace)["z"][:, len(watched.sides[side].edits) :, 0]
        assert [token[1][1] for token in drawn] == pytest.approx(expit(z).mean(1), abs=1e-4)
    plain = watched.decoding.runs[0]
    states = library.model.read([[*plain.prompt, *plain.ids[:4]]])[0]
    expected = [float(states[layer] @ cav.w[layer] + cav.b[layer]) for layer in (1, 2)]
    assert plain.trace[4]["z"][-2:, 0].tolist() == pytest.approx(expected, abs=1e-3)
    assert [row[0] for row in state["rows"]][:2] == ["P(loud)", "P(long)"]


def test_many_watched_concepts_share_edits_and_keep_their_order(library):
    own = library.session()
    names = ["long", "a", "b", "c", "d"]
    for name in names[1:]:
        cav = library.cav("long" if name in "bd" else "loud")
        own.add(dataclasses.replace(LONG, name=name), dataclasses.replace(cav, concept=name))
    *_, (state, _) = Controller(own).run("tab", asked(plan(1e-6), watch=names))
    readings = [token[1] for token in state["steered"]]
    assert all(len(each) == 6 for each in readings)
    for loud, long, a, b, c, d in readings:
        assert (a, c) == (loud, loud) and (b, d) == (long, long)


def test_a_plan_watches_what_there_is(library):
    with pytest.raises(PlanError, match="no concept 'tall'"):
        pair(library, PROMPT, plan(), watch=["tall"])
    *_, (state, _) = Controller(library).run("tab", asked(plan(), watch=["long"] * 7))
    assert "at most 6 names" in state["problem"]


# ---- a chosen beginning


@pytest.mark.parametrize("scope", ["all", "answer"])
def test_an_answer_goes_on_from_its_own_beginning_as_if_it_had_not_stopped(library, scope):
    whole = run(library, plan(scope=scope), temperature=0.0)
    begin = whole.decoding.runs[1].ids[:4]
    rest = run(library, plan(scope=scope), temperature=0.0, begin=begin, max_new_tokens=6)
    assert rest.decoding.runs[1].ids == whole.decoding.runs[1].ids[4:]
    if scope == "all":
        shown, before = finish(library, rest)[1].metrics, finish(library, whole)[1].metrics
        assert shown.kl > 0 and before.kl > 0


@pytest.mark.parametrize("prompt", [PROMPT, {"continue": "Once"}])
def test_a_text_follows_on_from_its_beginning_and_from_a_text_that_is_continued(library, prompt):
    *_, side = pair(library, prompt, plan(), **SETTINGS, begin=[65, 66]).sides
    assert side.row.follows == (2 if prompt == PROMPT else len(side.row.prompt))


def test_a_beginning_of_tokens_that_are_none_is_refused(library):
    for begin, says in (([10**6], "the model knows"), (["a"], "give a list of at most 512 token ids")):
        *_, (state, _) = Controller(library).run("tab", asked(plan(), begin=begin))
        assert says in state["problem"]


# ---- the lens


def asked(chosen: Plan, **more) -> dict:
    return {"prompt": PROMPT, "plan": json.loads(chosen.to_json()), "run": 1, **SETTINGS, **more}


@pytest.mark.parametrize("scope", ["all", "answer"])
@pytest.mark.parametrize("side", [0, 1])
def test_the_lens_tells_what_both_models_would_have_said(library, side, scope):
    started = run(library, plan(scope=scope))
    drawn = started.decoding.runs[side]
    at = inspect(library, started, side, 5)
    assert at["prefix"] == drawn.ids[:5] and [each["drawn"] for each in at["alternatives"]].count(True) == 1
    [token] = [each for each in at["alternatives"] if each["drawn"]]
    own = token["steered" if side else "base"]
    assert token["id"] == drawn.ids[5] and np.log(own) == pytest.approx(drawn.logprobs[5], abs=5e-3)
    for model in ("base", "steered"):
        assert len(at["alternatives"]) >= 8 and 0 < sum(each[model] for each in at["alternatives"]) <= 1.001


def test_the_lens_reads_every_concept_at_every_layer_and_tells_the_push(library):
    started = run(library, plan())
    steered = started.decoding.runs[1]
    at = inspect(library, started, 1, 3)
    readings = {each["name"]: each for each in at["readings"]}
    assert readings.keys() == {"loud", "long"} and all(
        len(each["base"]) == LAYERS for each in readings.values()
    )
    record = steered.trace[3]
    assert [push["layer"] for push in at["pushes"]] == [1, 2]
    assert [push["eps"][0] for push in at["pushes"]] == pytest.approx(record["eps"][:2, 0], abs=1e-2)
    assert min(readings["loud"]["steered"][layer] for layer in (1, 2)) >= 0.998
    states = library.model.read([[*steered.prompt, *steered.ids[:3]]])[0]
    cav = library.cav("long")
    plain = expit([float(states[layer] @ cav.w[layer] + cav.b[layer]) for layer in range(LAYERS)])
    assert readings["long"]["base"] == pytest.approx(plain, abs=1e-3)


def test_the_page_goes_on_from_another_alternative(library):
    controller = Controller(library)
    *_, (_, _) = controller.run("tab", asked(plan()))
    at = controller.inspect("tab", {"run": 1, "side": 1, "index": 4})
    other = next(each for each in at["alternatives"] if not each["drawn"] and not each["ends"])
    *_, (state, _) = controller.run("tab", asked(plan(), run=2, begin=[*at["prefix"], other["id"]]))
    assert state["phase"] == "done" and state["begin"].startswith(library.model.codec.decode(at["prefix"]))
    ids = (*prompt_ids(library.model, PROMPT), *at["prefix"], other["id"])
    [alone] = library.model.generate([Row(ids, Sampling(1.0, 3, 10))])
    assert "".join(token[0] for token in state["unsteered"]) == alone.text
    assert "beginning that you chose" in controller.compare("tab", lambda *_: "sent")


def test_the_lens_opens_as_soon_as_the_texts_are_done(library):
    """The table under the texts takes longer: who clicks before it comes is answered."""
    controller = Controller(library)
    states = controller.run("tab", asked(plan()))
    state, _ = next(each for each in states if each[0]["phase"] == "done")
    assert "rows" not in state
    assert controller.inspect("tab", {"run": 1, "side": 1, "index": 3})["index"] == 3


@pytest.mark.parametrize(
    "change, says",
    [
        ({"run": 7}, "not complete yet"),
        ({"side": 2}, "Side is 2"),
        ({"index": 10}, "Index is 10"),
        ({"index": "a"}, "Index is"),
    ],
)
def test_a_token_that_is_not_there_is_refused(library, change, says):
    controller = Controller(library)
    *_, (_, _) = controller.run("tab", asked(plan()))
    with pytest.raises(ValueError, match=says):
        controller.inspect("tab", {"run": 1, "side": 1, "index": 3} | change)


def test_a_policy_is_what_the_page_shows(library):
    started = run(library, plan())
    [plain] = Policy(library.model, temperature=1.0).respond([PROMPT], seed=3, max_new_tokens=10)
    assert started.decoding.runs[0].ids == plain.ids
