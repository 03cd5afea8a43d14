"""Random checkpoints of the tiny model, for the tests of the HTTP API."""

from pathlib import Path

import torch

from lm import Adapter, load
from pareto import checkpoint
from tests.tiny import LAYERS, WIDTH, tiny


def write(folder: Path) -> Path:
    """Two checkpoints into `folder`; the model's folder."""
    path = tiny("llama")
    model = load(str(path))
    for seed, (id, preference) in enumerate({"helpful": [1.0, 0.0], "harmless": [0.0, 1.0]}.items()):
        dice = torch.Generator().manual_seed(seed)
        parts = {
            (LAYERS - 1, "o_proj"): (
                torch.randn(2, WIDTH, generator=dice),
                torch.randn(WIDTH, 2, generator=dice),
            )
        }
        card = {"name": id, "base_model": model.name, "base_hash": model.hash, "method": "linear", "steps": 1,
                "seed": 0, "preference": preference}  # fmt: skip
        checkpoint.save(folder / id, Adapter(parts), card, [])
    return path
