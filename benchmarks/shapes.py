"""Speed at the shapes of models that people run: python -m benchmarks.shapes [--shape llama-3.2-1b]
[--turns 5] [--llama] [--busy] [--bits 4] [--json FILE]

Random weights of the shape at 8 bits, and with --llama the same in llama.cpp (Q8_0, or Q4_1 with a Q8_0
embedding; wants llama-cpp-python), in turns, medians. Every prompt is new. Steered: an edit that pushes at
every token on eight layers, against llama.cpp unsteered. Nine rows: one prompt, the unsteered row and eight
magnitudes. A loop that only reads the weights, in the same turns, tells how many tokens a second memory
allows an engine that reads each weight once a token. Memory: the peak beyond what the process holds before
it loads. Give it an idle machine; on one that others use, --busy compares the two on one thread each, by
seconds of processor time, which do not count while others have the core.
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

from benchmarks.llama import Llama, write_gguf
from benchmarks.packing import SHAPES, make, peak
from benchmarks.products import Reading
from benchmarks.steering_speed import machine
from lm import Edit, Row, Sampling, load
from lm.engines.native.weights import Weights

NEW, STEERED_LAYERS, ROWS = 64, 8, 9
PROMPTS = (40, 512)
NAMES = ("one", "steered", "allowed", "nine", "first_40", "first_512")
"""What is measured in turns."""
CLOCKS = {False: "perf_counter", True: "process_time"}
KINDS = {8: "Q8_0", 4: "Q4_1"}
clock = time.perf_counter
LINES = {
    "one": "one row, tokens/s",
    "steered": "one row, steered, tokens/s",
    "nine": "nine rows, tokens/s",
    "steps": "one row, steered, after its first token, tokens/s",
    "allowed": "only reading the weights, tokens/s",
    "share": "the steered row's share of that",
    "first_40": "first token of 40, s",
    "first_512": "first token of 512, s",
    "memory": "peak memory, GB",
    "cached": "loading from the cache, s",
    "cold": "loading the first time (packing), s",
    "packing": "packing's peak memory over the float16 file",
}


class Ours:
    """Each method returns tokens a second, or seconds."""

    def __init__(self, folder: str, bits: int):
        before, started = peak(), clock()
        self.model = load(folder, bits=bits)
        self.cached = clock() - started
        self._before = before
        self.random = torch.Generator().manual_seed(0)
        middle = self.model.layers // 2
        layers = range(
            max(0, middle - STEERED_LAYERS // 2), min(self.model.layers, middle + STEERED_LAYERS // 2)
        )
        self.edits = [tuple(self._edit(layer, goal) for layer in layers) for goal in range(1, ROWS)]
        [weights] = [kept for kept in self.model.engine._keep if isinstance(kept, Weights)]
        assert "head" not in weights.matrices  # each is read once a token: embedding and head are one
        arrays = [part.numpy() for each in weights.matrices.values() for part in (each.codes, each.grid)]
        self.reading = Reading(arrays, torch.get_num_threads())

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

    def allowed(self) -> float:
        """Tokens a second of a loop that only reads the weights."""
        started = clock()
        for _ in range(NEW):
            self.reading.once()
        return NEW / (clock() - started)

    def prompt(self, length: int) -> tuple[int, ...]:
        return tuple(torch.randint(self.model.engine.vocabulary, (length,), generator=self.random).tolist())

    def _rate(self, edits: list[tuple[Edit, ...]]) -> float:
        ids = self.prompt(PROMPTS[0])
        started = clock()
        runs = self.model.generate([Row(ids, Sampling(0.7, 0, NEW), each) for each in edits])
        return sum(len(run.ids) for run in runs) / (clock() - started)

    def one(self) -> float:
        return self._rate([()])

    def steered(self) -> float:
        return self._rate(self.edits[:1])

    def nine(self) -> float:
        return self._rate([(), *self.edits])

    def _first(self, length: int) -> float:
        row = Row(self.prompt(length), Sampling(max_new_tokens=1))
        started = clock()
        self.model.generate([row])
        return clock() - started

    def first_40(self) -> float:
        return self._first(PROMPTS[0])

    def first_512(self) -> float:
        return self._first(PROMPTS[1])

    @property
    def memory(self) -> float:
        return (peak() - self._before) / 1e9

    def close(self) -> None:
        """Nothing runs on."""


class Theirs:
    """The same of llama.cpp, which does not steer here."""

    def __init__(self, gguf: Path, ours: Ours):
        self._ours = ours
        self._llama = Llama(gguf, torch.get_num_threads(), ROWS, clock.__name__)
        self.cached = self._llama.seconds

    def one(self) -> float:
        return self._llama.answer(self._ours.prompt(PROMPTS[0]), NEW)[0]

    steered = one

    def allowed(self) -> float:
        return self._ours.allowed()

    def nine(self) -> float:
        return self._llama.answer(self._ours.prompt(PROMPTS[0]), NEW, ROWS)[0]

    def first_40(self) -> float:
        return self._llama.answer(self._ours.prompt(PROMPTS[0]), 1)[1]

    def first_512(self) -> float:
        return self._llama.answer(self._ours.prompt(PROMPTS[1]), 1)[1]

    @property
    def memory(self) -> float:
        return self._llama.bytes / 1e9

    def close(self) -> None:
        self._llama.close()


def measure(folder: str, gguf: str | None, bits: int, turns: int) -> dict[str, dict[str, float]]:
    """Medians, by side and by name of LINES, and of each turn's ratio of ours to theirs."""
    ours = Ours(folder, bits)
    sides: dict[str, Ours | Theirs] = {"ours": ours}
    if gguf:
        sides["llama.cpp"] = Theirs(Path(gguf), ours)
    values: dict[str, dict[str, list[float]]] = {side: {name: [] for name in NAMES} for side in sides}
    for _ in range(turns):
        for name in NAMES:
            for side, bench in sides.items():
                values[side][name].append(getattr(bench, name)())
    for side, bench in sides.items():
        each = values[side] | {"memory": [bench.memory], "cached": [bench.cached]}
        rows = list(zip(each["steered"], each["first_40"], each["allowed"], strict=True))
        each["steps"] = [(NEW - 1) / (NEW / rate - first) for rate, first, _ in rows]
        each["share"] = [step / most for step, (*_, most) in zip(each["steps"], rows, strict=True)]
        values[side] = each
        bench.close()
    if gguf:
        theirs = values["llama.cpp"]
        values["ratio"] = {
            name: [own / other for own, other in zip(each, theirs[name], strict=True)]
            for name, each in values["ours"].items()
        } | {"bound": [most / one for most, one in zip(theirs["allowed"], theirs["one"], strict=True)]}
    medians = {
        side: {name: statistics.median(each) for name, each in of.items()} for side, of in values.items()
    }
    medians["ours"]["bytes"] = ours.reading.bytes
    return medians


def run(shape: str, asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Everything of one shape: packed in a process of its own, then measured in another."""
    with tempfile.TemporaryDirectory() as work:
        folder, gguf = Path(work) / "model", Path(work) / "model.gguf"
        size = make(folder, shape)
        if asked.llama:
            write_gguf(folder, gguf, KINDS[asked.bits])
        env = {**os.environ, "TRADEWIND_CACHE": f"{work}/cache", "HF_HUB_OFFLINE": "1"}
        if asked.busy:
            env["OMP_NUM_THREADS"] = "1"
        pack = [sys.executable, "-m", "benchmarks.packing", "--load", str(folder), "--bits", str(asked.bits)]
        packed = json.loads(
            subprocess.run(pack, env=env, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]
        )
        command = [sys.executable, "-m", "benchmarks.shapes", "--turns", str(asked.turns)]
        command += ["--bits", str(asked.bits), *["--busy"] * asked.busy, "--measure", str(folder)]
        command += [str(gguf)] * asked.llama
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE)
        medians: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
        medians["ours"] |= {"cold": packed["seconds"], "packing": packed["bytes"] / size}
        return medians


def table(shape: str, bits: int, medians: dict[str, dict[str, float]]) -> str:
    """A side a column, and ours over the other's."""
    lines = [f"| {shape}, {bits} bits | {' | '.join(medians)} |", "|---" * (len(medians) + 1) + "|"]
    for name, text in LINES.items():
        cells = [f"{side[name]:.3g}" if name in side else "" for side in medians.values()]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    bound = f"A token reads {medians['ours']['bytes'] / 1e6:.0f} MB"
    if "ratio" in medians:
        bound += f": an engine that did nothing else would be {medians['ratio']['bound']:.2f} x llama.cpp's one row"
    return "\n".join([*lines, "", f"{bound}."])


def main() -> None:
    """Prints a table a shape."""
    global clock
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=list(SHAPES))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--bits", type=int, choices=KINDS, default=8)
    parser.add_argument("--llama", action="store_true", help="compare with llama.cpp on the same weights")
    parser.add_argument("--busy", action="store_true", help="one thread, seconds of processor time")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    clock = getattr(time, CLOCKS[asked.busy])
    if asked.measure:
        folder, *gguf = asked.measure
        print(json.dumps(measure(folder, next(iter(gguf), None), asked.bits, asked.turns)))
        return
    print(f"{machine()}; {asked.turns} turns{', one thread, processor time' * asked.busy}")
    results = {}
    for shape in asked.shape:
        results[shape] = run(shape, asked)
        print("\n" + table(shape, asked.bits, results[shape]), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
