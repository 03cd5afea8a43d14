"""What each engine makes of each family, against transformers' own forward with plain hooks, and against PEFT.

`python -m tests.matrix` writes the table of docs/models.md.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from lm import Edit, LanguageModel, Row, Sampling, load
from lm.engines.geometry import unlike_llama, unsupported
from lm.engines.torch.batched import BatchedEngine
from lm.engines.torch.stack import Stack
from lm.engines.transformers import stack_of
from tests.families import FAMILIES
from tests.scratch import scratch
from tests.tiny import save_adapter, tiny

ENGINES = {
    "native": "native (C, CPU)",
    "packed": "packed (PyTorch, CPU)",
    "batched": "batched (PyTorch, GPU)",
    "reference": "transformers",
}
PROMPT = tuple(b"Tell me, what do you see from up there? ")
TOKENS, LAYER = 8, 1
PAGE = Path(__file__).parents[1] / "docs" / "models.md"
HEAD = """# Models

Any causal language model of transformers, by hub id or folder, with safetensors weights. This table is what `python -m tests.matrix` wrote: of tiny
random models of each family, which engine takes it, and what it does as transformers and PEFT do it (tests/unit/lm/test_families.py: logits, the residual
stream after every layer, greedy and steered text, LoRA, the trainer's log-probabilities). **steer**: answers, reading and edits of the residual stream; **adapt**: PEFT LoRA
adapters of its linear layers; **train**: P-GAPO and GAPO. A family that is not listed is tried when it is loaded: it has to answer on its cache what it
answers at once, and is refused in one sentence where it does not. Several may be served, of which visitors choose: docs/hosting.md. Quantised folders are read where transformers finds their packages; others are refused.

"""


def takes(family: str, engine: str) -> bool:
    """Whether an engine is one that `load` would give the family to."""
    return engine == "reference" or unsupported(FAMILIES[family]()) is None


def trains(family: str) -> bool:
    """Whether the trainer takes the family."""
    return unlike_llama(FAMILIES[family]()) is None


def decoder_layers(model) -> nn.ModuleList:
    """Those of a transformers model."""
    return stack_of(model)[1]


@contextmanager
def hooked(layers: nn.ModuleList, change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """change(index, output) in place of each layer's output."""

    def hook(index: int):
        def run(_module, _inputs, output):
            if isinstance(output, tuple):
                return (change(index, output[0]), *output[1:])
            return change(index, output)

        return run

    handles = [layer.register_forward_hook(hook(i)) for i, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def logprobs(model, ids) -> Tensor:
    """transformers' log p of every next token, [len - 1, vocabulary]."""
    return model(input_ids=torch.tensor([list(ids)])).logits[0, :-1].float().log_softmax(-1)


def states(model, ids) -> Tensor:
    """The residual stream after every layer, [layers, len, width]."""
    outputs: list[Tensor] = []
    with hooked(decoder_layers(model), lambda _, hidden: outputs.append(hidden[0].float()) or hidden):
        logprobs(model, ids)
    return torch.stack(outputs)


def edit(width: int) -> tuple[Edit, Callable[[int, Tensor], Tensor]]:
    """An edit that holds a read-out up to a goal, and the same in plain torch."""
    generator = torch.Generator().manual_seed(3)
    read, write = torch.randn(2, 1, width, generator=generator) / width**0.5
    bias, goal = torch.tensor([0.2]), torch.tensor([1.5])
    if read[0] @ write[0] < 0:
        write = -write

    def change(layer: int, hidden: Tensor) -> Tensor:
        if layer != LAYER:
            return hidden
        z = hidden @ read[0] + bias
        eps = ((goal - z) / (read[0] @ write[0])).clamp_min(0)
        return hidden + eps[..., None] * write[0]

    return Edit(LAYER, read, bias, write, goal, torch.tensor([1.0])), change


def adapter_of(model) -> Path:
    """A PEFT folder with random weights for the linear layers of the model's decoder layers: not routers, nor
    the last projection of a Mamba layer, which PEFT does not take, nor experts, which it stores otherwise.
    """
    path, layers = stack_of(model)
    paths = {name: module for layer in layers for name, module in layer.named_modules()}
    left_out = ["mlp."] if any("expert" in name for name in paths) else []
    left_out += ["out_proj"] if model.config.model_type.startswith("mamba") else []
    names = {
        name
        for name, module in paths.items()
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
        if "Router" not in type(module).__name__ and not any(part in name for part in left_out)
    }
    inside = "|".join(re.escape(name) for name in sorted(names))
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=rf"{re.escape(path)}\.\d+\.({inside})", task_type="CAUSAL_LM"
    )
    torch.manual_seed(1)
    tuned = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = scratch("tiny-adapter-")
    save_adapter(tuned, folder)
    tuned.unload()
    return folder


def gap(want: Tensor, have: Tensor) -> float:
    """KL(want || have) of log-probabilities, nats a token."""
    return float((want.exp() * (want - have)).sum(-1).mean())


@cache
def loaded(family: str, engine: str) -> LanguageModel:
    """The model on an engine; the batched one in float32, in whatever type this machine is quicker."""
    if engine != "batched":
        return load(str(tiny(family)), engine=engine)
    model = loaded(family, "reference")
    stack = Stack(model.torch, torch.float32)
    return LanguageModel(
        model.name,
        model.hash,
        model.tokenizer,
        model.stop_ids,
        BatchedEngine(stack, 512),
        lambda: model.torch,
    )


def greedy_gap(
    model: LanguageModel, edits: tuple[Edit, ...], want: Callable[[tuple[int, ...]], Tensor]
) -> float:
    """How far below the best, in nats, transformers puts the worst token that the engine chose greedily."""
    run = model.generate([Row(PROMPT, Sampling(max_new_tokens=TOKENS), edits)])[0]
    rows = want((*PROMPT, *run.ids))[len(PROMPT) - 1 :]
    return float((rows.max(-1).values - rows[range(len(run.ids)), run.ids]).max())


def peft_logprobs(model, folder: Path) -> Tensor:
    """PEFT's log p of the prompt's tokens with an adapter."""
    tuned = PeftModel.from_pretrained(model, folder)
    try:
        return logprobs(tuned, PROMPT)
    finally:
        tuned.unload()


def trained_gap(model: LanguageModel) -> float:
    """The largest difference of the trainer's and the sampler's log-probabilities of an answer."""
    run = model.generate([Row(PROMPT, Sampling(1.0, 5, TOKENS), record=LAYER)])[0]
    stack = Stack(model.torch, torch.float32)
    top = stack.logits(stack.upper(run.hidden[None].to(stack.device), LAYER + 1, lambda *_: None))[0].float()
    rows = top[len(PROMPT) - 1 :].log_softmax(-1)[: len(run.ids)]
    return float((rows[range(len(run.ids)), run.ids] - torch.tensor(run.logprobs)).abs().max())


def page() -> str:
    """docs/models.md: the table, and the sections that it has after it."""
    _, heading, sections = PAGE.read_text(encoding="utf-8").partition("\n## ")
    lines = ["| family | " + " | ".join(ENGINES.values()) + " | train |", "|---" * (len(ENGINES) + 2) + "|"]
    for family in FAMILIES:
        cells = ["steer, adapt" if takes(family, engine) else "–" for engine in ENGINES]
        lines.append(f"| {family} | {' | '.join(cells)} | {'yes' if trains(family) else '–'} |")
    return HEAD + "\n".join(lines) + "\n" + heading + sections


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
