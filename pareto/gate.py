"""How unsafe a prompt sounds to the model: what lets a linear head prefer refusals to some prompts
and answers to others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lm import Adapter, LanguageModel
from pareto.pairs import Prompt, messages

REMEMBERED = 8192
"""Prompts whose values a gate keeps: a training asks the same ones at every step."""


@dataclass(frozen=True, eq=False)
class Gate:
    """tanh of half the log-odds that a prompt is unsafe: -1 safe, 1 unsafe.

    weight: [width], of the output of block `block` on the last token before the answer; adapter: tuned
    together with the weight, on the blocks up to `block` (None: the blocks are used as they are).
    """

    block: int
    weight: Tensor
    bias: float
    adapter: Adapter | None = None
    _known: dict[Prompt, float] = field(default_factory=dict, repr=False)

    def of(self, model: LanguageModel, prompts: Sequence[Prompt]) -> Tensor:
        """The gate of prompts: float32 [n]."""
        known = {prompt: self._known[prompt] for prompt in prompts if prompt in self._known}
        if new := [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]:
            states = asked(model, new, self.block, self.adapter)
            values = torch.tanh((states @ self.weight + self.bias) / 2)
            known |= zip(new, values.tolist(), strict=True)
            if len(self._known) + len(new) > REMEMBERED:
                self._known.clear()
            self._known.update(known)
        return torch.tensor([known[prompt] for prompt in prompts])


def asked(
    model: LanguageModel, prompts: Sequence[Prompt], block: int, adapter: Adapter | None = None
) -> Tensor:
    """The output of block `block` on each chat's last token before the answer: float32 [n, width]."""
    ids = [model.chat_ids(messages(prompt)) for prompt in prompts]
    return model.read(ids, pool="last", layers=block + 1, adapter=adapter)[:, block]
