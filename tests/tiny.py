"""Tiny random models of several families, as folders that lm.load reads."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

LAYERS, WIDTH = 3, 64
SHAPE = {
    "vocab_size": 258,
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 257,
    "bos_token_id": 256,
    "pad_token_id": 257,
    "head_dim": 16,
}
CONFIGS = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=16),
    "qwen2": lambda: Qwen2Config(**SHAPE),
    "qwen3": lambda: Qwen3Config(**SHAPE),
    "gemma2": lambda: Gemma2Config(**SHAPE, sliding_window=16),
    "gpt2": lambda: GPT2Config(
        vocab_size=258,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=4,
        n_positions=512,
        eos_token_id=257,
        bos_token_id=256,
    ),
}
NATIVE = ("llama", "mistral", "qwen2", "qwen3")


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def tiny(family: str) -> Path:
    """A folder with a random model of the family and a tokenizer of single bytes."""
    return save(Path(mkdtemp(prefix=f"tiny-{family}-")), CONFIGS[family]())


def save(folder: Path, config, seed: int = 0) -> Path:
    """Writes a random model with this config, and the tokenizer, to the folder."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


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
