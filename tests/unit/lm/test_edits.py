"""Edits: the strengths against HiGHS, what is pushed, and that off is off in every engine."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm import Edit, LanguageModel, Row, Sampling, load
from lm.edits.edit import MAX_PUSH
from lm.edits.solver import SLACK
from lm.edits.trace import CAPPED, MAX_TARGETS, REACHED, UNREACHABLE, records
from lm.engines.torch.batched import BatchedEngine
from lm.engines.torch.stack import Stack
from tests.oracles import least_strengths
from tests.tiny import LAYERS, WIDTH, tiny

PROMPT = tuple(b"A short prompt that is longer than the window.")
SEEDS = st.integers(0, 2**32)


def random_edit(seed: int, *, fixed: bool = False, cap: float | None = None, width: int = 48) -> Edit:
    """Of one to three targets: directions of every size, some parallel, some at right angles, some read only."""
    random = np.random.default_rng(seed)
    k = int(random.integers(1, MAX_TARGETS + 1))
    read = random.normal(size=(k, width)) * 10.0 ** random.integers(-2, 2, (k, 1))
    push = read + random.normal(size=(k, width)) * random.choice([0, 1])
    push /= np.linalg.norm(push, axis=1, keepdims=True)
    kind = random.integers(6)
    if kind == 0:
        read[-1], push[-1] = 2 * read[0], push[0]  # in float32, too, where 3 times may not be parallel
    elif kind == 1:
        push[0] -= push[0] @ read[-1] * read[-1] / (read[-1] @ read[-1]) if k > 1 else 0
    elif kind == 2:
        read[0] = 0
    sense = random.choice([-1, 0, 1], k, p=[0.4, 0.2, 0.4])
    numbers = (read, random.normal(size=k), push, random.normal(size=k) * 3, sense)
    read, bias, push, goal, sense = (torch.tensor(part, dtype=torch.float32) for part in numbers)
    strengths = torch.tensor(random.normal(size=k), dtype=torch.float32) if fixed else None
    return Edit(0, read, bias, push, goal, sense, strengths, cap)


@given(seed=SEEDS)
@settings(max_examples=200)
def test_the_strengths_are_the_optimum_of_highs(seed):
    edit, random = random_edit(seed), np.random.default_rng(seed + 1)
    gram, goal, sense = (part.double().numpy() for part in (edit.gram, edit.goal, edit.sense))
    z = random.normal(size=len(goal)) * 5
    eps, solved = edit.strengths(torch.tensor(z)[None])
    free = sense != 0
    exact = (
        least_strengths(z[free], gram[np.ix_(free, free)], goal[free], sense[free])
        if free.any()
        else np.zeros(0)
    )
    assert bool(solved[0]) == (exact is not None)
    if exact is None:
        assert not eps.any()
        return
    strengths = eps[0].numpy()
    assert not strengths[~free].any()
    short = sense * (goal - z - gram @ strengths)
    assert np.all(short <= SLACK * (1 + np.abs(goal)) * 1.001)
    assert np.abs(strengths).sum() == pytest.approx(np.abs(exact).sum(), rel=2e-3, abs=2e-3)


@given(seed=SEEDS, scale=st.sampled_from([1e-6, 1e-2, 1e3]))
@settings(max_examples=80)
def test_what_is_singular_does_not_depend_on_the_length_of_directions(seed, scale):
    edit = random_edit(seed)
    longer = Edit(0, edit.read * scale, edit.bias, edit.push, edit.goal, edit.sense)
    assert len(longer.program.vertices) == len(edit.program.vertices)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_there_are_as_many_vertices_as_choices(k):
    generator = torch.Generator().manual_seed(k)
    read, push = (torch.randn(k, WIDTH, generator=generator) for _ in range(2))
    edit = Edit(0, read, torch.zeros(k), push, torch.zeros(k), torch.ones(k))
    assert edit.program.vertices.shape == ([1, 5, 19][k - 1], k, k)


@given(seed=SEEDS, cap=st.sampled_from([None, 1e-3, 0.5]), fixed=st.booleans())
@settings(max_examples=150)
def test_the_outcome_says_what_was_done(seed, cap, fixed):
    edit = random_edit(seed, cap=cap, fixed=fixed)
    x = torch.randn(5, 48, generator=torch.Generator().manual_seed(seed % 2**31)) * 3
    active = torch.tensor([True, True, True, False, True])
    after, numbers = edit.apply(x, active)
    trace, k = records(numbers), len(edit.goal)
    z, eps = trace["z"][:, :k], trace["eps"][:, :k]
    np.testing.assert_allclose(z, (x @ edit.read.T + edit.bias).numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(trace["norm"], x.norm(dim=1).numpy(), rtol=1e-5)
    np.testing.assert_allclose(after, x + torch.from_numpy(eps) @ edit.push, rtol=1e-3, atol=1e-3)
    size = (torch.from_numpy(eps) @ edit.push).norm(dim=1).numpy()
    assert np.all(size <= (cap or (np.inf if fixed or k == 1 else MAX_PUSH)) * trace["norm"] * 1.001)
    assert not eps[3].any() and trace["outcome"][3] == REACHED
    assert not eps[trace["outcome"] == UNREACHABLE].any()
    if cap is None:
        assert not (trace["outcome"] == CAPPED).any()
    still = ~eps.any(1)
    assert torch.equal(after[still].view(torch.int), x[still].view(torch.int))


def test_trace_names_are_no_secret():
    edit = random_edit(3)
    _, numbers = edit.apply(torch.zeros(2, 48), torch.ones(2, dtype=torch.bool))
    assert records(numbers).dtype.names == ("z", "eps", "norm", "outcome")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"read": torch.ones(4, 8), "push": torch.ones(4, 8)},
            "Read has 4 rows: give 1 to 3, one for each target.",
        ),
        ({"push": torch.ones(1, 7)}, r"Push has shape \(1, 7\): give read's, \(1, 8\)."),
        ({"goal": torch.ones(2)}, r"Goal has shape \(2,\): give \(1,\), one number for each target."),
        ({"cap": 0.0}, "Cap is 0.0: give a positive share"),
        ({"bias": torch.tensor([torch.nan])}, "Bias has values that are not finite: give finite numbers."),
    ],
)
def test_edits_that_make_no_sense_are_refused(changes, message):
    one = torch.ones(1)
    parts = {
        "layer": 0,
        "read": torch.ones(1, 8),
        "bias": one,
        "push": torch.ones(1, 8),
        "goal": one,
        "sense": one,
    }
    with pytest.raises(ValueError, match=message):
        Edit(**(parts | changes))


# ---- off is off


@cache
def model(engine: str) -> LanguageModel:
    made = load(str(tiny("llama")), engine="reference" if engine == "batched" else engine)
    if engine != "batched":
        return made
    batched = BatchedEngine(Stack(made.torch, torch.float32), context=512)
    return LanguageModel(made.name, made.hash, made.tokenizer, made.stop_ids, batched, lambda: made.torch)


def idle_edits(random: np.random.Generator) -> tuple[Edit, ...]:
    """Edits that never push: goals that hold everywhere, strengths of zero, or nothing but reading."""
    edits = []
    for layer in random.choice(LAYERS, random.integers(1, LAYERS + 1), replace=False):
        k = int(random.integers(1, MAX_TARGETS + 1))
        read = torch.from_numpy(random.normal(size=(k, WIDTH))).float()
        sense = torch.from_numpy(random.choice([-1, 1], k))
        kind = random.integers(4)
        fixed = (
            torch.zeros(k) * torch.from_numpy(random.choice([-1.0, 1.0], k)).float() if kind == 0 else None
        )
        goal = sense * (-1e6 if kind == 1 else 5.0)
        senses = sense if kind == 0 or kind == 1 else torch.zeros(k)
        cap = float(random.choice([0.01, 1.0])) if random.random() < 0.3 else None
        answer_only = bool(random.random() < 0.5)
        start = int(random.integers(0, 60))
        edits.append(
            Edit(int(layer), read, torch.zeros(k), read, goal.float(), senses, fixed, cap, answer_only, start)
        )
    return tuple(edits)


@pytest.mark.parametrize("engine", ["native", "packed", "batched", "reference"])
@given(seed=st.integers(0, 2**31), temperature=st.sampled_from([0.0, 0.7, 1.0]), length=st.integers(2, 46))
@settings(max_examples=12)
def test_edits_that_never_push_leave_the_text_as_it_is(engine, seed, temperature, length):
    """Token for token, whatever the other rows of the batch do."""
    random = np.random.default_rng(seed)
    sampling = Sampling(temperature, seed % 1000, 6)
    busy = Edit(
        1, torch.ones(1, WIDTH), torch.zeros(1), torch.ones(1, WIDTH), torch.tensor([50.0]), torch.ones(1)
    )
    rows = [
        Row(PROMPT[:length], sampling, edits)
        for edits in ((), idle_edits(random), (busy,), idle_edits(random))
    ]
    base, idle, steered, other = model(engine).generate(rows)
    assert idle.ids == base.ids == other.ids
    assert not np.stack(idle.trace)["eps"].any() and np.stack(steered.trace)["eps"].any()
    if engine not in ("batched", "packed"):  # where a row's numbers do not depend on its company
        assert idle.logprobs == base.logprobs == other.logprobs
        alone = model(engine).generate([rows[1]])[0]
        assert alone.ids == base.ids and alone.logprobs == base.logprobs
