"""What dominates what."""

import moocore
import numpy as np


def nondominated(points: np.ndarray) -> np.ndarray:
    """Which of points [n, m] (larger is better) no other point dominates; of equal points all."""
    kept: np.ndarray = moocore.is_nondominated(np.asarray(points, float), maximise=True, keep_weakly=True)
    return kept
