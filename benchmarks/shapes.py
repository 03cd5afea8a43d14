"""Speed at the shapes of models that people run: python -m benchmarks.shapes [--shape llama-3.2-1b] [--turns 5]
[--json FILE]

Random weights of the shape at 8 bits, in turns, medians. Every prompt is new. Steered: an edit that pushes at every token
on eight layers. Nine rows: one prompt, the unsteered row and eight magnitudes. Of the bandwidth: the bytes of all weights
times the tokens a second of one row, over what reading one large array brings a second. Loading and packing are measured
by benchmarks.packing. Give it an idle machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.packing import SHAPES, make, peak
from benchmarks.steering_speed import machine
from lm import Edit, Row, Sampling, load

NEW, STEERED_LAYERS = 64, 8
PROMPTS = (40, 512)
BITS = 9
"""Of a weight at 8 bits, with its share of the scales."""
COLUMNS = {
    "one": "one row, tokens/s",
    "steered": "steered, tokens/s",
    "nine": "nine rows, tokens/s",
    "bandwidth": "one row, of the bandwidth",
    "first_40": "first token of 40, s",
    "first_512": "first token of 512, s",
    "memory": "peak memory, GB",
}


class Bench:
    """Each method returns tokens a second, or seconds."""

    def __init__(self, folder: str):
        self.model = load(folder)
        self.random = torch.Generator().manual_seed(0)
        middle = self.model.layers // 2
        layers = range(
            max(0, middle - STEERED_LAYERS // 2), min(self.model.layers, middle + STEERED_LAYERS // 2)
        )
        self.edits = [tuple(self._edit(layer, goal) for layer in layers) for goal in range(1, 9)]

    def _edit(self, layer: int, goal: float) -> Edit:
        read = torch.randn(1, self.model.width, generator=self.random)
        read /= read.norm()
        return Edit(
            layer,
            read,
            torch.zeros(1),
            read,
            torch.tensor([1e3 * goal]),
            torch.ones(1, dtype=torch.int),
            cap=0.1,
        )

    def prompt(self, length: int) -> tuple[int, ...]:
        return tuple(torch.randint(self.model.engine.vocabulary, (length,), generator=self.random).tolist())

    def _rate(self, edits: list[tuple[Edit, ...]]) -> float:
        ids = self.prompt(PROMPTS[0])
        started = time.perf_counter()
        runs = self.model.generate([Row(ids, Sampling(0.7, 0, NEW), each) for each in edits])
        return sum(len(run.ids) for run in runs) / (time.perf_counter() - started)

    def one(self) -> float:
        return self._rate([()])

    def steered(self) -> float:
        return self._rate(self.edits[:1])

    def nine(self) -> float:
        return self._rate([(), *self.edits])

    def _first(self, length: int) -> float:
        row = Row(self.prompt(length), Sampling(max_new_tokens=1))
        started = time.perf_counter()
        self.model.generate([row])
        return time.perf_counter() - started

    def first_40(self) -> float:
        return self._first(PROMPTS[0])

    def first_512(self) -> float:
        return self._first(PROMPTS[1])


def read_speed() -> float:
    """Bytes a second that all cores read of an array larger than any cache."""
    array = torch.ones(2**28)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        array.sum()
        seconds.append(time.perf_counter() - started)
    return array.nbytes / min(seconds)


def measure(folder: str, turns: int) -> dict[str, float]:
    """Medians of one process."""
    bench = Bench(folder)
    memory = peak()
    names = [name for name in COLUMNS if hasattr(bench, name)]
    values: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(turns):
        for name in names:
            values[name].append(getattr(bench, name)())
    medians = {name: statistics.median(each) for name, each in values.items()}
    config = json.loads((Path(folder) / "config.json").read_text())
    weights = (Path(folder) / "model.safetensors").stat().st_size / 2
    assert config["tie_word_embeddings"], "the head is read once a token, and so is counted once"
    return medians | {"memory": memory / 1e9, "bandwidth": medians["one"] * weights * BITS / 8 / read_speed()}


def main() -> None:
    """Prints a table, one line a shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=list(SHAPES))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.turns)))
        return
    results: dict[str, dict[str, float]] = {}
    for shape in asked.shape:
        with tempfile.TemporaryDirectory() as work:
            make(Path(work) / "model", shape)
            env = {**os.environ, "TRADEWIND_CACHE": f"{work}/cache", "HF_HUB_OFFLINE": "1"}
            command = [
                sys.executable,
                "-m",
                "benchmarks.shapes",
                "--measure",
                f"{work}/model",
                "--turns",
                str(asked.turns),
            ]
            load_once = [sys.executable, "-m", "benchmarks.packing", "--load", f"{work}/model"]
            subprocess.run(load_once, env=env, check=True, stdout=subprocess.DEVNULL)
            done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
            results[shape] = json.loads(done.stdout.splitlines()[-1])
    print(f"{machine()}; {asked.turns} turns\n\n| shape | {' | '.join(COLUMNS.values())} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for shape, found in results.items():
        print(f"| {shape} | {' | '.join(f'{found[name]:.3g}' for name in COLUMNS)} |")
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
