"""Edits side by side on a device, from which the rows of a batch take theirs by number."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import comb, prod
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from lm.edits.edit import Edit
from lm.edits.push import Operands
from lm.edits.solver import Program
from lm.edits.trace import MAX_TARGETS

_K = MAX_TARGETS
_VERTICES = [comb(2 * k, k) - 1 for k in range(MAX_TARGETS + 1)]
"""Most vertices of k targets."""
_SHAPES: dict[str, tuple[int, ...]] = {
    "bias": (_K,),
    "fixed": (_K,),
    "is_fixed": (),
    "cap": (),
    "max_push": (),
    "goal": (_K,),
    "sense": (_K,),
    "slack": (_K,),
    "gram": (_K, _K),
    "vertices": (_VERTICES[_K], _K, _K),
}
"""Of an edit's numbers, as its row of the table holds them."""
_FIRST_PLACES = 64


class EditTable:
    """Edits, each at a place of its own for as long as it lives; place 0 reads and pushes nothing.

    vectors: float32 [places, 2 (read, push), MAX_TARGETS, width]; numbers: float64 [places, columns].
    """

    def __init__(self, width: int, device: torch.device):
        self.vectors = torch.zeros(0, 2, MAX_TARGETS, width, device=device)
        columns = sum(prod(shape) for shape in _SHAPES.values())
        self.numbers = torch.zeros(0, columns, dtype=torch.float64, device=device)
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
            place = heappop(self._free)
            self.vectors[place], self.numbers[place] = _vectors(edit), _numbers(edit)
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


def take(vectors: Tensor, numbers: Tensor, places: Tensor, k: int) -> Operands:
    """The operands of rows whose edits are at places [n] of a table and have up to k targets."""
    read, push = vectors.narrow(2, 0, k).index_select(0, places).unbind(1)
    sizes = [prod(shape) for shape in _SHAPES.values()]
    parts = {
        name: part.unflatten(1, (1, *shape)) if shape else part
        for (name, shape), part in zip(
            _SHAPES.items(), numbers.index_select(0, places).split(sizes, 1), strict=True
        )
    }
    bias, fixed, goal, sense, slack = (
        parts[name].narrow(2, 0, k) for name in ("bias", "fixed", "goal", "sense", "slack")
    )
    gram = parts["gram"].narrow(2, 0, k).narrow(3, 0, k)
    vertices = parts["vertices"].narrow(2, 0, _VERTICES[k]).narrow(3, 0, k).narrow(4, 0, k)
    cap, max_push = parts["cap"].float(), parts["max_push"].float()
    program = Program(goal, sense, slack, gram, vertices)
    return Operands(read, push, bias.float(), fixed.float(), parts["is_fixed"] > 0, cap, max_push, program)


def _vectors(edit: Edit) -> Tensor:
    """[2, MAX_TARGETS, width]: read and push, zeros for targets that the edit lacks."""
    return F.pad(torch.stack([edit.read, edit.push]).float().cpu(), (0, 0, 0, MAX_TARGETS - len(edit.read)))


def _numbers(edit: Edit) -> Tensor:
    """The edit's row of numbers. Missing targets have no goal, missing vertices are NaN."""
    operands = edit.operands(torch.device("cpu"))
    values = operands._asdict() | operands.program._asdict()
    row = []
    for name, shape in _SHAPES.items():
        value = values[name].double().flatten(0, 1)[0]
        for axis, size in enumerate(shape):
            more = [0, size - value.shape[axis]]
            lacking = torch.nan if name == "vertices" and axis == 0 else 0.0
            value = F.pad(value, [0, 0] * (value.ndim - 1 - axis) + more, value=lacking)
        row.append(value.flatten())
    return torch.cat(row)


@dataclass(frozen=True)
class Placed:
    """A row's edits in a table.

    Attributes
    ----------
    sites : of each edit, its layer and how many of the row's edits come before it there
    places : of each edit, its place in the table
    starts : of each edit, the first position where it may push
    targets : most targets of one edit
    """

    sites: tuple[tuple[int, int], ...]
    places: tuple[int, ...]
    starts: tuple[int, ...]
    targets: int

    @classmethod
    def of(cls, table: EditTable, edits: Sequence[Edit], answer_from: int) -> "Placed":
        """Puts edits of a row into the table."""
        layers = [edit.layer for edit in edits]
        return cls(
            tuple((layer, layers[:i].count(layer)) for i, layer in enumerate(layers)),
            tuple(table.place(edit) for edit in edits),
            tuple(edit.first(answer_from) for edit in edits),
            max((len(edit.read) for edit in edits), default=0),
        )
