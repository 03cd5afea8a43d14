"""Speed of steering, as ratios within one run: python -m benchmarks.steering_speed [--turns 5] [--llama
FILE.gguf] [--json]

Measured on the loaded model, in turns so that noise of the machine meets all alike; medians are printed.
Every run has a prompt that was not read before. nine rows: the unsteered one and eight magnitudes of one
plan, as a sweep decodes them; four users: a call each, from threads of their own. transformers: its own
`generate` on the same weights, in float32 (bfloat16 on a GPU), steered by plain forward hooks on the same
blocks. llama: llama.cpp on the same weights (the GGUF that the default comes from), greedy and unsteered, in
a process of its own, since threads of two libraries in one process slow each other; wants the package
llama-cpp-python. sampling: 32 rows of 40 tokens (four answers to each of eight prompts) with a checkpoint's
adapter, against transformers' `generate` with PEFT in bfloat16.
"""

import argparse
import itertools
import json
import os
import platform
import re
import statistics
import threading
import time
from pathlib import Path

import torch
from peft import PeftModel

from benchmarks.llama import Llama
from lm import Adapter, Row, Sampling, load
from steering import Library, Plan
from steering.cav import train
from steering.edits import edits
from steering.sweep import MAGNITUDES, magnitudes

PROMPT = "What makes a town a good place to live?"
PLAN = {"targets": [{"concept": "sentiment", "p0": 0.999}]}
NEW = 96
CHECKPOINT = "assets/checkpoints/pgapo-0.5"


class Bench:
    """Each method returns tokens a second, or seconds."""

    def __init__(self, gguf: str | None) -> None:
        self.model = load()
        self.library = Library(self.model)
        self.plan = Plan.from_json(PLAN)
        self.edits = edits(self.plan, self.library)
        self.ids = tuple(self.model.chat_ids(PROMPT))
        self.sampling = Sampling(temperature=0.7, max_new_tokens=NEW)
        self.magnitudes = [edits(plan, self.library) for plan in magnitudes(self.plan, MAGNITUDES[1:])]
        self.words = itertools.count(1000)
        self.adapter = Adapter.load(CHECKPOINT)
        half = load(engine="reference").torch.to(torch.bfloat16)
        self.peft = PeftModel.from_pretrained(half, CHECKPOINT).eval()
        if gguf:
            self.other = Llama(gguf, torch.get_num_threads())

    def prompt(self) -> tuple[int, ...]:
        """PROMPT with another word in it each time."""
        return (*self.ids[:-10], next(self.words), *self.ids[-9:])

    def sweep_rows(self) -> list[Row]:
        ids = self.prompt()
        return [Row(ids, self.sampling), *(Row(ids, self.sampling, pushes) for pushes in self.magnitudes)]

    def _rate(self, rows: list[Row]) -> float:
        started = time.perf_counter()
        runs = self.model.generate(rows)
        return sum(len(run.ids) for run in runs) / (time.perf_counter() - started)

    def unsteered(self) -> float:
        return self._rate([Row(self.prompt(), self.sampling)])

    def steered(self) -> float:
        return self._rate([Row(self.prompt(), self.sampling, self.edits)])

    def nine_rows(self) -> float:
        return self._rate(self.sweep_rows())

    def four_users(self) -> float:
        rows = [
            Row(self.prompt(), Sampling(temperature=0.7, seed=seed, max_new_tokens=NEW), self.edits)
            for seed in range(4)
        ]
        counts = [0] * 4

        def answer(i: int) -> None:
            counts[i] = len(self.model.generate([rows[i]])[0].ids)

        threads = [threading.Thread(target=answer, args=(i,)) for i in range(4)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - started)

    def _first(self, rows: list[Row]) -> float:
        started = time.perf_counter()
        decoding = self.model.decode(rows)
        next(iter(decoding))
        seconds = time.perf_counter() - started
        decoding.close()
        for _ in decoding:
            pass
        return seconds

    def first_token(self) -> float:
        """Of an unsteered and a steered row together, as the page asks for them."""
        ids = self.prompt()
        return self._first([Row(ids, self.sampling), Row(ids, self.sampling, self.edits)])

    def first_token_alone(self) -> float:
        return self._first([Row(self.prompt(), self.sampling)])

    def llama(self) -> float:
        rate, self.llama_first = self.other.answer(self.ids, NEW)
        return rate

    def llama_first_token(self) -> float:
        """Of the run that `llama` has just made."""
        return self.llama_first

    def training_rows(self) -> float:
        prompts = [self.prompt() for _ in range(8)]
        sampling = [Sampling(temperature=1.0, seed=seed, max_new_tokens=40) for seed in range(32)]
        return self._rate(
            [Row(prompts[i // 4], drawn, adapter=self.adapter) for i, drawn in enumerate(sampling)]
        )

    @torch.inference_mode()
    def training_rows_transformers(self) -> float:
        ids = torch.tensor([self.prompt() for _ in range(8)], device=self.peft.device).repeat_interleave(4, 0)
        started = time.perf_counter()
        out = self.peft.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=40,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            pad_token_id=0,
        )
        return int((out[:, len(self.ids) :] != 0).sum()) / (time.perf_counter() - started)

    @torch.inference_mode()
    def transformers(self) -> float:
        blocks = self.model.torch.model.layers
        hooks = [
            blocks[edit.layer].register_forward_hook(
                lambda _m, _i, out, edit=edit: edit.apply(
                    out[0], torch.ones(len(out[0]), dtype=torch.bool, device=out.device)
                )[0][None]
            )
            for edit in self.edits
        ]
        started = time.perf_counter()
        ids = torch.tensor([self.ids], device=self.model.torch.device)
        out = self.model.torch.generate(ids, max_new_tokens=NEW, do_sample=False, pad_token_id=0)
        for hook in hooks:
            hook.remove()
        return (out.shape[1] - len(self.ids)) / (time.perf_counter() - started)

    def training(self) -> float:
        concept = self.library.concepts["sports"]
        started = time.perf_counter()
        train(self.model, type(concept)("sports", concept.positive[:100], concept.negative[:100]))
        return time.perf_counter() - started

    def sweep(self) -> float:
        rows = self.sweep_rows()
        started = time.perf_counter()
        self.model.generate(rows)
        together = time.perf_counter() - started
        started = time.perf_counter()
        for row in rows:
            self.model.generate([row])
        return (time.perf_counter() - started) / together


def machine() -> str:
    """The processor by name, its cores and vector instructions, and the GPU if there is one."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}{gpu}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--llama", metavar="GGUF", help="compare with llama.cpp on this file")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bench = Bench(args.llama)
    bench.model.torch.eval()
    names = [
        "unsteered",
        "steered",
        "nine_rows",
        "four_users",
        "first_token",
        "first_token_alone",
        "transformers",
        "training_rows",
        "training_rows_transformers",
    ]
    names += ["llama", "llama_first_token"] if args.llama else []
    values: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.turns):
        for name in names:
            values[name].append(getattr(bench, name)())
    if args.llama:
        bench.other.close()
    middle = {name: statistics.median(own) for name, own in values.items()}
    result = {
        "machine": machine(),
        "turns": args.turns,
        "prompt tokens": len(bench.ids),
        "new tokens": NEW,
        "medians": middle,
        "steered / unsteered": middle["steered"] / middle["unsteered"],
        "nine rows / one": middle["nine_rows"] / middle["steered"],
        "four users / one": middle["four_users"] / middle["steered"],
        "steered / transformers with hooks": middle["steered"] / middle["transformers"],
        "sampling for training / transformers' in bfloat16": middle["training_rows"]
        / middle["training_rows_transformers"],
        "nine single runs / one sweep of nine": statistics.median(bench.sweep() for _ in range(args.turns)),
        "training 100 pairs, seconds": statistics.median(bench.training() for _ in range(args.turns)),
    }
    if args.llama:
        result |= {
            "steered / llama.cpp": middle["steered"] / middle["llama"],
            "unsteered / llama.cpp": middle["unsteered"] / middle["llama"],
            "first token / llama.cpp's": middle["first_token_alone"] / middle["llama_first_token"],
        }
    print(json.dumps(result) if args.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
