"""Functions of tensors that stay where they are, captured once as graphs and replayed."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from weakref import WeakSet

import torch
from torch import Tensor

log = logging.getLogger(__name__)
Function = Callable[[Tensor], Tensor]
Capture = Callable[[Function, Tensor], Function]
"""(function, an input of it on the CPU) -> the function, with tensors of its own for inputs of that shape and
what becomes of them.
"""
MAX_GRAPHS = 32
"""Graphs that are kept; the one that was not used for longest goes first."""


class Replay:
    """Runs functions on a device, as captured graphs. Where a capture fails they run as they are, and one
    warning says why.

    capture: what captures; None: nothing is.
    """

    def __init__(self, device: torch.device, capture: Capture | None = None):
        self.device, self._capture = device, capture
        self._graphs: OrderedDict[Hashable, Function] = OrderedDict()

    @classmethod
    def on(cls, device: torch.device) -> "Replay":
        """Graphs on a GPU that PyTorch calls cuda; plain calls elsewhere.

        Capture is by hand: torch.compile's own ("reduce-overhead") keeps its graphs to one thread and skips
        functions that write to their inputs, but decoding has a thread of its own and writes to its caches.
        """
        return cls(device, _CudaGraphs(device) if device.type == "cuda" else None)

    def run(self, key: Hashable, function: Function, numbers: Tensor) -> Tensor:
        """What the function makes of `numbers`, which are on the CPU: on the device, where the next run may
        write. key: of the function and the shape of `numbers`.

        The function reads the CPU's memory nowhere else, and may be run several times for one call.
        """
        if self._capture is not None and key not in self._graphs:
            try:
                self._graphs[key] = self._capture(function, numbers)
            except Exception as error:  # any error: a driver may refuse
                self._capture = None
                self.forget()
                # The end of a capture that failed raises an error of its own.
                cause = error.__context__ or error
                reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
                log.warning("decoding is not captured as graphs, and slower for it: %s", reason)
        if key in self._graphs:
            self._graphs.move_to_end(key)
            output = self._graphs[key](numbers)
        else:
            output = function(numbers.to(self.device, non_blocking=True))
        if len(self._graphs) > MAX_GRAPHS:
            self._graphs.popitem(last=False)
        return output

    def forget(self) -> None:
        """Drops all graphs: memory that they use has moved."""
        self._graphs.clear()


class _CudaGraphs:
    """A Capture. Graphs share the memory of those that are alive."""

    _one = threading.Lock()
    """A process captures one graph at a time."""

    def __init__(self, device: torch.device):
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._alive: WeakSet[torch.cuda.CUDAGraph] = WeakSet()

    def __call__(self, function: Function, numbers: Tensor) -> Function:
        with self._one, torch.cuda.device(self._device):
            inputs, graph = numbers.to(self._device), torch.cuda.CUDAGraph()
            main = torch.cuda.current_stream()
            self._stream.wait_stream(main)
            # This context leaves the stream whatever happens, which torch.cuda.graph does not.
            with torch.cuda.stream(self._stream):
                function(inputs)
                pool = next((other.pool() for other in self._alive), None)
                with torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local"):
                    outputs = function(inputs)
            main.wait_stream(self._stream)
            self._alive.add(graph)

        def replay(numbers: Tensor) -> Tensor:
            inputs.copy_(numbers, non_blocking=True)
            graph.replay()
            return outputs

        return replay
