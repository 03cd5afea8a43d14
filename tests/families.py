"""Tiny configs of the decoder families that people steer, and of those that are refused.

Each is made by transformers' own config class, with the options that set the family apart.
"""

from collections.abc import Callable

import transformers as t

WIDTH, LAYERS, VOCABULARY = 64, 3, 258
SPECIAL = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 257}
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "head_dim": 16,
    **SPECIAL,
}
PLAIN = {key: value for key, value in SHAPE.items() if key != "head_dim"}
FULL = {key: value for key, value in PLAIN.items() if key != "num_key_value_heads"}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, **SPECIAL}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}
EYES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
"""An image tower with as many layers as the text model has."""
FALCON = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
}

FAMILIES: dict[str, Callable] = {
    "llama": lambda: t.LlamaConfig(**SHAPE),
    "llama, biases": lambda: t.LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True),
    "llama, llama3 rope": lambda: t.LlamaConfig(
        **SHAPE,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ),
    "llama, dynamic rope": lambda: t.LlamaConfig(
        **SHAPE, rope_parameters={"rope_type": "dynamic", "rope_theta": 500.0, "factor": 4.0}
    ),
    "mistral": lambda: t.MistralConfig(**SHAPE, sliding_window=16),
    "qwen2": lambda: t.Qwen2Config(**PLAIN),
    "qwen2, some layers sliding": lambda: t.Qwen2Config(
        **PLAIN, use_sliding_window=True, sliding_window=16, max_window_layers=1
    ),
    "qwen3": lambda: t.Qwen3Config(**SHAPE),
    "llama4": lambda: t.Llama4Config(
        text_config={**SHAPE, "intermediate_size_mlp": 96, "num_local_experts": 4},
        vision_config=EYES
        | {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32, "num_hidden_layers": 3},
    ),
    "llama4_text": lambda: t.Llama4TextConfig(**SHAPE, intermediate_size_mlp=96, num_local_experts=4),
    "ministral": lambda: t.MinistralConfig(**SHAPE, sliding_window=16, layer_types=["sliding_attention"] * 2 + ["full_attention"]),
    "mistral3": lambda: t.Mistral3Config(
        text_config={**SHAPE, "model_type": "mistral"}, vision_config=EYES | {"model_type": "pixtral"}
    ),
    "mixtral": lambda: t.MixtralConfig(**SHAPE, num_local_experts=4, num_experts_per_tok=2),
    "qwen2_moe": lambda: t.Qwen2MoeConfig(**PLAIN, **EXPERTS, shared_expert_intermediate_size=32),
    "qwen3_moe": lambda: t.Qwen3MoeConfig(**SHAPE, **EXPERTS),
    "qwen3_next": lambda: t.Qwen3NextConfig(**SHAPE, **EXPERTS, **LINEAR, shared_expert_intermediate_size=32),
    "qwen3_5_text": lambda: t.Qwen3_5TextConfig(**SHAPE, **LINEAR),
    "gemma": lambda: t.GemmaConfig(**SHAPE),
    "gemma2": lambda: t.Gemma2Config(**SHAPE, sliding_window=16),
    "gemma3_text": lambda: t.Gemma3TextConfig(**SHAPE, sliding_window=16),
    "gemma3": lambda: t.Gemma3Config(text_config={**SHAPE, "sliding_window": 16}, vision_config=EYES),
    "gemma4_text": lambda: t.Gemma4TextConfig(
        **SHAPE, sliding_window=16, vocab_size_per_layer_input=VOCABULARY, hidden_size_per_layer_input=16
    ),
    "phi": lambda: t.PhiConfig(**PLAIN, partial_rotary_factor=0.5),
    "phi3": lambda: t.Phi3Config(**PLAIN),
    "phi3, longrope": lambda: t.Phi3Config(
        **PLAIN,
        original_max_position_embeddings=64,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 500.0,
            "short_factor": [1.0 + 0.1 * i for i in range(8)],
            "long_factor": [2.0 + 0.5 * i for i in range(8)],
        },
    ),
    "phimoe": lambda: t.PhimoeConfig(**PLAIN, num_local_experts=4, num_experts_per_tok=2),
    "granite": lambda: t.GraniteConfig(
        **PLAIN, embedding_multiplier=12.0, logits_scaling=8.0, residual_multiplier=0.22, attention_multiplier=0.0625
    ),
    "granitemoehybrid": lambda: t.GraniteMoeHybridConfig(
        **PLAIN,
        layer_types=["mamba", "attention", "mamba"],
        num_local_experts=4,
        num_experts_per_tok=2,
        mamba_n_heads=8,
        mamba_d_head=16,
        mamba_d_state=8,
        mamba_n_groups=1,
    ),
    "olmo": lambda: t.OlmoConfig(**PLAIN),
    "olmo2": lambda: t.Olmo2Config(**PLAIN),
    "olmo3": lambda: t.Olmo3Config(**PLAIN, sliding_window=16),
    "olmoe": lambda: t.OlmoeConfig(**PLAIN, num_experts=4, num_experts_per_tok=2),
    "smollm3": lambda: t.SmolLM3Config(**PLAIN, no_rope_layers=[1, 1, 0]),
    "stablelm": lambda: t.StableLmConfig(**PLAIN, partial_rotary_factor=0.25, use_qkv_bias=True),
    "stablelm, parallel": lambda: t.StableLmConfig(**PLAIN, use_parallel_residual=True, qk_layernorm=True),
    "starcoder2": lambda: t.Starcoder2Config(**PLAIN, sliding_window=16),
    "falcon": lambda: t.FalconConfig(**FALCON, **SPECIAL),
    "falcon, alibi": lambda: t.FalconConfig(**FALCON, **SPECIAL, alibi=True, multi_query=False, parallel_attn=False, bias=True),
    "falcon, 40b": lambda: t.FalconConfig(**FALCON, **SPECIAL, new_decoder_architecture=True, num_kv_heads=2),
    "gpt2": lambda: t.GPT2Config(**GPT2, n_positions=512),
    "gpt_bigcode": lambda: t.GPTBigCodeConfig(**GPT2, n_positions=512),
    "gpt_neo": lambda: t.GPTNeoConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
        max_position_embeddings=512, window_size=16, **SPECIAL,
    ),
    "gpt_neox": lambda: t.GPTNeoXConfig(**FULL),
    "gptj": lambda: t.GPTJConfig(**GPT2, n_positions=512, rotary_dim=8),
    "gpt_oss": lambda: t.GptOssConfig(**SHAPE, num_local_experts=4, num_experts_per_tok=2, sliding_window=16),
    "opt": lambda: t.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=4, ffn_dim=96,
        max_position_embeddings=512, word_embed_proj_dim=32, do_layer_norm_before=True, **SPECIAL,
    ),
    "bloom": lambda: t.BloomConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=LAYERS, n_head=4, **SPECIAL),
    "mpt": lambda: t.MptConfig(vocab_size=VOCABULARY, d_model=WIDTH, n_layers=LAYERS, n_heads=4, max_seq_len=512),
    "cohere2": lambda: t.Cohere2Config(**PLAIN, sliding_window=16),
    "deepseek_v3": lambda: t.DeepseekV3Config(
        **FULL, num_key_value_heads=4, **LATENT, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
        n_group=1, topk_group=1, first_k_dense_replace=1,
    ),
    "exaone4": lambda: t.Exaone4Config(**PLAIN, sliding_window=16),
    "glm4": lambda: t.Glm4Config(**SHAPE),
    "lfm2": lambda: t.Lfm2Config(
        **PLAIN, layer_types=["conv", "full_attention", "conv"], block_auto_adjust_ff_dim=False
    ),
    "jamba": lambda: t.JambaConfig(
        **PLAIN, attn_layer_period=2, attn_layer_offset=1, num_experts=4, mamba_d_state=8, use_mamba_kernels=False
    ),
    "mamba": lambda: t.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, state_size=8, **SPECIAL
    ),
    "mamba2": lambda: t.Mamba2Config(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, state_size=8, num_heads=8, head_dim=16,
        n_groups=1, **SPECIAL,
    ),
}  # fmt: skip

REFUSED: dict[str, Callable] = {
    "gemma3n_text": lambda: t.Gemma3nTextConfig(
        **SHAPE, vocab_size_per_layer_input=VOCABULARY, hidden_size_per_layer_input=16, num_kv_shared_layers=0,
        layer_types=["full_attention"] * LAYERS,
    ),
    "recurrent_gemma": lambda: t.RecurrentGemmaConfig(**PLAIN, attention_window_size=16, lru_width=WIDTH),
    "rwkv": lambda: t.RwkvConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, attention_hidden_size=WIDTH
    ),
    "xlnet": lambda: t.XLNetConfig(vocab_size=VOCABULARY, d_model=WIDTH, n_layer=LAYERS, n_head=4, d_inner=96),
}  # fmt: skip
