"""ZeroGPU: hardware of a Space that lends a GPU to one function call at a time, in a process of its own."""

import os

WARNING = (
    "This Space has ZeroGPU, which lends a GPU to one call at a time, and one loop "
    "decodes for all visitors here: the CPU does the work. Choose CPU hardware, or a GPU of the Space's own."
)


def here() -> bool:
    """Whether this is a Space on ZeroGPU: PyTorch then reports a GPU, which only lent calls have."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def declare() -> None:
    """Registers a function that nobody calls: without one, ZeroGPU takes a Space's start for a failure."""
    import spaces

    spaces.GPU(_unused)


def _unused() -> None:
    pass
