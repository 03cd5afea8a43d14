"""Adapters in tables on a device, from which each row of a batch takes its own by number."""

from collections.abc import Mapping
from itertools import count
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from lm.adapter import Adapter

Halves = tuple[Tensor, Tensor]
_ADAPTER_PLACES = 4


def bucket(size: int, least: int = 1) -> int:
    """The least power of two that is at least `size` and `least`."""
    return max(least, 1 << (size - 1).bit_length())


class AdapterTable:
    """Adapters side by side: of (layer, module), a [places, in, rank] and b [places, rank, out]; place 0
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

    def layer(self, layer: int) -> dict[str, Halves]:
        """The tables of a layer by module."""
        return {module: halves for (at, module), halves in self.parts.items() if at == layer}

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
