"""A Llama-style decoder in plain PyTorch: rows in one padded batch, with gradients where they are wanted."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

from lm.engines.geometry import NORMS, PARTS, Config, head_width, module_sizes, tied, unlike_llama, window
from lm.engines.rotary import frequencies

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Of attention to one token a row. PyTorch's first choice on an H100, cuDNN's, takes twice as long for it."""
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q [n, heads, positions, w], k, v [n, kv_heads, positions, w]) -> what was attended to, shaped like
q.
"""
Change = Callable[[str, Tensor], Tensor | None]
"""LowRank of one layer."""
Matrix = Tensor | Callable[[Tensor], Tensor]
"""Weights [out, in], or what multiplies by them."""
Weights = tuple[dict[str, Matrix], dict[str, Tensor | None]]
"""A layer's matrices, and its biases and norms, of which it may lack some."""


class LowRank(Protocol):
    """Low-rank changes of a layer's matrices."""

    def __call__(self, layer: int, module: str, x: Tensor, /) -> Tensor | None:
        """The change of `module`'s output for its input x [n, positions, in], or None where there is none."""
        ...


def fastest(device: torch.device) -> torch.dtype:
    """The type in which products are fastest: bfloat16 on GPUs and on CPUs that multiply it (AMX, AVX-512
    BF16), else float32.
    """
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    if device.type == "cuda" or able.get("amx_tile", False) or able.get("avx512_bf16", False):
        return torch.bfloat16
    return torch.float32


def matrix_units() -> bool:
    """Whether this CPU has them (AMX), so that a PyTorch batch of many rows beats rows that each stream
    through caches.
    """
    return bool(torch.cpu.get_capabilities().get("amx_tile", False))


class Stack:
    """The layers of a Llama, Mistral or Qwen model. Products run in `dtype`, the residual stream in float32.

    Raises
    ------
    ValueError
        where the model's layers compute something else.
    """

    differentiable = True
    _head: Matrix

    def __init__(self, model: "PreTrainedModel", dtype: torch.dtype):
        config = model.config
        if reason := unlike_llama(config):
            raise ValueError(
                f"Training needs the layers of a Llama, Mistral or Qwen model, and here {reason}: "
                "give a model of one of these."
            )
        state = {name.removeprefix("model."): tensor.detach() for name, tensor in model.state_dict().items()}
        self._shape(config, dtype, state["embed_tokens.weight"].device)
        self._embedding = state["embed_tokens.weight"].to(dtype)
        self._head = self._embedding if tied(model) else state["lm_head.weight"].to(dtype)
        self.vocabulary = len(self._embedding)
        self._norm = state["norm.weight"].float()
        self.weights = [self._layer(state, f"layers.{layer}.") for layer in range(self.layers)]
        angles, self._scaling = frequencies(config)
        self._frequencies = angles.to(self.device)

    def _shape(self, config: Config, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self.layers, self.width = config.num_hidden_layers, config.hidden_size
        self.heads, self.kv_heads, self.head_width = (
            config.num_attention_heads,
            config.num_key_value_heads,
            head_width(config),
        )
        self.window = window(config)
        self.sizes = module_sizes(
            self.width,
            self.heads * self.head_width,
            self.kv_heads * self.head_width,
            config.intermediate_size,
        )
        self.epsilon = config.rms_norm_eps

    def _layer(self, state: dict[str, Tensor], prefix: str) -> Weights:
        def joined(part: str, kind: str) -> Tensor | None:
            names = (f"{prefix}{name}.{kind}" for name in PARTS[part])
            tensors = [state[name] for name in names if name in state]
            return torch.cat(tensors).to(self.dtype) if tensors else None

        matrices: dict[str, Matrix] = {}
        vectors = {part: joined(part, "bias") for part in PARTS}
        for part in PARTS:
            matrix = joined(part, "weight")
            assert matrix is not None
            matrices[part] = matrix
        for norm, name in NORMS.items():
            weight = state.get(f"{prefix}{name}.weight")
            vectors[norm] = None if weight is None else weight.float()
        return matrices, vectors

    def embed(self, ids: Tensor) -> Tensor:
        """The residual stream before the first layer, float32 [n, positions, width]."""
        return F.embedding(ids, self._embedding).float()

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """What the head's values and what their two halves, swapped, are multiplied by: cos and signed sin
        [n, 1, positions, head_width] for positions [n, positions].
        """
        angles = positions[:, None, :, None].float() * self._frequencies
        cos, sin = angles.cos() * self._scaling, angles.sin() * self._scaling
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    def layer(
        self, layer: int, x: Tensor, rotary: tuple[Tensor, Tensor], attend: Attend, low_rank: LowRank
    ) -> Tensor:
        """The residual stream x [n, positions, width] after layer `layer`."""
        weights, change = self.weights[layer], partial(low_rank, layer)
        return self.end(weights, x, attend(layer, *self.begin(weights, x, rotary, change)), change)

    def begin(
        self, weights: Weights, x: Tensor, rotary: tuple[Tensor, Tensor], change: Change
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A layer up to its attention: q, k and v of the residual stream x [n, positions, width], as Attend
        takes them.
        """
        w, b = weights
        h = F.rms_norm(x, (self.width,), b["norm_attention"], self.epsilon).to(self.dtype)
        qkv = self._changed(_product(h, w["qkv"], b["qkv"]), h, change)
        heads = qkv.view(*qkv.shape[:-1], -1, self.head_width).transpose(1, 2)
        qk, v = heads.split([self.heads + self.kv_heads, self.kv_heads], 1)
        if b["norm_q"] is not None:
            q, k = qk.split([self.heads, self.kv_heads], 1)
            qk = torch.cat([self._normed(q, b["norm_q"]), self._normed(k, b["norm_k"])], 1)
        q, k = self._turned(qk, rotary).split([self.heads, self.kv_heads], 1)
        return q, k, v

    def _changed(self, qkv: Tensor, h: Tensor, change: Change) -> Tensor:
        """Queries, keys and values with the low-rank changes of each."""
        modules = ("q_proj", "k_proj", "v_proj")
        changes = [change(module, h) for module in modules]
        if all(change is None for change in changes):
            return qkv
        parts = qkv.split([self.sizes[module][1] for module in modules], -1)
        return torch.cat([_plus(part, change) for part, change in zip(parts, changes, strict=True)], -1)

    def end(self, weights: Weights, x: Tensor, attended: Tensor, change: Change) -> Tensor:
        """The rest of the layer: x [n, positions, width] after it, of x before it and of what it attended to,
        as Attend gives it.
        """
        w, b = weights
        h = attended.transpose(1, 2).flatten(2)
        x = x + _plus(_product(h, w["out"], b["out"]), change("o_proj", h))
        h = F.rms_norm(x, (self.width,), b["norm_mlp"], self.epsilon).to(self.dtype)
        gate, up = _product(h, w["gate_up"], b["gate_up"]).chunk(2, -1)
        h = F.silu(_plus(gate, change("gate_proj", h))) * _plus(up, change("up_proj", h))
        return x + _plus(_product(h, w["down"], b["down"]), change("down_proj", h))

    def _normed(self, x: Tensor, norm: Tensor | None) -> Tensor:
        return x.float() if norm is None else F.rms_norm(x.float(), (self.head_width,), norm, self.epsilon)

    def _turned(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        cos, sin = rotary
        return (x * cos + x.roll(self.head_width // 2, -1) * sin).to(self.dtype)

    def grouped(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attention of q [n, heads, l, w] to k, v [n, kv_heads, t, w] where `mask` says: heads that share
        keys are one batch.
        """
        together = q.reshape(len(q), self.kv_heads, -1, self.head_width)
        return F.scaled_dot_product_attention(together, k, v, attn_mask=mask).reshape(q.shape)

    def mask(self, positions: Tensor, keys: int) -> Tensor:
        """Which of the first `keys` positions each of positions [n, l] may see, for `grouped`: bool [n, 1,
        heads / kv_heads * l, keys].
        """
        key = torch.arange(keys, device=positions.device)
        seen = key <= positions[..., None]
        if self.window is not None:
            seen = seen & (key > positions[..., None] - self.window)
        return seen[:, None].repeat(1, 1, self.heads // self.kv_heads, 1)

    def logits(self, x: Tensor) -> Tensor:
        """float32 [..., vocabulary] of the residual stream after the last layer."""
        h = F.rms_norm(x, (self.width,), self._norm, self.epsilon).to(self.dtype)
        return _product(h, self._head, None).float()

    def upper(self, x: Tensor, first: int, low_rank: LowRank, until: int | None = None) -> Tensor:
        """Layers first, ... until - 1 (None: the last) on whole sequences x [n, positions, width], padded at
        their ends; for training on top of a cache.
        """
        positions = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        rotary, mask = self.rotary(positions), self.mask(positions, x.shape[1])
        for layer in range(first, self.layers if until is None else until):
            x = self.layer(layer, x, rotary, lambda _, q, k, v: self.grouped(q, k, v, mask), low_rank)
        return x


def unchanged(layer: int, module: str, x: Tensor) -> None:
    """No low-rank change anywhere."""


def _plus(x: Tensor, change: Tensor | None) -> Tensor:
    return x if change is None else x + change


def _product(x: Tensor, matrix: Matrix, bias: Tensor | None) -> Tensor:
    if isinstance(matrix, Tensor):
        return F.linear(x, matrix, bias)
    return _plus(matrix(x), bias)
