"""Bradley-Terry strengths from comparisons with ties (Davidson 1970).

P(i beats j) = p_i / D, P(tie) = nu sqrt(p_i p_j) / D with D = p_i + p_j + nu sqrt(p_i p_j) and
p_i = exp(strength_i). The log-likelihood is concave in (strengths, log nu): Newton's method finds its only
maximum.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Strengths:
    """strengths [..., K] in log-odds, centred on 0; log_nu [...]: the readiness to call a tie."""

    strengths: Floats
    log_nu: Floats

    def worth(self) -> Floats:
        """exp(strength), summing to 1 over the K items: the parameters of Davidson's table."""
        worth = np.exp(self.strengths)
        shares: Floats = worth / worth.sum(axis=-1, keepdims=True)
        return shares


def fit(
    first: ArrayLike, second: ArrayLike, counts: ArrayLike, items: int, *, prior: float = 3.0, steps: int = 60
) -> Strengths:
    """Fits any number of data sets at once.

    Parameters
    ----------
    first, second: item numbers [P] of the P pairs compared.
    counts: [..., P, 3], how often the first won, the second won, and neither.
    items: number of items K.
    prior: standard deviation of a normal prior on every strength and on log nu, which keeps them finite when
        somebody wins all; `np.inf` gives the maximum likelihood estimate, which must then exist.
    steps: most Newton steps.

    Raises ValueError if the estimate does not exist or is not reached.
    """
    i, j = np.asarray(first, dtype=int), np.asarray(second, dtype=int)
    data = np.asarray(counts, dtype=float)
    if items == 0:
        return Strengths(np.zeros((*data.shape[:-2], 0)), np.zeros(data.shape[:-2]))
    total = data.sum(axis=-1)
    outcomes = np.zeros((len(i), 3, items + 1))  # each outcome's log-weight is linear in (strengths, log nu)
    pair = np.arange(len(i))
    outcomes[pair, 0, i] = outcomes[pair, 1, j] = 1.0
    outcomes[pair, 2, i] = outcomes[pair, 2, j] = 0.5
    outcomes[pair, 2, items] = 1.0
    ridge = np.eye(items + 1) / prior**2
    ridge[:items, :items] += 1.0 / items  # the strengths' common shift, which the data leave free
    wanted = np.einsum("...po,pok->...k", data, outcomes)
    theta = np.zeros((*data.shape[:-2], items + 1))
    for _ in range(steps):
        logits = np.einsum("pok,...k->...po", outcomes, theta)
        chance = np.exp(logits - logits.max(axis=-1, keepdims=True))
        chance /= chance.sum(axis=-1, keepdims=True)
        expected = total[..., None] * chance
        gradient = wanted - np.einsum("...po,pok->...k", expected, outcomes) - theta @ ridge
        mean = np.einsum("...po,pok->...pk", chance, outcomes)
        hessian = (
            np.einsum("...po,pok,pol->...kl", expected, outcomes, outcomes, optimize=True)
            - np.einsum("...p,...pk,...pl->...kl", total, mean, mean, optimize=True)
            + ridge
        )
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=-1, keepdims=True)
        theta = theta + step / np.maximum(longest, 1.0)
        if longest.max(initial=0.0) < 1e-9:
            strengths = theta[..., :items]
            return Strengths(strengths - strengths.mean(axis=-1, keepdims=True), theta[..., items])
    raise ValueError(
        f"No finite Bradley-Terry estimate after {steps} steps: with prior = inf every item must both "
        f"win and lose, and some comparison must be a tie. The prior is {prior}: give a finite one."
    )
