"""Tokens drawn on a device against lm.sampling, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.engines.torch import drawing
from lm.engines.torch.drawing import draw_rows
from lm.rows import Sampling
from lm.sampling import draw, gumbel

SEEDS = st.one_of(st.integers(0, 9), st.integers(0, 2**63 - 1))


@given(seed=SEEDS, step=st.integers(0, 10_000))
@settings(max_examples=50)
def test_noise_is_that_of_every_engine(seed, step):
    seeds = torch.tensor([[seed, step]])
    np.testing.assert_allclose(
        drawing.gumbel(seeds, 500)[0].numpy(), gumbel(seed, step, np.arange(500)), rtol=1e-12
    )


@given(
    seed=SEEDS, step=st.integers(0, 500), temperature=st.sampled_from([0.0, 0.05, 0.7, 1.0, 10.0]),
    spread=st.sampled_from([0.01, 1.0, 5.0, 80.0]),
)  # fmt: skip
@settings(max_examples=60)
def test_rows_are_drawn_as_one_by_one(seed, step, temperature, spread):
    logits = np.float32(np.random.default_rng(step).normal(0, spread, (3, 400)))
    draws = [(Sampling(temperature, seed, 9), step), (Sampling(0.0, 1, 9), 0), (Sampling(1.3, 4, 9), step)]
    drawn = drawing.draw_rows(torch.from_numpy(logits), draws)
    expected = [draw(row, *each) for row, each in zip(logits, draws, strict=True)]
    assert [token for token, _ in drawn] == [token for token, _ in expected]
    np.testing.assert_allclose([p for _, p in drawn], [p for _, p in expected], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_log_probability_of_broken_logits_is_no_number(bad):
    logits = torch.zeros(2, 8)
    logits[0, 3] = bad
    broken, sound = drawing.draw_rows(logits, [(Sampling(1.0, 0, 9), 0)] * 2)
    assert np.isnan(broken[1]) and np.isfinite(sound[1])


def test_nothing_is_drawn_of_no_rows():
    """As where a part of a long prompt is read alone."""
    assert draw_rows(torch.zeros(0, 7), []) == []
