"""Many rows in lockstep, against the engine that decodes row by row, and alone against in company."""

import pytest
import torch

from lm import load
from lm.engines.torch.drawing import uniform
from lm.engines.torch.lockstep import Lockstep
from lm.engines.torch.stack import Stack, unchanged
from pareto import rollout
from pareto.lowrank import Shape
from pareto.rollout import Rollout
from tests.tiny import NATIVE, tiny

MODULES = ("q_proj", "o_proj", "down_proj")
PROMPTS = ["How are you?", "Why?", "Tell me a long story of a boat."]
ANSWER, GROUP = 6, 2


@pytest.fixture(scope="module", params=NATIVE)
def model(request):
    made = load(str(tiny(request.param)))
    made.stack = Stack(made.torch, torch.float32)
    return made


def changed(stack, policies: int):
    shape = Shape(stack, 2, 1, MODULES)
    return shape, torch.randn(policies, shape.count, generator=torch.Generator().manual_seed(7)) * 0.3


def answers(model, low_rank, prompts, seeds, temperature=1.0, stop_ids=frozenset()):
    ids = [model.chat_ids(prompt) for prompt in prompts]
    decoder = Lockstep(
        model.stack,
        low_rank,
        rows=len(seeds),
        group=GROUP,
        prompt=max(map(len, ids)) + 3,
        answer=ANSWER,
        record=0,
    )
    for _ in range(2):  # memory that was used before
        made = decoder.run(ids, seeds, temperature, stop_ids)
    return made


def test_log_probabilities_and_states_are_those_of_the_whole_sequence(model):
    shape, theta = changed(model.stack, 3)
    made = answers(model, shape.groups(theta), PROMPTS, range(6), 0.8)
    rows = Rollout([""] * 6, [""] * 6, made.hidden, made.where, made.ids, made.logps, made.mask, 0.8)
    again = rollout.logprobs(model.stack, rows, 1, shape.rows(theta.repeat_interleave(GROUP, 0)))
    torch.testing.assert_close(made.logps, again, atol=1e-4, rtol=1e-4)
    for row, prompt in enumerate(PROMPTS):
        whole = [*model.chat_ids(prompt), *made.ids[row * GROUP].tolist()[:-1]]
        states = model.stack.embed(torch.tensor([whole]))
        positions = torch.arange(len(whole))[None]
        mask = model.stack.mask(positions, len(whole))
        states = model.stack.layer(
            0,
            states,
            model.stack.rotary(positions),
            lambda _, q, k, v, mask=mask: model.stack.grouped(q, k, v, mask),
            unchanged,
        )
        torch.testing.assert_close(made.hidden[row * GROUP, : len(whole)], states[0], atol=1e-4, rtol=1e-4)


def test_cold_answers_are_the_greedy_ones(model):
    made = answers(model, unchanged, PROMPTS, range(6), 0.05 / 50)
    for row in range(6):
        ids = torch.tensor([model.chat_ids(PROMPTS[row // GROUP])])
        for token in made.ids[row]:
            logits = model.torch(ids).logits[0, -1]
            assert logits.max() - logits[token] < 1e-2  # tiny random models have near ties
            ids = torch.cat([ids, token.view(1, 1)], 1)


def test_a_row_is_the_same_alone_and_in_company(model):
    shape, theta = changed(model.stack, 3)
    together = answers(model, shape.groups(theta), PROMPTS, range(6))
    for k, prompt in enumerate(PROMPTS):
        alone = answers(model, shape.groups(theta[k : k + 1]), [prompt], [2 * k, 2 * k + 1])
        assert torch.equal(alone.ids, together.ids[2 * k : 2 * k + 2])
        torch.testing.assert_close(alone.logps, together.logps[2 * k : 2 * k + 2], atol=1e-4, rtol=1e-4)


def test_an_answer_ends_with_its_first_stop(model):
    free = answers(model, unchanged, PROMPTS, range(6))
    stop = int(free.ids[0, 2])
    stopped = answers(model, unchanged, PROMPTS, range(6), stop_ids=frozenset({stop}))
    assert torch.equal(stopped.ids, free.ids)
    for ids, mask in zip(stopped.ids.tolist(), stopped.mask.tolist(), strict=True):
        ends = ids.index(stop) + 1 if stop in ids else ANSWER
        assert mask == [True] * ends + [False] * (ANSWER - ends)


def test_tokens_are_drawn_as_often_as_they_are_likely(model):
    rows = 4000
    made = answers(model, unchanged, PROMPTS[:1] * (rows // GROUP), range(rows), 2.0)
    logits = model.torch(torch.tensor([model.chat_ids(PROMPTS[0])])).logits[0, -1]
    odds = (logits / 2.0).softmax(0)
    counts = torch.bincount(made.ids[:, 0], minlength=len(odds)) / rows
    assert (counts - odds).abs().max() < 5 * (0.25 / rows) ** 0.5


def test_uniform_numbers_are_even_and_keep_off_the_ends():
    drawn = uniform(torch.arange(200_000)[:, None], torch.tensor([3]))
    assert drawn.shape == (200_000, 1) and 0 < drawn.min() and drawn.max() < 1
    counts = torch.histc(drawn, 20, 0, 1) / len(drawn)
    assert (counts - 0.05).abs().max() < 5 * (0.05 * 0.95 / len(drawn)) ** 0.5
    total = torch.linspace(0.5, 4, 10_000)
    assert bool(((1 - 2**-24) * total < total).all())
