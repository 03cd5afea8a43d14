"""One update from the gradients of several objectives (maximized). Pure functions of the Gram matrix.

Every method gives coefficients c, and the update is sum_i c_i g_i: c depends on the gradients g_i through
their Gram matrix G_ij = g_i . g_j alone, so that it can be summed over shards and never needs the gradients
in one place.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

FLOOR = 1e-8
"""Norms below this share of the largest one are raised to it: the direction of a vanished gradient is noise.
"""


class PreferenceError(ValueError):
    """A preference vector that is not one: other than m numbers from 0 to 1 that sum to 1."""


def preference(values: Sequence[float], objectives: int) -> Tensor:
    """Checks a preference vector: as many numbers as objectives, none negative, sum 1."""
    vector = torch.tensor(values, dtype=torch.float64)
    if vector.shape != (objectives,):
        raise PreferenceError(
            f"Preference has {vector.numel()} numbers: give {objectives}, one an objective."
        )
    if not torch.isfinite(vector).all() or (vector < 0).any() or abs(float(vector.sum()) - 1) > 1e-6:
        raise PreferenceError(f"Preference is {list(values)}: give numbers from 0 to 1 that sum to 1.")
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
    """GAPO (equations 6 and 7): MGDA on g_i / |g_i|^p. The coefficients of the raw gradients are alpha_i /
    |g_i|^p.
    """
    if not 0 <= p <= 4:
        raise ValueError(f"p is {p}: give a number from 0 (MGDA) to 4; the paper uses 1 and 2.")
    size = norms(gram)
    if float(size.max()) == 0:
        return torch.zeros_like(size)
    scale = (size / size.max()) ** -p
    alpha = min_norm(gram / size.max() ** 2 * torch.outer(scale, scale))
    return alpha * scale / size.max() ** p


def min_norm(gram: Tensor) -> Tensor:
    """argmin |sum_i a_i g_i| over the simplex, from the Gram matrix [m, m].

    Closed form for two (clipped at the ends). For more, non-negative least squares of |sum_i a_i g_i|^2 +
    (sum_i a_i - 1)^2, which is solved exactly by an active set: where it is least, (G a)_i is 1 - sum(a) for
    every member and no smaller outside, and these are the conditions of a / sum(a) on the simplex.
    """
    m = len(gram)
    matrix = gram.double().cpu().numpy()
    matrix = matrix / max(matrix.diagonal().max(), np.finfo(float).tiny)
    if m == 2:
        a, b, c = matrix[0, 0], matrix[1, 1], matrix[0, 1]
        curve = a + b - 2 * c
        first = 0.5 if curve <= 0 else float(np.clip((b - c) / curve, 0, 1))
        return torch.tensor([first, 1 - first], dtype=torch.float64)
    values, vectors = np.linalg.eigh(matrix)
    factor = np.sqrt(values.clip(0))[:, None] * vectors.T
    weights = nnls(np.vstack([factor, np.ones(m)]), np.r_[np.zeros(m), 1.0])[0]
    return torch.from_numpy(weights / weights.sum())


def normalized(preference: Tensor, deviations: Tensor) -> Tensor:
    """Normalised-advantage scalarisation (GDPO, in GRPO's manner): c_i = lambda_i / standard deviation of
    advantage i [m].

    A policy gradient is linear in its advantages, so scaling these is scaling it; an objective whose
    advantages are all equal counts nothing.
    """
    return torch.where(
        deviations > 0,
        preference.double() / deviations.double().clamp_min(torch.finfo(torch.float64).tiny),
        0.0,
    )


def floored(gram: Tensor) -> list[bool]:
    """For which objectives the floor on |g_i| acts."""
    size = gram.diagonal().clamp_min(0).sqrt()
    return (size < float(size.max()) * FLOOR).tolist()


def cosines(gram: Tensor) -> Tensor:
    """Cosine [m, m] between the gradients; 0 for a gradient that is zero."""
    size = gram.diagonal().clamp_min(0).sqrt()
    inverse = torch.where(size > 0, 1 / size, 0.0)
    return gram * torch.outer(inverse, inverse)


def summary(newest: Tensor, gram: Tensor, coefficients: Tensor) -> dict[str, Any]:
    """What is logged of a combination: numbers from the step's Gram matrix, the averaged one [m, m] and the
    gradients' coefficients [m].
    """
    shares = coefficients * norms(gram)
    return {
        "norms": newest.diagonal().clamp_min(0).sqrt().tolist(),
        "cosine": _mean_cosine(newest),
        "cosine_over_steps": _mean_cosine(gram),
        "coefficients": coefficients.tolist(),
        "shares": (shares / shares.sum().clamp_min(torch.finfo(torch.float64).tiny)).tolist(),
        "floored": floored(gram),
    }


def _mean_cosine(gram: Tensor) -> float:
    """Mean of the cosines between different objectives; 1 where there is one alone."""
    between, m = cosines(gram), len(gram)
    return float((between.sum() - between.trace()) / (m * (m - 1))) if m > 1 else 1.0
