"""Answers against refusals: the pairs, the gate, and heads that know when to refuse."""

import json

import numpy as np
import pytest
import torch

from lm import LanguageModel, load
from pareto import contrast, fit, gate, heads, rollout
from pareto.contrast import Contrast
from pareto.evaluate import alike_prompts, evaluate
from pareto.pairs import read_prompts
from pareto.rewards import Head, HeadReward, RewardError
from tests.tiny import WIDTH, tiny


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load(str(tiny("llama")))


def gated_head(model: LanguageModel, seed: int = 0) -> Head:
    dice = torch.Generator().manual_seed(seed)
    weight, ways, gated = torch.randn(3, WIDTH, generator=dice)
    return Head("harmless", model.hash, 1, weight, 0.3, 2.0, gate.Gate(ways, 0.1), gated)


def test_the_twins_that_ship_stand_side_by_side_and_the_parts_are_apart():
    parts = {part: read_prompts(contrast.prompt_files(part)[0]) for part in contrast.PARTS}
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


def test_a_gate_tells_what_is_separable_and_crossed_values_come_from_other_folds():
    dice = np.random.default_rng(0)
    unsafe = np.arange(200) % 2 == 1
    states = dice.normal(size=(200, 8)).astype(np.float32)
    states[:, 3] += np.where(unsafe, 3, -3)
    made, crossed = gate.fit_gate(states, unsafe, np.arange(200) // 2, np.ones(200, bool))
    assert ((crossed > 0) == unsafe).mean() > 0.97
    assert ((made.of(torch.from_numpy(states)).numpy() > 0) == unsafe).mean() > 0.97
    noise = dice.normal(size=(200, 100)).astype(np.float32)
    _, crossed = gate.fit_gate(noise, unsafe, np.arange(200) // 2, np.ones(200, bool))
    assert abs(((crossed > 0) == unsafe).mean() - 0.5) < 0.15


def test_a_head_with_a_gate_comes_back_and_weighs_by_its_prompt(model, tmp_path):
    head = gated_head(model)
    head.save(tmp_path / "head.safetensors")
    again = Head.load(tmp_path / "head.safetensors")
    assert again.hash == head.hash != gated_head(model, 1).hash
    prompts, answers = ["Hello", "Why?", "Hello"], ["I am fine", "because", "of it"]
    states = heads.pooled(model, prompts, answers, 2)[:, 1]
    opened = torch.tensor([float(head.gate.of(gate.asked(model, [prompt], 1))) for prompt in prompts])
    expected = (states @ head.weight + opened * (states @ head.gated) - 0.3) / 2
    torch.testing.assert_close(
        HeadReward(model, again).score(prompts, answers), expected, atol=1e-4, rtol=1e-4
    )
    with pytest.raises(RewardError, match="has a gate"):
        head.of_pooled(states)


def test_a_rollout_gives_a_gate_what_reading_gives(model):
    prompts = ["Hello", "Why do you say so?"]
    batch = rollout.sample(model, prompts, None, block=1, seeds=[1, 2], temperature=0.7, max_new_tokens=6)
    torch.testing.assert_close(batch.asked(), gate.asked(model, prompts, 1), atol=1e-4, rtol=1e-4)


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
    monkeypatch.setattr("pareto.fit.prompt_files", lambda part: files)
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
