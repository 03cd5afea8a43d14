"""Steps, averages over steps and the KL weight, by their properties."""

import pytest
import torch

from pareto import combine
from pareto.optimizer import Ascent, MovingGram, slow


def directions(count: int, size: int = 4000, seed: int = 0) -> torch.Tensor:
    return (
        torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
        * torch.logspace(-3, 3, count)[:, None]
    )


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_every_step_has_the_length_that_is_asked_for(momentum):
    ascent = Ascent(momentum, torch.zeros(4000))
    for length, direction in enumerate(directions(6), 1):
        assert float(ascent.step(direction, length)[0].norm()) == pytest.approx(length, rel=1e-5)


def test_without_momentum_the_step_is_the_direction():
    direction = directions(1)[0]
    step, cosine = Ascent(0.0, torch.zeros(4000)).step(direction, 2.0)
    torch.testing.assert_close(step, 2 * direction / direction.norm())
    assert cosine == pytest.approx(1)


def test_momentum_leaves_the_cosine_that_it_says():
    """For directions that have nothing to do with each other, whatever their sizes."""
    ascent = Ascent(0.5, torch.zeros(40000))
    told = [ascent.step(each, 1.0)[1] for each in directions(12, 40000)]
    assert told[-1] == pytest.approx((1 - 0.5**2) ** 0.5, abs=0.02)


def test_the_cosine_that_is_told_is_that_of_the_step():
    ascent = Ascent(0.5, torch.zeros(4000))
    for direction in directions(4):
        step, cosine = ascent.step(direction, 0.1)
        assert cosine == pytest.approx(float(torch.cosine_similarity(step, direction, dim=0)), abs=1e-5)


def test_a_vanished_direction_moves_nothing():
    step, _ = Ascent(0.5, torch.ones(8)).step(torch.zeros(8), 1.0)
    assert not step.any()


def test_the_moving_gram_of_equal_matrices_is_that_matrix_from_the_first_step_on():
    gram = combine.gram(directions(3, 20).double())
    moving = MovingGram(0.8, torch.zeros(3, 3, dtype=torch.float64))
    for _ in range(4):
        torch.testing.assert_close(moving.add(gram), gram)


def test_the_moving_gram_weighs_newer_matrices_more_and_stays_positive():
    moving = MovingGram(0.5, torch.zeros(2, 2, dtype=torch.float64))
    first, second = (
        torch.diag(torch.tensor([1.0, 0.0])).double(),
        torch.diag(torch.tensor([0.0, 1.0])).double(),
    )
    moving.add(first)
    torch.testing.assert_close(moving.add(second), (0.5 * first + second) / 1.5)
    noise = [combine.gram(directions(2, 3, seed).double()) for seed in range(20)]
    assert all((torch.linalg.eigvalsh(moving.add(each)) > -1e-9).all() for each in noise)


def test_the_moving_gram_reads_a_cosine_that_a_single_batch_hides():
    """Gradients with a common part under noise: the average is nearer to the truth than its last member."""
    dice = torch.Generator().manual_seed(3)
    truth = torch.tensor([[1.0, 0.0], [-0.6, 0.8]], dtype=torch.float64)

    def noisy() -> torch.Tensor:
        return combine.gram(truth + 0.5 * torch.randn(2, 2, generator=dice, dtype=torch.float64))

    errors: dict[str, list[float]] = {"one": [], "moving": []}
    moving = MovingGram(0.9, torch.zeros(2, 2, dtype=torch.float64))
    for step in range(200):
        newest = noisy()
        for name, gram in (("one", newest), ("moving", moving.add(newest))):
            if step > 20:
                errors[name].append(abs(float(combine.cosines(gram)[0, 1]) + 0.6 / 1.5))
    assert sum(errors["moving"]) < 0.5 * sum(errors["one"])


def test_the_kl_weight_moves_slowly_within_its_bounds_and_not_at_all_without_a_target():
    beta = 0.1
    for _ in range(200):
        new = slow(beta, 50.0, 5.0, 0.1)
        assert beta <= new <= beta * 1.05 + 1e-12
        beta = new
    assert beta == pytest.approx(0.4)
    for _ in range(200):
        beta = slow(beta, 0.0, 5.0, 0.1)
    assert beta == pytest.approx(0.025)
    assert slow(0.1, 50.0, 0.0, 0.1) == 0.1
