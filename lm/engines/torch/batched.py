"""Rows in one padded PyTorch pass: for GPUs, for CPUs without a C compiler, and for those with matrix units
where many rows are wanted at once.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lm.adapter import Adapter
from lm.devices import free_bytes
from lm.edits.edit import Edit
from lm.edits.push import apply
from lm.edits.table import EditTable, Placed, take
from lm.edits.trace import TRACE_SIZE, records
from lm.engines.base import MAX_ROWS, Feed, Slot
from lm.engines.torch.drawing import draw_rows
from lm.engines.torch.graphs.adapter_table import bucket
from lm.engines.torch.graphs.cuda_graphs import Replay
from lm.engines.torch.graphs.static_step import MAX_ROWS as MAX_STEP_ROWS
from lm.engines.torch.graphs.static_step import MIN_KEYS, Row, Step
from lm.engines.torch.stack import Attend, LowRank, Stack
from lm.rows import Sampling
from lm.sampling import draw

MAX_ROWS_GPU, MEMORY_SHARE, USUAL_POSITIONS = 512, 0.25, 512
"""A GPU takes little longer for so many rows than for one, as long as caches of that many positions stay
within this share of its free memory.
"""
STEP = 64
"""Cache positions are reserved in multiples of this, or doubled where graphs are lost each time."""


class _Pool:
    """Caches of all slots in one tensor [layers, 2, slots, kv_heads, positions, head_width], grown as rows
    need it.
    """

    def __init__(self, stack: Stack, whole: Callable[[int], int]):
        """whole: rounds a number of positions up to one that is worth a growth."""
        self._whole = whole
        self._shape = (stack.layers, 2, 0, stack.kv_heads, 0, stack.head_width)
        self.data = torch.empty(self._shape, dtype=stack.dtype, device=stack.device)
        self._free: list[int] = []

    def take(self) -> int:
        if not self._free:
            have = self.data.shape[2]
            self._grow(max(8, 2 * have), self.data.shape[4])
            for index in range(have, self.data.shape[2]):
                heappush(self._free, index)
        return heappop(self._free)

    def give(self, index: int) -> None:
        """Called by the garbage collector, in whatever thread it runs: one step of the interpreter."""
        heappush(self._free, index)

    def reserve(self, positions: int) -> None:
        if positions > self.data.shape[4]:
            self._grow(self.data.shape[2], self._whole(positions))

    @torch.inference_mode(False)  # a pass makes room too, for caches that are written outside of it
    def _grow(self, slots: int, positions: int) -> None:
        old = self.data
        self.data = old.new_zeros(*old.shape[:2], slots, old.shape[3], positions, old.shape[5])
        self.data[:, :, : old.shape[2], :, : old.shape[4]] = old


def _affordable_rows(stack: Stack) -> int:
    if stack.device.type != "cuda":
        return MAX_ROWS
    row = 2 * stack.layers * stack.kv_heads * stack.head_width * stack.dtype.itemsize * USUAL_POSITIONS
    return max(MAX_ROWS, min(MAX_ROWS_GPU, int(MEMORY_SHARE * free_bytes(stack.device) / row)))


def _in_steps(positions: int) -> int:
    return -(-positions // STEP) * STEP


class _State:
    """A row of the pool, given back when nobody holds it. row: what a Step needs to know of it."""

    row: Row

    def __init__(self, pool: _Pool, edits: Placed):
        self.index, self.edits = pool.take(), edits
        weakref.finalize(self, pool.give, self.index)


class BatchedEngine:
    """Llama-style models through lm.engines.torch.stack. A row's last bits may depend on the rows beside it.

    replay: how single tokens are computed, where they are computed in memory that stays where it is; see
    lm.engines.torch.graphs.static_step.
    """

    rewinds = True

    def __init__(self, stack: Stack, context: int, replay: Replay | None = None):
        self.max_rows = _affordable_rows(stack)
        self.stack, self.layers, self.width, self.context = stack, stack.layers, stack.width, context
        self.vocabulary = stack.vocabulary
        self._pool = _Pool(stack, _in_steps if replay is None else self._doubled)
        self._edits = EditTable(stack.width, stack.device)
        self._step = None if replay is None else Step(stack, self._pool, self._edits, replay)
        self._adapters: WeakKeyDictionary[Adapter, dict[tuple[int, str], tuple[Tensor, Tensor]]] = (
            WeakKeyDictionary()
        )

    def _doubled(self, positions: int) -> int:
        """As many positions as a step may attend to; beyond the context, where nothing but padding lies, no
        more than is needed.
        """
        return max(bucket(min(positions, self.context), MIN_KEYS), _in_steps(positions))

    def fits(self, adapter: Adapter | None) -> None:
        """Raises ValueError where the adapter is not of this model; see lm.engines.base.Engine."""
        if adapter is not None and adapter not in self._adapters:
            adapter.check([self.stack.sizes] * self.layers)

    def open(self, capacity: int, edits: tuple[Edit, ...], adapter: Adapter | None, answer_from: int) -> Slot:
        """A slot for a row; see lm.engines.base.Engine."""
        self.fits(adapter)
        self._pool.reserve(capacity)
        if adapter is not None and adapter not in self._adapters:
            device, dtype = self.stack.device, self.stack.dtype
            self._adapters[adapter] = {
                key: (a.detach().T.to(device, dtype), b.detach().T.to(device, dtype))
                for key, (a, b) in adapter.parts.items()
            }
        state = _State(self._pool, Placed.of(self._edits, edits, answer_from))
        if self._step is not None:
            state.row = self._step.row(
                state.index, state.edits, adapter, {} if adapter is None else self._adapters[adapter]
            )
        return Slot(state, edits, adapter, answer_from, capacity)

    def fork(
        self, slot: Slot, capacity: int, length: int, edits: tuple[Edit, ...] = (), answer_from: int = 0
    ) -> Slot:
        """A new slot that has taken in the first positions of `slot`; see lm.engines.base.Engine."""
        other = self.open(capacity, edits, slot.adapter, answer_from)
        other.length = length
        caches = self._pool.data
        caches[:, :, other.state.index, :, :length] = caches[:, :, slot.state.index, :, :length]
        return other

    def forward(self, feeds: Sequence[Feed]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Advances slots; see lm.engines.base.Engine. Rows with one token and rows with several are two
        passes, for less padding.
        """
        logits, traces = self._advance(feeds)
        return logits.cpu().numpy().astype(np.float32, copy=False), traces

    def sample(
        self, feeds: Sequence[Feed], draws: Sequence[tuple[Sampling, int]]
    ) -> tuple[list[tuple[int, float]], list[np.ndarray]]:
        """Advances slots and draws tokens, where the logits are; see lm.engines.base.Engine."""
        whole = all(sampling.top_p == 1 for sampling, _ in draws)
        if self._step is not None and whole and all(_steps(feed) and feed.want == 1 for feed in feeds):
            return self._drawn(self._step, feeds, draws)
        logits, traces = self._advance(feeds)
        if logits.is_cuda:
            return draw_rows(logits, draws), traces
        rows = logits.cpu().numpy()
        return [draw(row, *each) for row, each in zip(rows, draws, strict=True)], traces

    @torch.inference_mode()
    def _drawn(
        self, step: Step, feeds: Sequence[Feed], draws: Sequence[tuple[Sampling, int]]
    ) -> tuple[list[tuple[int, float]], list[np.ndarray]]:
        tokens, traces = [], []
        for at in range(0, len(feeds), MAX_STEP_ROWS):
            part = slice(at, at + MAX_STEP_ROWS)
            more, of_each = step.draw(feeds[part], draws[part])
            tokens += more
            traces += of_each
        return tokens, traces

    @torch.inference_mode()
    def _advance(self, feeds: Sequence[Feed]) -> tuple[Tensor, list[np.ndarray]]:
        """Logits [sum of want, vocabulary] on the device, and traces of each feed."""
        advanced: dict[int, tuple[Tensor, np.ndarray]] = {}
        for advance, chosen in self._together(feeds):
            advanced |= zip(chosen, advance([feeds[i] for i in chosen]), strict=True)
        logits = torch.cat([advanced[i][0] for i in range(len(feeds))])
        return logits, [advanced[i][1] for i in range(len(feeds))]

    def _together(
        self, feeds: Sequence[Feed]
    ) -> Iterator[tuple[Callable[[list[Feed]], list[tuple[Tensor, np.ndarray]]], list[int]]]:
        """Which feeds are computed together, and by what."""
        single = [i for i, feed in enumerate(feeds) if len(feed.ids) == 1]
        several = [i for i, feed in enumerate(feeds) if len(feed.ids) != 1]
        if self._step is not None:
            steps = [i for i in single if _steps(feeds[i])]
            single = [i for i in single if i not in steps]
            yield from (
                (self._step, steps[at : at + MAX_STEP_ROWS]) for at in range(0, len(steps), MAX_STEP_ROWS)
            )
        yield from ((self._pass, chosen) for chosen in (single, several) if chosen)

    def _pass(self, feeds: list[Feed]) -> list[tuple[Tensor, np.ndarray]]:
        stack, device = self.stack, self.stack.device
        counts = [len(feed.ids) for feed in feeds]
        length = max(counts)
        ids = torch.zeros(len(feeds), length, dtype=torch.long)
        for i, feed in enumerate(feeds):
            ids[i, : counts[i]] = torch.tensor(feed.ids)
        starts = torch.tensor([feed.slot.length for feed in feeds], device=device)
        positions = starts[:, None] + torch.arange(length, device=device)
        keys = max(feed.slot.length for feed in feeds) + length
        self._pool.reserve(keys)
        rotary, attend, low_rank = (
            stack.rotary(positions),
            self._attend(feeds, positions, keys),
            self._low_rank(feeds),
        )
        edits = _Sites([feed.slot.state.edits for feed in feeds], self._edits, positions)
        x = stack.embed(ids.to(device))
        for layer in range(max(self.layers if feed.layers is None else feed.layers for feed in feeds)):
            x = edits.apply(layer, stack.layer(layer, x, rotary, attend, low_rank))
            _keep(layer, feeds, counts, x)
        wanted = [x[i, counts[i] - feed.want : counts[i]] for i, feed in enumerate(feeds)]
        parts = stack.logits(torch.cat(wanted)).split([feed.want for feed in feeds])
        for feed, count in zip(feeds, counts, strict=True):
            feed.slot.length += count
        traces = edits.traces()
        return [
            (part, trace[count - feed.want : count])
            for part, trace, count, feed in zip(parts, traces, counts, feeds, strict=True)
        ]

    def _attend(self, feeds: list[Feed], positions: Tensor, keys: int) -> Attend:
        rows = torch.tensor([feed.slot.state.index for feed in feeds], device=self.stack.device)
        first = int(rows[0])
        where = (
            slice(first, first + len(feeds))
            if torch.equal(rows, torch.arange(first, first + len(feeds), device=rows.device))
            else rows
        )
        mask = self.stack.mask(positions, keys)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            cache = self._pool.data[layer]
            cache[:, rows[:, None], :, positions] = torch.stack((k, v)).permute(1, 3, 0, 2, 4)
            cached = cache[:, where, :, :keys]
            return self.stack.grouped(q, cached[0], cached[1], mask)

        return attend

    def _low_rank(self, feeds: list[Feed]) -> LowRank:
        groups: dict[Adapter, list[int]] = {}
        for i, feed in enumerate(feeds):
            if feed.slot.adapter is not None:
                groups.setdefault(feed.slot.adapter, []).append(i)
        parts = [(self._adapters[adapter], rows) for adapter, rows in groups.items()]

        def low_rank(layer: int, module: str, x: Tensor) -> Tensor | None:
            change: Tensor | None = None
            for table, rows in parts:
                if (layer, module) not in table:
                    continue
                a, b = table[layer, module]
                if len(rows) == len(x):
                    whole: Tensor = x @ a @ b
                    return whole
                change = x.new_zeros(*x.shape[:-1], b.shape[1]) if change is None else change
                change[rows] = x[rows] @ a @ b
            return change

        return low_rank


def _steps(feed: Feed) -> bool:
    """Whether a feed is one token of which nothing but logits, traces and one layer's output is asked."""
    return len(feed.ids) == 1 and feed.pool is None and feed.layers is None


class _Sites:
    """The edits of a pass: at each layer the first of every row, then the second, and so on."""

    def __init__(self, rows: Sequence[Placed], table: EditTable, positions: Tensor):
        self._rows, self._table, self._positions = rows, table, positions
        self._sites = sorted({site for row in rows for site in row.sites})
        self._targets = max(row.targets for row in rows)
        numbers = np.zeros((2, len(self._sites), len(rows)), np.int64)
        for i, row in enumerate(rows):
            for site, place, start in zip(row.sites, row.places, row.starts, strict=True):
                numbers[:, self._sites.index(site), i] = place, start
        self._places, self._starts = torch.from_numpy(numbers).to(positions.device)
        self._traces = torch.zeros(*positions.shape, len(self._sites), TRACE_SIZE, device=positions.device)

    def apply(self, layer: int, x: Tensor) -> Tensor:
        """The layer's output x [rows, positions, width] after its edits."""
        for i, (at, _) in enumerate(self._sites):
            if at == layer:
                edits = take(self._table.vectors, self._table.numbers, self._places[i], self._targets)
                active = self._positions >= self._starts[i, :, None]
                x, self._traces[:, :, i] = apply(x, active, edits)
        return x

    def traces(self) -> list[np.ndarray]:
        """Of each row, records [positions, edits] in the order of its edits."""
        order = [[self._sites.index(site) for site in row.sites] for row in self._rows]
        return [trace[:, own] for trace, own in zip(records(self._traces), order, strict=True)]


def _keep(layer: int, feeds: Sequence[Feed], counts: Sequence[int], x: Tensor) -> None:
    """Gives feeds what they ask for of a layer's output x [rows, positions, width]; counts: without padding."""
    wanted = [i for i, feed in enumerate(feeds) if feed.hidden is not None and feed.record == layer]
    if wanted:
        # One copy from the device for all rows.
        outputs = torch.cat([x[i, : counts[i]] for i in wanted]).cpu()
        for i, output in zip(wanted, outputs.split([counts[i] for i in wanted]), strict=True):
            hidden = feeds[i].hidden
            assert hidden is not None
            hidden[: counts[i]].copy_(output)
    for feed, count, row in zip(feeds, counts, x, strict=True):
        if feed.pool is not None and layer < len(feed.pool):
            feed.pool[layer] += row[count - feed.pooled : count].sum(0).to(feed.pool.device)
