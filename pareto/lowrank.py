"""LoRA parameters as one flat vector, and their gradient row by row."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lm import Adapter
from lm.engines.torch.stack import LowRank, Stack


class Shape:
    """Where each module's halves lie in a flat parameter vector.

    rank: of every change; first: the lowest block that is changed, until: the block after the highest (None:
    all above); modules: which matrices of a block.
    """

    def __init__(self, stack: Stack, rank: int, first: int, modules: Sequence[str], until: int | None = None):
        self.first, self.layers = first, until or stack.layers
        self.keys = [(block, module) for block in range(first, self.layers) for module in modules]
        self.shapes = [
            shape
            for _, module in self.keys
            for shape in ((rank, stack.sizes[module][0]), (stack.sizes[module][1], rank))
        ]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.count = sum(self.sizes)

    def start(self, seed: int) -> Tensor:
        """Parameters [count] that change nothing: b is zero, a uniform as PEFT draws it."""
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for index, (rows, columns) in enumerate(self.shapes):
            bound = 1 / math.sqrt(columns)
            drawn = (torch.rand(rows, columns, generator=generator) * 2 - 1) * bound
            parts.append((drawn if index % 2 == 0 else torch.zeros(rows, columns)).flatten())
        return torch.cat(parts)

    def split(self, theta: Tensor) -> list[Tensor]:
        """theta [..., count] cut into [..., *shape] of each half."""
        return [
            part.unflatten(-1, shape)
            for part, shape in zip(theta.split(self.sizes, -1), self.shapes, strict=True)
        ]

    def adapter(self, theta: Tensor) -> Adapter:
        """The adapter with the parameters theta [count]."""
        parts = [part.detach().clone() for part in self.split(theta)]
        return Adapter({key: (parts[2 * i], parts[2 * i + 1]) for i, key in enumerate(self.keys)})

    def rows(self, theta: Tensor) -> LowRank:
        """Changes of theta [n, count], one set a row, differentiable."""
        parts = self.split(theta)
        table = {key: (parts[2 * i], parts[2 * i + 1]) for i, key in enumerate(self.keys)}

        def low_rank(block: int, module: str, x: Tensor) -> Tensor | None:
            if (block, module) not in table:
                return None
            a, b = table[block, module]
            return x @ a.transpose(1, 2).to(x.dtype) @ b.transpose(1, 2).to(x.dtype)

        return low_rank

    def groups(self, theta: Tensor) -> LowRank:
        """Changes of theta [p, count]:
        of a batch [p * n, ...] the first n rows take the first set, and so on.
        """
        parts = self.split(theta)
        table = {key: (parts[2 * i].mT, parts[2 * i + 1].mT) for i, key in enumerate(self.keys)}

        def low_rank(block: int, module: str, x: Tensor) -> Tensor | None:
            if (block, module) not in table:
                return None
            a, b = table[block, module]
            change = x.reshape(len(theta), -1, x.shape[-1]) @ a @ b
            return change.view(*x.shape[:-1], -1)

        return low_rank

    def inner(self) -> Tensor:
        """Which parameters are of the halves that read the input (a): bool [count]."""
        halves = [index % 2 == 0 for index in range(len(self.sizes))]
        return torch.cat([torch.full((size,), half) for size, half in zip(self.sizes, halves, strict=True)])

    def last(self) -> Tensor:
        """Which parameters belong to the last block: bool [count]."""
        halves = [block == self.layers - 1 for block, _ in self.keys for _ in range(2)]
        return torch.cat([torch.full((size,), half) for size, half in zip(self.sizes, halves, strict=True)])
