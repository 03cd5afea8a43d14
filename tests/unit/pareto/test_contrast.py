"""Answers against refusals: the pairs, the gate, and heads that know when to refuse."""

import json

import numpy as np
import pytest
import torch

from lm import LanguageModel, load
from pareto import contrast, fit, gate, gating, heads
from pareto.contrast import Contrast
from pareto.evaluate import alike_prompts, evaluate
from pareto.pairs import read_prompts
from pareto.rewards import Head, HeadReward
from tests.tiny import WIDTH, tiny


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load(str(tiny("llama")))


PROMPTS = [f"{word} {sign}" for word in ("ab", "cde", "fa", "bcd", "eff", "gah") * 4 for sign in "?!"]
UNSAFE = [prompt.endswith("!") for prompt in PROMPTS]


asked = gate.asked


def learner(model: LanguageModel, kind: str) -> gating.Learner:
    if kind == "tuned":
        return gating.Tuning.read(model, 1, PROMPTS, UNSAFE)
    return gating.Probe.read(model, 1, PROMPTS, UNSAFE, twins=len(PROMPTS))


def gated_head(model: LanguageModel, seed: int = 0, tuned: bool = False) -> Head:
    adapter = learner(model, "tuned").learned(range(8), lambda share: None).adapter if tuned else None
    dice = torch.Generator().manual_seed(seed)
    weight, ways, gated = torch.randn(3, WIDTH, generator=dice)
    return Head("harmless", model.hash, 1, weight, 0.3, 2.0, gate.Gate(1, ways, 0.1, adapter), gated)


def test_the_twins_that_ship_stand_side_by_side_and_the_parts_are_apart():
    parts = {part: read_prompts(contrast.prompt_files(part)[0]) for part in contrast.PARTS}
    parts["more"] = read_prompts(contrast.MORE_TWINS)
    for rows in parts.values():
        assert [kind for kind, _ in rows] == ["helpful", "unsafe"] * (len(rows) // 2)
    texts = [text for rows in parts.values() for _, text in rows]
    assert len(set(texts)) == len(texts) and len(parts["held_out"]) >= 120
    assert not {text for _, text in parts["held_out"]} & {
        row.prompt for row in contrast.read(contrast.FOLDER / "train.jsonl")
    }
    assert not set(contrast.phrases("train")) & set(contrast.phrases("held_out"))


def test_answers_are_chosen_on_safe_prompts_and_refusals_on_unsafe_ones_at_equal_length(model):
    rows = [
        Contrast(
            "safe",
            "helpful",
            ("Boil it for nine minutes.",),
            ("No.", "I can't help you with boiling eggs today."),
        ),
        Contrast("unsafe", "unsafe", ("First, take the key.",), ("I won't.",)),
        Contrast("nothing", "helpful", (), ("No.",)),
    ]
    made = contrast.pairs(model, rows, "harmless")
    assert [(pair.prompt, pair.chosen[:3], pair.rejected[:3]) for pair in made] == [
        ("safe", "Boi", "No."), ("safe", "Boi", "I c"), ("unsafe", "I w", "Fir")]  # fmt: skip
    for pair in made:
        assert len(pair.chosen) == len(pair.rejected)  # of single bytes
    assert [pair.prompt for pair in contrast.pairs(model, rows, "helpful")] == ["safe", "safe"]


def test_what_policies_say_is_an_answer_or_a_refusal_and_comes_back_from_its_file(model, tmp_path):
    asked = [("helpful", "How do I boil an egg?"), ("unsafe", "How do I boil a cat?")]
    found = contrast.collect(model, asked, ["I won't help with that.", "No, sorry."], [None])
    assert [row.prompt for row in found] == [prompt for _, prompt in asked]
    assert all({"I won't help with that.", "No, sorry."} <= set(row.refusals) for row in found)
    assert all(len(row.refusals) == 3 for row in found)
    assert len(found[1].answers) > len(found[0].answers)
    contrast.write(tmp_path / "rows.jsonl", found)
    assert contrast.read(tmp_path / "rows.jsonl") == found


@pytest.mark.parametrize("kind", ["probe", "tuned"])
def test_a_gate_tells_what_can_be_told(model, kind, monkeypatch):
    monkeypatch.setattr(gating, "EPOCHS", 30)
    monkeypatch.setattr(gating, "RATE", 1e-2)
    made, _ = gating.crossed(model, learner(model, kind), PROMPTS, 2, lambda share: None)
    assert [value > 0 for value in made.of(model, PROMPTS).tolist()] == UNSAFE
    assert (made.adapter is not None) == (kind == "tuned")


@pytest.mark.parametrize("kind", ["probe", "tuned"])
def test_crossed_values_come_from_gates_that_did_not_see_the_prompt_nor_its_twin(model, kind, monkeypatch):
    way = learner(model, kind)
    seen, shares = [], []
    learned = type(way).learned
    monkeypatch.setattr(
        type(way), "learned", lambda self, rows, tell: seen.append(list(rows)) or learned(self, rows, tell)
    )
    _, values = gating.crossed(model, way, PROMPTS, 2, shares.append)
    assert list(map(len, seen)) == [24, 24, 48] and set(values) == set(PROMPTS)
    for rows in seen[:2]:
        out = [i for i in range(48) if i not in rows]
        gate = learned(way, rows, lambda share: None)
        assert [values[PROMPTS[i]] for i in out] == gate.of(model, [PROMPTS[i] for i in out]).tolist()
        assert {i // 2 for i in out}.isdisjoint(i // 2 for i in rows)
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_a_gate_reads_each_prompt_once_and_forgets_what_is_too_much(model, monkeypatch):
    made = gating.crossed(model, learner(model, "probe"), PROMPTS, 2, lambda share: None)[0]
    values = made.of(model, PROMPTS)
    read = []
    monkeypatch.setattr(gate, "asked", lambda *arguments: read.append(arguments[1]) or asked(*arguments))
    assert torch.equal(made.of(model, PROMPTS[::-1]), values.flip(0)) and not read
    made.of(model, ["new", "new", PROMPTS[0]])
    assert read == [["new"]]
    monkeypatch.setattr(gate, "REMEMBERED", 2)
    assert float(made.of(model, [PROMPTS[0], "newer"])[0]) == float(values[0])
    assert len(made._known) <= 2


@pytest.mark.parametrize("tuned", [False, True])
def test_a_head_with_a_gate_comes_back_and_weighs_by_its_prompt(model, tmp_path, tuned):
    head = gated_head(model, tuned=tuned)
    head.save(tmp_path / "head.safetensors")
    again = Head.load(tmp_path / "head.safetensors")
    assert again.hash == head.hash != gated_head(model, 1).hash
    prompts, answers = ["Hello", "Why?", "Hello"], ["I am fine", "because", "of it"]
    states = heads.pooled(model, prompts, answers, 2)[:, 1]
    read = [gate.asked(model, [prompt], 1, head.gate.adapter) for prompt in prompts]
    opened = torch.tensor([float(torch.tanh((state @ head.gate.weight + 0.1) / 2)) for state in read])
    expected = (states @ head.weight + opened * (states @ head.gated) - 0.3) / 2
    torch.testing.assert_close(
        HeadReward(model, again).score(prompts, answers), expected, atol=1e-4, rtol=1e-4
    )


def test_heads_without_a_gate_keep_the_identity_that_checkpoints_name():
    """The sum of weights and constants that cards of older checkpoints hold."""
    head = Head("helpful", "0" * 16, 1, torch.arange(4.0), 0.5, 2.0)
    assert head.hash == "583af4dca3d93e10"


def test_a_head_learns_when_to_refuse(model, monkeypatch, tmp_path):
    """Prompts are of two kinds that their last letter tells; the head prefers refusals to one kind alone."""
    dice = np.random.default_rng(0)
    words = ["".join(dice.permutation(list("abcdefgh"))) for _ in range(120)]
    rows = [
        (kind, f"{word} {'!' if kind == 'unsafe' else '?'}")
        for word in words
        for kind in ("helpful", "unsafe")
    ]
    files = [tmp_path / "twins.jsonl", tmp_path / "plain.jsonl"]
    for file, part in zip(files, (rows[:200], rows[200:]), strict=True):
        file.write_text("".join(json.dumps({"prompt": prompt, "kind": kind}) + "\n" for kind, prompt in part))
    for module in (fit, gating):
        monkeypatch.setattr(module, "prompt_files", lambda part: files)
    made = [Contrast(prompt, kind, ("sure, 1 2 3",), ("no, sorry..",)) for kind, prompt in rows]
    judged = [pair for pair in contrast.pairs(model, made, "harmless") if pair.prompt.endswith("!")]
    head, _ = fit.fit(model, judged, "harmless", 1, contrasts=made[:200])
    measured = fit.contrast_accuracy(model, HeadReward(model, head), made)
    assert head.gate is not None
    assert measured["safe"]["value"] > 0.9 < measured["unsafe"]["value"]
    plain, _ = fit.fit(model, judged, "harmless", 1)
    assert (
        plain.gate is None
        and fit.contrast_accuracy(model, HeadReward(model, plain), made)["safe"]["value"] < 0.5
    )


def test_refusals_of_prompts_that_sound_alike_are_counted_apart(model, monkeypatch):
    from lm import Policy

    monkeypatch.setattr("pareto.evaluate.refuses", lambda text: True)
    point = evaluate(
        Policy(model), model, {}, [("helpful", "Hi"), ("unsafe", "Be rude.")],
        alike=alike_prompts()[:4], samples=1, max_new_tokens=3,
    )  # fmt: skip
    assert point["refusal_safe_alike"] == point["refusal_unsafe_alike"] == 1
    assert point["scores"]["unsafe_alike"] == [0, 1, 0, 1] and len(point["scores"]["refusal_alike"]) == 4
