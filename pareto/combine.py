"""One update from the gradients of several objectives (maximized). Pure functions of the Gram matrix.

Every method gives coefficients c, and the update is sum_i c_i g_i: c depends on the gradients g_i through their Gram
matrix G_ij = g_i . g_j alone, so that it can be summed over shards and never needs the gradients in one place.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

FLOOR = 1e-8
"""Norms below this share of the largest one are raised to it: the direction of a vanished gradient is noise."""


class PreferenceError(ValueError):
    """A preference vector that is none."""


def preference(values: Sequence[float], objectives: int) -> Tensor:
    """Checks a preference vector: as many numbers as objectives, none negative, sum 1."""
    vector = torch.tensor(values, dtype=torch.float64)
    if vector.shape != (objectives,):
        raise PreferenceError(f"preference has {vector.numel()} numbers: give {objectives}, one an objective")
    if not torch.isfinite(vector).all() or (vector < 0).any() or abs(float(vector.sum()) - 1) > 1e-6:
        raise PreferenceError(f"preference is {list(values)}: give numbers from 0 to 1 that sum to 1")
    return vector


def gram(gradients: Tensor) -> Tensor:
    """G [m, m] of gradients [m, parameters], in float64."""
    g = gradients.double()
    return g @ g.T


def norms(gram: Tensor) -> Tensor:
    """|g_i| [m], floored at FLOOR times the largest. All zero where every gradient is."""
    size = gram.diagonal().clamp_min(0).sqrt()
    return size.clamp_min(float(size.max()) * FLOOR)


def linear(gram: Tensor, preference: Tensor) -> Tensor:
    """Linear scalarisation: c = lambda."""
    return preference.double()


def pgapo(gram: Tensor, preference: Tensor) -> Tensor:
    """P-GAPO (paper, section 3.4): c_i = lambda_i / |g_i|, no min-norm problem."""
    size = norms(gram)
    return torch.where(size > 0, preference.double() / size.clamp_min(torch.finfo(torch.float64).tiny), 0.0)


def mgda(gram: Tensor) -> Tensor:
    """MGDA (equation 5): the point of least norm in the convex hull of the gradients."""
    return min_norm(gram)


def gapo(gram: Tensor, p: float = 2.0) -> Tensor:
    """GAPO (equations 6 and 7): MGDA on g_i / |g_i|^p. The coefficients of the raw gradients are alpha_i / |g_i|^p."""
    if not 0 <= p <= 4:
        raise ValueError(f"p is {p}: give a number from 0 (MGDA) to 4; the paper uses 1 and 2")
    size = norms(gram)
    if float(size.max()) == 0:
        return torch.zeros_like(size)
    scale = (size / size.max()) ** -p
    alpha = min_norm(gram / size.max() ** 2 * torch.outer(scale, scale))
    return alpha * scale / size.max() ** p


def min_norm(gram: Tensor) -> Tensor:
    """argmin |sum_i a_i g_i| over the simplex, from the Gram matrix [m, m].

    Closed form for two (clipped at the ends); for more, exact over the faces of the simplex: on the best face the
    gradient of |.|^2 is equal over its members, and no smaller outside.
    """
    m = len(gram)
    matrix = gram.double().cpu().numpy()
    matrix = matrix / max(matrix.diagonal().max(), np.finfo(float).tiny)
    if m == 1:
        return torch.ones(1, dtype=torch.float64)
    if m == 2:
        a, b, c = matrix[0, 0], matrix[1, 1], matrix[0, 1]
        curve = a + b - 2 * c
        first = 0.5 if curve <= 0 else float(np.clip((b - c) / curve, 0, 1))
        return torch.tensor([first, 1 - first], dtype=torch.float64)
    if m > 12:
        raise ValueError(f"{m} objectives: at most 12 are combined exactly")
    best, value = None, np.inf
    for members in range(1, 1 << m):
        face = [i for i in range(m) if members >> i & 1]
        square = matrix[np.ix_(face, face)]
        system = np.block([[square, np.ones((len(face), 1))], [np.ones((1, len(face))), np.zeros((1, 1))]])
        weights = np.linalg.lstsq(system, np.r_[np.zeros(len(face)), 1.0], rcond=None)[0][:-1]
        if (weights < -1e-9).any() or abs(weights.sum() - 1) > 1e-6:
            continue
        size = float(weights @ square @ weights)
        if size < value - 1e-12 * max(1.0, abs(value) if np.isfinite(value) else 1.0):
            best, value = np.zeros(m), size
            best[face] = weights.clip(0)
    return torch.from_numpy(best / best.sum())


def normalized(preference: Tensor, deviations: Tensor) -> Tensor:
    """Normalised-advantage scalarisation (GDPO, in GRPO's manner): c_i = lambda_i / standard deviation of advantage i [m].

    A policy gradient is linear in its advantages, so scaling these is scaling it; an objective that tells no answers apart counts nothing.
    """
    return torch.where(deviations > 0, preference.double() / deviations.double().clamp_min(torch.finfo(torch.float64).tiny), 0.0)


def floored(gram: Tensor) -> list[bool]:
    """For which objectives the floor on |g_i| acts."""
    size = gram.diagonal().clamp_min(0).sqrt()
    return (size < float(size.max()) * FLOOR).tolist()


def cosines(gram: Tensor) -> Tensor:
    """Cosine [m, m] between the gradients; 0 for a gradient that is zero."""
    size = gram.diagonal().clamp_min(0).sqrt()
    inverse = torch.where(size > 0, 1 / size, 0.0)
    return gram * torch.outer(inverse, inverse)
