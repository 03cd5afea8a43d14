"""Bounds that several rooms share."""

MAX_SEED = 2**32 - 1
"""Of the seeds that a person gives."""
