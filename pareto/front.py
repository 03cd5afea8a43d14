"""Fronts: points of (helpful, harmless), what dominates what, and numbers that compare whole fronts."""

from collections.abc import Sequence

import moocore
import numpy as np

REFERENCE = (-10.0, -10.0)
"""Reference point of the paper's fronts; a front of another scale is stored with its own."""


def nondominated(points: np.ndarray) -> np.ndarray:
    """Which of points [n, m] (larger is better) no other point dominates; of equal points all."""
    return moocore.is_nondominated(np.asarray(points, float), maximise=True, keep_weakly=True)


def hypervolume(points: np.ndarray, reference: Sequence[float]) -> float:
    """Volume between points [n, m] and a reference that lies below them; points not above it add nothing."""
    above = np.asarray(points, float)
    above = above[(above > np.asarray(reference)).all(1)]
    return float(moocore.hypervolume(above, ref=list(reference), maximise=True)) if len(above) else 0.0


def inner_product(points: np.ndarray, preferences: np.ndarray) -> float:
    """Mean of lambda . reward over points [n, m] trained at preferences [n, m]."""
    return float((np.asarray(points, float) * np.asarray(preferences, float)).sum(1).mean())


def _gaps(points: np.ndarray) -> np.ndarray:
    front = np.asarray(points, float)[nondominated(points)]
    return np.diff(front[np.argsort(front[:, 0], kind="stable")], axis=0)


def sparsity(points: np.ndarray) -> float:
    """Mean squared distance between neighbours of the front, objective by objective; smaller is denser. 0 for one point."""
    gaps = _gaps(points)
    return float((gaps**2).sum() / len(gaps)) if len(gaps) else 0.0


def spacing(points: np.ndarray) -> float:
    """Standard deviation of the distances between neighbours of the front; 0 where they are even."""
    gaps = _gaps(points)
    return float(np.linalg.norm(gaps, axis=1).std()) if len(gaps) else 0.0
