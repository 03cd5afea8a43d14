"""LoRA adapters: low-rank changes of a model's matrices, mixed, and checked against a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lm import peft_folder

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PARENT = {name: "self_attn" if name[0] in "qkvo" else "mlp" for name in MODULES}
STACK = "model.layers"
WRAPPERS = {"model", "language_model", "text_model"}
"""Parts of a stack's path that versions of transformers, and its classes of one family, put in other places."""


def path_in_layer(module: str) -> str:
    """Where a matrix lies in its layer: Llama's seven by their short name, others by their path."""
    return f"{_PARENT[module]}.{module}" if module in _PARENT else module


def module_at(path: str) -> str:
    """The module that lies at a path in its layer: the inverse of `path_in_layer`."""
    name = path.rpartition(".")[2]
    return name if name in _PARENT and path == path_in_layer(name) else path


def _bare(stack: str) -> list[str]:
    """A stack's path without the parts in which its spellings differ."""
    return [part for part in stack.split(".") if part not in WRAPPERS]


@dataclass(frozen=True, eq=False)
class Adapter:
    """Low-rank changes of a model's matrices.

    parts: (layer, module) -> (a [rank, in], b [out, rank]); the change of the matrix is b @ a, scale included
    in b. Ranks may differ. module: one of MODULES, or in other families the path within the layer
    ("attn.c_attn"). stack: path of the list of layers in the model.
    """

    parts: Mapping[tuple[int, str], tuple[Tensor, Tensor]]
    stack: str = STACK

    def __post_init__(self) -> None:
        for (layer, module), (a, b) in self.parts.items():
            if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
                raise ValueError(
                    f"The adapter's {module} of layer {layer} "
                    f"has halves {tuple(a.shape)} and {tuple(b.shape)}: give (rank, in) and (out, rank)."
                )

    def check(self, layers: Sequence[Mapping[str, tuple[int, int]]], stack: str = STACK) -> None:
        """Refuses an adapter of another model.

        Parameters
        ----------
        layers : of each of the model's layers, (in, out) of its matrices by module.
        stack : path of the list of layers in the model.

        Raises
        ------
        ValueError
            Where a part has no place in the model.
        """
        remedy = "load the adapter's own base model"
        if _bare(stack) != _bare(self.stack):
            raise ValueError(
                f"The adapter changes layers of {self.stack}, and this model's are {stack}: {remedy}."
            )
        for (layer, module), (a, b) in self.parts.items():
            if not 0 <= layer < len(layers):
                raise ValueError(
                    f"The adapter changes layer {layer}, "
                    f"which does not fit this model of {len(layers)} layers: {remedy}."
                )
            if module not in layers[layer]:
                known = ", ".join(sorted(layers[layer]))
                raise ValueError(
                    f"The adapter changes {module}, "
                    f"which does not fit this model, whose layer {layer} has {known}: {remedy}."
                )
            inner, outer = layers[layer][module]
            if (a.shape[1], b.shape[0]) != (inner, outer):
                raise ValueError(
                    f"The adapter's {module} of layer {layer}, "
                    f"{b.shape[0]} x {a.shape[1]}, does not fit this model's {outer} x {inner}: {remedy}."
                )

    @classmethod
    def load(cls, folder: Path | str) -> "Adapter":
        """Reads a PEFT LoRA folder; see lm.peft_folder.read. Raises ValueError."""
        stack, parts = peft_folder.read(Path(folder))
        return cls({(layer, module_at(path)): halves for (layer, path), halves in parts.items()}, stack)

    def save(self, folder: Path | str, base_model: str) -> None:
        """Writes a PEFT folder; see lm.peft_folder.write."""
        parts = {(layer, path_in_layer(module)): halves for (layer, module), halves in self.parts.items()}
        peft_folder.write(Path(folder), self.stack, parts, base_model)

    @classmethod
    def mix(cls, weighted: Sequence[tuple["Adapter", float]]) -> "Adapter":
        """The adapter whose change is the weighted sum of the others' (rewarded soup); ranks add up. Raises
        ValueError where they are of different families.
        """
        stacks = {".".join(_bare(adapter.stack)): adapter.stack for adapter, _ in weighted}
        if len(stacks) > 1:
            raise ValueError(
                f"Adapters of {' and '.join(sorted(stacks.values()))} cannot be mixed: give two of one model."
            )
        parts: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
        for key in sorted({key for adapter, _ in weighted for key in adapter.parts}):
            shares = [(adapter.parts[key], weight) for adapter, weight in weighted if key in adapter.parts]
            parts[key] = (
                torch.cat([a for (a, _), _ in shares]),
                torch.cat([b * weight for (_, b), weight in shares], dim=1),
            )
        return cls(parts, *stacks.values())
