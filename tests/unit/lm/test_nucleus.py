"""Nucleus sampling: tokens are drawn from what transformers' TopPLogitsWarper leaves, on every engine."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TopPLogitsWarper

from lm import LanguageModel, Row, Sampling, load
from lm.engines.torch.drawing import draw_rows
from lm.sampling import draw, gumbel, nucleus
from tests.tiny import NATIVE, tiny
from tests.unit.lm.test_model import ENGINES, PROMPT, batched, edit, held_to_numpy

TOP_P = (0.0, 0.05, 0.5, 0.9, 0.999)


@pytest.fixture(scope="module", params=ENGINES, ids="-".join)
def model(request) -> LanguageModel:
    family, engine = request.param
    return batched(family) if engine == "batched" else load(str(tiny(family)), engine=engine)


def warped(scaled: np.ndarray, top_p: float) -> np.ndarray:
    """What transformers leaves of logits / T: minus infinity elsewhere."""
    return TopPLogitsWarper(top_p)(None, torch.from_numpy(scaled).double()[None])[0].numpy()


@given(
    seed=st.integers(0, 2**32), top_p=st.one_of(st.sampled_from(TOP_P), st.floats(0, 0.9999)),
    spread=st.sampled_from([0.01, 1.0, 5.0, 80.0]), size=st.integers(1, 700),
)  # fmt: skip
@settings(max_examples=150)
def test_the_nucleus_is_what_transformers_leaves(seed, top_p, spread, size):
    logits = np.float32(np.random.default_rng(seed).normal(0, spread, size))
    found = nucleus(logits - logits.max(), top_p)
    assert {*found} == {*np.flatnonzero(np.isfinite(warped(logits, top_p)))}
    assert (np.diff(logits[found]) <= 0).all()


@pytest.mark.parametrize(("top_p", "size"), [(0.0, 1), (0.1, 1), (0.25, 1), (0.3, 2), (0.74, 3), (0.9, 4)])
def test_of_equals_the_first_ones_are_kept_and_no_more_than_it_takes(top_p, size):
    logits = np.float32([-50, 1, 1, -50, 1, 1])
    assert np.isfinite(warped(logits, top_p)).sum() == size
    kept = [1, 2, 4, 5][:size]
    assert [*nucleus(logits - 1, top_p)] == kept
    draws = [(Sampling(1.0, seed, 9, top_p), 0) for seed in range(60)]
    each = [draw(logits, *one)[0] for one in draws]
    assert {*each} == {*kept}
    together = draw_rows(torch.from_numpy(logits).repeat(60, 1), draws)
    assert [token for token, _ in together] == each


def test_every_engine_draws_from_what_transformers_leaves(model):
    for top_p in TOP_P:
        row = Row(PROMPT, Sampling(0.8, 7, 16, top_p), (edit(1, goal=3.0),))
        [run] = model.generate([row])
        start = len(PROMPT)
        [whole] = model.logprobs([[*PROMPT, *run.ids]], [start], edits=[row.edits], temperature=0.8)
        for step, (token, logprob) in enumerate(zip(run.ids, run.logprobs, strict=True)):
            left = warped(whole[step].numpy(), top_p)
            assert token == (left + gumbel(7, step, np.arange(len(left)))).argmax()
            # of the whole distribution, not of what is left
            assert logprob == pytest.approx(float(whole[step, token]), abs=2e-3)


def test_a_row_with_a_nucleus_is_the_same_alone_and_in_company(model):
    rows = [Row(PROMPT[at:], Sampling(1.1, at, 14, top_p)) for at, top_p in enumerate((1.0, 0.4, 0.9, 0.7))]
    alone = [model.generate([row])[0].ids for row in rows]
    assert [run.ids for run in model.generate(rows)] == alone
    assert alone[1] != model.generate([Row(PROMPT[1:], Sampling(1.1, 1, 14))])[0].ids


def test_the_greedy_token_is_in_every_nucleus(model):
    greedy, narrow = (Row(PROMPT, Sampling(t, 3, 12, p)) for t, p in ((0.0, 0.5), (0.9, 0.0)))
    assert model.generate([greedy])[0].ids == model.generate([narrow])[0].ids


@pytest.mark.parametrize("family", NATIVE)
@pytest.mark.parametrize("temperature", [1e-40, 0.3, 1.0, 10.0])
def test_the_native_engine_draws_from_numpys_nucleus(family, temperature):
    engine = load(str(tiny(family)), engine="native").engine
    prompts = [PROMPT[i % 40 :] for i in range(60)]
    samplings = [Sampling(temperature, 31 * i, 9, TOP_P[i % len(TOP_P)]) for i in range(60)]
    held_to_numpy(engine, prompts, samplings)


@given(seed=st.integers(0, 2**32), top_p=st.sampled_from(TOP_P), spread=st.sampled_from([0.01, 1.0, 5.0]))
@settings(max_examples=60)
def test_rows_on_a_device_are_drawn_as_one_by_one(seed, top_p, spread):
    logits = np.float32(np.random.default_rng(seed).normal(0, spread, (3, 400)))
    draws = [(Sampling(0.7, seed, 9, top_p), 2), (Sampling(0.7, seed, 9), 2), (Sampling(0.0, 1, 9, top_p), 0)]
    together = draw_rows(torch.from_numpy(logits), draws)
    each = [draw(row, *one) for row, one in zip(logits, draws, strict=True)]
    assert [token for token, _ in together] == [token for token, _ in each]
    np.testing.assert_allclose([p for _, p in together], [p for _, p in each], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("top_p", [-0.1, 1.1, float("nan")])
def test_a_top_p_that_is_no_share_is_refused(top_p):
    with pytest.raises(ValueError, match=r"^Top p is .*: give a number from 0 to 1 \(all tokens\)\.$"):
        Sampling(1.0, top_p=top_p)
