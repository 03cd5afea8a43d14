"""A training step of two objectives against a plain one, and against one objective, in one process: python -m
benchmarks.pareto_step

Both sample 32 answers of up to 40 tokens and update LoRA of rank 4 on the blocks above the reward heads' with
the same two heads. The plain step is what transformers and PEFT give without further thought: generate, a
forward pass of the reference, one of the rewards, one of the policy, and a backward pass an objective.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from peft import LoraConfig, get_peft_model

from lm import load
from lm.adapter import MODULES
from lm.engines.torch.stack import fastest
from pareto.heads import Head
from pareto.objectives import rloo
from pareto.pairs import read_prompts
from pareto.rewards import heads
from pareto.train import Settings, Trainer

PROMPTS = Path("assets/prompts/train.jsonl")
ROWS, GROUP, TOKENS = 32, 4, 40


class Plain:
    """The step as one would first write it, in the type that is fastest here."""

    def __init__(self, model, prompts: list[str], first: int):
        self.lm, self.prompts, self.heads = model, prompts, heads(model)
        base = model.torch.to(fastest(torch.device("cpu")))
        layers = list(range(first, model.layers))
        self.model = get_peft_model(
            base, LoraConfig(r=4, lora_alpha=4, target_modules=list(MODULES), layers_to_transform=layers)
        )
        self.optimizer = torch.optim.Adam([p for p in self.model.parameters() if p.requires_grad], lr=1e-3)

    def step(self, number: int) -> None:
        chosen = self.prompts[number * ROWS // GROUP : (number + 1) * ROWS // GROUP]
        ids = [self.lm.chat_ids(prompt) for prompt in chosen for _ in range(GROUP)]
        width = max(map(len, ids))
        pad = self.lm.tokenizer.eos_token_id
        inputs = torch.tensor([[pad] * (width - len(row)) + row for row in ids])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
        started = time.perf_counter()
        texts = self.model.generate(
            input_ids=inputs,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=TOKENS,
            pad_token_id=pad,
        )
        self.sampling = time.perf_counter() - started
        mask = torch.cat([mask, torch.ones_like(texts[:, width:])], 1)
        with torch.no_grad(), self.model.disable_adapter():
            reference = self._logps(texts, mask, width)
            states = self.model(input_ids=texts, attention_mask=mask, output_hidden_states=True).hidden_states
            rewards = torch.stack(
                [self._rewards(head, states[head.block + 1].float(), width) for head in self.heads.values()]
            )
        logps = self._logps(texts, mask, width)
        weights = rloo(rewards, (logps.detach() - reference), GROUP, 0.1)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        gradients = [
            torch.autograd.grad(weight @ logps, parameters, retain_graph=k == 0)
            for k, weight in enumerate(weights)
        ]
        norms = [torch.cat([g.flatten() for g in gradient]).norm() for gradient in gradients]
        for parameter, first, second in zip(parameters, *gradients, strict=True):
            parameter.grad = -(first / norms[0] + second / norms[1]) / 2
        self.optimizer.step()

    @staticmethod
    def _rewards(head: Head, states: torch.Tensor, width: int) -> torch.Tensor:
        """Of answers that begin at position `width` of states [n, positions, width of the stream]."""
        return head.of_pooled(states[:, width:].mean(1), states[:, width - 1])

    def _logps(self, texts: torch.Tensor, mask: torch.Tensor, width: int) -> torch.Tensor:
        logits = self.model(input_ids=texts, attention_mask=mask).logits[:, width - 1 : -1].float()
        return logits.log_softmax(-1).gather(-1, texts[:, width:, None])[..., 0].sum(1)


def main() -> None:
    """Medians of steps taken in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    prompts = [text for _, text in read_prompts(PROMPTS)]
    settings = Settings(prompts=ROWS // GROUP, group=GROUP, max_new_tokens=TOKENS, steps=100)
    ours, plain = load(engine="rows"), load(engine="reference")
    rewards = heads(ours)
    with tempfile.TemporaryDirectory() as folder:
        both = Trainer(ours, rewards, prompts, settings, Path(folder) / "two", {})
        harmless = {"harmless": rewards["harmless"]}
        alone = Trainer(
            ours, harmless, prompts, replace(settings, preference=(1.0,)), Path(folder) / "one", {}
        )
        naive = Plain(plain, prompts, both.first)
        seconds: dict[str, list[float]] = {
            "plain": [],
            "two objectives": [],
            "one objective": [],
            "plain, sampling": [],
            "sampling": [],
        }
        for number in range(args.steps + 1):
            turns = {
                "plain": lambda n=number: naive.step(n),
                "two objectives": both.advance,
                "one objective": alone.advance,
            }
            for name, step in turns.items():
                started = time.perf_counter()
                step()
                if number:
                    seconds[name].append(time.perf_counter() - started)
            if number:
                seconds["plain, sampling"].append(naive.sampling)
                seconds["sampling"].append(both.curves[-1]["sampling_seconds"])
    result = {name: median(values) for name, values in seconds.items()}
    result |= {
        "two objectives over plain": result["two objectives"] / result["plain"],
        "sampling, plain over ours": result["plain, sampling"] / result["sampling"],
        "second objective costs": result["two objectives"] / result["one objective"] - 1,
        "type": str(ours.stack.dtype),
        "rows": ROWS,
        "tokens": TOKENS,
        "steps": args.steps,
    }
    print(
        json.dumps(result)
        if args.json
        else "\n".join(
            f"{name:>28}  {value:.3g}" if isinstance(value, float) else f"{name:>28}  {value}"
            for name, value in result.items()
        )
    )


if __name__ == "__main__":
    main()
