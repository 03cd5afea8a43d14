"""engine.c driven from Python."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lm.adapter import MODULES, Adapter
from lm.edits.edit import Edit
from lm.edits.trace import TRACE
from lm.engines.base import MAX_ROWS, Feed, Slot
from lm.engines.geometry import Config, head_width, module_sizes, window
from lm.engines.native import structs
from lm.engines.native.build import library
from lm.engines.native.weights import Weights
from lm.rows import Sampling

CHUNK = 256
"""Most tokens of one pass: longer feeds are cut, which changes no result and bounds the scratch memory."""
TOGETHER = 4
"""As in model.h."""


class _State:
    """A slot's memory, and the C structures that point into it."""

    def __init__(
        self,
        cache: Tensor,
        scales: Tensor,
        edits: ctypes.Array[structs.Edit],
        adapter: ctypes.Array[structs.LowRank] | None,
        keep: list[object],
    ):
        self.cache, self.scales, self.keep = cache, scales, keep
        self.row = structs.Row(
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
        structs.check_sizes(self._library)
        self._library.tw_forward.argtypes = [POINTER(structs.Model), POINTER(structs.Batch)]
        self._library.tw_forward.restype = None
        self._keep: list[object] = [weights]
        self._hw = head_width(config)
        cos, sin = _rotary(weights, context)
        blocks = (structs.Layer * self.layers)(*(self._layer(weights, layer) for layer in range(self.layers)))
        self._keep += [cos, sin, blocks]
        matrices, vectors = weights.matrices, weights.vectors
        embedding = structs.linear(matrices["embedding"])
        self._model = structs.Model(
            ctypes.addressof(blocks),
            embedding,
            structs.linear(matrices["head"]) if "head" in matrices else embedding,
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
        self._adapters: WeakKeyDictionary[Adapter, tuple[ctypes.Array[structs.LowRank], list[Tensor]]] = (
            WeakKeyDictionary()
        )

    def _layer(self, weights: Weights, layer: int) -> structs.Layer:
        matrices, vectors = weights.matrices, weights.vectors
        linears = [
            structs.linear(matrices[f"{layer}.{part}"], vectors.get(f"{layer}.{part}.bias"))
            for part in ("qkv", "out", "gate_up", "down")
        ]
        norms = [
            vectors.get(f"{layer}.{name}") for name in ("norm_attention", "norm_mlp", "norm_q", "norm_k")
        ]
        return structs.Layer(*linears, *(structs.pointer(norm) for norm in norms))

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
        table = (structs.Edit * len(edits))(*(structs.row_edit(edit, answer_from, keep) for edit in edits))
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

    def _adapter_table(self, adapter: Adapter) -> tuple[ctypes.Array[structs.LowRank], list[Tensor]]:
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
        table = (structs.LowRank * (self.layers * len(MODULES)))()
        for (block, module), (a, b) in adapter.parts.items():
            a, bt = a.detach().float().contiguous(), b.detach().float().T.contiguous()
            keep += [a, bt]
            table[block * len(MODULES) + MODULES.index(module)] = structs.LowRank(
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
                f"{len(draws)} draws for {sum(feed.want for feed in feeds)} "
                "rows of logits: give one for each."
            )
        table = (structs.Draw * len(draws))(
            *(structs.Draw(each.seed, 0.0, each.temperature, each.top_p, step, 0) for each, step in draws)
        )
        if any(each.top_p < 1 for each, _ in draws):
            self._buffer("candidates", 2 * self.threads * self.vocabulary)
        traces = self._advance(feeds, self._buffer("logits", len(draws) * self._padded), table)
        return [(draw.choice, draw.logprob) for draw in table], traces

    def _advance(
        self, feeds: Sequence[Feed], logits: int, draws: ctypes.Array[structs.Draw] | None
    ) -> list[np.ndarray]:
        """Passes of at most CHUNK tokens. logits: address of [sum of want, padded vocabulary]; returns each
        feed's traces.
        """
        for feed in feeds:
            if feed.slot.length + len(feed.ids) > feed.slot.capacity:
                raise ValueError(
                    f"A row of {feed.slot.length + len(feed.ids)} "
                    f"tokens exceeds its capacity of {feed.slot.capacity}: open a longer slot."
                )
            if feed.want > len(feed.ids):
                raise ValueError(
                    f"Want is {feed.want}: give at most the {len(feed.ids)} tokens that are fed."
                )
            if min(feed.ids) < 0 or max(feed.ids) >= self.vocabulary:
                raise ValueError(
                    f"Token ids run from {min(feed.ids)} to {max(feed.ids)}: "
                    f"the model knows 0 to {self.vocabulary - 1}."
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
                None if draws is None else ctypes.addressof(draws) + done * ctypes.sizeof(structs.Draw),
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
        table = (structs.Row * len(batch))(*(feed.slot.state.row for feed, _, _ in batch))
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
        call = structs.Batch(
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
            structs.pointer(self._scratch.get("candidates")),
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


def _rotary(weights: Weights, context: int) -> tuple[Tensor, Tensor]:
    scaling = weights.vectors["rotary_scaling"]
    angles = torch.arange(context, dtype=torch.float32)[:, None] * weights.vectors["rotary"]
    return (angles.cos() * scaling).contiguous(), (angles.sin() * scaling).contiguous()
