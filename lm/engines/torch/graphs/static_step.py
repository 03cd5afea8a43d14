"""One token for each of a fixed number of rows, in memory that stays where it is, so that a GPU can replay it
as one graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lm.adapter import Adapter
from lm.edits.push import apply
from lm.edits.table import EditTable, Placed, take
from lm.edits.trace import TRACE, TRACE_SIZE
from lm.engines.base import Feed
from lm.engines.torch.graphs.adapter_table import AdapterTable, Halves, bucket, change
from lm.engines.torch.graphs.cuda_graphs import Replay
from lm.engines.torch.stack import Stack

MAX_ROWS = 64
"""Rows of one step; their number is filled up to a power of two."""
MIN_KEYS = 128
"""Positions that rows attend to are filled up to a power of two, to this at least."""
_FIELDS = 4
"""Numbers that every row has: token, position, cache, adapter. Two for each site follow: the edit's place,
and whether it may write.
"""


class Pool(Protocol):
    """Caches of rows."""

    data: Tensor
    """[layers, 2, rows, kv_heads, positions, head_width]"""

    def take(self) -> int:
        """A row that is nobody's."""
        ...


@dataclass(frozen=True)
class Row:
    """A slot as a step sees it: where its cache, adapter and edits are."""

    cache: int
    adapter: int
    edits: Placed


@dataclass(frozen=True)
class Variant:
    """What sets the computation of a step, and so its graph: how many rows and keys, where any row has edits,
    of how many targets at most, whether any row has an adapter, and which layers' outputs are kept.
    """

    rows: int
    keys: int
    sites: tuple[tuple[int, int], ...]
    targets: int
    adapted: bool
    recorded: tuple[int, ...]


class Step:
    """Advances slots of `pool` by a token each. Rows beyond those that are fed write to a row of the pool
    that is nobody's.
    """

    def __init__(self, stack: Stack, pool: Pool, edits: EditTable, replay: Replay):
        self._stack, self._pool, self._edits, self._replay = stack, pool, edits, replay
        self._spare = pool.take()
        self._adapters = AdapterTable()
        self._memory = self._tensors()

    def row(
        self, cache: int, edits: Placed, adapter: Adapter | None, halves: dict[tuple[int, str], Halves]
    ) -> Row:
        """Puts a slot's adapter into the table, and clears its cache: infinities left there would turn masked
        values into NaN. halves: see AdapterTable.place.
        """
        self._pool.data[:, :, cache] = 0
        return Row(cache, 0 if adapter is None else self._adapters.place(adapter, halves), edits)

    def __call__(self, feeds: Sequence[Feed]) -> list[tuple[Tensor, np.ndarray]]:
        """Advances up to MAX_ROWS slots, whose `state.row` is theirs. Returns logits [want, vocabulary], on
        the device, and traces of each.
        """
        rows: list[Row] = [feed.slot.state.row for feed in feeds]
        variant = Variant(
            bucket(len(feeds)),
            bucket(1 + max(feed.slot.length for feed in feeds), MIN_KEYS),
            tuple(sorted({site for row in rows for site in row.edits.sites})),
            max(row.edits.targets for row in rows),
            any(row.adapter for row in rows),
            tuple(sorted({feed.record for feed in feeds if feed.hidden is not None})),
        )
        memory = self._tensors()
        if any(a is not b for a, b in zip(memory, self._memory, strict=True)):
            self._memory = memory
            self._replay.forget()
        computed = self._replay.run(
            variant, partial(self._compute, variant), self._numbers(variant, feeds, rows)
        )[: len(feeds)]
        vocabulary = self._stack.vocabulary
        logits = computed[:, :vocabulary].clone()  # the next step writes where this one did
        others = computed[:, vocabulary:].cpu().numpy()
        return [
            (row_logits[None][: feed.want], self._rest(variant, feed, row, values))
            for feed, row, row_logits, values in zip(feeds, rows, logits, others, strict=True)
        ]

    def _tensors(self) -> tuple[Tensor | dict[tuple[int, str], Halves], ...]:
        """What graphs know by its address."""
        return self._pool.data, self._edits.vectors, self._adapters.parts

    def _numbers(self, variant: Variant, feeds: Sequence[Feed], rows: Sequence[Row]) -> Tensor:
        """All that the device is told: int64 [fields, rows]."""
        sites = {site: _FIELDS + 2 * i for i, site in enumerate(variant.sites)}
        numbers = torch.zeros(
            _FIELDS + 2 * len(sites),
            variant.rows,
            dtype=torch.long,
            pin_memory=self._stack.device.type == "cuda",
        )
        table = numbers.numpy()
        table[2] = self._spare
        for i, (feed, row) in enumerate(zip(feeds, rows, strict=True)):
            position = feed.slot.length
            table[:_FIELDS, i] = feed.ids[0], position, row.cache, row.adapter
            own = row.edits
            for site, place, start in zip(own.sites, own.places, own.starts, strict=True):
                table[sites[site] : sites[site] + 2, i] = place, position >= start
        return numbers

    def _rest(self, variant: Variant, feed: Feed, row: Row, values: np.ndarray) -> np.ndarray:
        """A feed's traces, of its values [traces + kept outputs]; what it asks to keep is kept."""
        traces, hidden = np.split(values, [len(variant.sites) * TRACE_SIZE])
        if feed.hidden is not None:
            outputs = torch.from_numpy(hidden.reshape(-1, self._stack.width))
            feed.hidden[:1] = outputs[variant.recorded.index(feed.record)]
        feed.slot.length += 1
        own = [variant.sites.index(site) for site in row.edits.sites]
        return traces.reshape(-1, TRACE_SIZE)[own].view(TRACE)[None, :, 0][: feed.want]

    def _compute(self, variant: Variant, numbers: Tensor) -> Tensor:
        """The pass: float32 [rows, vocabulary + traces + kept outputs]."""
        stack = self._stack
        ids, positions, caches, adapters, *_ = numbers.unbind(0)
        positions = positions.unsqueeze(1)
        places, active = numbers[_FIELDS::2].flatten(), (numbers[_FIELDS + 1 :: 2] > 0).unsqueeze(2)
        edits = take(self._edits.vectors, self._edits.numbers, places, variant.targets)
        rotary = stack.rotary(positions)
        mask = torch.where(stack.mask(positions, variant.keys), 0.0, -torch.inf).to(stack.dtype)
        x = stack.embed(ids.unsqueeze(1))
        traces, hidden = [], []
        for layer, weights in enumerate(stack.weights):
            low_rank = partial(change, self._adapters.layer(layer) if variant.adapted else {}, adapters)
            q, k, v = stack.begin(weights, x, rotary, low_rank)
            attended = self._attend(self._pool.data[layer], caches, positions, q, k, v, mask)
            x = stack.end(weights, x, attended, low_rank)
            for i, (at, _) in enumerate(variant.sites):
                if at == layer:
                    x, trace = apply(x, active[i], edits.rows(i * variant.rows, variant.rows))
                    traces.append(trace.squeeze(1))
            if layer in variant.recorded:
                hidden.append(x.squeeze(1))
        return torch.cat([stack.logits(x.squeeze(1)), *traces, *hidden], 1)

    def _attend(
        self, cache: Tensor, rows: Tensor, positions: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor
    ) -> Tensor:
        """Attention to the first keys of rows of cache [2, rows, kv_heads, positions, w], where k and v are
        put first.
        """
        cache.permute(1, 3, 0, 2, 4).index_put_(
            (rows, positions.squeeze(1)), torch.stack([k, v], 1).squeeze(3)
        )
        keys, values = cache.narrow(3, 0, mask.shape[-1]).index_select(1, rows).unbind(0)
        return self._stack.grouped(q, keys, values, mask)
