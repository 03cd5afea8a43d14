"""What a reward head is fitted on: pooled states of answers, and their lengths."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from common import digests
from lm import LanguageModel
from lm.paths import replacing
from pareto.heads import pooled, sequences
from pareto.pairs import Pair, Prompt

PIECE = 50
"""Prompts whose answers are read between two files of a reading that goes on where it was ended."""


def features(
    model: LanguageModel,
    pairs: Sequence[Pair],
    block: int,
    progress: Callable[[float], None] | None = None,
    kept: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled states [n, 2, width] of block `block`, in half precision, and answer lengths in tokens [n, 2];
    each prompt and answer is read once. kept: a folder where they stay piece by piece, so that a reading that
    was ended goes on from there.
    """
    answers: dict[Prompt, dict[str, int]] = {}
    for pair in pairs:
        for answer in (pair.chosen, pair.rejected):
            answers.setdefault(pair.prompt, {}).setdefault(answer, 0)
    count = 0
    for rows_of in answers.values():
        rows_of |= {answer: at for at, answer in enumerate(rows_of, count)}
        count += len(rows_of)
    asked = [(prompt, [*rows_of]) for prompt, rows_of in answers.items()]
    tell = progress or (lambda share: None)

    def read(done: int) -> dict[str, torch.Tensor]:
        piece = asked[done : done + PIECE]
        file = kept and kept / f"{digests.short(repr((block, piece)).encode())}.safetensors"
        if file and file.exists():
            return load_file(file)
        part = _read(model, piece, block, lambda more: tell((done + more) / len(asked)))
        if file:
            with replacing(file) as fresh:
                save_file(part, fresh)
        return part

    parts = [read(done) for done in range(0, len(asked), PIECE)]
    rows = np.array(
        [[answers[pair.prompt][answer] for answer in (pair.chosen, pair.rejected)] for pair in pairs]
    )
    states, lengths = (torch.cat([part[name] for part in parts]) for name in ("states", "lengths"))
    return states.double().numpy()[rows], lengths.numpy()[rows]


def _read(
    model: LanguageModel,
    asked: Sequence[tuple[Prompt, list[str]]],
    block: int,
    tell: Callable[[int], None],
) -> dict[str, torch.Tensor]:
    """Of all answers to some prompts: states float16 [n, width], and lengths [n]. tell hears how many prompts are read."""
    states, lengths = [], []
    for done, (prompt, texts) in enumerate(asked, 1):
        prompts = [prompt] * len(texts)
        states.append(pooled(model, prompts, texts, block + 1)[:, block].half())
        lengths.append(torch.from_numpy(lengths_of(*sequences(model, prompts, texts))))
        tell(done)
    return {"states": torch.cat(states), "lengths": torch.cat(lengths)}


def lengths_of(ids: Sequence[Sequence[int]], starts: Sequence[int]) -> np.ndarray:
    """Tokens of each answer [n]."""
    return np.array([len(row) - start for row, start in zip(ids, starts, strict=True)], float)
