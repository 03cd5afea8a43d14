"""Llama-style models in fewer bits than float32, in PyTorch's own kernels: for CPUs without a C compiler."""

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lm.engines.geometry import NORMS, PARTS, Config
from lm.engines.native.pack import GROUP, Packed, grids, unpack
from lm.engines.native.weights import Weights
from lm.engines.torch.stack import Stack


class Codes:
    """A matrix of 4-bit codes. Its inputs, scales and products are rounded to bfloat16, sums are float32."""

    def __init__(self, packed: Packed):
        codes, scale, least = (torch.from_numpy(part) for part in grids(packed))
        self._n = packed.n
        self._codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.int(), 1)
        self._grid = torch.stack([scale, least + 8 * scale], -1).transpose(0, 1).bfloat16().contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """float32 [..., n] for x [..., k]."""
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        product: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, self._codes, GROUP, self._grid)
        if product.shape[1] > self._n:
            product = product[:, : self._n]
        return product.float().view(*x.shape[:-1], self._n)


class Halves:
    """A matrix of float16 numbers. Its inputs, sums and products are float32."""

    def __init__(self, weight: Tensor):
        self._weight = torch.ops.quantized.linear_prepack_fp16(weight, None)

    def __call__(self, x: Tensor) -> Tensor:
        """float32 [..., n] for x [..., k]."""
        product: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self._weight)
        return product


def matrix(packed: Packed) -> Tensor | Codes | Halves:
    """A packed matrix for the quickest of PyTorch's kernels here that keeps what its codes say."""
    if packed.bits == 4 and quick_codes():
        return Codes(packed)
    halves = "fbgemm" in torch.backends.quantized.supported_engines
    return Halves(unpack(packed)) if halves else unpack(packed)


@cache
def quick_codes(n: int = 1536, k: int = 576) -> bool:
    """Whether 4-bit products take less time than float32 ones. Where PyTorch was built without the
    processor's instructions for them, as on Windows, they take many times more.
    """
    weight = torch.zeros(n, k)
    grid = torch.zeros(n // 16, k // GROUP, 2, 16, dtype=torch.float16)
    codes = Codes(Packed(torch.zeros(n // 16, k // 8, 16, dtype=torch.int32), grid, n, 4))
    x = torch.zeros(1, k)
    return _seconds(lambda: codes(x)) < _seconds(lambda: F.linear(x, weight))


def _seconds(run: Callable[[], Tensor], turns: int = 10) -> float:
    """The least time of a call."""
    times = []
    for _ in range(turns):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


class PackedStack(Stack):
    """Layers on packed weights, without gradients. config: of transformers, or its values as attributes."""

    differentiable = False

    def __init__(self, weights: Weights, config: Config):
        self._shape(config, torch.float32, torch.device("cpu"))
        matrices, vectors = weights.matrices, weights.vectors
        self._embedding = unpack(matrices["embedding"])
        self._head = matrix(matrices.get("head", matrices["embedding"]))
        self.vocabulary = len(self._embedding)
        self._norm = vectors["norm"]
        self._frequencies, self._scaling = vectors["rotary"], float(vectors["rotary_scaling"])
        self.weights = [
            (
                {part: matrix(matrices[f"{layer}.{part}"]) for part in PARTS},
                {part: vectors.get(f"{layer}.{part}.bias") for part in PARTS}
                | {norm: vectors.get(f"{layer}.{norm}") for norm in NORMS},
            )
            for layer in range(self.layers)
        ]
