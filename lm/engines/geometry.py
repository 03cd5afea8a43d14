"""The shape of a Llama-style model, and which models have it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Config: TypeAlias = "PreTrainedConfig | SimpleNamespace"
"""A config as transformers reads it, or its values as packed weights keep them."""
Window = Callable[[Config], int | None]


def _none(config: Config) -> int | None:
    return None


def _always(config: Config) -> int | None:
    looks_back: int | None = config.sliding_window
    return looks_back


def _by_layer(config: Config) -> int | None:
    return (_always(config) or 0) if "sliding_attention" in config.layer_types else None


FAMILIES: dict[str, Window] = {"llama": _none, "mistral": _always, "qwen2": _by_layer, "qwen3": _by_layer}
"""Model types that our engines run: of each, how far its layers look back."""

PARTS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""A layer's matrices that are multiplied in one go, by transformers' names of them."""
NORMS = {
    "norm_attention": "input_layernorm",
    "norm_mlp": "post_attention_layernorm",
    "norm_q": "self_attn.q_norm",
    "norm_k": "self_attn.k_norm",
}
"""A layer's norms by transformers' names; a family may lack the last two."""

UNIFORM = ({"full_attention"}, {"sliding_attention"})
"""Types that all layers may have."""
FIXED_ROPE = ("default", "linear", "llama3", "yarn")
"""Rope types whose frequencies depend on the config alone, and not on how long a text has become."""


def unlike_llama(config: Config) -> str | None:
    """Why the layers of a transformers config do not compute what a Llama's do, or None where they do."""
    if config.model_type not in FAMILIES:
        return f"family {config.model_type} is not one of {', '.join(sorted(FAMILIES))}"
    if getattr(config, "quantization_config", None) is not None:
        return "its weights are quantised already"
    if config.hidden_act != "silu":
        return f"activation {config.hidden_act} is not silu"
    if {*(getattr(config, "layer_types", None) or ["full_attention"])} not in UNIFORM:
        return "its layers attend in different ways"
    if (reach := window(config)) is not None and reach < 1:
        return "its layers look back at nothing"
    if config.num_hidden_layers < 1:
        return "it has no layers"
    return _unlike_rope(config)


def _unlike_rope(config: Config) -> str | None:
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type")
    if kind not in FIXED_ROPE:
        return (
            f"rope type {kind} depends on the text" if isinstance(kind, str) else "its rope differs by layer"
        )
    if kind != "default" and rope.get("partial_rotary_factor", 1.0) != 1.0:
        return "it turns a part of each head"
    return None


def unsupported(config: Config) -> str | None:
    """Why a transformers config is not of a Llama-style model that our engines run, or None where it is."""
    if reason := unlike_llama(config):
        return reason
    heads = head_width(config)
    sizes = {
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "attention width": config.num_attention_heads * heads,
        "key width": config.num_key_value_heads * heads,
    }
    if bad := {name: size for name, size in sizes.items() if size % 32}:
        return f"sizes {bad} are not multiples of 32"
    if heads % 16:
        return f"head width {heads} is not a multiple of 16"
    return None


def window(config: Config) -> int | None:
    """How many positions a layer attends to, its own among them; None: all."""
    return FAMILIES[config.model_type](config)


def tied(model: "PreTrainedModel") -> bool:
    """Whether a transformers model's head is its embedding, whatever its config says: transformers keeps the
    two apart where a file holds both.
    """
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def module_sizes(width: int, queries: int, keys: int, inner: int) -> dict[str, tuple[int, int]]:
    """(in, out) of each matrix of a layer; queries, keys: the attention's widths."""
    return {
        "q_proj": (width, queries),
        "k_proj": (width, keys),
        "v_proj": (width, keys),
        "o_proj": (queries, width),
        "gate_proj": (width, inner),
        "up_proj": (width, inner),
        "down_proj": (inner, width),
    }


def head_width(config: Config) -> int:
    """Width of one attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
