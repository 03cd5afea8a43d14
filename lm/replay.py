"""Functions of tensors that stay where they are, captured once as graphs and replayed."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from weakref import WeakSet

import torch
from torch import Tensor

log = logging.getLogger(__name__)
Function = Callable[[Tensor], Tensor]
Capture = Callable[[Function, Tensor], Function]
"""(function, an input of it on the CPU) -> the function, with tensors of its own for inputs of that shape and what becomes of them."""
Compiler = Callable[[Callable], Callable]
MOST_GRAPHS = 32
"""Graphs that are kept; the one that was not used for longest goes first."""


class Replay:
    """Runs functions on a device, as captured graphs of compiled parts. Where either is not possible they run as they are, which one
    warning tells."""

    def __init__(self, device: torch.device, capture: Capture | None = None, compiler: Compiler | None = None):
        self.device, self._capture, self._compiler = device, capture, compiler
        self._graphs: OrderedDict[Hashable, Function] = OrderedDict()

    @classmethod
    def on(cls, device: torch.device) -> "Replay | None":
        """For a GPU of Nvidia's or AMD's; None for other devices, to which these graphs bring nothing.

        Capture is by hand: torch.compile's own ("reduce-overhead") keeps its graphs to one thread and passes over functions that write to
        their inputs, where decoding has a thread of its own and writes to its caches. Shapes that change are compiled as such after their
        first change: two compilations, one of them for a single row, serve all numbers of rows.
        """
        if device.type != "cuda":
            return None
        return cls(device, _CudaGraphs(device), partial(torch.compile, fullgraph=True, recompile_limit=64))

    def compiled(self, function: Callable) -> Callable:
        """The function, compiled at its first call, which must change none of its arguments."""
        if self._compiler is None:
            return function
        fast = self._compiler(function)

        def run(*arguments):
            if self._compiler is not None:
                try:
                    return fast(*arguments)
                except Exception as error:  # of whatever kind: a compiler needs much that a machine may lack
                    self._compiler = None
                    log.warning("decoding is not compiled: %s", error)
            return function(*arguments)

        return run

    def run(self, key: Hashable, function: Function, numbers: Tensor) -> Tensor:
        """What the function makes of `numbers`, both on the CPU. key: of the function and the shape of `numbers`.

        The function reads the CPU's memory nowhere else, and may be run several times for one call.
        """
        if self._capture is not None and key not in self._graphs:
            try:
                self._graphs[key] = self._capture(function, numbers)
            except Exception as error:  # of whatever kind: a driver may refuse
                self._capture = None
                self.forget()
                log.warning("decoding is not captured as graphs: %s", error)
        if key in self._graphs:
            self._graphs.move_to_end(key)
            found = self._graphs[key](numbers)
        else:
            found = function(numbers.to(self.device, non_blocking=True))
        if len(self._graphs) > MOST_GRAPHS:
            self._graphs.popitem(last=False)
        found = found.to("cpu", non_blocking=True)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return found

    def forget(self) -> None:
        """Drops all graphs: memory that they use has moved."""
        self._graphs.clear()


class _CudaGraphs:
    """A Capture. Graphs share the memory of those that are alive."""

    def __init__(self, device: torch.device):
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._alive: WeakSet[torch.cuda.CUDAGraph] = WeakSet()

    def __call__(self, function: Function, numbers: Tensor) -> Function:
        with torch.cuda.device(self._device):
            inputs = numbers.to(self._device)
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                function(inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            pool = next((graph.pool() for graph in self._alive), None)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local"):
                outputs = function(inputs)
            self._alive.add(graph)

        def replay(numbers: Tensor) -> Tensor:
            inputs.copy_(numbers, non_blocking=True)
            graph.replay()
            return outputs

        return replay
