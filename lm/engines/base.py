"""What a decode asks of an engine: rows with their own caches, any of which one call may advance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from lm.adapter import Adapter
from lm.edits.edit import Edit
from lm.rows import Sampling

MAX_ROWS = 64
"""Rows that an engine on a CPU decodes at once: more would keep each other waiting."""


@dataclass
class Slot:
    """A row's place in an engine: its cache (the engine's own), edits and adapter, and how many positions are
    filled.
    """

    state: Any
    edits: tuple[Edit, ...]
    adapter: Adapter | None
    answer_from: int
    capacity: int
    length: int = 0


@dataclass(frozen=True)
class Feed:
    """Tokens that a slot takes in. want: for how many of the last positions logits and traces are returned.

    hidden: float32 [len(ids), width], filled with the output of layer `record`. pool: float32 [k, width], to
    which the outputs of the first k layers are added for the last `pooled` positions. layers: how many layers
    are run; None: all, as logits need.
    """

    slot: Slot
    ids: Sequence[int]
    want: int = 1
    record: int = -1
    hidden: Tensor | None = None
    pool: Tensor | None = None
    pooled: int = 0
    layers: int | None = None


class Engine(Protocol):
    """Runs one language model."""

    layers: int
    width: int
    context: int
    vocabulary: int
    rewinds: bool
    max_rows: int

    def fits(self, adapter: Adapter | None) -> None:
        """Raises ValueError where the adapter is not of this model."""
        ...

    def open(self, capacity: int, edits: tuple[Edit, ...], adapter: Adapter | None, answer_from: int) -> Slot:
        """A slot for a row of up to `capacity` positions; edits that spare the prompt act from `answer_from`
        on.
        """
        ...

    def fork(
        self, slot: Slot, capacity: int, length: int, edits: tuple[Edit, ...] = (), answer_from: int = 0
    ) -> Slot:
        """A new slot, with edits of its own, that has taken in the first `length` positions of `slot`: all of
        them unless it rewinds.
        """
        ...

    def forward(self, feeds: Sequence[Feed]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Advances slots. Returns logits float32 [sum of want, vocabulary], and of each feed traces
        [want, edits] of lm.edits.trace.TRACE.
        """
        ...

    def sample(
        self, feeds: Sequence[Feed], draws: Sequence[tuple[Sampling, int]]
    ) -> tuple[list[tuple[int, float]], list[np.ndarray]]:
        """Advances slots and draws one token from each row of the logits that feeds want; draws: its sampling
        and step.

        Returns token ids with log-probabilities, as lm.sampling.draw does, and traces as `forward`.
        """
        ...
