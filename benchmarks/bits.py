"""How far 8 and 4 bits a weight are from float32: python -m benchmarks.bits [--model FOLDER] [--json]

As benchmarks.fidelity measures it: transformers answers 20 prompts greedily with 64 tokens in float32, and
the same weights packed at 8 and at 4 bits say what they make of every position. Without --model the weights
are the default's with the dimensions of the residual stream, of every MLP and of every head's values in
another order: the same model, in which no group of 32 is one that was rounded before.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

from benchmarks.fidelity import PROMPTS, reference
from lm import load
from lm.metrics import kl


def shuffled(folder: Path) -> Path:
    """Saves the default model with its dimensions in another order."""
    model = load()
    torch.manual_seed(0)
    exact, config = model.torch, model.torch.config
    state = exact.state_dict()
    stream = torch.randperm(config.hidden_size)
    width = config.hidden_size // config.num_attention_heads
    value = torch.randperm(width)
    inner = [torch.randperm(config.intermediate_size) for _ in range(model.layers)]
    moved = {}
    for name, tensor in state.items():
        part = name.split(".")[-2]
        if part in ("o_proj", "down_proj"):
            tensor = tensor[stream]
        else:
            tensor = tensor[..., stream]
        if part == "v_proj":
            tensor = tensor.unflatten(0, (-1, width))[:, value].flatten(0, 1)
        if part == "o_proj":
            tensor = tensor.unflatten(1, (-1, width))[..., value].flatten(1)
        if part in ("gate_proj", "up_proj"):
            tensor = tensor[inner[int(name.split(".")[2])]]
        if part == "down_proj":
            tensor = tensor[:, inner[int(name.split(".")[2])]]
        moved[name] = tensor.contiguous()
    exact.save_pretrained(folder, state_dict=moved)
    model.tokenizer.save_pretrained(folder)
    return folder


def measure(folder: Path) -> dict[str, float]:
    """Positions, and by bits those with another first token and the mean KL in nats."""
    exact = load(str(folder), engine="reference")
    prompts = PROMPTS.read_text(encoding="utf-8").splitlines()
    texts = [reference(exact.torch, exact.chat_ids(prompt)) for prompt in prompts]
    distances: dict[str, float] = {"tokens": sum(len(expected) for _, _, expected in texts)}
    for bits in (8, 4):
        model = load(str(folder), bits=bits)
        pairs = [(want, model.logprobs([ids], [start])[0]) for ids, start, want in texts]
        distances[f"{bits} bits: other first token"] = sum(
            int((a.argmax(-1) != b.argmax(-1)).sum()) for a, b in pairs
        )
        distances[f"{bits} bits: mean KL, nats"] = float(torch.cat([kl(a, b) for a, b in pairs]).mean())
    return distances


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a folder of a Llama-style model; left out: the default")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        distances = measure(asked.model or shuffled(Path(work) / "model"))
    print(json.dumps(distances) if asked.json else json.dumps(distances, indent=1))


if __name__ == "__main__":
    main()
