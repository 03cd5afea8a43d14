"""The decode loop: rows of all callers advance together, one token a step."""

import math
import os
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from lm.caller import CALLER
from lm.codec import Codec, TextStream
from lm.engines.base import Engine, Feed, Slot
from lm.rows import Row, Run, Sampling, Token

SHARE_OF_ONE, SHARE_OF_PROMPTS = 0.75, 0.5
"""Of the rows that an engine decodes at once: how many may be one visitor's (the rest wait in line), and for
how many prompts caches are kept for other rows and requests.
"""
PIECE = 128
"""Tokens of a prompt that are read in one step, so that a long one keeps nobody else's tokens back for long.
"""
GIVING_WAY = 5
"""Niceness above the process's own, of a loop that gives way."""
MEAN_KEPT, LONGEST_PROMPT = 64, 256
"""Tokens of the prompts whose caches are kept: at the mean, and of the longest."""


class Decoding:
    """A request's rows on their way: iterate over it for the tokens of each step, then read `runs`. A step in
    which its prompts are still read brings none.

    Closing it, setting the `stop` that it was made with, or the caller's leaving
    ends its rows at the next token.
    """

    def __init__(self, rows: Sequence[Row], stop: threading.Event | None, prompts: Sequence[Hashable]):
        """prompts: of each row, what it has in common with rows that can use its prompt's cache; None where
        nobody can.
        """
        self.runs = [Run(row.prompt) for row in rows]
        self.rows, self.prompts = tuple(rows), tuple(prompts)
        self.unread = [len(row.prompt) for row in rows]
        self.caller = CALLER.get()
        self._stops = (threading.Event(), stop or threading.Event(), self.caller.left)
        self._steps: SimpleQueue[list[Token] | BaseException | None] = SimpleQueue()
        self._ended = False

    @property
    def visitor(self) -> Hashable:
        """Who its rows belong to; an unknown caller is a visitor of their own."""
        return self.caller.visitor or id(self)

    @property
    def stopped(self) -> bool:
        """Whether the caller wants no more tokens."""
        return any(stop.is_set() for stop in self._stops)

    @property
    def read(self) -> float:
        """The share of its prompts that is read."""
        return 1 - sum(self.unread) / sum(len(row.prompt) for row in self.rows)

    def close(self) -> None:
        """Stops computing; tokens that are there already stay in `runs`."""
        self._stops[0].set()

    def put(self, step: "list[Token] | BaseException | None") -> None:
        """Called by the loop: the tokens of a step, the error that ended it, or None at the end."""
        self._steps.put(step)

    def __iter__(self) -> Iterator[list[Token]]:
        try:
            while not self._ended:
                step = self._steps.get()
                if step is None or isinstance(step, BaseException):
                    self._ended = True
                    if step is not None:
                        raise step
                else:
                    yield step
        finally:
            self.close()


@dataclass(eq=False)
class _Active:
    """A row being decoded."""

    owner: Decoding
    index: int
    slot: Slot
    pending: Sequence[int]
    stream: TextStream
    started: float

    @property
    def row(self) -> Row:
        return self.owner.rows[self.index]

    @property
    def run(self) -> Run:
        return self.owner.runs[self.index]

    @property
    def prompt(self) -> Hashable:
        return self.owner.prompts[self.index]


@dataclass(frozen=True)
class _Prompt:
    """A prompt that was read but for its last token: its cache, and the recorded states if there are any."""

    slot: Slot
    hidden: Tensor | None


class Loop:
    """One thread that decodes. Requests that come while others run join them at the next step."""

    def __init__(self, engine: Engine, codec: Codec, stop_ids: frozenset[int], busy: threading.Lock):
        """busy: held while the engine computes, by whoever computes."""
        self._engine, self._codec, self._stop_ids, self._busy = engine, codec, stop_ids, busy
        self.max_rows, self.max_rows_of_one = engine.max_rows, int(SHARE_OF_ONE * engine.max_rows)
        self.max_prompts = int(SHARE_OF_PROMPTS * engine.max_rows)
        self._prompts: OrderedDict[Hashable, _Prompt] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._guard = threading.Lock()
        self._arrivals: list[Decoding] = []
        self._running = False

    def submit(self, rows: Sequence[Row], stop: threading.Event | None = None) -> Decoding:
        """Starts rows. Raises ValueError where a row cannot be decoded."""
        for row in rows:
            self._check(row)
        decoding = Decoding(rows, stop, [self._shared(row) for row in rows])
        with self._guard:
            self._arrivals.append(decoding)
            if not self._running:
                self._running = True
                self._thread.submit(self._work)
        return decoding

    @property
    def running(self) -> bool:
        """Whether rows are under way."""
        return self._running

    def give_way(self) -> None:
        """Lets other threads of the machine go first, where the system gives each thread a priority of its
        own: decoding takes every core, and whoever asks for a page or votes needs one for a moment only.
        """
        if sys.platform == "linux":
            self._thread.submit(_give_way).result()
            # The engine's own threads begin with a first row, and inherit the priority.
            for _ in self.submit([Row((0,), Sampling(max_new_tokens=1))]):
                pass

    def _check(self, row: Row) -> None:
        engine = self._engine
        if not row.prompt:
            raise ValueError("The prompt is empty: give at least one token.")
        if len(row.prompt) + row.sampling.max_new_tokens > engine.context:
            raise ValueError(
                f"A prompt of {len(row.prompt)} tokens and max_new_tokens = "
                f"{row.sampling.max_new_tokens} exceed the context of {engine.context}: shorten one of them."
            )
        if min(row.prompt) < 0 or max(row.prompt) >= engine.vocabulary:
            raise ValueError(
                f"Token ids run from {min(row.prompt)} to {max(row.prompt)}: "
                f"the model knows 0 to {engine.vocabulary - 1}."
            )
        if row.record is not None and not 0 <= row.record < engine.layers:
            raise ValueError(f"Record is {row.record}: give a layer from 0 to {engine.layers - 1}.")
        engine.fits(row.adapter)
        for edit in row.edits:
            if not 0 <= edit.layer < engine.layers or edit.read.shape[1] != engine.width:
                raise ValueError(
                    f"An edit of layer {edit.layer} and width {edit.read.shape[1]} "
                    f"does not fit a model of {engine.layers} layers, width {engine.width}."
                )

    def _work(self) -> None:
        """Decodes until there is nothing left to do, or the interpreter ends."""
        waiting: list[tuple[Decoding, int]] = []
        active: list[_Active] = []
        while True:
            with self._guard:
                arrivals, self._arrivals = self._arrivals, []
                if not (arrivals or waiting or active):
                    self._running = False
                    return
            for decoding in arrivals:
                waiting += [(decoding, index) for index in range(len(decoding.rows))]
                if not decoding.rows:
                    decoding.put(None)
            if not threading.main_thread().is_alive():
                for owner in [a.owner for a in active] + [owner for owner, _ in waiting]:
                    owner.close()
            try:
                active = self._leave(active, waiting)
                active = self._enter(active, waiting)
                active = self._step(active, waiting)
            except Exception as error:
                # The engine's: for every caller whose rows were in the step, or may be in the next.
                owners = [a.owner for a in active] or [owner for owner, _ in waiting]
                for owner in {id(owner): owner for owner in owners}.values():
                    active = self._fail(owner, error, active, waiting)

    def _fail(
        self, owner: Decoding, error: Exception, active: list[_Active], waiting: list[tuple[Decoding, int]]
    ) -> list[_Active]:
        """Hands an error to the caller whose row caused it; the others go on."""
        waiting[:] = [item for item in waiting if item[0] is not owner]
        owner.put(error)
        return [a for a in active if a.owner is not owner]

    def _enter(self, active: list[_Active], waiting: list[tuple[Decoding, int]]) -> list[_Active]:
        """Free places go to waiting rows: of the visitor with the fewest under way first, and of that
        visitor's requests, of the one with the fewest.

        A row waits while another one of its request reads the prompt that both share.
        """
        counts = Counter(id(a.owner) for a in active)
        visitors = Counter(a.owner.visitor for a in active)
        reading = {(id(a.owner), a.prompt) for a in active if not a.run.ids}

        def may(item: tuple[Decoding, int]) -> bool:
            owner, index = item
            if visitors[owner.visitor] >= self.max_rows_of_one:
                return False
            prompt = owner.prompts[index]
            return prompt is None or prompt in self._prompts or (id(owner), prompt) not in reading

        def turn(item: tuple[Decoding, int]) -> tuple[int, int]:
            return visitors[item[0].visitor], counts[id(item[0])]

        while len(active) < self.max_rows and (item := min(filter(may, waiting), key=turn, default=None)):
            waiting.remove(item)
            owner, index = item
            try:
                active = [*active, self._open(owner, index)]
            except Exception as error:
                active = self._fail(owner, error, active, waiting)
            else:
                counts[id(owner)] += 1
                visitors[owner.visitor] += 1
                reading.add((id(owner), owner.prompts[index]))
        return active

    def _shared(self, row: Row) -> Hashable:
        """What rows have in common whose prompts leave the same cache, but for the last token; None where
        that is not kept.
        """
        untouched = all(edit.reads_only or edit.answer_only for edit in row.edits)
        keeps = self._engine.rewinds and untouched and 1 < len(row.prompt) <= LONGEST_PROMPT
        return (row.prompt, row.adapter, row.record) if keeps else None

    def _open(self, owner: Decoding, index: int) -> _Active:
        row = owner.rows[index]
        capacity = len(row.prompt) + row.sampling.max_new_tokens
        last = len(row.prompt) - 1
        hidden = None if row.record is None else torch.empty(capacity, self._engine.width)
        if kept := self._prompts.get(owner.prompts[index]):
            self._prompts.move_to_end(owner.prompts[index])
            with self._busy:
                slot = self._engine.fork(kept.slot, capacity, last, row.edits, last)
            if hidden is not None and kept.hidden is not None:
                hidden[:last] = kept.hidden
        else:
            with self._busy:
                slot = self._engine.open(capacity, row.edits, row.adapter, last)
        owner.runs[index].hidden = hidden
        return _Active(
            owner,
            index,
            slot,
            row.prompt[slot.length :],
            self._codec.stream(row.before),
            time.perf_counter(),
        )

    def _keep(self, a: _Active) -> None:
        """Keeps a prompt's cache: a slider that moves asks for the same unsteered row again, training for
        many answers to one prompt.
        """
        if a.prompt is None or a.prompt in self._prompts:
            return
        last = len(a.row.prompt) - 1
        with self._busy:
            slot = self._engine.fork(a.slot, len(a.row.prompt), last)
        self._prompts[a.prompt] = _Prompt(slot, None if a.run.hidden is None else a.run.hidden[:last].clone())
        while (
            len(self._prompts) > self.max_prompts
            or sum(kept.slot.length for kept in self._prompts.values()) > MEAN_KEPT * self.max_prompts
        ):
            self._prompts.popitem(last=False)

    def _leave(self, active: list[_Active], waiting: list[tuple[Decoding, int]]) -> list[_Active]:
        """Ends the rows of callers who want no more."""
        gone = {id(a.owner): a.owner for a in active if a.owner.stopped} | {
            id(w): w for w, _ in waiting if w.stopped
        }
        for a in active:
            if id(a.owner) in gone and a.run.pieces:
                a.run.pieces[-1] += a.stream.flush()
        for owner in gone.values():
            for run in owner.runs:
                run.finish = run.finish or "cancelled"
            owner.put(None)
        waiting[:] = [item for item in waiting if id(item[0]) not in gone]
        return [a for a in active if id(a.owner) not in gone]

    def _step(self, active: list[_Active], waiting: list[tuple[Decoding, int]]) -> list[_Active]:
        """Feeds every row once. Rows whose prompt is not read to its end yet bring no token, but the step."""
        if not active:
            return active
        feeds = [self._feed(a) for a in active]
        draws = [(a.row.sampling, len(a.run.ids)) for a, feed in zip(active, feeds, strict=True) if feed.want]
        with self._busy:
            drawn, traces = self._engine.sample(feeds, draws)
        tokens_drawn = iter(drawn)
        steps: dict[int, tuple[Decoding, list[Token]]] = {}
        for a, feed, trace in zip(tuple(active), feeds, traces, strict=True):
            a.pending = a.pending[len(feed.ids) :]
            tokens = steps.setdefault(id(a.owner), (a.owner, []))[1]
            if not a.run.ids:
                a.owner.unread[a.index] = len(a.pending)
            if not feed.want:
                continue
            choice, logprob = next(tokens_drawn)
            if a not in active:
                continue
            try:
                if not a.run.ids:
                    self._keep(a)
                token = self._advance(a, choice, logprob, trace[-1])
            except Exception as error:
                active = self._fail(a.owner, error, active, waiting)
                continue
            tokens.append(token)
        left = [a for a in active if not a.run.finish]
        busy = {id(a.owner) for a in left} | {id(owner) for owner, _ in waiting}
        for owner, tokens in steps.values():
            owner.put(tokens)
            if id(owner) not in busy:
                owner.put(None)
        return left

    def _feed(self, a: _Active) -> Feed:
        ids = a.pending[:PIECE]
        want = int(len(ids) == len(a.pending))
        if a.row.record is None:
            return Feed(a.slot, ids, want)
        assert a.run.hidden is not None  # made by _open for a row that records
        return Feed(a.slot, ids, want, record=a.row.record, hidden=a.run.hidden[a.slot.length :])

    def _advance(self, a: _Active, choice: int, logprob: float, trace: np.ndarray) -> Token:
        if not math.isfinite(logprob):
            raise ValueError(
                "The model gave logits that are not finite: its weights, or an edit's, are broken."
            )
        run = a.run
        piece = run.take(choice, logprob, trace, a.stream, self._stop_ids, a.row.sampling.max_new_tokens)
        run.seconds = time.perf_counter() - a.started
        if run.finish and run.hidden is not None:
            run.hidden = run.hidden[: a.slot.length]
        a.pending = [choice]
        return Token(a.index, choice, piece, logprob, trace)


def _give_way() -> None:
    """Lowers the priority of this thread, and of those that it will start."""
    me = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, me, os.getpriority(os.PRIO_PROCESS, me) + GIVING_WAY)
