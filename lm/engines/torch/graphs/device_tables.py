"""Edits and adapters in tables on a device, from which each row of a batch takes its own by number."""

import weakref
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from lm.adapter import Adapter
from lm.edits.edit import MAX_TARGETS, Edit
from lm.edits.writes import COLUMNS

Halves = tuple[Tensor, Tensor]
_FIRST_PLACES, _ADAPTER_PLACES = 64, 4


def bucket(size: int, least: int = 1) -> int:
    """The least power of two that is at least `size` and `least`."""
    return max(least, 1 << (size - 1).bit_length())


class EditTable:
    """Edits, each at a place of its own for as long as it lives; place 0 reads and writes nothing.

    vectors: float32 [places, 2 (read, write), MAX_TARGETS, width]; numbers: float64 [places, columns].
    """

    def __init__(self, width: int, device: torch.device):
        self.vectors = torch.zeros(0, 2, MAX_TARGETS, width, device=device)
        self.numbers = torch.zeros(0, sum(COLUMNS.values()), dtype=torch.float64, device=device)
        self._free: list[int] = []
        self._places: WeakKeyDictionary[Edit, int] = WeakKeyDictionary()
        self._grow(_FIRST_PLACES)
        heappop(self._free)

    @torch.no_grad()
    def place(self, edit: Edit) -> int:
        """The edit's place. Where the table is full it moves to larger tensors."""
        if edit not in self._places:
            if not self._free:
                self._grow(2 * len(self.vectors))
            place, more = heappop(self._free), MAX_TARGETS - len(edit.read)
            self.vectors[place] = F.pad(torch.stack([edit.read, edit.write]).float().cpu(), (0, 0, 0, more))
            fixed = torch.zeros_like(edit.goal) if edit.fixed is None else edit.fixed
            parts = [
                F.pad(part.double().cpu(), (0, more)) for part in (edit.bias, edit.goal, edit.sense, fixed)
            ]
            bounded = edit.fixed is None and edit.cap is None and len(edit.read) > 1
            flags = torch.tensor([edit.fixed is not None, edit.cap or 0.0, bounded], dtype=torch.float64)
            self.numbers[place] = torch.cat(
                [*parts, F.pad(edit.gram.cpu(), (0, more, 0, more)).flatten(), flags]
            )
            self._places[edit] = place
            weakref.finalize(edit, heappush, self._free, place)
        return self._places[edit]

    def _grow(self, places: int) -> None:
        for place in range(len(self.vectors), places):
            heappush(self._free, place)
        more = places - len(self.vectors)
        self.vectors, self.numbers = (
            torch.cat([old, old.new_zeros(more, *old.shape[1:])]) for old in (self.vectors, self.numbers)
        )


class AdapterTable:
    """Adapters side by side: of (block, module), a [places, in, rank] and b [places, rank, out]; place 0
    changes nothing.
    """

    def __init__(self) -> None:
        self.parts: dict[tuple[int, str], Halves] = {}
        self._held: WeakKeyDictionary[Adapter, tuple[int, Mapping[tuple[int, str], Halves]]] = (
            WeakKeyDictionary()
        )

    @torch.no_grad()
    def place(self, adapter: Adapter, halves: Mapping[tuple[int, str], Halves]) -> int:
        """The adapter's place; halves: its (a [in, rank], b [rank, out]). Where it does not fit, the table
        moves to larger tensors.

        An adapter that takes the place of one that is gone, and is no larger, leaves the tensors where they
        are.
        """
        if adapter not in self._held:
            taken = {place for place, _ in self._held.values()}
            place = next(place for place in count(1) if place not in taken)
            self._held[adapter] = place, halves
            if all(
                key in self.parts and _within((place, a.shape[1]), self.parts[key][1])
                for key, (a, _) in halves.items()
            ):
                self._fill(place, halves)
            else:
                self._rebuild()
        return self._held[adapter][0]

    def block(self, layer: int) -> dict[str, Halves]:
        """The tables of a block by module."""
        return {module: halves for (block, module), halves in self.parts.items() if block == layer}

    def _fill(self, place: int, halves: Mapping[tuple[int, str], Halves]) -> None:
        for key, (a, b) in self.parts.items():
            a[place], b[place] = 0.0, 0.0
            if key in halves:
                own_a, own_b = halves[key]
                a[place, :, : own_a.shape[1]], b[place, : len(own_b)] = own_a, own_b

    def _rebuild(self) -> None:
        """New tensors, for the adapters that are alive."""
        held = list(self._held.values())
        places = bucket(1 + max(place for place, _ in held), _ADAPTER_PLACES)
        parts: dict[tuple[int, str], Halves] = {}
        for key in sorted({key for _, halves in held for key in halves}):
            own = [halves[key] for _, halves in held if key in halves]
            (a, b), rank = own[0], max(len(b) for _, b in own)
            parts[key] = a.new_zeros(places, len(a), rank), b.new_zeros(places, rank, b.shape[1])
        self.parts = parts
        for place, halves in held:
            self._fill(place, halves)


def _within(index: tuple[int, int], table: Tensor) -> bool:
    return index[0] < table.shape[0] and index[1] <= table.shape[1]


def change(tables: Mapping[str, Halves], places: Tensor, module: str, x: Tensor) -> Tensor | None:
    """The change of a module's output for its input x [n, positions, in], of the rows' adapters at places
    [n]; None where there is none.
    """
    if module not in tables:
        return None
    a, b = tables[module]
    return x @ a.index_select(0, places) @ b.index_select(0, places)
