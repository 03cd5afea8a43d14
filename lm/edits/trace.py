"""What an edit read and pushed at a position: records with named fields."""

import numpy as np
from torch import Tensor

MAX_TARGETS = 3
"""Concepts that one edit reads, and pushes along, at most."""
REACHED, CAPPED, UNREACHABLE = 0, 1, 2
"""Outcomes of an edit: every goal is reached or needs no push, the cap holds the push back, no push does it."""

TRACE = np.dtype(
    [
        ("z", np.float32, MAX_TARGETS),
        ("eps", np.float32, MAX_TARGETS),
        ("norm", np.float32),
        ("outcome", np.float32),
    ]
)
"""One position of one edit: read-outs z before the push, strengths eps, |e|, outcome.
Targets that an edit lacks are 0.

All fields are float32, so that a tensor with these numbers in its last dimension is an array of records.
"""
TRACE_SIZE = TRACE.itemsize // 4
"""Numbers of a record."""


def records(numbers: Tensor) -> np.ndarray:
    """Records [...] of a tensor of numbers [..., TRACE_SIZE]."""
    return numbers.detach().float().cpu().contiguous().numpy().view(TRACE)[..., 0]
