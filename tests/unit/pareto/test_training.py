"""Objectives, low-rank gradients, training runs and checkpoints, on tiny random models."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from common import digests
from lm import Adapter, LanguageModel, Policy, Row, Sampling, load
from lm.adapter import MODULES
from lm.engines.torch.stack import Stack
from pareto import checkpoint, combine, objectives, rollout, view
from pareto.__main__ import main
from pareto.checkpoint import Checkpoint, CheckpointError
from pareto.combiners import COMBINERS, Combiner
from pareto.detail import detail
from pareto.evaluate import evaluate
from pareto.front import Front
from pareto.grid import plan
from pareto.lowrank import Shape
from pareto.parser import parser
from pareto.rewards import FunctionReward, Head, RewardError
from pareto.table import table
from pareto.train import Settings, SettingsError, Trainer
from tests.tiny import CONFIGS, LAYERS, NATIVE, WIDTH, tiny

ROOT = Path(__file__).parents[3]
PROMPTS = ["How are you?", "Tell me a story.", "What is a boat?", "Be rude to me.", "Why?", "Name a bird."]
SMALL = {"steps": 2, "prompts": 4, "group": 3, "max_new_tokens": 6, "rank": 2, "rows_at_once": 6, "lr": 0.02}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    made = load(str(tiny("llama")))
    made.stack = Stack(made.torch, torch.float32)
    return made


def head(objective: str, model_hash: str, block: int = 0) -> Head:
    generator = torch.Generator().manual_seed(len(objective))
    return Head(objective, model_hash, block, torch.randn(WIDTH, generator=generator), 0.0, 1.0)


def trainer(model, folder: Path, rewards=None, card=None, **settings) -> Trainer:
    rewards = rewards or {name: head(name, model.hash) for name in ("helpful", "harmless")}
    return Trainer(
        model, rewards, PROMPTS, Settings(**{**SMALL, **settings}), folder, {"name": "test", **(card or {})}
    )


def test_a_combiner_is_one_registration(model, tmp_path, monkeypatch):
    """Then it trains, the command line offers it, and the page has its name and its mark."""
    first = Combiner(
        "first", "First alone", False, lambda e, _: torch.eye(len(e.gram)).double()[0], "star", "#123456"
    )
    monkeypatch.setitem(COMBINERS, "first", first)
    alone = {"helpful": head("helpful", model.hash)}
    torch.testing.assert_close(
        trained(model, tmp_path / "a", method="first", preference=None),
        trained(model, tmp_path / "b", rewards=alone, method="linear", preference=(1.0,)),
    )
    point = {"id": "a", "name": "a", "method": "first", "helpful": 0, "harmless": 0}
    told = view.front(Front("m", "h", (-1, -1), (point,)))
    assert told["methods"][0]["name"] == "First alone" and told["marks"]["first"]["symbol"] == "star"
    assert any(job.method == "first" for job in plan(("helpful", "harmless"), [(0.5, 0.5)], [0]))
    assert parser().parse_args(["train", "--out", "x", "--method", "first"]).method == "first"


def brief(prompt: str, answer: str) -> float:
    """A third objective, as anybody would write it."""
    return -float(len(answer))


@pytest.mark.parametrize("method", COMBINERS)
def test_a_third_objective_is_trained_and_kept_by_name(model, tmp_path, method):
    rewards = {name: head(name, model.hash) for name in ("harmless", "helpful")} | {
        "brevity": FunctionReward(brief)
    }
    weights = (0.2, 0.3, 0.5) if COMBINERS[method].takes_preference else None
    run = trainer(model, tmp_path / "a", rewards=rewards, method=method, preference=weights)
    run.run()
    found = Checkpoint.load(tmp_path / "a", model)
    assert found.card["objectives"] == ["helpful", "harmless", "brevity"]
    assert all(len(row[key]) == 3 for row in found.curves for key in ("norms", "coefficients", "shares"))
    charts = detail(view.side("a", "A", method), None, found.card, found.curves)["charts"]
    assert "brevity" in charts[0]["title"] and "share of brevity" in str(charts[1])


def test_a_third_objective_is_scored_and_put_on_a_front(model, tmp_path):
    rewards = {"helpful": FunctionReward(lambda p, a: len(a)), "harmless": FunctionReward(lambda p, a: a.count("a")),
               "brevity": FunctionReward(brief)}  # fmt: skip
    prompts = [("helpful", text) for text in PROMPTS[:3]] + [("unsafe", text) for text in PROMPTS[3:]]
    front = Front(model.name, model.hash, (-99.0,) * 3, objectives=tuple(rewards))
    for id, method, adapter in (("base", "base", None), ("mine", "pgapo", trained_adapter(model, tmp_path))):
        scored = evaluate(
            Policy(model, adapter=adapter), model, rewards, prompts, samples=1, max_new_tokens=6
        )
        front = front.with_point(
            {"id": id, "name": id, "method": method, "preference": None, "seed": 0} | scored
        )
    told = front.to_dict()
    assert told["objectives"] == ["helpful", "harmless", "brevity"] and len(told["reference"]) == 3
    assert all(
        point["brevity_ci"][0] <= point["brevity"] <= point["brevity_ci"][1] for point in told["points"]
    )
    front.save(tmp_path / "front.json")
    assert (
        Front.load(tmp_path / "front.json").to_dict()
        == told
        == json.loads((tmp_path / "front.json").read_text())
    )
    assert "| brevity |" in table(told) and "brevity" in view.about(told["points"][0], front.objectives)
    assert [axis["id"] for axis in view.front(front)["axes"]][:3] == ["helpful", "harmless", "brevity"]


def trained_adapter(model, folder: Path) -> Adapter:
    run = trainer(model, folder / "a", steps=1)
    run.run()
    return Checkpoint.load(folder / "a", model).adapter


def trained(model, folder: Path, **settings) -> torch.Tensor:
    run = trainer(model, folder, **settings)
    run.run()
    return run.theta.detach()


def test_leave_one_out_subtracts_the_mean_of_the_others():
    found = objectives.leave_one_out(torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0]), 3)
    torch.testing.assert_close(found, torch.tensor([-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]))


def test_equal_answers_teach_nothing():
    rewards, zero = torch.ones(2, 6), torch.zeros(6)
    assert not objectives.rloo(rewards, zero, 3, 0.1).any()
    assert not objectives.dpo(rewards, zero, zero, 3, 0.1).any()


def test_dpo_weights_are_the_derivative_of_its_loss():
    rewards = torch.tensor([[0.1, 0.9, 0.5, 2.0, 1.0, 3.0]])
    logps = torch.randn(6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    reference = torch.zeros(6)
    margins = 0.3 * torch.stack([logps[1] - logps[0], logps[5] - logps[4]])
    torch.nn.functional.logsigmoid(margins).mean().backward()
    torch.testing.assert_close(objectives.dpo(rewards, logps.detach(), reference, 3, 0.3)[0], logps.grad)


def test_ppo_weights_are_the_derivative_of_the_clipped_surrogate():
    generator = torch.Generator().manual_seed(1)
    logps = torch.randn(3, 5, generator=generator).mul(0.2).requires_grad_()
    old, advantages = torch.zeros(3, 5), torch.randn(1, 3, 5, generator=generator)
    mask = torch.ones(3, 5)
    mask[1, 3:] = 0
    ratio = (logps - old).exp()
    surrogate = torch.minimum(ratio * advantages[0], ratio.clamp(0.9, 1.1) * advantages[0])
    ((surrogate * mask).sum() / mask.sum()).backward()
    torch.testing.assert_close(objectives.ppo(logps.detach(), old, advantages, mask, 0.1)[0], logps.grad)


def test_gae_at_lambda_one_is_the_return_minus_the_value():
    rewards, mask = torch.tensor([[[0.0, 1.0, 2.0]]]), torch.ones(1, 3)
    values = torch.tensor([[[0.5, -0.5, 1.0]]])
    torch.testing.assert_close(
        objectives.gae(rewards, values, mask, 1.0, 1.0), torch.tensor([[[2.5, 3.5, 1.0]]])
    )


def test_one_backward_pass_gives_the_gradient_of_every_objective(model):
    shape = Shape(model.stack, 2, 1, MODULES)
    theta = shape.start(0) + 0.05 * torch.randn(shape.count, generator=torch.Generator().manual_seed(2))
    batch = rollout.sample(
        model, PROMPTS, shape.adapter(theta), block=0, seeds=range(6), temperature=1.0, max_new_tokens=5
    )
    weights = torch.randn(2, 6, generator=torch.Generator().manual_seed(3))
    leaf = theta.expand(6, -1).clone().requires_grad_()
    rows = torch.autograd.grad(rollout.logprobs(model.stack, batch, 1, shape.rows(leaf)).sum(), leaf)[0]
    for k in range(2):
        whole = theta.clone().requires_grad_()
        logps = rollout.logprobs(model.stack, batch, 1, shape.rows(whole.expand(6, -1))).sum(1)
        torch.testing.assert_close(
            weights[k] @ rows, torch.autograd.grad(weights[k] @ logps, whole)[0], atol=1e-3, rtol=1e-2
        )


LONG = ["How are you, and what do you do all day long?", *PROMPTS]


@pytest.mark.parametrize("engine", ["rows", "reference", "batched"])
@pytest.mark.parametrize("family", NATIVE)
def test_every_family_that_trains_sees_the_policy_that_sampled(family, engine):
    """Prompts longer than a sliding window among them."""
    other = load(str(tiny(family)), engine=engine)
    batch = rollout.sample(other, LONG, None, block=0, seeds=range(7), temperature=1.0, max_new_tokens=12)
    torch.testing.assert_close(rollout.logprobs(other.stack, batch, 1), batch.logps, atol=0.1, rtol=0.02)


@pytest.mark.parametrize("family", sorted(set(CONFIGS) - set(NATIVE)))
def test_other_families_are_refused_before_anything_is_computed(family, tmp_path, monkeypatch):
    other = load(str(tiny(family)), engine="rows")
    monkeypatch.setattr(type(other), "generate", lambda *_, **__: pytest.fail("it sampled"))
    with pytest.raises(ValueError, match=f"{family} is not one of llama, mistral, qwen2, qwen3"):
        trainer(other, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_training_sees_the_policy_that_sampled(model, temperature):
    shape = Shape(model.stack, 2, 1, MODULES)
    theta = shape.start(0) + 0.1 * torch.randn(shape.count, generator=torch.Generator().manual_seed(2))
    batch = rollout.sample(
        model,
        PROMPTS,
        shape.adapter(theta),
        block=0,
        seeds=range(6),
        temperature=temperature,
        max_new_tokens=5,
    )
    found = rollout.logprobs(model.stack, batch, 1, shape.rows(theta.expand(6, -1)))
    torch.testing.assert_close(found, batch.logps, atol=2e-2, rtol=1e-2)


def test_pooled_states_are_those_that_reading_gives(model):
    runs = model.generate([Row(tuple(model.chat_ids(p)), Sampling(1.0, 5, 7), record=1) for p in PROMPTS])
    ids = [[*run.prompt, *run.ids[:-1]] for run in runs]
    expected = model.read(ids, pool="mean", starts=[len(run.prompt) for run in runs])[:, 1]
    torch.testing.assert_close(rollout.collect(PROMPTS, runs, 1.0).pooled(), expected, atol=1e-4, rtol=1e-4)


def test_gapo_at_one_trains_what_pgapo_at_one_half_trains(model, tmp_path):
    one = trained(model, tmp_path / "a", method="gapo", p=1.0, preference=None)
    torch.testing.assert_close(one, trained(model, tmp_path / "b", method="pgapo", preference=(0.5, 0.5)))


def test_all_weight_on_one_objective_is_training_on_it_alone(model, tmp_path):
    one = trained(model, tmp_path / "a", method="linear", preference=(1.0, 0.0))
    alone = {"helpful": head("helpful", model.hash)}
    torch.testing.assert_close(
        one, trained(model, tmp_path / "b", rewards=alone, method="linear", preference=(1.0,))
    )


@pytest.mark.parametrize(
    "more",
    [
        {"algorithm": "dpo"},
        {"algorithm": "ppo", "epochs": 2},
        {"kl": "outside"},
        {"gradients": "last"},
        {"method": "normalized"},
        {"method": "mgda", "preference": None},
    ],
)
def test_every_way_of_training_moves_the_weights_and_logs_it(model, tmp_path, more):
    run = trainer(model, tmp_path / "a", **more)
    start = run.theta.detach().clone()
    run.run()
    assert torch.isfinite(run.theta).all() and not torch.equal(run.theta, start)
    row = Checkpoint.load(tmp_path / "a", model).curves[-1]
    assert {
        "reward",
        "kl",
        "length",
        "norms",
        "cosine",
        "coefficients",
        "tokens_per_second",
        "floored",
    } <= row.keys()


def test_training_moves_the_reward_up(model, tmp_path):
    vowels = FunctionReward(lambda prompt, answer: sum(c in "aeiou" for c in answer) / 8)
    run = trainer(
        model,
        tmp_path / "a",
        rewards={"vowels": vowels},
        preference=(1.0,),
        steps=25,
        prompts=6,
        group=6,
        max_new_tokens=8,
        lr=0.05,
        beta=0.0,
        kl_target=0.0,
        rows_at_once=36,
        rank=4,
    )
    run.run()
    rewards = [row["reward"]["vowels"] for row in run.curves]
    assert sum(rewards[-5:]) > 1.5 * sum(rewards[:5])


@pytest.mark.parametrize("more", [{}, {"algorithm": "ppo"}])
def test_a_killed_run_goes_on_as_if_nothing_had_been(model, tmp_path, more):
    whole = trained(model, tmp_path / "a", steps=3, **more)
    trainer(model, tmp_path / "b", steps=3, **more).advance()
    again = trainer(model, tmp_path / "b", steps=3, **more)
    assert again.step == 1
    again.run()
    torch.testing.assert_close(again.theta.detach(), whole, rtol=0, atol=0)
    assert [row["step"] for row in Checkpoint.load(tmp_path / "b", model).curves] == [1, 2, 3]


def test_a_full_disk_leaves_the_last_state_good(model, tmp_path, monkeypatch):
    run = trainer(model, tmp_path / "a", steps=3)
    run.advance()

    def full(tensors, path, metadata=None):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", full)
        with pytest.raises(OSError, match="No space"):
            run.advance()
    assert trainer(model, tmp_path / "a", steps=3).step == 1
    assert not list((tmp_path / "a").glob("*.part"))


def test_a_run_of_other_settings_is_not_continued(model, tmp_path):
    trainer(model, tmp_path / "a").advance()
    with pytest.raises(SettingsError, match="other settings"):
        trainer(model, tmp_path / "a", lr=0.01)


def test_a_run_goes_on_where_another_number_of_answers_fits_into_memory(model, tmp_path):
    trainer(model, tmp_path / "a", rows_at_once=3).advance()
    assert trainer(model, tmp_path / "a", rows_at_once=6).step == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"preference": (0.5, 0.6)},
        {"preference": (-0.1, 1.1)},
        {"preference": (float("nan"), 1.0)},
        {"preference": (1.0,)},
        {"preference": None},
        {"method": "gapo"},
        {"method": "best"},
        {"steps": 0},
        {"group": 1},
        {"epochs": 2},
        {"first": 0},
        {"first": LAYERS},
        {"lr": float("nan")},
        {"p": float("nan"), "method": "gapo", "preference": None},
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused(model, tmp_path, bad):
    with pytest.raises(ValueError):
        trainer(model, tmp_path / "a", **bad)


def test_a_reward_that_is_no_number_stops_the_run(model, tmp_path):
    run = trainer(
        model,
        tmp_path / "a",
        rewards={"odd": FunctionReward(lambda prompt, answer: float("nan"))},
        preference=(1.0,),
    )
    with pytest.raises(RewardError, match="no finite numbers"):
        run.advance()


@pytest.fixture
def made(model, tmp_path) -> Path:
    trained(model, tmp_path / "made", steps=1)
    return tmp_path / "made"


def test_a_checkpoint_answers_as_the_trained_weights_do(model, made):
    found = Checkpoint.load(made, model)
    assert found.card["preference"] == [0.5, 0.5] and found.card["steps"] == 1 and found.id == "made"
    rows = [
        Row(tuple(model.chat_ids(PROMPTS[0])), Sampling(1.0, 1, 8), (), adapter)
        for adapter in (None, found.adapter)
    ]
    plain, tuned = model.generate(rows)
    assert plain.logprobs != tuned.logprobs


def break_card(folder: Path, **changes) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(
        json.dumps({key: value for key, value in (card | changes).items() if value is not ...})
    )


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (lambda f: break_card(f, base_hash="0" * 16), "was trained on"),
        (lambda f: break_card(f, preference=...), "lacks preference"),
        (lambda f: (f / "card.json").write_text("{"), "damaged"),
        (lambda f: os.truncate(f / "adapter_model.safetensors", 400), "truncated"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "missing"),
        (lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"), "pickles"),
        (lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json is missing"),
        (
            lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}'),
            "gives lora_alpha None",
        ),
        (lambda f: (f / "curves.jsonl").write_text('{"step": 1}\n{"st'), "curves.jsonl of made is damaged"),
        (lambda f: break_card(f, preference=0.5), "gives preference 0.5"),
        (lambda f: break_card(f, preference=[0.5, "x"]), "weights that sum to 1"),
        (lambda f: break_card(f, steps="many"), "gives steps 'many'"),
    ],
)
def test_checkpoints_that_cannot_be_trusted_are_refused(model, made, breaks, says):
    breaks(made)
    with pytest.raises(CheckpointError, match=says):
        Checkpoint.load(made, model)
    assert checkpoint.shipped(model, made.parent) == []


def test_an_adapter_without_a_card_is_loaded_by_what_its_config_tells(model, made, caplog):
    """As PEFT and TRL leave it: pickles lie beside it and are never opened."""
    expected = Checkpoint.load(made, model).adapter
    (made / "card.json").unlink()
    (made / "training_args.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    found = Checkpoint.load(made, model)
    assert found.card["preference"] is None and found.id == found.name == "made"
    assert all(
        torch.equal(a, b)
        for key in expected.parts
        for a, b in zip(expected.parts[key], found.adapter.parts[key], strict=True)
    )
    assert Checkpoint.load(made, model, "owner/name").id == "owner/name" and not caplog.records


def test_an_adapter_that_names_another_base_model_says_so(model, made, caplog):
    (made / "card.json").unlink()
    path = made / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "meta/Other-7B"}))
    assert (
        Checkpoint.load(made, model).name == "made, trained on meta/Other-7B"
        and "meta/Other-7B" in caplog.text
    )


def test_an_adapter_of_another_shape_is_refused(model, made):
    Adapter({(1, "q_proj"): (torch.ones(2, 33), torch.ones(64, 2))}).save(made, "tiny")
    break_card(made, adapter_sha256=digests.of_file(made / "adapter_model.safetensors"))
    with pytest.raises(CheckpointError, match="does not fit"):
        Checkpoint.load(made, model)


def test_a_finished_run_is_left_as_it_is(model, made):
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    again = trainer(model, made, steps=1)
    again.run()
    assert (
        again.step == 1
        and again.curves
        and {path.name: path.read_bytes() for path in made.iterdir()} == before
    )
    with pytest.raises(SettingsError, match="other settings"):
        trainer(model, made, steps=2)


def test_a_folder_that_holds_something_else_is_not_replaced(model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="not empty"):
        trainer(model, tmp_path)


def test_a_kill_while_a_checkpoint_takes_its_place_loses_nothing(model, tmp_path, monkeypatch):
    run = trainer(model, tmp_path / "a", steps=1)
    replace = Path.replace

    def killed(path, target):
        if path.name == "a.part":
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    again = trainer(model, tmp_path / "a", steps=1)
    assert again.step == 1
    again.run()
    assert Checkpoint.load(tmp_path / "a", model).card["steps"] == 1


def test_a_run_with_rewards_of_its_own_goes_on_in_another_process(model, tmp_path):
    def made_anew():
        return {"long": FunctionReward(lambda prompt, answer: len(answer))}

    trainer(
        model, tmp_path / "a", rewards=made_anew(), preference=(1.0,), steps=2, card={"command": "first"}
    ).advance()
    assert (
        trainer(
            model,
            tmp_path / "a",
            rewards=made_anew(),
            preference=(1.0,),
            steps=2,
            card={"command": "again --json"},
        ).step
        == 1
    )


def test_a_vanished_objective_adds_no_kl(model, tmp_path):
    """With kl="outside" the coefficient of a gradient that is zero, which its floor makes huge, weighs
    nothing.
    """
    nothing = {
        "helpful": FunctionReward(lambda prompt, answer: 0.0),
        "harmless": FunctionReward(lambda prompt, answer: len(answer) / 9),
    }
    run = trainer(model, tmp_path / "a", rewards=nothing, kl="outside", steps=3)
    run.advance()
    run.advance()
    sizes = []
    step = run.ascent.step
    run.ascent.step = lambda direction, length: (
        sizes.append(float(direction.norm())) or step(direction, length)
    )
    run.advance()
    assert sizes[0] < 10


def test_what_is_applied_is_what_the_method_asks_for(model, tmp_path):
    """In every step, by what is logged and by the parameters themselves."""
    run = trainer(model, tmp_path / "a", steps=4, warmup=1)
    asked = []
    step = run.ascent.step
    run.ascent.step = lambda direction, length: asked.append(direction) or step(direction, length)
    for number in range(4):
        before = run.theta.detach().clone()
        row = run.advance()
        change = run.theta.detach() - before
        assert row["applied"] == pytest.approx(
            float(torch.cosine_similarity(change, asked[-1], dim=0)), abs=1e-3
        )
        assert float(change.pow(2).mean().sqrt()) == pytest.approx(0.02 * (1 - number / 4), rel=1e-3)
        assert row["applied"] > 0.7 and sum(row["shares"]) == pytest.approx(1)


def test_a_checkpoint_from_the_hub_is_its_own_files_and_bounded(monkeypatch, tmp_path):
    asked = {}

    def info(name, files_metadata, token):
        size = 2**31 if name == "a/large" else 100
        names = ("adapter_model.safetensors", "model.safetensors")
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file, size=size) for file in names])

    monkeypatch.setattr(checkpoint, "model_info", info)
    monkeypatch.setattr(
        checkpoint, "snapshot_download", lambda name, **how: asked.update(how) or str(tmp_path)
    )
    with pytest.raises(CheckpointError, match="2.0 GiB"):
        checkpoint.fetch("a/large")
    assert checkpoint.fetch("a/small", token=False) == tmp_path
    assert set(asked["allow_patterns"]) == set(checkpoint.FILES) and asked["token"] is False


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_two_processes_give_the_update_of_one(model, tmp_path, algorithm, monkeypatch, capsys):
    """With the same global batch, by the command of the docs."""
    for name in ("helpful", "harmless"):
        head(name, model.hash).save(tmp_path / f"{name}.safetensors")
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": p, "kind": "helpful"}) + "\n" for p in PROMPTS)
    )
    asked = [
        "pareto",
        "train",
        "--model",
        str(tiny("llama")),
        "--prompts",
        tmp_path / "prompts.jsonl",
        "--steps",
        "2",
        "--group",
        "3",
        "--prompts-per-step",
        "4",
        "--max-new-tokens",
        "6",
        "--rank",
        "2",
        "--lr",
        "0.02",
        "--rows-at-once",
        "6",
        "--json",
        "--preference",
        "0.2",
        "0.8",
        "--algorithm",
        algorithm,
    ]
    asked += [f"--reward={name}={tmp_path / name}.safetensors" for name in ("helpful", "harmless")]
    docs = (ROOT / "docs" / "command-line.md").read_text()
    launch = next(line for line in docs.splitlines() if "torchrun" in line).partition(" -m pareto")[0].split()
    launch[0] = str(Path(sys.executable).with_name(launch[0]))
    command = [*launch, "-m", *map(str, asked), "--out", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(sys, "argv", [*map(str, asked), "--out", str(tmp_path / "one")])
    assert main() == 0
    for printed, processes in ((capsys.readouterr().out, 1), (done.stdout, 2)):
        told = json.loads(printed)
        assert (told["steps"], told["processes"]) == (2, processes)
    one, two = (Checkpoint.load(tmp_path / name, model) for name in ("one", "two"))
    a, b = (
        torch.cat([half.flatten() for halves in each.adapter.parts.values() for half in halves])
        for each in (one, two)
    )
    assert float((a - b).norm() / a.norm()) < 1e-2
    assert one.curves[-1]["reward"] == pytest.approx(two.curves[-1]["reward"], abs=1e-3)


def test_gradients_of_the_last_block_are_the_last_of_the_vector(model):
    last = Shape(model.stack, 2, 1, MODULES).last()
    assert 0 < last.sum() < len(last) and last[int((~last).sum()) :].all()


def test_floors_are_told():
    assert combine.floored(torch.diag(torch.tensor([1.0, 0.0]))) == [False, True]
