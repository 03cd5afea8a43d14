"""LoRA adapters: PEFT folders read, written and mixed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PARENT = {name: "self_attn" if name[0] in "qkvo" else "mlp" for name in MODULES}


@dataclass(frozen=True, eq=False)
class Adapter:
    """Low-rank changes of a Llama-style model's matrices.

    parts: (block, module) -> (a [rank, in], b [out, rank]); the change of the matrix is b @ a, scale included
    in b.
    """

    parts: Mapping[tuple[int, str], tuple[Tensor, Tensor]]

    def __post_init__(self) -> None:
        for (block, module), (a, b) in self.parts.items():
            if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
                raise ValueError(
                    f"the adapter's {module} of block {block} has halves {tuple(a.shape)} and {tuple(b.shape)}: "
                    "expected (rank, in) and (out, rank)"
                )

    def check(self, sizes: Mapping[str, tuple[int, int]], layers: int) -> None:
        """Raises ValueError where a part does not fit a model of `layers` blocks whose matrices have these
        sizes (in, out).
        """
        for (block, module), (a, b) in self.parts.items():
            if not 0 <= block < layers or (a.shape[1], b.shape[0]) != sizes[module]:
                raise ValueError(
                    f"the adapter's {module} of block {block}, {b.shape[0]} x {a.shape[1]}, does not fit this model"
                )

    @classmethod
    def load(cls, folder: Path | str) -> "Adapter":
        """Reads a PEFT LoRA folder. Raises ValueError where it is none, is truncated, or holds anything but
        safetensors.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / "adapter_config.json").read_text())
            tensors = load_file(folder / "adapter_model.safetensors")
        except FileNotFoundError as error:
            raise ValueError(
                f"{folder} is no adapter folder: {Path(error.filename).name} is missing "
                "(PEFT adapters with safetensors are read, pickles are not)"
            ) from None
        except (SafetensorError, json.JSONDecodeError) as error:
            raise ValueError(
                f"the adapter in {folder} is truncated or damaged ({error}): copy it again"
            ) from None
        if (
            config.get("peft_type") != "LORA"
            or config.get("use_dora")
            or config.get("rank_pattern")
            or config.get("alpha_pattern")
        ):
            raise ValueError(
                f"the adapter in {folder} is not a plain LoRA (one rank and one alpha for all modules)"
            )
        alpha, rank = config.get("lora_alpha"), config.get("r")
        if not (isinstance(alpha, int | float) and isinstance(rank, int) and rank > 0):
            raise ValueError(
                f"adapter_config.json of {folder} gives lora_alpha {alpha!r} and r {rank!r}: both must be numbers, r above 0"
            )
        scale = alpha / (rank ** (0.5 if config.get("use_rslora") else 1))
        halves: dict[tuple[int, str], dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            words = name.split(".")
            module = next((word for word in words if word in MODULES), None)
            if module is None or "layers" not in words[:-1] or words[-2] not in ("lora_A", "lora_B"):
                raise ValueError(
                    f"the adapter in {folder} changes {name}: only {', '.join(MODULES)} of a block are supported"
                )
            halves.setdefault((int(words[words.index("layers") + 1]), module), {})[words[-2]] = tensor.float()
        if not halves or any(len(half) < 2 for half in halves.values()):
            raise ValueError(
                f"the adapter in {folder} lacks a half of a matrix, or all of them: copy it again"
            )
        return cls({key: (half["lora_A"], half["lora_B"] * scale) for key, half in halves.items()})

    def save(self, folder: Path | str, base_model: str) -> None:
        """Writes a PEFT folder (alpha = rank, so that b is stored as it is)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        for (block, module), (a, b) in self.parts.items():
            prefix = f"base_model.model.model.layers.{block}.{_PARENT[module]}.{module}"
            tensors |= {f"{prefix}.lora_A.weight": a.contiguous(), f"{prefix}.lora_B.weight": b.contiguous()}
        rank = next(iter(self.parts.values()))[0].shape[0]
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_model,
            "r": rank,
            "lora_alpha": rank,
            "target_modules": sorted({module for _, module in self.parts}),
            "layers_to_transform": sorted({block for block, _ in self.parts}),
            "lora_dropout": 0.0,
            "bias": "none",
            "inference_mode": True,
        }
        save_file(tensors, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")

    @classmethod
    def mix(cls, weighted: Sequence[tuple["Adapter", float]]) -> "Adapter":
        """The adapter whose change is the weighted sum of the others' (rewarded soup); ranks add up."""
        parts: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
        for key in sorted({key for adapter, _ in weighted for key in adapter.parts}):
            found = [(adapter.parts[key], weight) for adapter, weight in weighted if key in adapter.parts]
            parts[key] = (
                torch.cat([a for (a, _), _ in found]),
                torch.cat([b * weight for (_, b), weight in found], dim=1),
            )
        return cls(parts)

    @cached_property
    def blocks(self) -> frozenset[int]:
        """The blocks that the adapter changes."""
        return frozenset(block for block, _ in self.parts)
