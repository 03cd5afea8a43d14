"""What a GPU makes of the default model: python -m benchmarks.gpu

Tokens a second and the first token's wait, of 1, 16 and 64 rows of 64 tokens; and how far its bfloat16
is from the native engine on the same weights: sampled tokens up to the first that differs, mean
KL(native || GPU) in nats a token.
"""

import argparse
import json
import sys
import time

import torch

from benchmarks.fidelity import PROMPTS
from lm import LanguageModel, Row, Run, Sampling, load
from lm.metrics import kl

ROWS, NEW, TURNS, COMPARED, COMPARED_NEW = (1, 16, 64), 64, 2, 8, 40


def speed(model: LanguageModel, rows: int) -> dict[str, float]:
    """The best of TURNS, after a turn that warms up."""
    ids = tuple(model.chat_ids(PROMPTS.read_text().splitlines()[0]))
    rates, waits = [], []
    for turn in range(TURNS + 1):
        started, first, tokens = time.perf_counter(), 0.0, 0
        for step in model.decode([Row(ids, Sampling(1.0, turn * rows + i, NEW)) for i in range(rows)]):
            first = first or time.perf_counter() - started
            tokens += len(step)
        rates.append(tokens / (time.perf_counter() - started))
        waits.append(first)
    return {"tokens_per_second": max(rates[1:]), "first_token_seconds": min(waits[1:])}


def same(ours: list[Run], theirs: list[Run]) -> int:
    """Tokens up to the first that differs, over all pairs."""
    total = 0
    for a, b in zip(ours, theirs, strict=True):
        length = min(len(a.ids), len(b.ids))
        total += next((i for i in range(length) if a.ids[i] != b.ids[i]), length)
    return total


def main() -> None:
    """Prints one JSON object."""
    argparse.ArgumentParser(description="What a GPU makes of the default model").parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: this machine has no GPU that PyTorch knows")
    model, native = load(engine="batched"), load(engine="native")
    prompts = [tuple(model.chat_ids(line)) for line in PROMPTS.read_text().splitlines()[:COMPARED]]
    rows = [Row(ids, Sampling(0.7, seed, COMPARED_NEW)) for seed, ids in enumerate(prompts)]
    ours, theirs = model.generate(rows), native.generate(rows)
    texts, starts = [[*run.prompt, *run.ids] for run in theirs], [len(run.prompt) for run in theirs]
    pairs = zip(native.logprobs(texts, starts), model.logprobs(texts, starts), strict=True)
    print(
        json.dumps(
            {
                "gpu": torch.cuda.get_device_name(),
                "torch": torch.__version__,
                "rows": {n: speed(model, n) for n in ROWS},
                "same_tokens": [same(ours, theirs), sum(len(run.ids) for run in theirs)],
                "kl": float(torch.cat([kl(a, b) for a, b in pairs]).mean()),
            }
        )
    )


if __name__ == "__main__":
    main()
