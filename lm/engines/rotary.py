"""Rotary position embedding: its frequencies."""

import torch
from torch import Tensor

from lm.engines.geometry import head_width


def frequencies(config) -> tuple[Tensor, float]:
    """Angles a position turns each pair of a head's dimensions by, float32 [head_width / 2], and a factor of
    cos and sin.
    """
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        steps = torch.arange(0, head_width(config), 2, dtype=torch.float32) / head_width(config)
        return 1 / config.rope_parameters["rope_theta"] ** steps, 1.0
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    found, scaling = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    return found.float(), scaling
