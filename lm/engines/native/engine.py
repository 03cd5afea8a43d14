"""engine.c driven from Python."""

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import POINTER
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lm.adapter import MODULES, Adapter
from lm.edits.edit import Edit
from lm.edits.trace import TRACE
from lm.engines.base import MAX_ROWS, Feed, Slot
from lm.engines.geometry import NORMS, PARTS, Config, head_width, module_sizes, window
from lm.engines.native import structs
from lm.engines.native.build import library
from lm.engines.native.pack import BLOCK
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

    def take(self, other: "_State", positions: int, layers: int | None = None) -> None:
        """Copies the first positions of other's cache, of the first layers or of all."""
        for own, source in ((self.cache, other.cache), (self.scales, other.scales)):
            own[:layers, :, :, : _whole(positions)] = source[:layers, :, :, : _whole(positions)]


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
        self._hw = head_width(config)
        self._keep: list[object] = [weights]
        self._model = self._structure(weights, config)
        heads, keys = config.num_attention_heads * self._hw, config.num_key_value_heads * self._hw
        self._sizes = module_sizes(self.width, heads, keys, config.intermediate_size)
        self._padded = _whole(self.vocabulary)
        self._scratch: dict[str, Tensor] = {}
        self._adapters: WeakKeyDictionary[Adapter, tuple[ctypes.Array[structs.LowRank], list[Tensor]]] = (
            WeakKeyDictionary()
        )

    def _structure(self, weights: Weights, config: Config) -> structs.Model:
        """The model as C reads it; what it points to is kept."""
        cos, sin = _rotary(weights, self.context)
        layers = (structs.Layer * self.layers)(*(_layer(weights, layer) for layer in range(self.layers)))
        self._keep += [cos, sin, layers]
        matrices = weights.matrices
        return structs.Model(
            layer=ctypes.addressof(layers),
            embedding=structs.linear(matrices["embedding"]),
            head=structs.linear(matrices.get("head", matrices["embedding"])),
            norm=weights.vectors["norm"].data_ptr(),
            cos=cos.data_ptr(),
            sin=sin.data_ptr(),
            epsilon=config.rms_norm_eps,
            layers=self.layers,
            width=self.width,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_width=self._hw,
            inner=config.intermediate_size,
            window=window(config) or 0,
        )

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
        offsets = dict.fromkeys(MODULES, 0) | {"k_proj": q, "v_proj": q + kv, "up_proj": inner}
        table = (structs.LowRank * (self.layers * len(MODULES)))()
        for (layer, module), (a, b) in adapter.parts.items():
            a, bt = a.detach().float().contiguous(), b.detach().float().T.contiguous()
            keep += [a, bt]
            table[layer * len(MODULES) + MODULES.index(module)] = structs.LowRank(
                a.data_ptr(), bt.data_ptr(), a.shape[0], offsets[module], b.shape[0]
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
        if len(draws) != (wanted := sum(feed.want for feed in feeds)):
            raise ValueError(f"{len(draws)} draws for {wanted} rows of logits: give one for each.")
        table = (structs.Draw * len(draws))(
            *(structs.Draw(s.seed, temperature=s.temperature, top_p=s.top_p, step=step) for s, step in draws)
        )
        if any(sampling.top_p < 1 for sampling, _ in draws):
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
            self._check(feed)
        traces: dict[int, list[np.ndarray]] = {id(feed): [] for feed in feeds}
        done = 0
        for parts in _passes(feeds):
            draw = None if draws is None else ctypes.addressof(draws) + done * ctypes.sizeof(structs.Draw)
            recorded = self._pass(parts, logits + done * self._padded * 4, draw)
            for part, trace in zip(parts, recorded, strict=True):
                done += len(trace)
                traces[id(part.feed)].append(trace)
        return [
            pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            for pieces in (traces[id(feed)] for feed in feeds)
        ]

    def _check(self, feed: Feed) -> None:
        length = feed.slot.length + len(feed.ids)
        if length > feed.slot.capacity:
            raise ValueError(
                f"A row of {length} tokens exceeds its capacity of {feed.slot.capacity}: open a longer slot."
            )
        if feed.want > len(feed.ids):
            raise ValueError(f"Want is {feed.want}: give at most the {len(feed.ids)} tokens that are fed.")
        if min(feed.ids) < 0 or max(feed.ids) >= self.vocabulary:
            raise ValueError(
                f"Token ids run from {min(feed.ids)} to {max(feed.ids)}: "
                f"give ids from 0 to {self.vocabulary - 1}."
            )

    def _pass(self, parts: list["_Part"], logits: int, draws: int | None) -> list[np.ndarray]:
        """Traces [wanted, edits] of each part. logits, draws: addresses of the first that the pass fills."""
        edits_max = max(len(part.feed.slot.edits) for part in parts)
        longest = _whole(max(part.feed.slot.length + part.size for part in parts))
        rows = (structs.Row * len(parts))(*(part.feed.slot.state.row for part in parts))
        followed, shared = _followers(parts, self.layers)
        tokens = _Tokens(parts, followed, self.width)
        n, wanted = len(tokens.ids), np.array([t for span in tokens.wanted for t in span], np.int32)
        numbers = np.array(
            [tokens.ids, tokens.positions, tokens.rows, tokens.records, tokens.leaders], np.int32
        )
        pointers = np.array([tokens.hidden, tokens.pools], np.uint64)
        trace = np.zeros((n, edits_max), TRACE)
        call = structs.Batch(
            **self._scratch_of(n, max(n, len(wanted)), longest),
            ids=numbers[0].ctypes.data,
            positions=numbers[1].ctypes.data,
            rows=numbers[2].ctypes.data,
            row=ctypes.addressof(rows),
            trace=trace.ctypes.data if edits_max else None,
            record=pointers[0].ctypes.data if pointers[0].any() else None,
            record_layer=numbers[3].ctypes.data,
            pool=pointers[1].ctypes.data if pointers[1].any() else None,
            leader=numbers[4].ctypes.data,
            wanted=wanted.ctypes.data,
            logits=logits,
            draws=draws,
            candidates=structs.pointer(self._scratch.get("candidates")),
            tokens=n,
            wanted_count=len(wanted),
            edits_max=edits_max,
            longest=longest,
            threads=self.threads,
            layers=max(self.layers if part.feed.layers is None else part.feed.layers for part in parts),
            leaders=min((tokens.starts[index] for index in followed), default=n),
            shared=shared,
        )
        self._library.tw_forward(ctypes.byref(self._model), ctypes.byref(call))
        for index, leader in followed.items():
            part = parts[index]
            part.feed.slot.state.take(parts[leader].feed.slot.state, part.end, shared)
        for part in parts:
            part.feed.slot.length += part.size
        return [
            trace[span.start : span.stop, : len(part.feed.slot.edits)]
            for part, span in zip(parts, tokens.wanted, strict=True)
        ]

    def _scratch_of(self, tokens: int, fed: int, longest: int) -> dict[str, int]:
        """Addresses of the scratch memory of a pass. fed: rows of the largest product."""
        m = self._model
        queries, widest = m.heads * self._hw, max(self.width, m.inner, m.heads * self._hw)
        sizes = {
            "x": tokens * self.width,
            "h": fed * self.width,
            "qkv": tokens * (m.heads + 2 * m.kv_heads) * self._hw,
            "attention": tokens * queries,
            "gate_up": tokens * 2 * m.inner,
            "pairs": fed * widest // 2,
            "grid": fed * widest // 16,
            "scores": self.threads * TOGETHER * longest,
        }
        return {name: self._buffer(name, size) for name, size in sizes.items()}

    def _buffer(self, name: str, size: int) -> int:
        if name not in self._scratch or self._scratch[name].numel() < size:
            self._scratch[name] = torch.empty(size)
        return self._scratch[name].data_ptr()


class _Part(NamedTuple):
    """Tokens begin, ..., end - 1 of a feed."""

    feed: Feed
    begin: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.begin

    def among_last(self, tokens: int) -> int:
        """How many of the feed's last `tokens` the part holds."""
        return min(self.size, max(0, tokens - (len(self.feed.ids) - self.end)))


def _passes(feeds: Sequence[Feed]) -> Iterator[list[_Part]]:
    """The feeds in passes of at most CHUNK tokens."""
    parts: list[_Part] = []
    size = 0
    for feed in feeds:
        for begin in range(0, len(feed.ids), CHUNK):
            part = _Part(feed, begin, min(begin + CHUNK, len(feed.ids)))
            if size + part.size > CHUNK:
                yield parts
                parts, size = [], 0
            parts.append(part)
            size += part.size
    yield parts


class _Tokens:
    """The tokens of a pass, column by column, as engine.c reads them. Followers (see `_followers`) come last.

    starts: each part's first token; wanted: each part's tokens whose logits are wanted; leaders: for each
    token, the one whose state it takes over; hidden, pools: addresses, or 0.
    """

    def __init__(self, parts: Sequence[_Part], followed: dict[int, int], width: int):
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.rows: list[int] = []
        self.records: list[int] = []
        self.leaders: list[int] = []
        self.hidden: list[int] = []
        self.pools: list[int] = []
        self.starts: dict[int, int] = {}
        self.wanted = [range(0)] * len(parts)
        for index in sorted(range(len(parts)), key=followed.__contains__):
            self._add(index, parts[index], followed.get(index, index), 4 * width)

    def _add(self, index: int, part: _Part, leader: int, stride: int) -> None:
        (feed, begin, end), count = part, part.size
        start = self.starts[index] = len(self.ids)
        first = self.starts[leader]
        self.leaders += range(first, first + count)
        self.ids += feed.ids[begin:end]
        self.positions += range(feed.slot.length, feed.slot.length + count)
        self.rows += [index] * count
        self.records += [feed.record] * count
        if feed.hidden is None:
            self.hidden += [0] * count
        else:
            address = feed.hidden.data_ptr()
            self.hidden += range(address + begin * stride, address + end * stride, stride)
        pooled = 0 if feed.pool is None else part.among_last(feed.pooled)
        self.pools += [0] * (count - pooled)
        if feed.pool is not None:
            self.pools += [feed.pool.data_ptr()] * pooled
        self.wanted[index] = range(start + count - part.among_last(feed.want), start + count)


def _followers(parts: Sequence[_Part], layers: int) -> tuple[dict[int, int], int]:
    """The parts of a pass that begin as an earlier part does (follower -> leader), and how many layers are
    the same for both: those before the first edit of either.

    Parts begin alike where empty slots take in the same tokens with the same adapter.
    """
    first: dict[tuple[tuple[int, ...], Adapter | None], int] = {}
    followed: dict[int, int] = {}
    for index, part in enumerate(parts):
        feed = part.feed
        read_only = feed.hidden is None and feed.pool is None and feed.layers is None
        if read_only and part.begin == feed.slot.length == 0 and part.end > 1:
            leader = first.setdefault((tuple(feed.ids[: part.end]), feed.slot.adapter), index)
            if leader != index:
                followed[index] = leader
    alike = {*followed, *followed.values()}
    shared = min((edit.layer for index in alike for edit in parts[index].feed.slot.edits), default=layers)
    return (followed, shared) if followed and shared else ({}, 0)


def _whole(count: int) -> int:
    """A count rounded up to whole tiles of 16, as keys and logits are stored."""
    return -(-count // BLOCK) * BLOCK


def _layer(weights: Weights, layer: int) -> structs.Layer:
    matrices, vectors = weights.matrices, weights.vectors
    linears = (
        structs.linear(matrices[f"{layer}.{part}"], vectors.get(f"{layer}.{part}.bias")) for part in PARTS
    )
    return structs.Layer(*linears, *(structs.pointer(vectors.get(f"{layer}.{name}")) for name in NORMS))


def _rotary(weights: Weights, context: int) -> tuple[Tensor, Tensor]:
    scaling = weights.vectors["rotary_scaling"]
    angles = torch.arange(context, dtype=torch.float32)[:, None] * weights.vectors["rotary"]
    return (angles.cos() * scaling).contiguous(), (angles.sin() * scaling).contiguous()
