"""What packing a model at 8 bits takes: python -m benchmarks.packing [--shape qwen2.5-0.5b] [--json FILE]

Random weights of the shape, saved in bfloat16, are loaded in a process of their own: cold, then from the
cache. Memory is the process's peak beyond what it holds when lm is imported, as a share of the file's size.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {
    "qwen2.5-0.5b": {
        "model_type": "qwen2",
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "llama-3.2-1b": {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
}


def make(folder: Path, shape: str) -> int:
    """Writes a random model of the shape; the size of its weights in bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from lm.devices import device_here
    from tests.tiny import save_tokenizer

    config = AutoConfig.for_model(**SHAPES[shape], max_position_embeddings=4096)
    torch.manual_seed(0)
    with device_here():  # a GPU draws a billion numbers in no time
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder)
    return (folder / "model.safetensors").stat().st_size


def once(folder: str, bits: int) -> None:
    """Loads the model in this process, and prints seconds and bytes of peak memory beyond the start's."""
    from lm import load

    before, started = peak(), time.perf_counter()
    load(folder, bits=bits)
    print(json.dumps({"seconds": time.perf_counter() - started, "bytes": peak() - before, "start": before}))


def peak() -> int:
    """The most memory that this process has held, in bytes. Linux's getrusage counts the parent's memory too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measures, and prints one line a load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-0.5b")
    parser.add_argument("--bits", type=int, choices=(4, 8), default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.load:
        return once(asked.load, asked.bits)
    with tempfile.TemporaryDirectory() as work:
        size = make(Path(work) / "model", asked.shape)
        env = {**os.environ, "TRADEWIND_CACHE": f"{work}/cache", "HF_HUB_OFFLINE": "1"}
        command = [
            sys.executable,
            "-m",
            "benchmarks.packing",
            "--load",
            f"{work}/model",
            "--bits",
            str(asked.bits),
        ]
        results: dict[str, dict] = {}
        for kind in ("cold", "cached"):
            done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
            results[kind] = json.loads(done.stdout.splitlines()[-1])
            share = results[kind]["bytes"] / size
            print(
                f"{asked.shape}, {kind}: {results[kind]['seconds']:.1f} s, "
                f"peak {share:.2f} x the file of {size / 1e9:.2f} GB"
            )
        if asked.json:
            asked.json.write_text(
                json.dumps({"shape": asked.shape, "file": size, **results}, indent=1) + "\n"
            )


if __name__ == "__main__":
    main()
