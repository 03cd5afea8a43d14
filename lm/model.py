"""A language model, as all rooms see it."""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lm.adapter import Adapter
from lm.caller import heed
from lm.codec import Codec, Message
from lm.edits.edit import Edit
from lm.engines.base import Engine, Feed
from lm.engines.torch.batched import BatchedEngine
from lm.engines.torch.stack import Stack, fastest
from lm.metrics import kl, log_probabilities
from lm.rows import Row, Run
from lm.scheduler import Decoding, Loop

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

READ_BATCH = 16
"""Sequences read at once: progress is shown, and a stop obeyed, in between."""
LOGITS_BATCH, DIVERGENCE_PIECE = 8, 64


class LanguageModel:
    """A causal language model: text in and out, its residual stream read and edited.

    name: what it is called; hash: 16 hex digits of the sha256 of its weights; layers, width: of the residual
    stream; context: most tokens of a row; family: as transformers calls it, such as llama; busy: held while
    the engine computes, by whoever computes.
    """

    def __init__(
        self,
        name: str,
        hash: str,
        tokenizer: "PreTrainedTokenizerFast",
        stop_ids: frozenset[int],
        engine: Engine,
        torch_model: "Callable[[], PreTrainedModel]",
        family: str = "",
    ):
        self.name, self.hash, self.tokenizer = name, hash, tokenizer
        self.stop_ids, self.engine = stop_ids & {*range(engine.vocabulary)}, engine
        self.layers, self.width, self.context = engine.layers, engine.width, engine.context
        self._torch_model, self.family = torch_model, family
        self.busy = threading.Lock()
        self.codec = Codec(name, tokenizer)
        self._loop = Loop(engine, self.codec, self.stop_ids, self.busy)

    @cached_property
    def torch(self) -> "PreTrainedModel":
        """The transformers model with exactly these weights, frozen."""
        return self._torch_model()

    @property
    def end(self) -> int | None:
        """The token that ends a text, the tokenizer's where the model knows it; None where there is none."""
        ends = self.stop_ids & {self.tokenizer.eos_token_id} or self.stop_ids
        return min(ends, default=None)

    @cached_property
    def stack(self) -> Stack:
        """The layers of a Llama-style model in PyTorch, for gradients."""
        if isinstance(self.engine, BatchedEngine) and self.engine.stack.differentiable:
            return self.engine.stack
        return Stack(self.torch, fastest(self.torch.device))

    def chat_ids(self, prompt: str | Sequence[Message], *, thinking: bool = False) -> list[int]:
        """Token ids of a chat up to where the assistant answers; see lm.codec.Codec."""
        return self.codec.chat_ids(
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt, thinking=thinking
        )

    def text_ids(self, text: str) -> list[int]:
        """Token ids of plain text, with the first token that the tokenizer adds."""
        return self.codec.text_ids(text)

    @cached_property
    def chat_span(self) -> tuple[int, int]:
        """How many tokens the chat template puts before a user's message, and after it up to where the
        assistant answers.
        """
        first, other = self.chat_ids("Alpha one"), self.chat_ids("zebra 2")
        before = common_prefix([first, other])
        after = common_prefix([first[before:][::-1], other[before:][::-1]])
        return before, after

    def decode(self, rows: Sequence[Row], *, stop: threading.Event | None = None) -> Decoding:
        """Starts decoding rows, in one batch with all else that is under way; see Decoding."""
        return self._loop.submit(rows, stop)

    @property
    def decoding(self) -> bool:
        """Whether rows are under way."""
        return self._loop.running

    def give_way(self) -> None:
        """Decoding yields the processor to whatever else this machine does, from now on."""
        self._loop.give_way()

    def generate(self, rows: Sequence[Row], *, stop: threading.Event | None = None) -> list[Run]:
        """Decodes rows to their ends. Raises Stopped where the caller leaves."""
        decoding = self.decode(rows, stop=stop)
        for _ in decoding:
            pass
        heed()
        return decoding.runs

    def read(
        self,
        ids: Sequence[Sequence[int]],
        *,
        pool: str = "last",
        starts: Sequence[int] | None = None,
        adapter: Adapter | None = None,
        layers: int | None = None,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Tensor:
        """The output of every layer, or of the first `layers`: float32 [n, layers, width].

        pool: "last" token, or the "mean" over positions from starts[i] (default 0) on. Raises Stopped.
        """
        if pool not in ("last", "mean"):
            raise ValueError(f"Pool is {pool!r}: give last or mean.")
        for row in ids:
            self._check_length(len(row))
        out = torch.zeros(len(ids), layers or self.layers, self.width)
        counts = [
            1 if pool == "last" else len(row) - (starts[i] if starts else 0) for i, row in enumerate(ids)
        ]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        first_needed = [len(row) - count for row, count in zip(ids, counts, strict=True)]
        shared = min(common_prefix(ids), *first_needed) if len(ids) > 1 else 0
        with self.busy:
            prefix = self.engine.open(max(shared, 1), (), adapter, 0)
            if shared:
                self.engine.forward([Feed(prefix, ids[0][:shared], want=0, layers=layers)])
        for at in range(0, len(order), READ_BATCH):
            heed(stop)
            batch = order[at : at + READ_BATCH]
            with self.busy:
                slots = [self.engine.fork(prefix, len(ids[i]), shared) for i in batch]
                self.engine.forward(
                    [
                        Feed(slot, ids[i][shared:], want=0, pool=out[i], pooled=counts[i], layers=layers)
                        for i, slot in zip(batch, slots, strict=True)
                    ]
                )
            if progress is not None:
                progress((at + len(batch)) / len(order))
        return out / torch.tensor(counts)[:, None, None]

    def logprobs(
        self,
        ids: Sequence[Sequence[int]],
        starts: Sequence[int],
        *,
        edits: Sequence[tuple[Edit, ...]] | None = None,
        adapters: Sequence[Adapter | None] | None = None,
        chosen: bool = False,
        temperature: float = 1.0,
    ) -> list[Tensor]:
        """Teacher-forced log-probabilities: for each sequence float32 [len - start, vocabulary], predicting
        tokens start, start + 1, ...

        edits, adapters: one a sequence; edits of the answer alone take it to begin at `start`. chosen: those
        of the sequence's own tokens only, [len - start]. temperature: what logits are divided by.
        """
        results = []
        for at in range(0, len(ids), LOGITS_BATCH):
            heed()
            batch = range(at, min(at + LOGITS_BATCH, len(ids)))
            with self.busy:
                feeds = [
                    self._teach(
                        ids[i], starts[i], edits[i] if edits else (), adapters[i] if adapters else None
                    )
                    for i in batch
                ]
                logits, _ = self.engine.forward(feeds)
            for i, part in zip(
                batch, np.split(logits, np.cumsum([feed.want for feed in feeds])[:-1]), strict=True
            ):
                values = log_probabilities(part, temperature)
                results.append(values[range(len(values)), list(ids[i][starts[i] :])] if chosen else values)
        return results

    def divergence(
        self,
        ids: Sequence[int],
        start: int,
        *,
        edits: tuple[Edit, ...] = (),
        adapter: Adapter | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """KL(the model with edits and adapter || the model as it is) for each token from `start` on: float32
        [len - start], nats.

        Over all the vocabulary, teacher-forced, DIVERGENCE_PIECE tokens at a time: logits of a long text take
        much memory.
        """
        pieces = []
        with self.busy:
            both = [self._teach(ids, start, *parts) for parts in ((edits, adapter), ((), None))]
        for at in range(0, len(ids) - 1, DIVERGENCE_PIECE):
            heed()
            piece = ids[at : min(at + DIVERGENCE_PIECE, len(ids) - 1)]
            want = min(len(piece), max(0, at + len(piece) - (start - 1)))
            with self.busy:
                logits, _ = self.engine.forward([Feed(feed.slot, piece, want=want) for feed in both])
            if want:
                own, plain = (log_probabilities(part, temperature) for part in np.split(logits, 2))
                pieces.append(kl(own, plain))
        return torch.cat(pieces)

    def _check_length(self, tokens: int) -> None:
        if not 1 <= tokens <= self.context:
            raise ValueError(
                f"A text of {tokens} tokens cannot be read: "
                f"give 1 to {self.context}, the model's context here."
            )

    def _teach(
        self, row: Sequence[int], start: int, edits: tuple[Edit, ...], adapter: Adapter | None
    ) -> Feed:
        if not 1 <= start < len(row):
            raise ValueError(
                f"An answer starts at {start}: give "
                f"a position from 1 to {len(row) - 1}, the sequence's last token."
            )
        self._check_length(len(row) - 1)
        return Feed(
            self.engine.open(len(row) - 1, edits, adapter, start - 1), row[:-1], want=len(row) - start
        )


def common_prefix(ids: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix that all sequences share."""
    low, high = min(ids, key=tuple), max(ids, key=tuple)
    return next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )
