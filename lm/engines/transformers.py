"""Any Hugging Face causal language model, through transformers and forward hooks."""

import copy
import math
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lm.adapter import Adapter, module_at, path_in_layer
from lm.edits.edit import Edit
from lm.edits.trace import TRACE_SIZE, records
from lm.engines.base import MAX_ROWS, Feed, Slot
from lm.metrics import kl
from lm.rows import Sampling
from lm.sampling import draw
from lm.sources import reason

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


PROBE, PROBE_FIRST = 24, 14
"""Tokens that a model answers before it is taken, and how many of them its first piece has when it takes them in again."""
MAX_PROBE_KL, MAX_PROBE_KL_HALF = 1e-4, 0.1
"""How far, in nats a token, the answers in pieces may lie from the answers at once: what rounding explains in
float32, and in half precision.
"""
WORKING = "Llama, Mistral, Qwen, Gemma, Phi, Granite, OLMo, Falcon and GPT-2 models, among others, work."


def stack_of(model: "PreTrainedModel") -> tuple[str, nn.ModuleList]:
    """The path of the list of decoder layers in the model, and the list; another one, such as an image tower's, may
    be as long. Raises ValueError where there is none.
    """
    count = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    paths = {module: path for path, module in model.named_modules()}
    for root in (model.get_decoder(), model):
        for module in root.modules():
            if isinstance(module, nn.ModuleList) and len(module) == count:
                return paths[module], module
    raise ValueError(f"{model.config.model_type} has no list of {count} decoder layers")


def _matrices(layer: nn.Module, apart: Container[nn.Module]) -> dict[str, tuple[int, int]]:
    """(in, out) of a layer's linear modules but `apart`, by name, as lm.adapter names them."""
    sizes = {}
    for path, module in layer.named_modules():
        # Any class: a quantized linear has these attributes too.
        linear: Any = module
        if module in apart:
            continue
        if hasattr(linear, "in_features") and hasattr(linear, "out_features"):
            sizes[module_at(path)] = (linear.in_features, linear.out_features)
        elif hasattr(linear, "nx") and hasattr(linear, "nf"):  # GPT-2's Conv1D
            sizes[module_at(path)] = (linear.nx, linear.nf)
    return sizes


@contextmanager
def _hooked(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """`change` is applied to the module's output (the first of a tuple) within the context."""

    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _adapted(module: nn.Module, a: Tensor, b: Tensor) -> Iterator[None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        return output + (x @ a.to(x).T) @ b.to(x).T

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@dataclass
class _State:
    """A row's cache, and the tokens it has taken in."""

    cache: Any = None
    ids: list[int] = field(default_factory=list)


class ReferenceEngine:
    """Runs each row by itself, with a cache of its own and hooks that live for one call, so rows cannot touch
    each other.
    """

    rewinds, max_rows = False, MAX_ROWS
    """A cache with a sliding window cannot be cut back."""

    def __init__(self, model: "PreTrainedModel", context: int):
        """Raises ValueError where the family's answers or residual stream cannot be read: see `_probe`."""
        self._model, self._single = model, False
        self._positioned = "position_ids" in signature(model.forward).parameters
        self._turn = _turn(model.config)
        try:
            self._stack, self._layers = stack_of(model)
            self.layers, self.context = len(self._layers), int(min(_longest(model.config), context))
            self.width, self.vocabulary = self._measured()
            self._probe()
        except Exception as error:  # any error: this is the first run of somebody else's model code
            raise ValueError(
                f"This {model.config.model_type} model cannot be run here ({reason(error)}): {WORKING}"
            ) from error

    def _measured(self) -> tuple[int, int]:
        """Widths of the residual stream and of the logits, from a run of one token."""
        shapes: list[torch.Size] = []
        with ExitStack() as hooks:
            for layer in self._layers:
                hooks.enter_context(_hooked(layer, _measurer(shapes)))
            logits, _ = self.forward([Feed(self.open(1, (), None, 0), [PROBE])])
        if len(shapes) != self.layers or len({*shapes}) != 1 or shapes[0][:-1] != (1, 1):
            raise ValueError(f"its {self.layers} layers do not each give one state a token")
        return shapes[0][-1], logits.shape[1]

    def _probe(self) -> None:
        """Asks the model for the same text without a word on positions, with them, and in pieces on a cache. Some
        families count positions from elsewhere than 0, so the answers differ; then they count themselves. Some
        recurrent layers read a piece of several tokens without what came before it; then tokens after the first
        piece are fed one by one. Raises ValueError where that is not the same either.
        """
        size = min(PROBE, self.context)
        first = PROBE_FIRST * size // PROBE
        if first <= self._turn < size:  # all pieces on one side of where the angles turn
            first, size = int(self._turn) + 1, int(self._turn) + 1 + size - first
        cuts = ((0, first), (first, size - 1), (size - 1, size))
        exact = self._model.dtype == torch.float32 and not getattr(self._model, "is_quantized", False)
        most = MAX_PROBE_KL if exact else MAX_PROBE_KL_HALF
        own, whole = self._own_answers(size), self._probe_answers([(0, size)])
        if self._positioned and float(kl(own, whole).mean()) > most:
            self._positioned = False
            whole = own
        for single in (False, True) if exact or not self._model._is_stateful else (True,):
            self._single = single
            pieces = self._probe_answers(cuts)
            gap = float(kl(whole, pieces).mean())
            if gap <= most:
                return
        raise ValueError(
            f"its answers lie {gap:.3g} nats a token from those on a cache: "
            "it is no causal model, or its weights are broken"
        )

    @torch.inference_mode()
    def _own_answers(self, size: int) -> Tensor:
        """Those of the model to the tokens of `_probe_answers` alone."""
        device = next(self._model.get_input_embeddings().parameters()).device
        ids = torch.tensor([_probed(size)], device=device)
        logits: Tensor = self._model(input_ids=ids).logits[0]
        return logits.double().cpu().log_softmax(-1)

    def _probe_answers(self, cuts: Sequence[tuple[int, int]]) -> Tensor:
        size = cuts[-1][1]
        slot, ids = self.open(size, (), None, 0), _probed(size)
        parts = [self.forward([Feed(slot, ids[a:b], want=b - a)])[0] for a, b in cuts]
        return torch.from_numpy(np.concatenate(parts)).double().log_softmax(-1)

    @cached_property
    def _sizes(self) -> list[dict[str, tuple[int, int]]]:
        """Of each layer; without the modules that return more than a product, such as some routers."""
        apart: set[nn.Module] = set()

        def note(module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            if not isinstance(output, Tensor):
                apart.add(module)

        with ExitStack() as hooks:
            for layer in self._layers:
                for module in layer.modules():
                    hooks.callback(module.register_forward_hook(note).remove)
            self.forward([Feed(self.open(1, (), None, 0), [PROBE])])
        return [_matrices(layer, apart) for layer in self._layers]

    def fits(self, adapter: Adapter | None) -> None:
        """Raises ValueError where the adapter is not of this model; see lm.engines.base.Engine."""
        if adapter is not None:
            adapter.check(self._sizes, self._stack)

    def open(self, capacity: int, edits: tuple[Edit, ...], adapter: Adapter | None, answer_from: int) -> Slot:
        """A slot for a row; see lm.engines.base.Engine."""
        self.fits(adapter)
        return Slot(_State(), edits, adapter, answer_from, capacity)

    def fork(
        self, slot: Slot, capacity: int, length: int, edits: tuple[Edit, ...] = (), answer_from: int = 0
    ) -> Slot:
        """A new slot that has taken in all of `slot`; see lm.engines.base.Engine."""
        return Slot(copy.deepcopy(slot.state), edits, slot.adapter, answer_from, capacity, length)

    @torch.inference_mode()
    def forward(self, feeds: Sequence[Feed]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Advances slots; see lm.engines.base.Engine."""
        logits: list[np.ndarray] = []
        traces: list[np.ndarray] = []
        for feed in feeds:
            parts = [self._advance(piece) for piece in self._pieces(feed)]
            logits += [own for own, _ in parts]
            traces.append(np.concatenate([trace for _, trace in parts]))
        return np.concatenate(logits), traces

    def sample(
        self, feeds: Sequence[Feed], draws: Sequence[tuple[Sampling, int]]
    ) -> tuple[list[tuple[int, float]], list[np.ndarray]]:
        """Advances slots and draws tokens; see lm.engines.base.Engine."""
        logits, traces = self.forward(feeds)
        return [draw(row, *drawn) for row, drawn in zip(logits, draws, strict=True)], traces

    def _pieces(self, feed: Feed) -> list[Feed]:
        """The feed as the model takes it: whole, or token by token where `_probe` found that it must be."""
        if not (self._single and feed.slot.length and len(feed.ids) > 1):
            return [feed]
        left = range(len(feed.ids), 0, -1)
        return [
            replace(
                feed,
                ids=[token],
                want=int(more <= feed.want),
                hidden=None if feed.hidden is None else feed.hidden[i:],
                pool=feed.pool if more <= feed.pooled else None,
                pooled=1,
            )
            for i, (token, more) in enumerate(zip(feed.ids, left, strict=True))
        ]

    def _advance(self, feed: Feed) -> tuple[np.ndarray, np.ndarray]:
        slot, new = feed.slot, len(feed.ids)
        slot.state.ids += feed.ids
        if slot.length <= self._turn < slot.length + new:
            slot.state.cache, slot.length, feed = None, 0, replace(feed, ids=slot.state.ids)
        count = len(feed.ids)
        device = next(self._model.get_input_embeddings().parameters()).device
        ids = torch.tensor([list(feed.ids)], device=device)
        positions = torch.arange(slot.length, slot.length + count, device=device)
        traces = torch.zeros(count, len(slot.edits), TRACE_SIZE)
        with ExitStack() as hooks:
            for (layer, name), (a, b) in (slot.adapter.parts if slot.adapter else {}).items():
                module = self._layers[layer].get_submodule(path_in_layer(name))
                hooks.enter_context(_adapted(module, a, b))
            for index, edit in enumerate(slot.edits):
                active = positions >= edit.first(slot.answer_from)
                hooks.enter_context(
                    _hooked(self._layers[edit.layer], _editor(edit, active, traces[:, index]))
                )
            if feed.hidden is not None:
                hooks.enter_context(_hooked(self._layers[feed.record], _reader(feed.hidden, new)))
            if feed.pool is not None:
                for module, pool in zip(self._layers, feed.pool, strict=False):
                    hooks.enter_context(_hooked(module, _pooler(pool, feed.pooled)))
            output = self._model(
                input_ids=ids,
                cache=slot.state.cache,
                use_cache=True,
                logits_to_keep=max(feed.want, 1),
                **({"position_ids": positions[None]} if self._positioned else {}),
            )
        slot.state.cache, slot.length = getattr(output, "cache", None), slot.length + count
        if slot.state.cache is None:
            raise ValueError("it keeps no cache that each row could have for itself")
        logits = output.logits[0].float().cpu().numpy()
        return logits[len(logits) - feed.want :], records(traces[count - feed.want :])


def _probed(size: int) -> list[int]:
    """The tokens of the first run."""
    return [3 + i for i in range(size)]


def _longest(config: "PreTrainedConfig") -> float:
    """Most positions that the family's code computes: none where they are not learned or tabled."""
    text = config.get_text_config(decoder=True)
    limits = (getattr(text, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    return min((limit for limit in limits if limit), default=math.inf)


def _turn(config: "PreTrainedConfig") -> float:
    """Length beyond which rope type longrope turns all positions by other angles, so that a row that grows
    beyond it is read anew, as transformers' generate does.
    """
    rope = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    return rope["original_max_position_embeddings"] if rope.get("rope_type") == "longrope" else math.inf


def _editor(edit: Edit, active: Tensor, trace: Tensor) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        edited, numbers = edit.apply(hidden[0], active.to(hidden.device))
        trace.copy_(numbers)
        return edited[None]

    return change


def _measurer(shapes: list[torch.Size]) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        shapes.append(hidden.shape)
        return hidden

    return change


def _reader(out: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        out[:count].copy_(hidden[0, -count:])
        return hidden

    return change


def _pooler(out: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        out.add_(hidden[0, -count:].float().sum(0).to(out.device))
        return hidden

    return change
