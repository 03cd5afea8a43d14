"""What a GPU makes of a model: python -m benchmarks.gpu [--model FOLDER | --shape llama-3.2-1b ...]
[--turns 3]

Of each model (the default where none is named; shapes in random weights): tokens a second of 1, 16 and 64
rows of 64 tokens, unsteered and steered, beside transformers' own `generate` on the same weights in the same
turns, steered by plain forward hooks on the same blocks (one and 16 rows); the first token's wait of 40 and
of 512 tokens; how long loading takes, and the first answer after it, which captures its graphs. Of the
default also how far bfloat16 is from the native engine on the same weights: sampled tokens up to the first
that differs, mean KL(native || GPU) in nats a token.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fidelity import PROMPTS
from benchmarks.packing import SHAPES, make
from benchmarks.steering_speed import machine
from lm import Edit, LanguageModel, Row, Run, Sampling, load
from lm.metrics import kl

ROWS, COMPARED_ROWS, NEW, LENGTHS = (1, 16, 64), (1, 16), 64, (40, 512)
STEERED_LAYERS, CAP = 8, 0.1
COMPARED, COMPARED_NEW = 8, 40


class Bench:
    """Each method measures once, on a prompt that was not read before."""

    def __init__(self, model: LanguageModel):
        self.model = model
        self.random = torch.Generator().manual_seed(0)
        middle = model.layers // 2
        self.layers = range(middle - STEERED_LAYERS // 2, middle + STEERED_LAYERS // 2)
        read = torch.randn(len(self.layers), 1, model.width, generator=self.random)
        self.read = read / read.norm(dim=2, keepdim=True)
        zero, goal, sense = torch.zeros(1), torch.tensor([1e3]), torch.ones(1, dtype=torch.int)
        self.edits = tuple(
            Edit(layer, own, zero, own, goal, sense, cap=CAP)
            for layer, own in zip(self.layers, self.read, strict=True)
        )

    def prompt(self, length: int = LENGTHS[0]) -> tuple[int, ...]:
        return tuple(torch.randint(self.model.engine.vocabulary, (length,), generator=self.random).tolist())

    def ours(self, rows: int, edits: tuple[Edit, ...] = ()) -> float:
        """Tokens a second."""
        ids = self.prompt()
        asked = [Row(ids, Sampling(0.7, seed, NEW), edits) for seed in range(rows)]
        return _rate(lambda: sum(len(run.ids) for run in self.model.generate(asked)))

    def first(self, length: int) -> float:
        """Seconds."""
        row, started = Row(self.prompt(length), Sampling(max_new_tokens=1), self.edits), time.perf_counter()
        self.model.generate([row])
        return time.perf_counter() - started

    @torch.inference_mode()
    def theirs(self, rows: int) -> float:
        """Tokens a second of transformers with hooks: the same push, worked out from each token's state."""
        network: Any = self.model.torch
        device = network.device

        def hook(read: Tensor) -> Callable[[nn.Module, object, Tensor], Tensor]:
            direction = read.to(device)

            def push(_module: nn.Module, _inputs: object, out: Tensor) -> Tensor:
                e = out.float()
                strength = (1e3 - e @ direction.T).clamp(min=0)
                strength = strength.minimum(CAP * e.norm(dim=-1, keepdim=True))
                return (e + strength * direction).to(out.dtype)

            return push

        hooks = [
            network.model.layers[layer].register_forward_hook(hook(own))
            for layer, own in zip(self.layers, self.read, strict=True)
        ]
        ids = torch.tensor([self.prompt()], device=device).expand(rows, -1)

        def work() -> int:
            out = network.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=NEW,
                min_new_tokens=NEW,
                do_sample=True,
                temperature=0.7,
                top_k=0,
                pad_token_id=0,
            )
            return int(out[:, ids.shape[1] :].numel())

        rate = _rate(work)
        for each in hooks:
            each.remove()
        return rate


def _rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - started)


def speed(model: LanguageModel, turns: int) -> dict[str, float]:
    """Medians of `turns`, after a turn that warms up."""
    bench = Bench(model)
    measures: dict[str, Callable[[], float]] = {}
    for rows in ROWS:
        measures[f"{rows} rows, tokens/s"] = lambda rows=rows: bench.ours(rows)
        measures[f"{rows} rows, steered, tokens/s"] = lambda rows=rows: bench.ours(rows, bench.edits)
    for rows in COMPARED_ROWS:
        measures[f"{rows} rows, transformers with hooks, tokens/s"] = lambda rows=rows: bench.theirs(rows)
    for length in LENGTHS:
        measures[f"first token of {length}, s"] = lambda length=length: bench.first(length)
    started = time.perf_counter()
    bench.ours(1, bench.edits)
    result = {"first steered answer, s": time.perf_counter() - started}
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(1 + turns):
        for name, measure in measures.items():
            values[name].append(measure())
    result |= {name: statistics.median(each[1:]) for name, each in values.items()}
    for rows in COMPARED_ROWS:
        ours, theirs = (
            result[f"{rows} rows, {side}, tokens/s"] for side in ("steered", "transformers with hooks")
        )
        result[f"{rows} rows, steered over transformers with hooks"] = ours / theirs
    return result


def fidelity(model: LanguageModel, native: LanguageModel) -> dict[str, object]:
    """How far the GPU's bfloat16 is from the native engine."""
    prompts = [tuple(model.chat_ids(line)) for line in PROMPTS.read_text().splitlines()[:COMPARED]]
    rows = [Row(ids, Sampling(0.7, seed, COMPARED_NEW)) for seed, ids in enumerate(prompts)]
    ours, theirs = model.generate(rows), native.generate(rows)
    texts, starts = [[*run.prompt, *run.ids] for run in theirs], [len(run.prompt) for run in theirs]
    pairs = zip(native.logprobs(texts, starts), model.logprobs(texts, starts), strict=True)
    return {
        "same tokens, of": [same(ours, theirs), sum(len(run.ids) for run in theirs)],
        "kl": float(torch.cat([kl(a, b) for a, b in pairs]).mean()),
    }


def same(ours: Sequence[Run], theirs: Sequence[Run]) -> int:
    """Tokens up to the first that differs, over all pairs."""
    total = 0
    for a, b in zip(ours, theirs, strict=True):
        length = min(len(a.ids), len(b.ids))
        total += next((i for i in range(length) if a.ids[i] != b.ids[i]), length)
    return total


def main() -> None:
    """Prints one JSON object a model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", metavar="FOLDER", help="a model that is here (default: the embedded one)")
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=[], help="random weights of a shape")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: this machine has no GPU that PyTorch knows")
    print(f"{machine()}, PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as work:
        for shape in asked.shape:
            make(Path(work) / shape, shape)
        for name in [str(Path(work) / shape) for shape in asked.shape] or [asked.model]:
            started = time.perf_counter()
            model = load(name, engine="batched")
            result: dict[str, object] = {"model": Path(model.name).name}
            result["loading, s"] = time.perf_counter() - started
            result |= speed(model, asked.turns)
            if name is None:
                result |= fidelity(model, load(engine="native"))
            print(json.dumps(result, indent=1), flush=True)


if __name__ == "__main__":
    main()
