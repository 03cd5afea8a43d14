"""The structures of model.h, as Python fills them."""

import ctypes
import math
from ctypes import Structure, c_double, c_float, c_int32, c_uint64, c_void_p

from torch import Tensor

from lm.edits import edit as edits
from lm.edits.solver import Program
from lm.edits.trace import TRACE
from lm.engines.native.pack import Packed


class Linear(Structure):
    _fields_ = [
        ("codes", c_void_p),
        ("grid", c_void_p),
        ("bias", c_void_p),
        ("n", c_int32),
        ("k", c_int32),
        ("bits", c_int32),
        ("pad", c_int32),
    ]


class Layer(Structure):
    _fields_ = [(name, Linear) for name in ("qkv", "out", "gate_up", "down")] + [
        (name, c_void_p) for name in ("norm_attention", "norm_mlp", "norm_q", "norm_k")
    ]


class Model(Structure):
    _fields_ = [
        ("layer", c_void_p),
        ("embedding", Linear),
        ("head", Linear),
        ("norm", c_void_p),
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("epsilon", c_float),
        ("pad", c_float),
    ] + [
        (name, c_int32)
        for name in ("layers", "width", "heads", "kv_heads", "head_width", "inner", "window", "pad2")
    ]


class Edit(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("read", "push", "bias", "fixed")),
        *((name, c_void_p) for name in Program._fields),
        *((name, c_int32) for name in ("layer", "targets", "start", "vertex_count")),
        ("cap", c_float),
        ("max_push", c_float),
    ]


class LowRank(Structure):
    _fields_ = [
        ("a", c_void_p),
        ("bt", c_void_p),
        ("rank", c_int32),
        ("offset", c_int32),
        ("n", c_int32),
        ("pad", c_int32),
    ]


class Row(Structure):
    _fields_ = [(name, c_void_p) for name in ("cache", "scales", "edits", "adapter")] + [
        ("capacity", c_int32),
        ("edit_count", c_int32),
    ]


class Draw(Structure):
    _fields_ = [
        ("seed", c_uint64),
        ("logprob", c_double),
        ("temperature", c_float),
        ("top_p", c_float),
        ("step", c_int32),
        ("choice", c_int32),
    ]


class Batch(Structure):
    _fields_ = [
        (name, c_void_p)
        for name in (
            "ids",
            "positions",
            "rows",
            "row",
            "x",
            "h",
            "qkv",
            "attention",
            "gate_up",
            "pairs",
            "grid",
            "scores",
            "trace",
            "record",
            "record_layer",
            "pool",
            "leader",
            "wanted",
            "logits",
            "draws",
            "candidates",
        )
    ] + [
        (name, c_int32)
        for name in (
            "tokens",
            "wanted_count",
            "edits_max",
            "longest",
            "threads",
            "layers",
            "leaders",
            "shared",
        )
    ]


STRUCTS: dict[str, int] = {
    "Linear": ctypes.sizeof(Linear),
    "Layer": ctypes.sizeof(Layer),
    "Model": ctypes.sizeof(Model),
    "Edit": ctypes.sizeof(Edit),
    "Trace": TRACE.itemsize,
    "LowRank": ctypes.sizeof(LowRank),
    "Row": ctypes.sizeof(Row),
    "Draw": ctypes.sizeof(Draw),
    "Batch": ctypes.sizeof(Batch),
}
"""Bytes of what goes between Python and C, in the order of tw_sizes."""


def check_sizes(library: ctypes.CDLL) -> None:
    """Raises RuntimeError where C and Python disagree about a structure."""
    sizes = (c_int32 * len(STRUCTS))()
    library.tw_sizes(sizes)
    for (name, expected), size in zip(STRUCTS.items(), sizes, strict=True):
        if size != expected:
            raise RuntimeError(
                f"{name} has {size} bytes in the "
                f"compiled engine and {expected} in structs.py: mend the one that is behind."
            )


def pointer(tensor: Tensor | None) -> int | None:
    """A tensor's address, which holds as long as the tensor lives."""
    return None if tensor is None else tensor.data_ptr()


def linear(packed: Packed, bias: Tensor | None = None) -> Linear:
    """A packed matrix with its bias."""
    return Linear(
        packed.codes.data_ptr(), packed.grid.data_ptr(), pointer(bias), packed.n, packed.k, packed.bits, 0
    )


def row_edit(edit: edits.Edit, answer_from: int, keep: list[object]) -> Edit:
    """An edit of a row whose answer begins at a position; what it points to is put into `keep`."""
    vectors = [
        None if part is None else part.detach().float().contiguous()
        for part in (edit.read, edit.push, edit.bias, edit.fixed)
    ]
    program = [part.contiguous() for part in edit.program]
    keep += [*vectors, *program]
    return Edit(
        *(pointer(tensor) for tensor in [*vectors, *program]),
        edit.layer,
        len(edit.read),
        edit.first(answer_from),
        len(edit.program.vertices),
        edit.cap or math.inf,
        edit.max_push,
    )
