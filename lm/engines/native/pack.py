"""Weights in groups of 32 as engine.c reads them: 4- or 8-bit codes, a scale and a least value a group."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK, GROUP = 16, 32
PIECE = 128
"""Blocks of rows that are quantised at once."""


@dataclass(frozen=True)
class Packed:
    """A matrix [n, k]. codes: int32 [blocks, k * bits / 32, 16]; grid: float16 [blocks, k / 32, 8 / bits, 16],
    scale and, at 4 bits, least.

    A weight is code * scale + least; at 8 bits least is -128 * scale.
    """

    codes: Tensor
    grid: Tensor
    n: int
    bits: int

    @property
    def k(self) -> int:
        return self.codes.shape[1] * (32 // self.bits)


def pack(codes: np.ndarray, scale: np.ndarray, least: np.ndarray, bits: int) -> Packed:
    """Packs weights code * scale + least. codes: uint8 [n, k]; scale, least: float16 values [n, k / 32], least
    being -128 * scale at 8 bits.
    """
    n, k = codes.shape
    if k % GROUP:
        raise ValueError(
            f"A matrix of {k} columns cannot be packed: the number must be a multiple of {GROUP}."
        )
    blocks, per = -(-n // BLOCK), 32 // bits
    wide = np.zeros((blocks * BLOCK, k), np.uint32)
    wide[:n] = codes
    shifts = (np.arange(per, dtype=np.uint32) * bits).reshape(1, 1, 1, per)
    words = (wide.reshape(blocks, BLOCK, k // per, per) << shifts).sum(-1, dtype=np.uint32).transpose(0, 2, 1)
    places = 8 // bits
    grid = np.zeros((places, blocks * BLOCK, k // GROUP), np.float16)
    grid[:, :n] = (scale, least)[:places]
    grid = grid.reshape(places, blocks, BLOCK, k // GROUP).transpose(1, 3, 0, 2)
    return Packed(
        torch.from_numpy(np.ascontiguousarray(words).view(np.int32)),
        torch.from_numpy(np.ascontiguousarray(grid)),
        n,
        bits,
    )


def grid8(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Symmetric 8-bit codes with the largest magnitude of each group near 127: what `pack` takes. weight:
    float32 [n, k].
    """
    groups = weight.reshape(weight.shape[0], -1, GROUP)
    with np.errstate(all="ignore"):  # NaN, infinite or too large weights give a scale that is not finite
        scale = (np.abs(groups).max(-1) / 127).astype(np.float16).astype(np.float32)
        codes = np.rint(groups / np.where(scale == 0, 1, scale)[..., None]).clip(-128, 127) + 128
        return codes.astype(np.uint8).reshape(weight.shape), scale, -128 * scale, 8


def grid4(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """4-bit codes from the least to the largest number of each group, as GGUF's Q4_1 has them: what `pack`
    takes. weight: float32 [n, k].
    """
    groups = weight.reshape(weight.shape[0], -1, GROUP)
    with np.errstate(all="ignore"):  # as in grid8
        least = groups.min(-1).astype(np.float16).astype(np.float32)
        scale = ((groups.max(-1) - least) / 15).astype(np.float16).astype(np.float32)
        codes = np.rint((groups - least[..., None]) / np.where(scale == 0, 1, scale)[..., None]).clip(0, 15)
        return codes.astype(np.uint8).reshape(weight.shape), scale, least, 4


GRIDS = {4: grid4, 8: grid8}


def quantize(weight: Tensor, bits: int = 8) -> Packed:
    """A matrix [n, k] in few bits, some rows at a time: what is in between takes many times their memory."""
    n, k = weight.shape
    blocks = -(-n // BLOCK)
    codes = torch.empty(blocks, k * bits // 32, BLOCK, dtype=torch.int32)
    grid = torch.empty(blocks, k // GROUP, 8 // bits, BLOCK, dtype=torch.float16)
    for first in range(0, blocks, PIECE):
        rows = weight[first * BLOCK : (first + PIECE) * BLOCK].detach().float()
        piece = pack(*GRIDS[bits](rows.numpy()))
        codes[first : first + PIECE], grid[first : first + PIECE] = piece.codes, piece.grid
    return Packed(codes, grid, n, bits)


def grids(packed: Packed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `pack` was given, with the rows that fill its last block: codes uint8 [16 * blocks, k], scale and
    least float32 [16 * blocks, k / 32].
    """
    blocks, words, _ = packed.codes.shape
    data = packed.codes.numpy().view(np.uint8).reshape(blocks, words, BLOCK, 4).transpose(0, 2, 1, 3)
    if packed.bits == 4:
        data = np.stack([data & 15, data >> 4], -1)
    parts = packed.grid.float().numpy().transpose(2, 0, 3, 1).reshape(-1, blocks * BLOCK, packed.k // GROUP)
    scale, least = parts if packed.bits == 4 else (parts[0], -128 * parts[0])
    return data.reshape(blocks * BLOCK, packed.k), scale, least


def unpack(packed: Packed) -> Tensor:
    """The float32 matrix [n, k] that the engine multiplies by. It is rounded once: code * scale is exact."""
    codes, scale, least = (torch.from_numpy(part[: packed.n]) for part in grids(packed))
    groups = torch.unflatten(codes, 1, (-1, GROUP)) * scale[..., None]
    return groups.add_(least[..., None]).flatten(1)
