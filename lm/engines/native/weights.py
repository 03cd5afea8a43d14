"""A Llama-style model as engine.c wants it: packed matrices and norms, from a GGUF file or a transformers
model.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lm.engines.geometry import NORMS, PARTS, Config, head_width, module_sizes
from lm.engines.native.pack import Packed, grid8, pack, quantize, unpack
from lm.engines.rotary import frequencies

if TYPE_CHECKING:
    from gguf import ReaderTensor

Grid = tuple[np.ndarray, np.ndarray, np.ndarray, int]
"""A matrix in few bits: codes uint8 [n, k], scale and minimum float32 [n, k / 32], bits."""
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@dataclass(frozen=True)
class Weights:
    """A model's tensors by name: packed matrices, and float32 vectors (norms, biases, and the rotary
    embedding's frequencies). There is a head where the model's is not its embedding.
    """

    matrices: dict[str, Packed] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)


class WrongTensor(ValueError):
    """The files lack a tensor of the model, or hold one of another shape, or numbers that no grid holds."""


def shapes_of(config: Config) -> dict[str, torch.Size]:
    """Shapes by name of all tensors of transformers' model of a config. Raises whatever its code raises."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def from_files(files: Sequence[Path], config: Config, bits: int, shapes: Mapping[str, torch.Size]) -> Weights:
    """Packs a model's safetensors files, one matrix in memory at a time: its blocks at
    `bits`, embedding and head at 8.

    What they have to hold is what transformers' model of the config has; what they hold besides is left out,
    as transformers does. shapes: of that model's tensors. Raises WrongTensor.
    """
    weights, read = Weights(), _Reader(files, shapes, tied=config.tie_word_embeddings)
    weights.matrices["embedding"] = _rounded(read, 8, EMBEDDING)
    if not (config.tie_word_embeddings and read.same(HEAD, EMBEDDING)):
        weights.matrices["head"] = _rounded(read, 8, HEAD)
    weights.vectors["norm"] = read("model.norm.weight").float()
    weights.vectors.update(_rotary(config))
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        for part, names in PARTS.items():
            weights.matrices[f"{layer}.{part}"] = _rounded(
                read, bits, *(f"{prefix}{name}.weight" for name in names)
            )
            if f"{prefix}{names[0]}.bias" in read.shapes:
                weights.vectors[f"{layer}.{part}.bias"] = torch.cat(
                    [read(f"{prefix}{name}.bias").float() for name in names]
                )
        for norm, name in NORMS.items():
            if f"{prefix}{name}.weight" in read.shapes:
                weights.vectors[f"{layer}.{norm}"] = read(f"{prefix}{name}.weight").float()
    for name, vector in weights.vectors.items():
        _require_finite(name, vector)
    if read.shapes.keys() != read.taken:
        raise ValueError(f"The native engine has no place for {sorted(read.shapes.keys() - read.taken)[:3]}.")
    return weights


class _Reader:
    """The tensors of safetensors files by the names that transformers gives them, read one by one: a file is
    mapped for no longer, so that its pages do not add up. shapes: of all tensors that the model has.
    """

    def __init__(self, files: Sequence[Path], shapes: Mapping[str, torch.Size], *, tied: bool):
        self.shapes, self._tied = shapes, tied
        self.taken: set[str] = set()
        self._files: dict[str, Path] = {}
        for path in files:
            with safe_open(path, framework="pt") as file:
                self._files |= dict.fromkeys(file.keys(), path)

    def _own(self, name: str) -> str | None:
        """What the files call a tensor: a model that was saved without its head leaves out "model.", and one
        that was wrapped has it before its head too. Of a tied pair either name will do.
        """
        same = [name, HEAD] if self._tied and name == EMBEDDING else [name]
        names = [
            form for tensor in same for form in (tensor, tensor.removeprefix("model."), f"model.{tensor}")
        ]
        return next((form for form in names if form in self._files), None)

    def __call__(self, name: str) -> Tensor:
        own = self._own(name)
        if own is None:
            raise WrongTensor(f"lack {name}")
        with safe_open(self._files[own], framework="pt") as file:
            tensor: Tensor = file.get_tensor(own)
        if tensor.shape != self.shapes[name]:
            raise WrongTensor(f"hold {name} as {[*tensor.shape]}, not {[*self.shapes[name]]}")
        self.taken.add(name)
        return tensor

    def same(self, head: str, embedding: str) -> bool:
        """Whether the head is the embedding: not in the files, or equal to it."""
        self.taken.add(head)
        return self._own(head) is None or torch.equal(self(head), self(embedding))


def _rounded(read: _Reader, bits: int, *names: str) -> Packed:
    """Matrices at so many bits, one below the other."""
    tensors = [read(name) for name in names]
    matrix = quantize(tensors[0] if len(tensors) == 1 else torch.cat(tensors), bits)
    _require_finite(names[0], matrix.grid)
    return matrix


def _require_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise WrongTensor(f"hold numbers in {name} that are not finite, or beyond 65,000")


def _rotary(config: Config) -> dict[str, Tensor]:
    angles, scaling = frequencies(config)
    return {"rotary": angles, "rotary_scaling": torch.tensor([scaling])}


def from_gguf(path: Path, config: Config, progress: Callable[[float], None]) -> Weights:
    """Repacks a Llama GGUF file. Q4_0, Q4_1 and Q8_0 keep their codes, other types are rounded to 8 bits."""
    from gguf import GGUFReader

    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    weights = Weights()
    weights.matrices["embedding"] = _gguf_codes([tensors["token_embd.weight"]], [None])
    if "output.weight" in tensors:
        weights.matrices["head"] = _gguf_codes([tensors["output.weight"]], [None])
    weights.vectors["norm"] = torch.from_numpy(tensors["output_norm.weight"].data.astype(np.float32))
    weights.vectors.update(_rotary(config))
    rotated = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    for layer in range(config.num_hidden_layers):
        for part, names in PARTS.items():
            parts = [tensors[f"blk.{layer}.{GGUF_NAMES[name]}.weight"] for name in names]
            weights.matrices[f"{layer}.{part}"] = _gguf_codes(parts, [rotated.get(name) for name in names])
        for norm in ("norm_attention", "norm_mlp"):
            data = tensors[f"blk.{layer}.{GGUF_NAMES[NORMS[norm]]}.weight"].data
            weights.vectors[f"{layer}.{norm}"] = torch.from_numpy(data.astype(np.float32))
        progress((layer + 1) / config.num_hidden_layers)
    return weights


def _gguf_codes(tensors: Sequence["ReaderTensor"], heads: list[int | None]) -> Packed:
    """Stacks GGUF matrices by rows; `heads` undoes the row order that llama.cpp's rotary embedding wants."""
    parts = [_permuted(_gguf_grid(tensor), count) for tensor, count in zip(tensors, heads, strict=True)]
    bits = max(part[3] for part in parts)
    if any(part[3] != bits for part in parts):
        return quantize(
            torch.cat(
                [torch.from_numpy(c * np.repeat(s, 32, 1) + np.repeat(m, 32, 1)) for c, s, m, _ in parts]
            )
        )
    codes, scale, least = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return pack(codes, scale, least, bits)


def _gguf_grid(tensor: "ReaderTensor") -> Grid:
    from gguf import GGMLQuantizationType, dequantize

    k, n = (int(size) for size in tensor.shape)
    kind, raw = tensor.tensor_type, tensor.data
    sizes = {GGMLQuantizationType.Q4_0: 18, GGMLQuantizationType.Q4_1: 20, GGMLQuantizationType.Q8_0: 34}
    if kind not in sizes:
        return grid8(dequantize(raw, kind).reshape(n, k))
    blocks = np.ascontiguousarray(raw).reshape(n, k // 32, sizes[kind])
    half = (
        blocks[..., : 4 if kind == GGMLQuantizationType.Q4_1 else 2]
        .copy()
        .view(np.float16)
        .astype(np.float32)
    )
    scale, body = half[..., 0], blocks[..., half.shape[-1] * 2 :]
    if kind == GGMLQuantizationType.Q8_0:
        return (
            (body.view(np.int8).astype(np.int16) + 128).astype(np.uint8).reshape(n, k),
            scale,
            -128 * scale,
            8,
        )
    codes = np.concatenate([body & 15, body >> 4], -1).reshape(n, k)
    return codes, scale, half[..., 1] if kind == GGMLQuantizationType.Q4_1 else -8 * scale, 4


def _permuted(grid: Grid, heads: int | None) -> Grid:
    if heads is None:
        return grid
    codes, scale, least, bits = grid
    n = len(codes)
    order = np.arange(n).reshape(heads, n // heads // 2, 2).swapaxes(1, 2).reshape(n)
    return codes[order], scale[order], least[order], bits


def save(weights: Weights, path: Path, metadata: dict[str, str]) -> None:
    """Writes weights and metadata to one safetensors file."""
    tensors = {name: vector.contiguous() for name, vector in weights.vectors.items()}
    for name, matrix in weights.matrices.items():
        tensors |= {f"{name}.codes": matrix.codes, f"{name}.grid": matrix.grid}
    shapes = {name: [matrix.n, matrix.bits] for name, matrix in weights.matrices.items()}
    save_file(tensors, path, {**metadata, "packed": json.dumps(shapes)})


def open_saved(path: Path) -> tuple[Weights, dict[str, str]]:
    """Memory-maps what `save` wrote."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        shapes = json.loads(metadata["packed"])
        vectors = {
            name: file.get_tensor(name)
            for name in file.keys()
            if name.rsplit(".", 1)[-1] not in ("codes", "grid")
        }
        matrices = {
            name: Packed(file.get_tensor(f"{name}.codes"), file.get_tensor(f"{name}.grid"), n, bits)
            for name, (n, bits) in shapes.items()
        }
    return Weights(matrices, vectors), metadata


def to_state(weights: Weights, config: Config) -> dict[str, Tensor]:
    """The float32 state dict of the transformers model with exactly these weights."""
    matrices, vectors = weights.matrices, weights.vectors
    state = {EMBEDDING: unpack(matrices["embedding"]), "model.norm.weight": vectors["norm"]}
    state[HEAD] = unpack(matrices["head"]) if "head" in matrices else state[EMBEDDING]
    heads = head_width(config)
    rows = module_sizes(
        config.hidden_size,
        config.num_attention_heads * heads,
        config.num_key_value_heads * heads,
        config.intermediate_size,
    )
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        for part, names in PARTS.items():
            sizes = [rows[name.split(".")[1]][1] for name in names]
            for kind, value in (
                ("weight", unpack(matrices[f"{layer}.{part}"])),
                ("bias", vectors.get(f"{layer}.{part}.bias")),
            ):
                if value is not None:
                    state |= {
                        f"{prefix}{name}.{kind}": piece.contiguous()
                        for name, piece in zip(names, value.split(sizes), strict=True)
                    }
        for norm, name in NORMS.items():
            if f"{layer}.{norm}" in vectors:
                state[f"{prefix}{name}.weight"] = vectors[f"{layer}.{norm}"]
    return state
