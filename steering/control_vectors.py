"""Vectors for and from other programs: llama.cpp and repeng control vectors (GGUF), plain safetensors.

A control vector is a direction a layer, "direction.N", that is added to the output of layer N as it is. It
knows no texts and no classifier, so an imported one is read against the model's own answers: P = .5 is their
mean, and a standard deviation more of it is one more in log-odds.
"""

import math
import re
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from common import digests
from lm import LanguageModel, Row, Sampling
from lm.caller import heed
from lm.paths import replacing
from lm.prompts import prompt_ids
from steering.cav import CAV, Settings
from steering.concepts import Concept, ConceptError
from steering.edits import calibrated_layers, directions
from steering.prompt_sets import training

MAX_BYTES = 16_000_000
"""Of a file: enough for 160 layers of 16,384 numbers in 32 bits."""
MAX_FIELDS, MAX_LENGTH, MAX_TENSORS = 64, 10_000, 512
"""Of a GGUF file: fields of its metadata, characters or items of one, tensors."""
FAMILIES = {
    **dict.fromkeys(("mistral", "mixtral", "smollm"), "llama"),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), "deepseek2"),
    "cohere": "command-r", "gpt_bigcode": "starcoder", "gpt_neox": "gptneox", "granitemoehybrid": "granitehybrid",
    "hunyuan_v1_dense": "hunyuan-dense", "hunyuan_v1_moe": "hunyuan-moe", "olmo3": "olmo2", "phi": "phi2",
    "qwen3_5": "qwen35", "qwen3_5_moe": "qwen35moe",
}  # fmt: skip
"""What llama.cpp calls families that transformers, and so repeng, call otherwise: beyond signs between words, and
`_text` of a model that has eyes too.
"""
ANSWERS, TOKENS = 8, 24
"""The model's own answers that an imported vector is read against, and their length."""
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_NUMBERS: dict[int, type] = {0: np.float32, 1: np.float16}


def export(cav: CAV, path: Path | str, *, method: str = "gcav", family: str = "") -> Path:
    """Writes a concept's directions to `path`: .gguf as a llama.cpp control vector, .safetensors as
    one unit vector [width] a layer.

    A control vector holds the layers and the length of the calibrated constant push, so that a scale
    of 1 is as far as the text stays fluent; without a calibration the length is the distance between
    the sides' means, and an imported vector goes out as it came. llama.cpp has no place for layer 0, and knows
    neither gates nor budgets. family: the model's, for the file's hint. Raises ValueError.
    """
    path = Path(path)
    rows = directions(method, cav)
    if path.suffix == ".safetensors":
        about = {"model": cav.model, "model_hash": cav.model_hash, "concept": cav.concept, "method": method}
        with replacing(path) as part:
            save_file({f"direction.{layer}": row.clone() for layer, row in enumerate(rows)}, part, about)
    elif path.suffix == ".gguf":
        with replacing(path) as part:
            _write_gguf(cav, part, rows, FAMILIES.get(family, family))
    else:
        raise ValueError(f"Path is {path.name}: give a name that ends in .gguf or .safetensors.")
    return path


def _write_gguf(cav: CAV, path: Path, rows: Tensor, family: str) -> None:
    from gguf import GGUFWriter

    as_it_came = cav.imported and cav.calibration is None
    layers = [layer for layer in (cav.layers if as_it_came else calibrated_layers(cav)) if layer]
    if not layers:
        raise ValueError(
            f"{cav.concept} has a direction at layer 0 alone, for which a llama.cpp control vector has no place: "
            "give a name that ends in .safetensors."
        )
    curve = cav.calibration and cav.calibration.curve("fixed", "amplify")
    strength = curve.dose(curve.fluent) if curve else 1.0
    writer = GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", family)
    writer.add_uint32("controlvector.layer_count", len(rows) - 1)
    writer.add_string("tradewind.concept", cav.concept)
    writer.add_string("tradewind.model", f"{cav.model} ({cav.model_hash})")
    writer.add_float32("tradewind.strength", strength)
    for layer in layers:
        writer.add_tensor(f"direction.{layer}", (rows[layer] * strength * cav.gap[layer]).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def imported(
    model: LanguageModel,
    content: bytes,
    name: str,
    *,
    progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> tuple[Concept, CAV]:
    """A control vector as a concept of this model. Raises ConceptError where the file is damaged
    or of another model, lm.Stopped.
    """
    fields, rows = read_gguf(content, name)
    _fits(model, fields, rows, name)
    digest = digests.short(content)
    concept = Concept(name, (), (), description="An imported control vector.", source=f"gguf {digest}")
    vectors = torch.zeros(model.layers, model.width)
    for layer, row in rows.items():
        vectors[layer] = torch.from_numpy(row.astype(np.float32))
    gap = vectors.norm(dim=1)
    unit = vectors / gap.clamp_min(1e-12)[:, None]
    mean, spread = _own_readings(model, concept, unit, progress, stop)
    known = (gap > 0).float()
    unknown = torch.full((model.layers,), torch.nan)
    cav = CAV(
        model.name, model.hash, name, concept.hash, Settings(),
        unit / spread[:, None], -known * mean / spread, unit, gap, unknown, unknown.clone(), unknown.clone(),
    )  # fmt: skip
    return concept, cav


def _own_readings(
    model: LanguageModel,
    concept: Concept,
    unit: Tensor,
    progress: Callable[[float], None] | None,
    stop: threading.Event | None,
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [layers] of the answers' states along unit vectors [layers, width]."""
    rows = [
        Row(prompt_ids(model, prompt), Sampling(0.7, number, TOKENS))
        for number, prompt in enumerate(training(concept, ANSWERS))
    ]
    runs = model.generate(rows, stop=stop)
    heed(stop)
    answers, starts = [[*run.prompt, *run.ids] for run in runs], [len(run.prompt) for run in runs]
    states = model.read(answers, pool="mean", starts=starts, progress=progress, stop=stop)
    along = torch.einsum("nld,ld->nl", states, unit)
    return along.mean(0), along.std(0).clamp_min(1e-3 * states.norm(dim=-1).mean(0))


def _fits(model: LanguageModel, fields: dict[str, Any], rows: dict[int, np.ndarray], name: str) -> None:
    hint, family = str(fields.get("controlvector.model_hint") or ""), model.family
    if hint and family and _plain(hint) != _plain(family):
        raise ConceptError(
            f"{name} was made for a {hint} model, "
            f"and {model.name} is a {family}: give a vector of this model."
        )
    width = len(next(iter(rows.values())))
    if width != model.width:
        raise ConceptError(
            f"{name} has {width:,} numbers a layer, "
            f"and {model.name} has {model.width:,}: give a vector of this model."
        )
    if max(rows) >= model.layers:
        raise ConceptError(
            f"{name} has a direction for layer {max(rows)}, "
            f"and {model.name} has layers 0 to {model.layers - 1}: give a vector of this model."
        )


def _plain(family: str) -> str:
    """A family's name as all programs have it."""
    family = family.removesuffix("_text")
    return re.sub("[-_]", "", FAMILIES.get(family, family))


def read_gguf(content: bytes, name: str) -> tuple[dict[str, Any], dict[int, np.ndarray]]:
    """Metadata and directions by layer of a GGUF control vector. Raises ConceptError.

    The package gguf takes lengths on trust, so that a few crafted bytes keep it busy for hours: a visitor's
    file is read here, where every length is bounded by the file's own.
    """
    if len(content) > MAX_BYTES:
        raise ConceptError(
            f"{name} has {len(content):,} bytes: give a control vector of at most {MAX_BYTES:,}."
        )
    try:
        fields, rows = _Reader(content).file()
    except (struct.error, ValueError, UnicodeDecodeError, OverflowError) as error:
        raise ConceptError(f"{name} is no whole GGUF control vector ({error}): export it again.") from None
    if fields.get("general.architecture") != "controlvector":
        raise ConceptError(
            f"{name} is a GGUF file of {fields.get('general.architecture') or 'nothing named'}: "
            "give a control vector."
        )
    directions_ = {
        int(key.split(".")[1]): row for key, row in rows.items() if re.fullmatch(r"direction\.\d{1,4}", key)
    }
    directions_ = {layer: row for layer, row in directions_.items() if row.any()}
    if not directions_:
        raise ConceptError(
            f"{name} holds no direction: give a control vector with tensors direction.1, direction.2 ..."
        )
    if len({row.shape for row in directions_.values()}) > 1 or next(iter(directions_.values())).ndim != 1:
        raise ConceptError(f"{name} has directions of several shapes: give one vector a layer.")
    if not all(np.isfinite(row).all() for row in directions_.values()):
        raise ConceptError(f"{name} holds numbers that are not finite: export it again.")
    return fields, directions_


class _Reader:
    """Walks through the bytes of a GGUF file, version 2 or 3, little endian."""

    def __init__(self, content: bytes):
        self._content, self._at = content, 0

    def file(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        if self._take(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version, tensors, fields = self._unpack("I"), self._unpack("Q"), self._unpack("Q")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}")
        if tensors > MAX_TENSORS or fields > MAX_FIELDS:
            raise ValueError(f"it names {tensors} tensors and {fields} fields")
        known = {self._string(): self._value(self._unpack("I")) for _ in range(fields)}
        about = [self._about() for _ in range(tensors)]
        step = known.get("general.alignment", 32)
        if type(step) is not int or step < 1:
            raise ValueError(f"its alignment is {step}")
        start = -(-self._at // step) * step
        return known, {name: self._tensor(start + offset, shape, kind) for name, offset, shape, kind in about}

    def _take(self, count: int) -> bytes:
        part = self._content[self._at : self._at + count]
        if len(part) < count:
            raise ValueError("it is cut short")
        self._at += count
        return part

    def _unpack(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self._take(struct.calcsize("<" + kind)))[0]

    def _string(self) -> str:
        return self._take(self._length()).decode("utf-8")

    def _length(self) -> int:
        length = int(self._unpack("Q"))
        if length > MAX_LENGTH:
            raise ValueError(f"a field has a length of {length:,}")
        return length

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, length = self._unpack("I"), self._length()
            if inner == _ARRAY:
                raise ValueError("a field is an array of arrays")
            return [self._value(inner) for _ in range(length)]
        if kind not in _PLAIN:
            raise ValueError(f"a field is of the kind {kind}")
        return self._unpack(_PLAIN[kind])

    def _about(self) -> tuple[str, int, list[int], int]:
        name, axes = self._string(), self._unpack("I")
        if axes > 4:
            raise ValueError(f"{name} has {axes} axes")
        shape = [self._unpack("Q") for _ in range(axes)]
        kind, offset = self._unpack("I"), self._unpack("Q")
        return name, offset, shape, kind

    def _tensor(self, start: int, shape: list[int], kind: int) -> np.ndarray:
        if kind not in _NUMBERS:
            raise ValueError(f"a tensor is of the kind {kind}, neither 32 nor 16 bits")
        dtype = np.dtype(_NUMBERS[kind]).newbyteorder("<")
        size = math.prod(shape) * dtype.itemsize
        if start + size > len(self._content):
            raise ValueError("it is cut short")
        values = np.frombuffer(self._content, dtype, math.prod(shape), start)
        return values.reshape(shape[::-1]).squeeze() if len(shape) > 1 else values
