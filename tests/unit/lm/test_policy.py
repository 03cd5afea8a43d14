"""Policies: names, seeds, answers."""

import threading

import pytest

from lm import Policies, Policy, Row, Sampling, load
from lm.policy import PolicyError, parse, seeds
from tests.tiny import tiny


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("llama")))


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("base", "base", ""),
        ({"name": "any", "base": True}, "base", ""),
        ("checkpoint:kind", "checkpoint", "kind"),
        ("kind", "checkpoint", "kind"),
        ("owner/name", "checkpoint", "owner/name"),
        ({"name": "any", "checkpoint": "kind"}, "checkpoint", "kind"),
        ("mix:A+B@0.35", "mix", "A+B@0.35"),
        ("A+B@0.35", "mix", "A+B@0.35"),
        ({"mix": "A+B@0.35"}, "mix", "A+B@0.35"),
        ("curve:0.35", "curve", "0.35"),
        ({"mix": "soup:0.35"}, "soup", "0.35"),
        ('plan:{"targets": []}', "plan", '{"targets": []}'),
        ('{"targets": []}', "plan", '{"targets": []}'),
        ({"targets": []}, "plan", {"targets": []}),
        ({"name": "any", "plan": {"targets": []}}, "plan", {"targets": []}),
    ],
)
def test_one_grammar_understands_the_names_of_all_tabs(name, kind, what):
    assert parse(name) == (kind, what)


@pytest.mark.parametrize("name", ["", " ", {}, {"name": "x"}, {"base": False}])
def test_what_names_no_policy_is_refused(name):
    with pytest.raises(PolicyError):
        parse(name)


def test_a_resolver_makes_what_a_name_stands_for(model):
    mixes = []
    policies = Policies(model, mix=lambda *mix: mixes.append(mix) or Policy(model, "mixed"))
    assert policies("base").spec == {"model": model.name, "model_hash": model.hash, "base": True}
    assert policies("mix:a+b@0.25").name == "mixed" and mixes == [("a", "b", 0.25)]
    for wrong in ("mix:a@0.5", "mix:a+b", "mix:a+b@2", "mix:a+b@x", "mix:+b@1", "mix:a+b@nan"):
        with pytest.raises(PolicyError, match="share of the first"):
            policies(wrong)
    with pytest.raises(PolicyError, match="kind soup"):
        policies("soup:0.5")
    with pytest.raises(PolicyError, match="kind plan"):
        policies("plan:{}")


def test_no_two_prompts_and_no_two_samples_share_their_noise(model):
    assert len({*seeds(7, 240), *seeds(7, 240, sample=1), *seeds(7, 16, first=240)}) == 496
    assert seeds(7, 8)[3:] == seeds(7, 5, first=3)
    assert all(0 <= seed < 2**63 for seed in seeds(2**63 - 1, 4, sample=3))
    policy = Policy(model, temperature=1.5)
    whole = policy.respond(["Hi"] * 4, seed=3, max_new_tokens=9)
    assert len({tuple(run.ids) for run in whole}) == 4
    assert [run.ids for run in policy.respond(["Hi"] * 2, seed=3, first=2, max_new_tokens=9)] == [
        run.ids for run in whole[2:]
    ]


def test_edits_are_made_when_they_are_needed_and_once(model):
    made = []
    policy = Policy(model, make_edits=lambda: made.append(1) or ())
    assert not made
    policy.respond(["Hi", "you"], seed=0, max_new_tokens=3)
    policy.check("Hi", 4)
    assert made == [1]


def test_a_prompt_that_does_not_fit_is_refused_before_it_is_decoded(model):
    with pytest.raises(ValueError, match="more than the 512"):
        Policy(model).check({"continue": "x" * 500}, 13)
    Policy(model).check({"continue": "x" * 499}, 13)


def test_a_policy_answers_with_the_row_that_others_decode(model):
    run = Policy(model, temperature=0.8).respond(["Hi"], seed=5, max_new_tokens=6)[0]
    assert run.ids == model.generate([Row(tuple(model.chat_ids("Hi")), Sampling(0.8, 5, 6))])[0].ids
    stop = threading.Event()
    stop.set()
    assert len(Policy(model).respond(["Hi"], seed=5, max_new_tokens=400, stop=stop)[0].ids) < 5


@pytest.mark.parametrize("entry", [{"mix": {"a": 0.5}}, {"mix": 3}, {"checkpoint": ["a"]}])
def test_an_entry_whose_kind_holds_no_text_is_refused(entry):
    with pytest.raises(PolicyError, match="of policy 'mine' is .*give a text"):
        parse({"name": "mine", **entry})
