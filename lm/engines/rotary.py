"""Rotary position embedding: its frequencies, as transformers computes them."""

import torch
from torch import Tensor

from lm.engines.geometry import Config, head_width


def frequencies(config: Config) -> tuple[Tensor, float]:
    """Angles a position turns each pair of a head's dimensions by, float32 [head_width / 2], and a factor of
    cos and sin.

    config: of transformers, one that lm.engines.geometry.unsupported lets pass.
    """
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        steps = torch.arange(0, head_width(config), 2, dtype=torch.float32) / head_width(config)
        return 1 / config.rope_parameters["rope_theta"] ** steps, 1.0
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    angles, scaling = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    return angles.float(), scaling
