"""One training for all preferences, on a tiny random model."""

import json
from pathlib import Path

import pytest
import torch

from lm import Adapter, LanguageModel, Row, Sampling, load
from lm.engines.torch.stack import Stack
from pareto import rollout
from pareto.checkpoint import Checkpoint
from pareto.curve import CurveTrainer, places
from pareto.rewards import FunctionReward
from pareto.settings import Settings, SettingsError
from pareto.train import Trainer
from tests.tiny import tiny

PROMPTS = ["How are you?", "Tell me a story.", "What is a boat?", "Be rude to me.", "Why?", "Name a bird."]
SMALL = {"steps": 3, "prompts": 6, "group": 3, "max_new_tokens": 6, "rank": 2, "rows_at_once": 18, "lr": 0.02}


def low(prompt: str, answer: str) -> float:
    return sum("a" <= letter <= "m" for letter in answer) / 8


def high(prompt: str, answer: str) -> float:
    return sum("n" <= letter <= "z" for letter in answer) / 8


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    found = load(str(tiny("llama")))
    found.stack = Stack(found.torch, torch.float32)
    return found


def curve(model, folder: Path, **settings) -> CurveTrainer:
    rewards = {"helpful": FunctionReward(low), "harmless": FunctionReward(high)}
    asked = Settings(preference=None, **{"positions": 3, **SMALL, **settings})
    return CurveTrainer(model, rewards, PROMPTS, asked, folder, {"name": "curve"})


def test_places_are_spread_over_the_line_and_sum_to_one():
    for step in range(5):
        found = places(4, 2, 0, step)
        assert found.sum(1).tolist() == pytest.approx([1] * 4)
        assert [int(4 * first) for first in found[:, 0]] == [0, 1, 2, 3]
    assert not torch.equal(places(4, 2, 0, 0), places(4, 2, 0, 1))
    assert places(5, 3, 0, 0).sum(1).tolist() == pytest.approx([1] * 5) and (places(5, 3, 0, 0) >= 0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mix_of_the_ends_is_the_policy_that_was_trained_there(model, tmp_path, share):
    run = curve(model, tmp_path / "a")
    run.run()
    ends = [Checkpoint.load(tmp_path / "a" / name, model) for name in ("helpful", "harmless")]
    assert [end.card["preference"] for end in ends] == [[1.0, 0.0], [0.0, 1.0]]
    weights = torch.tensor([share, 1 - share])
    there = run.shape.adapter(weights @ run.ends)
    mixed = Adapter.mix([(end.adapter, float(part)) for end, part in zip(ends, weights, strict=True) if part])
    row = Row(tuple(model.chat_ids(PROMPTS[0])), Sampling(1.0, 3, 12))
    one, other = model.generate([Row(row.prompt, row.sampling, (), adapter) for adapter in (there, mixed)])
    assert one.logprobs == pytest.approx(other.logprobs, abs=2e-2)
    for key, (a, b) in there.parts.items():
        x, y = mixed.parts[key]
        torch.testing.assert_close(b @ a, y @ x, atol=1e-5, rtol=1e-4)


def test_the_step_follows_the_chain_rule_to_the_ends(model, tmp_path):
    """Against the derivative of what the three policies answer, by autograd through the ends themselves."""
    run = curve(model, tmp_path / "a", momentum=0.0, memory=0.0, warmup=1)
    run.theta.data += 0.02 * torch.randn(run.theta.shape, generator=torch.Generator().manual_seed(0))
    inner = run.shape.inner()
    run.ends[:, inner] = run.ends[0, inner]
    asked = run.asked()
    batch = run._sample(asked)
    signal = torch.randn(2, 18, generator=torch.Generator().manual_seed(1))
    gradients = []
    for j, policy in enumerate(run.policies):
        leaf = policy.clone().requires_grad_()
        logps = rollout.logprobs(model.stack, batch, run.first, run.shape.rows(leaf.expand(18, -1))).sum(1)
        here = (asked.places == j).float()
        gradients.append([torch.autograd.grad(s * here @ logps, leaf, retain_graph=True)[0] for s in signal])
    gradients = torch.stack([torch.stack(each) for each in gradients])
    direction, row = run._direction(gradients, signal, torch.zeros(2, 18))
    shared = run.ends[0, inner].clone().requires_grad_()
    outer = run.ends[:, ~inner].clone().requires_grad_()
    unit = [torch.nn.functional.normalize(_pgapo(run, gradients, w) @ g, dim=0)
            for g, w in zip(gradients, run.weights, strict=True)]  # fmt: skip
    loss = sum(
        (d[inner] * shared).sum() + (d[~inner] * (w.float() @ outer)).sum()
        for d, w in zip(unit, run.weights, strict=True)
    )
    loss.backward()
    moved = direction.view(2, -1)
    torch.testing.assert_close(moved[:, ~inner], outer.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved[:, inner], shared.grad.expand(2, -1), atol=1e-5, rtol=1e-4)
    assert len(row["preferences"]) == 3


def _pgapo(run, gradients, weights) -> torch.Tensor:
    """lambda / norm, with the norms of the mean Gram matrix."""
    norms = torch.stack([g.double() @ g.double().T for g in gradients]).mean(0).diagonal().sqrt()
    return (weights / norms).float()


def test_the_inner_halves_stay_shared(model, tmp_path):
    run = curve(model, tmp_path / "a")
    run.run()
    inner = run.shape.inner()
    torch.testing.assert_close(run.ends[0, inner], run.ends[1, inner])
    assert not torch.allclose(run.ends[0, ~inner], run.ends[1, ~inner])


def test_the_rewards_follow_the_preference(model, tmp_path):
    run = curve(model, tmp_path / "a", steps=30, prompts=6, group=6, max_new_tokens=8, lr=0.05, beta=0.0, rank=4,
                rows_at_once=36)  # fmt: skip
    run.run()
    scores = []
    for share in (0.0, 0.5, 1.0):
        adapter = run.shape.adapter(torch.tensor([share, 1 - share]) @ run.ends)
        rows = [
            Row(tuple(model.chat_ids(p)), Sampling(1.0, seed, 8), (), adapter)
            for p in PROMPTS
            for seed in range(30)
        ]
        texts = [answer.text for answer in model.generate(rows)]
        scores.append([sum(map(of, [""] * len(texts), texts)) / len(texts) for of in (low, high)])
    assert scores[0][0] < scores[1][0] < scores[2][0] and scores[0][1] > scores[1][1] > scores[2][1]


def test_a_killed_curve_goes_on_and_a_finished_one_is_left(model, tmp_path):
    whole = curve(model, tmp_path / "a")
    whole.run()
    curve(model, tmp_path / "b").advance()
    again = curve(model, tmp_path / "b")
    assert again.step == 1
    again.run()
    torch.testing.assert_close(again.theta, whole.theta, rtol=0, atol=0)
    finished = curve(model, tmp_path / "b")
    assert finished.step == 3 and len(finished.curves) == 3
    assert (
        json.loads((tmp_path / "b" / "helpful" / "card.json").read_text())["name"] == "helpful end of curve"
    )


def test_a_curve_of_equal_ends_is_a_training_of_one_policy(model, tmp_path):
    """With one position in the middle of equal objectives, both ends take the step of the one policy."""
    same = {name: FunctionReward(low) for name in ("helpful", "harmless")}
    settings = {**SMALL, "steps": 1, "momentum": 0.0}
    run = CurveTrainer(
        model,
        same,
        PROMPTS,
        Settings(preference=None, positions=1, **settings),
        tmp_path / "a",
        {"name": "c"},
    )
    run.advance()
    one = Trainer(
        model, same, PROMPTS, Settings(preference=(0.5, 0.5), **settings), tmp_path / "b", {"name": "t"}
    )
    start = one.theta.detach().clone()
    one.advance()
    moved = (torch.tensor([0.5, 0.5]) @ run.ends) - start
    cosine = torch.cosine_similarity(moved, one.theta.detach() - start, dim=0)
    assert float(cosine) > 0.99


@pytest.mark.parametrize(
    "bad",
    [{"method": "mgda"}, {"preference": (0.5, 0.5)}, {"algorithm": "ppo"}, {"kl": "outside"}, {"prompts": 4}, {"gradients": "last"}],
)  # fmt: skip
def test_what_a_curve_cannot_be_trained_with_is_refused(bad):
    with pytest.raises(SettingsError, match=r"Positions is 3|Prompts is 4"):
        Settings(**{"preference": None, "positions": 3, "prompts": 6, **bad})
