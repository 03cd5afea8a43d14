"""Weights in groups of 32 as engine.c reads them: 4- or 8-bit codes, a scale and an offset a group."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK, GROUP = 16, 32


@dataclass(frozen=True)
class Packed:
    """A matrix [n, k]. codes: int32 [blocks, k * bits / 32, 16]; grid: float32 [blocks, k / 32, 2, 16], scale then offset.

    A weight is (1 + code / 2^bits) * scale + offset, rounded once to float32.
    """

    codes: Tensor
    grid: Tensor
    n: int
    bits: int

    @property
    def k(self) -> int:
        return self.codes.shape[1] * (32 // self.bits)


def pack(codes: np.ndarray, scale: np.ndarray, minimum: np.ndarray, bits: int) -> Packed:
    """Packs weights code * scale + minimum. codes: uint8 [n, k]; scale, minimum: float32 [n, k / 32]."""
    n, k = codes.shape
    if k % GROUP:
        raise ValueError(f"a matrix of {k} columns cannot be packed: the number must be a multiple of {GROUP}")
    blocks, per = -(-n // BLOCK), 32 // bits
    wide = np.zeros((blocks * BLOCK, k), np.uint32)
    wide[:n] = codes
    shifts = (np.arange(per, dtype=np.uint32) * bits).reshape(1, 1, 1, per)
    words = (wide.reshape(blocks, BLOCK, k // per, per) << shifts).sum(-1, dtype=np.uint32).transpose(0, 2, 1)
    grid = np.zeros((2, blocks * BLOCK, k // GROUP), np.float32)
    grid[0, :n] = scale * 2**bits
    grid[1, :n] = minimum.astype(np.float64) - scale.astype(np.float64) * 2**bits
    grid = grid.reshape(2, blocks, BLOCK, k // GROUP).transpose(1, 3, 0, 2)
    return Packed(
        torch.from_numpy(np.ascontiguousarray(words).view(np.int32)), torch.from_numpy(np.ascontiguousarray(grid)), n, bits
    )


def quantize8(weight: Tensor) -> Packed:
    """Symmetric 8-bit codes with the largest magnitude of each group at 127. weight: [n, k]."""
    n, k = weight.shape
    groups = weight.detach().float().numpy().reshape(n, k // GROUP, GROUP)
    scale = np.abs(groups).max(-1) / 127
    safe = np.where(scale == 0, 1, scale)
    codes = np.rint(groups / safe[..., None]).astype(np.int16) + 128
    return pack(codes.astype(np.uint8).reshape(n, k), scale, -128 * scale, 8)


def unpack(packed: Packed) -> Tensor:
    """The float32 matrix [n, k] that the engine multiplies by, exactly."""
    words = packed.codes.numpy().view(np.uint32).transpose(0, 2, 1)
    per, mask = 32 // packed.bits, np.uint32(2**packed.bits - 1)
    codes = (words[..., None] >> (np.arange(per, dtype=np.uint32) * packed.bits)) & mask
    codes = codes.reshape(words.shape[0] * BLOCK, packed.k)[: packed.n].astype(np.float64)
    scale, offset = (
        np.repeat(packed.grid.numpy()[:, :, i].transpose(0, 2, 1).reshape(-1, packed.k // GROUP)[: packed.n], GROUP, axis=1)
        for i in (0, 1)
    )
    return torch.from_numpy(((1 + codes / 2**packed.bits) * scale + offset).astype(np.float32))
