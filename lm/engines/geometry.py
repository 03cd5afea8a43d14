"""The shape of a Llama-style model, and which models have it."""

FAMILIES = {"llama", "mistral", "qwen2", "qwen3"}


def unlike_llama(config) -> str | None:
    """Why the blocks of a transformers config do not compute what a Llama's do, or None where they do."""
    if config.model_type not in FAMILIES:
        return f"family {config.model_type} is not one of {', '.join(sorted(FAMILIES))}"
    if config.hidden_act != "silu":
        return f"activation {config.hidden_act} is not silu"
    if len(set(getattr(config, "layer_types", None) or [None])) > 1:
        return "its blocks attend in different ways"
    rope = config.rope_parameters["rope_type"]
    if rope not in ("default", "linear", "llama3"):
        return f"rope type {rope} depends on the length"
    return None


def unsupported(config) -> str | None:
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


def module_sizes(width: int, queries: int, keys: int, inner: int) -> dict[str, tuple[int, int]]:
    """(in, out) of each matrix of a block; queries, keys: the attention's widths."""
    return {
        "q_proj": (width, queries),
        "k_proj": (width, keys),
        "v_proj": (width, keys),
        "o_proj": (queries, width),
        "gate_proj": (width, inner),
        "up_proj": (width, inner),
        "down_proj": (inner, width),
    }


def head_width(config) -> int:
    """Width of one attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
