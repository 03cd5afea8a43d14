"""What goes into a decode and what comes out of it."""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from lm.adapter import Adapter
from lm.codec import TextStream
from lm.edits.edit import Edit


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; the same seed draws the same noise for every row.

    top_p: below 1, tokens are drawn from the nucleus, the smallest set of the likeliest tokens whose
    probability at the temperature reaches it (Holtzman et al. 2020, as transformers' TopPLogitsWarper has
    it): the likeliest is always in it, and of equals those with lower ids come first. Log-probabilities and
    KL stay those of the whole distribution.
    """

    temperature: float = 0.0
    seed: int = 0
    max_new_tokens: int = 64
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise ValueError(f"Temperature is {self.temperature}: give a number from 0 (greedy) to 10.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"Seed is {self.seed}: give a whole number from 0 to 2^63 - 1.")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}: give at least 1.")
        if not 0 <= self.top_p <= 1:
            raise ValueError(f"Top p is {self.top_p}: give a number from 0 to 1 (all tokens).")


@dataclass(frozen=True)
class Row:
    """One text to be generated: prompt token ids, sampling, edits of the residual stream, adapter.

    record: a layer whose output is kept for every position that was fed (for training on its top). follows:
        the last tokens of the prompt, so many, that the text goes on from: its first word keeps the space before it.
    """

    prompt: tuple[int, ...]
    sampling: Sampling = Sampling()
    edits: tuple[Edit, ...] = ()
    adapter: Adapter | None = None
    record: int | None = None
    follows: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", tuple(self.prompt))

    @property
    def before(self) -> tuple[int, ...]:
        """The tokens that the text goes on from."""
        return self.prompt[len(self.prompt) - self.follows :]


@dataclass(frozen=True)
class Token:
    """A token that row `row` of the decode has just produced. logprob: under the row's model at its
    temperature, whatever its top_p, see lm.sampling.draw. trace: records of lm.edits.trace.TRACE [edits],
    what each edit of the row did at the position that predicted the token.
    """

    row: int
    id: int
    text: str
    logprob: float
    trace: np.ndarray


@dataclass
class Run:
    """One generated text. trace: of each token, records of lm.edits.trace.TRACE [edits]; hidden: [positions,
    width] where it was recorded.
    """

    prompt: tuple[int, ...]
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    trace: list[np.ndarray] = field(default_factory=list)
    finish: str = ""
    seconds: float = 0.0
    hidden: Tensor | None = None

    def take(
        self,
        id: int,
        logprob: float,
        trace: np.ndarray,
        stream: TextStream,
        stop_ids: frozenset[int],
        most: int,
    ) -> str:
        """Adds a token and returns the text that is certain with it.

        A stop token ends the run, and so does token number `most`. trace: as of Token; stream: of this run.
        """
        self.ids.append(id)
        self.logprobs.append(logprob)
        self.trace.append(trace)
        piece = stream.push(id)
        if id in stop_ids:
            self.finish = "stop"
        elif len(self.ids) == most:
            self.finish = "length"
        if self.finish:
            piece += stream.flush()
        self.pieces.append(piece)
        return piece

    @property
    def text(self) -> str:
        """The answer, without special tokens."""
        return "".join(self.pieces)
