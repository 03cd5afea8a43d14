"""What benchmarks.push_efficiency takes for a push's effect and cost is what small pushes have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.push_efficiency import KL, SEEDS, TEMPERATURE, TOKENS, fitted, gains, moments, slopes, within
from lm import Edit, load
from tests.tiny import LAYERS, WIDTH, tiny


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_slopes_and_moments_are_those_of_the_engine_that_steers(family: str) -> None:
    model = load(str(tiny(family)), engine="reference")
    rows = [
        (model.chat_ids(text) + model.codec.answer_ids(answer), len(model.chat_ids(text)))
        for text, answer in (
            ("Who are you?", "Nobody."),
            ("And a longer question?", "An answer, too."),
        )
    ]
    ids, starts = zip(*rows, strict=True)
    layers, start = range(1, LAYERS), 3
    own = slopes(model.stack, rows, start, layers)

    def measured(edit: Edit) -> list[float]:
        above, below = (
            model.logprobs(ids, starts, edits=[(each,)] * 2, chosen=True, temperature=TEMPERATURE)
            for each in (edit, replace(edit, fixed=-edit.fixed))
        )
        return [float(up.sum() - down.sum()) / 0.04 for up, down in zip(above, below, strict=True)]

    torch.manual_seed(0)
    for layer in layers:
        push = torch.nn.functional.normalize(torch.randn(1, WIDTH))
        zero = torch.zeros(1)
        edit = Edit(layer, push, zero, push, zero, zero, fixed=torch.full((1,), 0.02), start=start)
        near = {"rel": 0.05, "abs": 0.02}
        assert (own[:, layer - layers.start] @ push[0]).tolist() == pytest.approx(measured(edit), **near)
        when = moments(model.stack, rows, start, {layer: push[0]})
        assert when.sum(1).tolist() == pytest.approx(measured(edit), **near)
        later = [measured(replace(edit, start=first - 1))[row] for row, first in enumerate(starts)]
        assert when[:, 1:].sum(1).tolist() == pytest.approx(later, **near)
        for row, text, first in zip(when, ids, starts, strict=True):
            assert not row[1 + len(text) - first :].any()


def test_the_gain_is_that_of_an_exponential_tilt() -> None:
    dice = np.random.default_rng(0)
    s = dice.normal(size=(40_000, SEEDS)) * 3
    score = 0.02 * s + dice.normal(size=s.shape) * 0.1 + dice.normal(size=(40_000, 1))
    own, along = (within(torch.from_numpy(part).flatten()) for part in (score, s))
    strength = (2 * KL * TOKENS) ** 0.5 / 3  # of KL TOKENS nats an answer where s has a deviation of 3
    tilted = np.exp(strength * s)
    moved = (tilted * (score - score.mean())).mean() / tilted.mean()
    [gain] = gains(own, along, np.empty((0, len(s))))
    assert gain == pytest.approx(0.02 * 3 * (2 * KL * TOKENS) ** 0.5, rel=0.02)
    assert gain == pytest.approx(moved, rel=0.1)


def test_a_fitted_direction_is_tried_on_the_half_that_it_did_not_see() -> None:
    torch.manual_seed(0)
    slope, direction = torch.randn(400, 30), torch.randn(30)
    truth = slope @ direction
    assert torch.corrcoef(torch.stack([fitted(slope, truth), truth]))[0, 1] > 0.9
    assert abs(torch.corrcoef(torch.stack([fitted(slope, torch.randn(400)), truth]))[0, 1]) < 0.3
