"""Does a row wait for memory or for arithmetic: python -m benchmarks.products [--turns 5] [--threads N]

One row's products with matrices of the shapes that people run, at 8 and 4 bits, in turns with a loop that
only reads the same numbers; medians in gigabytes a second. Where both are level, the product waits for memory.
Give it an idle machine.
"""

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.steering_speed import machine
from lm.engines.native import build
from lm.engines.native.pack import BLOCK, GROUP
from lm.engines.native.structs import Linear

MATRICES = {
    "head of Qwen2.5-0.5B": (151936, 896),
    "head of Llama-3.2-1B": (128256, 2048),
    "down projection of Llama-3.2-1B": (2048, 8192),
    "gate and up projection of Qwen2.5-0.5B": (9728, 896),
}
"""[n, k]; the last two fit into a cache of 32 MB."""
BYTES = 5e8
"""Passed over in a turn, at least."""


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def library() -> ctypes.CDLL:
    """products.c."""
    return build.load(Path(__file__).with_name("products.c"))


class Reading:
    """A loop that only reads arrays, each thread a share of each: as fast as memory can be read."""

    def __init__(self, arrays: Sequence[np.ndarray], threads: int):
        self.bytes = sum(array.nbytes for array in arrays)
        count = len(arrays)
        self._arrays = arrays, np.zeros(threads, np.uint32)
        self._from = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
        self._words = (ctypes.c_size_t * count)(*(array.nbytes // 4 for array in arrays))
        self._rest = count, pointer(self._arrays[1]), threads

    def once(self) -> None:
        """Reads all of them."""
        library().read_once(self._from, self._words, *self._rest)


def speeds(n: int, k: int, bits: int, threads: int, turns: int) -> tuple[float, float]:
    """GB/s of the product and of the reading loop."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**32, (n // BLOCK, k * bits // 32, BLOCK), np.uint32)
    grid = np.full((n // BLOCK, k // GROUP, 8 // bits, BLOCK), 0.01, np.float16)
    x = random.normal(size=k).astype(np.float32)
    pairs, scales = np.zeros(k // 2, np.uint32), np.zeros(k // GROUP * 2, np.float32)
    y = np.zeros(n, np.float32)
    linear = ctypes.byref(Linear(pointer(codes), pointer(grid), None, n, k, bits))
    room = [pointer(array) for array in (x, pairs, scales, y)]
    reading = Reading([codes, grid], threads)
    passes: list[Callable[[], None]] = [
        lambda: library().multiply_once(linear, *room, threads),
        reading.once,
    ]
    seen: list[list[float]] = [[], []]
    size = reading.bytes
    times = int(BYTES / size) + 1
    for _ in range(turns):
        for speed, once in zip(seen, passes, strict=True):
            started = time.perf_counter()
            for _ in range(times):
                once()
            speed.append(times * size / (time.perf_counter() - started) / 1e9)
    return statistics.median(seen[0]), statistics.median(seen[1])


def main() -> None:
    """Prints a line for each matrix and number of bits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    print(f"{machine()}; {asked.turns} turns, {asked.threads} threads\n")
    print("| matrix | MB | bits | product, GB/s | only reading, GB/s | ratio |\n" + "|---" * 6 + "|")
    for name, (n, k) in MATRICES.items():
        for bits in (8, 4):
            product, reading = speeds(n, k, bits, asked.threads, asked.turns)
            ratio = product / reading
            megabytes = n * k * bits / 8e6
            print(
                f"| {name} | {megabytes:.0f} | {bits} | {product:.1f} | {reading:.1f} | {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
