"""engine.c driven from Python."""

import ctypes
import math
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_double, c_float, c_int32, c_uint64, c_void_p
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lm.adapter import MODULES, Adapter
from lm.edits.edit import Edit
from lm.edits.solver import Program
from lm.edits.trace import TRACE
from lm.engines.base import MAX_ROWS, Feed, Slot
from lm.engines.geometry import Config, head_width, module_sizes, window
from lm.engines.native.build import library
from lm.engines.native.pack import Packed
from lm.engines.native.weights import Weights
from lm.rows import Sampling

CHUNK = 256
"""Most tokens of one pass: longer feeds are cut, which changes no result and bounds the scratch memory."""
TOGETHER = 4
"""As in model.h."""


class _Linear(Structure):
    _fields_ = [
        ("codes", c_void_p),
        ("grid", c_void_p),
        ("bias", c_void_p),
        ("n", c_int32),
        ("k", c_int32),
        ("bits", c_int32),
        ("pad", c_int32),
    ]


class _Layer(Structure):
    _fields_ = [(name, _Linear) for name in ("qkv", "out", "gate_up", "down")] + [
        (name, c_void_p) for name in ("norm_attention", "norm_mlp", "norm_q", "norm_k")
    ]


class _Model(Structure):
    _fields_ = [
        ("layer", c_void_p),
        ("embedding", _Linear),
        ("head", _Linear),
        ("norm", c_void_p),
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("epsilon", c_float),
        ("pad", c_float),
    ] + [
        (name, c_int32)
        for name in ("layers", "width", "heads", "kv_heads", "head_width", "inner", "window", "pad2")
    ]


class _Edit(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("read", "push", "bias", "fixed")),
        *((name, c_void_p) for name in Program._fields),
        *((name, c_int32) for name in ("layer", "targets", "start", "vertex_count")),
        ("cap", c_float),
        ("max_push", c_float),
    ]


class _LowRank(Structure):
    _fields_ = [
        ("a", c_void_p),
        ("bt", c_void_p),
        ("rank", c_int32),
        ("offset", c_int32),
        ("n", c_int32),
        ("pad", c_int32),
    ]


class _Row(Structure):
    _fields_ = [(name, c_void_p) for name in ("cache", "scales", "edits", "adapter")] + [
        ("capacity", c_int32),
        ("edit_count", c_int32),
    ]


class _Draw(Structure):
    _fields_ = [
        ("seed", c_uint64),
        ("logprob", c_double),
        ("temperature", c_float),
        ("top_p", c_float),
        ("step", c_int32),
        ("choice", c_int32),
    ]


class _Batch(Structure):
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
    "Linear": ctypes.sizeof(_Linear),
    "Layer": ctypes.sizeof(_Layer),
    "Model": ctypes.sizeof(_Model),
    "Edit": ctypes.sizeof(_Edit),
    "Trace": TRACE.itemsize,
    "LowRank": ctypes.sizeof(_LowRank),
    "Row": ctypes.sizeof(_Row),
    "Draw": ctypes.sizeof(_Draw),
    "Batch": ctypes.sizeof(_Batch),
}
"""Bytes of what goes between Python and C, in the order of tw_sizes."""


def _check_sizes(library: ctypes.CDLL) -> None:
    """Raises RuntimeError where C and Python disagree about a structure."""
    sizes = (c_int32 * len(STRUCTS))()
    library.tw_sizes(sizes)
    for (name, expected), size in zip(STRUCTS.items(), sizes, strict=True):
        if size != expected:
            raise RuntimeError(
                f"{name} has {size} bytes in the compiled engine and {expected} in engine.py: mend the one that is behind."
            )


class _State:
    """A slot's memory, and the C structures that point into it."""

    def __init__(
        self,
        cache: Tensor,
        scales: Tensor,
        edits: ctypes.Array[_Edit],
        adapter: ctypes.Array[_LowRank] | None,
        keep: list[object],
    ):
        self.cache, self.scales, self.keep = cache, scales, keep
        self.row = _Row(
            cache.data_ptr(),
            scales.data_ptr(),
            ctypes.addressof(edits),
            ctypes.addressof(adapter) if adapter else None,
            cache.shape[3],
            len(edits),
        )
        keep += [edits, adapter]

    def take(self, other: "_State", positions: int, blocks: int | None = None) -> None:
        """Copies the first positions of other's cache, of the first blocks or of all."""
        for own, source in ((self.cache, other.cache), (self.scales, other.scales)):
            own[:blocks, :, :, : _whole(positions)] = source[:blocks, :, :, : _whole(positions)]


class NativeEngine:
    """Llama-style models on CPU. A row's numbers are the same, bit for bit, alone and in any batch."""

    rewinds, max_rows = True, MAX_ROWS

    def __init__(self, weights: Weights, config: Config, context: int, threads: int):
        self.layers, self.width, self.context = config.num_hidden_layers, config.hidden_size, context
        self.vocabulary, self.threads = config.vocab_size, threads
        self._library = library()
        _check_sizes(self._library)
        self._library.tw_forward.argtypes = [POINTER(_Model), POINTER(_Batch)]
        self._library.tw_forward.restype = None
        self._keep: list[object] = [weights]
        self._hw = head_width(config)
        cos, sin = _rotary(weights, context)
        blocks = (_Layer * self.layers)(*(self._layer(weights, layer) for layer in range(self.layers)))
        self._keep += [cos, sin, blocks]
        matrices, vectors = weights.matrices, weights.vectors
        embedding = _linear(matrices["embedding"])
        self._model = _Model(
            ctypes.addressof(blocks),
            embedding,
            _linear(matrices["head"]) if "head" in matrices else embedding,
            vectors["norm"].data_ptr(),
            cos.data_ptr(),
            sin.data_ptr(),
            config.rms_norm_eps,
            0.0,
            self.layers,
            self.width,
            config.num_attention_heads,
            config.num_key_value_heads,
            self._hw,
            config.intermediate_size,
            window(config) or 0,
            0,
        )
        heads, keys = config.num_attention_heads * self._hw, config.num_key_value_heads * self._hw
        self._sizes = module_sizes(self.width, heads, keys, config.intermediate_size)
        self._padded = -(-self.vocabulary // 16) * 16
        self._qkv = (config.num_attention_heads + 2 * config.num_key_value_heads) * self._hw
        self._scratch: dict[str, Tensor] = {}
        self._adapters: WeakKeyDictionary[Adapter, tuple[ctypes.Array[_LowRank], list[Tensor]]] = (
            WeakKeyDictionary()
        )

    def _layer(self, weights: Weights, layer: int) -> _Layer:
        matrices, vectors = weights.matrices, weights.vectors
        linears = [
            _linear(matrices[f"{layer}.{part}"], vectors.get(f"{layer}.{part}.bias"))
            for part in ("qkv", "out", "gate_up", "down")
        ]
        norms = [
            vectors.get(f"{layer}.{name}") for name in ("norm_attention", "norm_mlp", "norm_q", "norm_k")
        ]
        return _Layer(*linears, *(_pointer(norm) for norm in norms))

    def fits(self, adapter: Adapter | None) -> None:
        """Raises ValueError where the adapter is not of this model; see lm.engines.base.Engine."""
        if adapter is not None and adapter not in self._adapters:
            adapter.check([self._sizes] * self.layers)

    def open(self, capacity: int, edits: tuple[Edit, ...], adapter: Adapter | None, answer_from: int) -> Slot:
        """A slot for a row of up to `capacity` positions."""
        self.fits(adapter)
        scales = torch.empty(self.layers, 2, self._model.kv_heads, _whole(capacity))
        cache = torch.empty(*scales.shape, self._hw, dtype=torch.int16)
        keep: list[object] = []
        table = (_Edit * len(edits))(*(_edit(edit, answer_from, keep) for edit in edits))
        if adapter is not None and adapter not in self._adapters:
            self._adapters[adapter] = self._adapter_table(adapter)
        low_rank = None if adapter is None else self._adapters[adapter][0]
        return Slot(_State(cache, scales, table, low_rank, keep), edits, adapter, answer_from, capacity)

    def fork(
        self, slot: Slot, capacity: int, length: int, edits: tuple[Edit, ...] = (), answer_from: int = 0
    ) -> Slot:
        """A new slot that has taken in the first positions of `slot`; see lm.engines.base.Engine."""
        other = self.open(capacity, edits, slot.adapter, answer_from)
        other.length = length
        other.state.take(slot.state, length)
        return other

    def _adapter_table(self, adapter: Adapter) -> tuple[ctypes.Array[_LowRank], list[Tensor]]:
        keep: list[Tensor] = []
        q, kv, inner = (self._sizes[name][1] for name in ("q_proj", "k_proj", "gate_proj"))
        offsets = {
            "q_proj": 0,
            "k_proj": q,
            "v_proj": q + kv,
            "o_proj": 0,
            "gate_proj": 0,
            "up_proj": inner,
            "down_proj": 0,
        }
        table = (_LowRank * (self.layers * len(MODULES)))()
        for (block, module), (a, b) in adapter.parts.items():
            a, bt = a.detach().float().contiguous(), b.detach().float().T.contiguous()
            keep += [a, bt]
            table[block * len(MODULES) + MODULES.index(module)] = _LowRank(
                a.data_ptr(), bt.data_ptr(), a.shape[0], offsets[module], b.shape[0], 0
            )
        return table, keep

    def forward(self, feeds: Sequence[Feed]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Advances slots; see lm.engines.base.Engine."""
        logits = np.empty((sum(feed.want for feed in feeds), self._padded), np.float32)
        return logits[:, : self.vocabulary], self._advance(feeds, logits.ctypes.data, None)

    def sample(
        self, feeds: Sequence[Feed], draws: Sequence[tuple[Sampling, int]]
    ) -> tuple[list[tuple[int, float]], list[np.ndarray]]:
        """Advances slots and draws tokens; see lm.engines.base.Engine."""
        if len(draws) != sum(feed.want for feed in feeds):
            raise ValueError(
                f"{len(draws)} draws for {sum(feed.want for feed in feeds)} rows of logits: give one for each."
            )
        table = (_Draw * len(draws))(
            *(_Draw(each.seed, 0.0, each.temperature, each.top_p, step, 0) for each, step in draws)
        )
        if any(each.top_p < 1 for each, _ in draws):
            self._buffer("candidates", 2 * self.threads * self.vocabulary)
        traces = self._advance(feeds, self._buffer("logits", len(draws) * self._padded), table)
        return [(draw.choice, draw.logprob) for draw in table], traces

    def _advance(
        self, feeds: Sequence[Feed], logits: int, draws: ctypes.Array[_Draw] | None
    ) -> list[np.ndarray]:
        """Passes of at most CHUNK tokens. logits: address of [sum of want, padded vocabulary]; returns each
        feed's traces.
        """
        for feed in feeds:
            if feed.slot.length + len(feed.ids) > feed.slot.capacity:
                raise ValueError(
                    f"A row of {feed.slot.length + len(feed.ids)} tokens exceeds its capacity of {feed.slot.capacity}: open a longer slot."
                )
            if feed.want > len(feed.ids):
                raise ValueError(
                    f"Want is {feed.want}: give at most the {len(feed.ids)} tokens that are fed."
                )
            if min(feed.ids) < 0 or max(feed.ids) >= self.vocabulary:
                raise ValueError(
                    f"Token ids run from {min(feed.ids)} to {max(feed.ids)}: the model knows 0 to {self.vocabulary - 1}."
                )
        passes: list[list[tuple[Feed, int, int]]] = [[]]
        size = 0
        for feed in feeds:
            for begin in range(0, len(feed.ids), CHUNK):
                end = min(begin + CHUNK, len(feed.ids))
                if size + end - begin > CHUNK:
                    passes.append([])
                    size = 0
                passes[-1].append((feed, begin, end))
                size += end - begin
        traces: dict[int, list[np.ndarray]] = {id(feed): [] for feed in feeds}
        done = 0
        for batch in passes:
            recorded, wanted = self._pass(
                batch,
                logits + done * self._padded * 4,
                None if draws is None else ctypes.addressof(draws) + done * ctypes.sizeof(_Draw),
            )
            done += wanted
            for (feed, _, _), trace in zip(batch, recorded, strict=True):
                traces[id(feed)].append(trace)
        return [
            parts[0] if len(parts) == 1 else np.concatenate(parts)
            for parts in (traces[id(feed)] for feed in feeds)
        ]

    def _pass(
        self, batch: list[tuple[Feed, int, int]], logits: int, draws: int | None
    ) -> tuple[list[np.ndarray], int]:
        """Traces of the positions that each part wants, and how many those are in all."""
        n = sum(end - begin for _, begin, end in batch)
        edits_max = max(len(feed.slot.edits) for feed, _, _ in batch)
        longest = _whole(max(feed.slot.length + end - begin for feed, begin, end in batch))
        table = (_Row * len(batch))(*(feed.slot.state.row for feed, _, _ in batch))
        ids: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        records: list[int] = []
        hidden: list[int] = []
        pools: list[int] = []
        leader: list[int] = []
        starts: dict[int, int] = {}
        spans: dict[int, range] = {}
        followed, shared = _followers(batch, self.layers)
        for index in sorted(range(len(batch)), key=followed.__contains__):
            feed, begin, end = batch[index]
            count, at, length = end - begin, len(ids), len(feed.ids)
            starts[index] = at
            first = starts[followed.get(index, index)]
            leader += range(first, first + count)
            ids += feed.ids[begin:end]
            positions += range(feed.slot.length, feed.slot.length + count)
            rows += [index] * count
            records += [feed.record] * count
            if feed.hidden is None:
                hidden += [0] * count
            else:
                start = feed.hidden.data_ptr()
                hidden += range(start + begin * self.width * 4, start + end * self.width * 4, self.width * 4)
            pooled = 0 if feed.pool is None else min(count, max(0, feed.pooled - (length - end)))
            pools += [0] * (count - pooled)
            if feed.pool is not None:
                pools += [feed.pool.data_ptr()] * pooled
            want = min(count, max(0, feed.want - (length - end)))
            spans[index] = range(at + count - want, at + count)
            feed.slot.length += count
        numbers = np.array([ids, positions, rows, records, leader], np.int32)
        pointers = np.array([hidden, pools], np.uint64)
        trace = np.zeros((n, edits_max), TRACE)
        wanted = np.array([t for index in range(len(batch)) for t in spans[index]], np.int32)
        m = self._model
        width, fed, widest = self.width, max(n, len(wanted)), max(self.width, m.inner, m.heads * self._hw)
        scratch = [
            self._buffer(name, size)
            for name, size in (
                ("x", n * width),
                ("h", fed * width),
                ("qkv", n * self._qkv),
                ("attention", n * m.heads * self._hw),
                ("gate_up", n * 2 * m.inner),
                ("pairs", fed * widest // 2),
                ("grid", fed * widest // 16),
                ("scores", self.threads * TOGETHER * longest),
            )
        ]
        call = _Batch(
            numbers[0].ctypes.data,
            numbers[1].ctypes.data,
            numbers[2].ctypes.data,
            ctypes.addressof(table),
            *scratch,
            trace.ctypes.data if edits_max else None,
            pointers[0].ctypes.data if pointers[0].any() else None,
            numbers[3].ctypes.data,
            pointers[1].ctypes.data if pointers[1].any() else None,
            numbers[4].ctypes.data,
            wanted.ctypes.data,
            logits,
            draws,
            _pointer(self._scratch.get("candidates")),
            n,
            len(wanted),
            edits_max,
            longest,
            self.threads,
            max(self.layers if feed.blocks is None else feed.blocks for feed, _, _ in batch),
            min((starts[index] for index in followed), default=n),
            shared,
        )
        self._library.tw_forward(ctypes.byref(m), ctypes.byref(call))
        for index, other in followed.items():
            batch[index][0].slot.state.take(batch[other][0].slot.state, batch[index][2], shared)
        return [
            trace[spans[i].start : spans[i].stop, : len(feed.slot.edits)]
            for i, (feed, _, _) in enumerate(batch)
        ], len(wanted)

    def _buffer(self, name: str, size: int) -> int:
        if name not in self._scratch or self._scratch[name].numel() < size:
            self._scratch[name] = torch.empty(size)
        return self._scratch[name].data_ptr()


def _followers(batch: Sequence[tuple[Feed, int, int]], layers: int) -> tuple[dict[int, int], int]:
    """Which parts of a pass begin as another one does, and as which, and the number of blocks that are the
    same for both: those before the first edit of either. Parts begin alike where slots that are empty take in
    the same tokens, with the same adapter.
    """
    first: dict[tuple[tuple[int, ...], Adapter | None], int] = {}
    followed: dict[int, int] = {}
    shared = layers
    for index, (feed, begin, end) in enumerate(batch):
        if (
            begin == feed.slot.length == 0
            and end > 1
            and feed.hidden is None
            and feed.pool is None
            and feed.blocks is None
        ):
            leader = first.setdefault((tuple(feed.ids[:end]), feed.slot.adapter), index)
            if leader != index:
                followed[index] = leader
                shared = min(
                    [
                        shared,
                        *(edit.layer for other in (index, leader) for edit in batch[other][0].slot.edits),
                    ]
                )
    return (followed, shared) if followed and shared else ({}, 0)


def _whole(positions: int) -> int:
    """Positions in whole tiles of 16, as the keys are stored."""
    return -(-positions // 16) * 16


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _linear(packed: Packed, bias: Tensor | None = None) -> _Linear:
    return _Linear(
        packed.codes.data_ptr(), packed.grid.data_ptr(), _pointer(bias), packed.n, packed.k, packed.bits, 0
    )


def _edit(edit: Edit, answer_from: int, keep: list[object]) -> _Edit:
    vectors = [
        None if part is None else part.detach().float().contiguous()
        for part in (edit.read, edit.push, edit.bias, edit.fixed)
    ]
    program = [part.contiguous() for part in edit.program]
    keep += [*vectors, *program]
    return _Edit(
        *(_pointer(tensor) for tensor in [*vectors, *program]),
        edit.layer,
        len(edit.read),
        edit.first(answer_from),
        len(edit.program.vertices),
        edit.cap or math.inf,
        edit.max_push,
    )


def _rotary(weights: Weights, context: int) -> tuple[Tensor, Tensor]:
    scaling = weights.vectors["rotary_scaling"]
    angles = torch.arange(context, dtype=torch.float32)[:, None] * weights.vectors["rotary"]
    return (angles.cos() * scaling).contiguous(), (angles.sin() * scaling).contiguous()
