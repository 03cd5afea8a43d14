"""Any Hugging Face causal language model, through transformers and forward hooks."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lm.adapter import Adapter, module_at, path_in_block
from lm.edits.edit import TRACE, Edit
from lm.engines.base import Feed, Slot
from lm.rows import Sampling
from lm.sampling import draw

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def blocks_of(model: "PreTrainedModel") -> nn.ModuleList:
    """The list of a transformers model's decoder blocks. Raises ValueError where there is none."""
    return _stack_of(model)[1]


def _stack_of(model: "PreTrainedModel") -> tuple[str, nn.ModuleList]:
    """The decoder blocks, and the path of their list in the model."""
    count = model.config.get_text_config().num_hidden_layers
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return path, module
    raise ValueError(
        f"{type(model).__name__} has no list of {count} blocks: only decoder-only models can be steered"
    )


def _matrices(block: nn.Module) -> dict[str, tuple[int, int]]:
    """(in, out) of a block's linear layers by module, as lm.adapter names them."""
    sizes = {}
    for path, layer in block.named_modules():
        linear: Any = layer  # of whatever class: a quantized layer has these attributes, too
        if hasattr(linear, "in_features") and hasattr(linear, "out_features"):
            sizes[module_at(path)] = (linear.in_features, linear.out_features)
        elif hasattr(linear, "nx") and hasattr(linear, "nf"):  # GPT-2's Conv1D
            sizes[module_at(path)] = (linear.nx, linear.nf)
    return sizes


@contextmanager
def _hooked(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """`change` is applied to the module's output (the first of a tuple) within the context."""

    def hook(_module, _inputs, output):
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _adapted(module: nn.Module, a: Tensor, b: Tensor) -> Iterator[None]:
    def hook(_module, inputs, output):
        x = inputs[0]
        return output + (x @ a.to(x).T) @ b.to(x).T

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class ReferenceEngine:
    """Runs each row by itself, with a cache of its own and hooks that live for one call, so rows cannot touch
    each other.
    """

    rewinds = False
    """A cache with a sliding window cannot be cut back."""

    def __init__(self, model, context: int):
        config = model.config.get_text_config()
        self._model = model
        self._stack, self._blocks = _stack_of(model)
        self.layers, self.width = config.num_hidden_layers, config.hidden_size
        self.vocabulary = config.vocab_size
        self.context = min(config.max_position_embeddings, context)

    @cached_property
    def _sizes(self) -> list[dict[str, tuple[int, int]]]:
        return [_matrices(block) for block in self._blocks]

    def fits(self, adapter: Adapter | None) -> None:
        """Raises ValueError where the adapter is not of this model; see lm.engines.base.Engine."""
        if adapter is not None:
            adapter.check(self._sizes, self._stack)

    def open(self, capacity: int, edits: tuple[Edit, ...], adapter: Adapter | None, answer_from: int) -> Slot:
        """A slot for a row; see lm.engines.base.Engine."""
        from transformers import DynamicCache

        self.fits(adapter)
        return Slot(DynamicCache(config=self._model.config), edits, adapter, answer_from, capacity)

    def fork(
        self, slot: Slot, capacity: int, length: int, edits: tuple[Edit, ...] = (), answer_from: int = 0
    ) -> Slot:
        """A new slot that has taken in all of `slot`; see lm.engines.base.Engine."""
        return Slot(copy.deepcopy(slot.state), edits, slot.adapter, answer_from, capacity, length)

    @torch.inference_mode()
    def forward(self, feeds: Sequence[Feed]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Advances slots; see lm.engines.base.Engine."""
        done = [self._advance(feed) for feed in feeds]
        return np.concatenate([logits for logits, _ in done]), [trace for _, trace in done]

    def sample(
        self, feeds: Sequence[Feed], draws: Sequence[tuple[Sampling, int]]
    ) -> tuple[list[tuple[int, float]], list[np.ndarray]]:
        """Advances slots and draws tokens; see lm.engines.base.Engine."""
        logits, traces = self.forward(feeds)
        return [draw(row, *one) for row, one in zip(logits, draws, strict=True)], traces

    def _advance(self, feed: Feed) -> tuple[np.ndarray, np.ndarray]:
        slot, count = feed.slot, len(feed.ids)
        device = self._model.get_input_embeddings().weight.device
        ids = torch.tensor([list(feed.ids)], device=device)
        positions = torch.arange(slot.length, slot.length + count, device=device)
        traces = torch.zeros(count, len(slot.edits), TRACE)
        with ExitStack() as hooks:
            for (layer, name), (a, b) in (slot.adapter.parts if slot.adapter else {}).items():
                module = self._blocks[layer].get_submodule(path_in_block(name))
                hooks.enter_context(_adapted(module, a, b))
            for index, edit in enumerate(slot.edits):
                active = positions >= edit.first(slot.answer_from)
                hooks.enter_context(
                    _hooked(self._blocks[edit.layer], _writer(edit, active, traces[:, index]))
                )
            if feed.hidden is not None:
                hooks.enter_context(_hooked(self._blocks[feed.record], _reader(feed.hidden)))
            if feed.pool is not None:
                for block, pool in zip(self._blocks, feed.pool, strict=False):
                    hooks.enter_context(_hooked(block, _pooler(pool, feed.pooled)))
            output = self._model(
                input_ids=ids,
                position_ids=positions[None],
                past_key_values=slot.state,
                use_cache=True,
                logits_to_keep=max(feed.want, 1),
            )
        slot.length += count
        logits = output.logits[0].float().cpu().numpy()
        return logits[len(logits) - feed.want :], traces[count - feed.want :].numpy()


def _writer(edit: Edit, active: Tensor, trace: Tensor) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        written, found = edit.apply(hidden[0], active.to(hidden.device))
        trace.copy_(found)
        return written[None]

    return change


def _reader(out: Tensor) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        out[: hidden.shape[1]].copy_(hidden[0])
        return hidden

    return change


def _pooler(out: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        out.add_(hidden[0, -count:].float().sum(0).to(out.device))
        return hidden

    return change
