"""Bounds that several rooms share."""

MAX_SEED = 2**32 - 1
"""Of the seeds that a person gives."""
MAX_TEMPERATURE = 2
"""Of what visitors and scripts ask for; lm.Sampling takes more."""
MAX_NEW_TOKENS = 512
"""Of an answer that a person asks for."""
