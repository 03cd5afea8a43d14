"""The paper's strengths as plain functions, to hold the solvers of lm.edits.solver and the native engine to: one
concept's closed form, several concepts' linear program.
"""

import numpy as np
from scipy.optimize import linprog


def closed_form(z: float, goal: float, norm: float, direction: str) -> float:
    """eps for e' = e + eps w/|w| (paper, section 3.2): 0 where the goal holds, else (goal - z) / |w|.

    z = w . e + b; goal = logit(p0); norm = |w|.
    """
    met = z >= goal if direction == "amplify" else z <= goal
    return 0.0 if met else (goal - z) / norm


def least_strengths(
    z: np.ndarray, gram: np.ndarray, goal: np.ndarray, sense: np.ndarray
) -> np.ndarray | None:
    """eps [k] of least sum |eps| with sense_i (z_i + sum_j gram_ij eps_j) >= sense_i goal_i; None where there
    is none.

    gram_ij = w_i . v_j. Exact, by HiGHS on eps = plus - minus.
    """
    k = len(z)
    left = -sense[:, None] * np.concatenate([gram, -gram], 1)
    found = linprog(np.ones(2 * k), left, -sense * (goal - z), bounds=(0, None), method="highs")
    return found.x[:k] - found.x[k:] if found.success else None
