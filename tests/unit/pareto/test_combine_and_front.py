"""Gradient combination and fronts, by closed forms, an oracle and properties."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchjd.aggregation import MGDA

from common.fronts import nondominated
from pareto import combine, front
from pareto.front import Front, FrontError

PAPER = json.loads((Path(__file__).parents[3] / "assets" / "fronts" / "paper.json").read_text())


def gradients(m: int, seed: int, n: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(m, n, generator=generator, dtype=torch.float64)
        * torch.rand(m, 1, generator=generator, dtype=torch.float64)
        * 5
    )


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_min_norm_is_that_of_torchjd(m, seed):
    g = gradients(m, seed, n=6)
    ours = combine.min_norm(combine.gram(g)) @ g
    theirs = MGDA(epsilon=1e-9, max_iters=20_000)(g)
    assert float(ours.norm()) <= float(theirs.norm()) + 1e-9
    torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(("m", "n"), [(3, 2), (13, 30), (30, 8), (60, 200)])
@pytest.mark.parametrize("seed", range(3))
def test_min_norm_meets_its_conditions_for_any_number_of_objectives(m, n, seed):
    """On the simplex, with G a equal over the members and no smaller outside; n < m brings opposite and
    dependent gradients.
    """
    gram = combine.gram(gradients(m, seed, n=n))
    weights = combine.min_norm(gram)
    assert (weights >= 0).all() and float(weights.sum()) == pytest.approx(1)
    slope, size = gram @ weights, float(gram.diagonal().max())
    level = float(weights @ slope)
    assert (slope >= level - 1e-7 * size).all()
    assert slope[weights > 1e-9].numpy() == pytest.approx(level, abs=1e-7 * size)


@pytest.mark.parametrize(
    "method",
    [lambda gram: combine.mgda(gram), lambda gram: combine.gapo(gram, 1), lambda gram: combine.gapo(gram, 2)],
)
@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_no_objective_falls(method, m, seed):
    g = gradients(m, seed, n=8)
    update = method(combine.gram(g)) @ g
    assert (g @ update >= -1e-9).all()


@pytest.mark.parametrize("seed", range(5))
def test_gapo_at_one_with_two_objectives_is_pgapo_at_one_half(seed):
    gram = combine.gram(gradients(2, seed))
    torch.testing.assert_close(
        combine.gapo(gram, 1), combine.pgapo(gram, combine.preference([0.5, 0.5], 2)), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("cosine", [-0.9, -0.3, 0.0, 0.4, 0.8])
def test_two_objectives_follow_the_closed_form_of_gapo(cosine):
    n1, n2 = 3.0, 0.5
    g = torch.tensor([[n1, 0.0], [n2 * cosine, n2 * (1 - cosine**2) ** 0.5]], dtype=torch.float64)
    alpha = combine.gapo(combine.gram(g), 2) * torch.tensor([n1**2, n2**2])
    expected = np.clip((n1**2 - cosine * n1 * n2) / (n1**2 + n2**2 - 2 * cosine * n1 * n2), 0, 1)
    assert float(alpha[0]) == pytest.approx(expected)
    assert float(alpha.sum()) == pytest.approx(1)


def test_gapo_at_zero_is_mgda_and_orthogonal_gapo_at_two_weighs_raw_gradients_equally():
    gram = combine.gram(gradients(3, 1))
    torch.testing.assert_close(combine.gapo(gram, 0), combine.mgda(gram))
    c = combine.gapo(torch.diag(torch.tensor([9.0, 0.25], dtype=torch.float64)), 2)
    assert float(c[0]) == pytest.approx(float(c[1]))


@pytest.mark.parametrize("seed", range(4))
def test_order_does_not_matter_and_pgapo_forgets_scale(seed):
    g, order = gradients(3, seed), torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        combine.gapo(combine.gram(g[order]), 2), combine.gapo(combine.gram(g), 2)[order]
    )
    weights = combine.preference([0.2, 0.3, 0.5], 3)
    scaled = g * torch.tensor([[10.0], [0.1], [1.0]])
    torch.testing.assert_close(
        combine.pgapo(combine.gram(scaled), weights) @ scaled, combine.pgapo(combine.gram(g), weights) @ g
    )


def test_pgapo_lets_an_objective_fall_where_the_conflict_outweighs_its_preference():
    g = torch.tensor([[1.0, 0.0], [-0.5, 0.75**0.5]], dtype=torch.float64)
    update = combine.pgapo(combine.gram(g), combine.preference([0.2, 0.8], 2)) @ g
    assert float(g[0] @ update) < 0 < float(g[1] @ update)


def test_opposite_and_vanished_gradients_give_finite_updates():
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert float((combine.mgda(combine.gram(opposite)) @ opposite).norm()) == pytest.approx(0)
    one_zero = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    for c in (
        combine.gapo(combine.gram(one_zero), 1),
        combine.pgapo(combine.gram(one_zero), combine.preference([0.5, 0.5], 2)),
    ):
        assert torch.isfinite(c @ one_zero).all()
    assert (combine.gapo(torch.zeros(2, 2, dtype=torch.float64), 2) == 0).all()


@pytest.mark.parametrize("bad", [[0.5, 0.6], [-0.1, 1.1], [float("nan"), 1.0], [1.0], [0.2, 0.3, 0.5]])
def test_preferences_that_are_none_are_refused(bad):
    with pytest.raises(combine.PreferenceError, match="Preference"):
        combine.preference(bad, 2)


def test_normalized_advantages_weigh_objectives_alike_whatever_their_scale():
    a = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = combine.preference([0.3, 0.7], 2)
    scaled = a * torch.tensor([[100.0], [0.01]])
    torch.testing.assert_close(
        combine.normalized(weights, scaled.std(1)) @ scaled, combine.normalized(weights, a.std(1)) @ a
    )


@pytest.mark.parametrize(("method", "expected"), [("P-GAPO", 394), ("MORLHF", 351), ("Rewarded Soups", 244)])
def test_the_papers_figure_has_these_hypervolumes(method, expected):
    points = np.array([[p["helpful"], p["harmless"]] for p in PAPER["points"] if p["method"] == method])
    assert front.hypervolume(points, PAPER["reference"]) == pytest.approx(expected, abs=0.6)


def test_a_front_is_what_nothing_dominates():
    points = np.array([[0, 3], [1, 2], [1, 1], [3, 0], [0, 3]])
    assert nondominated(points).tolist() == [True, True, False, True, True]
    assert front.hypervolume(points, (5, 5)) == 0
    assert front.spacing(np.array([[0, 2], [1, 1], [2, 0]])) == pytest.approx(0)
    assert front.sparsity(np.array([[0, 2], [1, 1], [2, 0]])) == pytest.approx(2)
    assert front.inner_product(np.array([[1, 2]]), np.array([[0.25, 0.75]])) == pytest.approx(1.75)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1.0, 1e4, 1e8])
def test_mgda_does_not_see_the_scale_of_the_gradients(scale):
    g = gradients(3, 4)
    torch.testing.assert_close(combine.mgda(combine.gram(g * scale)), combine.mgda(combine.gram(g)))


POINT = {"id": "a", "method": "linear", "preference": [0.5, 0.5], "helpful": 1.0, "harmless": 2.0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"points": [3]}, "no attribute 'get'"),
        ({"points": [POINT, {}]}, "point 2 lacks id, method or one of helpful, harmless"),
        ({"points": [POINT | {"helpful": "x"}]}, "point 1 lacks id, method or one of"),
        ({"points": [POINT | {"helpful": float("nan")}]}, "point 1 lacks id, method or one of"),
        ({"points": [POINT | {"id": 5}]}, "point 1 lacks id, method or one of"),
        ({"points": [POINT | {"preference": [1.0]}]}, r"preference of point 1 is \[1.0\], not 2 numbers"),
        ({"reference": [1]}, r"reference is \[1\], not 2 numbers"),
        ({"reference": "ab"}, "reference is .*, not 2 numbers"),
        ({"objectives": [1, 2]}, "a name is no text"),
        ({"model": None}, "a name is no text"),
    ],
)
def test_a_front_that_nothing_can_be_computed_with_is_refused(tmp_path, change, says):
    path = tmp_path / "front.json"
    Front("m", "h", (-2.0, -2.0), (POINT,)).save(path)
    assert Front.load(path).to_dict() == Front("m", "h", (-2.0, -2.0), (POINT,)).to_dict()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        FrontError, match=rf"front\.json is no front \(.*{says}.*\): give a file that python -m pareto"
    ):
        Front.load(path)
