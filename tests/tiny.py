"""Tiny random models of several families, as folders that lm.load reads."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedTokenizerFast

from tests.families import FAMILIES, LAYERS, SHAPE, WIDTH
from tests.scratch import scratch

__all__ = [
    "CHATML",
    "CONFIGS",
    "LAYERS",
    "NATIVE",
    "SHAPE",
    "THINKING",
    "WIDTH",
    "random_model",
    "save",
    "save_adapter",
    "save_tokenizer",
    "tiny",
]
NATIVE = ("llama", "mistral", "qwen2", "qwen3")
CONFIGS = {family: FAMILIES[family] for family in (*NATIVE, "gemma2", "gpt2")}
"""The families that every property of decoding is tested on; tests/unit/lm/test_families.py has them all."""
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

THINKING = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
"""As Qwen3's and SmolLM3's templates: thinking is on unless it is switched off, by an empty thought."""


@cache
def tiny(family: str) -> Path:
    """A folder with a random model of the family and a tokenizer of single bytes."""
    return save(scratch(f"tiny-{family}-"), FAMILIES[family]())


def random_model(config):
    """A transformers model of a config, with parameters that no initialisation makes alike."""
    causal = type(config) in AutoModelForCausalLM._model_mapping
    model = (AutoModelForCausalLM if causal else AutoModelForImageTextToText).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def save(folder: Path, config, seed: int = 0) -> Path:
    """Writes a random model with this config, and the tokenizer, to the folder."""
    torch.manual_seed(seed)
    model = random_model(config)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_adapter(tuned, folder: Path) -> None:
    """Writes PEFT's model to the folder as PEFT does, but for the page about it: making that takes longer than all else."""
    tuned.create_or_update_model_card = lambda _folder: None
    tuned.save_pretrained(folder)


def save_tokenizer(folder: Path, template: str | None = None, added: Sequence[str] = ()) -> None:
    """Writes a tokenizer of single bytes to the folder; added: tokens that follow the 258 it has."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: i for i, char in enumerate(alphabet)} | {"<s>": 256, "</s>": 257}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens(list(added))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
