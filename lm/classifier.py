"""Sequence classifiers of transformers: a folder or hub id that gives every text a logit a label."""

import math
import os
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from common.folders import expanded
from lm.devices import device_here
from lm.folder import QUANTISED
from lm.sources import reason
from lm.transformers_folder import is_empty, plain_config

MAX_BATCH = 8
UNBOUNDED = 1_000_000
"""Tokenizers that know no length say 10^30."""


class ClassifierError(ValueError):
    """A classifier that cannot be loaded, or a model that is no classifier."""


class Classifier:
    """A sequence classifier in float32 on a CPU, in the dtype of its files elsewhere.

    Texts of equal length share a batch and nothing is padded, so a text scores the same alone and in company,
    whatever the padding side or token. A text that is longer than the model's positions loses its start.

    Raises
    ------
    ClassifierError
        where the model cannot be loaded, or was not trained as a sequence classifier
    """

    def __init__(self, name: str):
        self.name = name
        self.tokenizer, model = _loaded(name)
        self._model = model.to(device_here()).eval()
        self.tokenizer.truncation_side = "left"
        # Without a padding token transformers takes -1 for none, and reads the last token of every text.
        if model.config.pad_token_id is None:
            model.config.pad_token_id = -1
        names = model.config.id2label  # it may count from 1, or leave some out
        self.labels = [str(names.get(index, f"LABEL_{index}")) for index in range(model.config.num_labels)]
        self._longest = _longest(self.tokenizer, model)
        self._try()

    def label(self, asked: str) -> int:
        """The index of a label by its name; "" names the only one. Raises ClassifierError."""
        if not asked:
            if len(self.labels) == 1:
                return 0
            raise ClassifierError(
                f"Classifier {self.name} has the labels {', '.join(self.labels)}: "
                f"name the one that counts, as in {self.name}#{self.labels[-1]}."
            )
        fitting = [index for index, label in enumerate(self.labels) if label == asked]
        fitting = fitting or [i for i, label in enumerate(self.labels) if _folded(label) == _folded(asked)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ClassifierError(
                f"Classifier {self.name} has {len(fitting)} labels {asked!r}: give them names of their own."
            )
        raise ClassifierError(
            f"Classifier {self.name} has no label {asked!r}: give {', '.join(self.labels)}."
        )

    @cached_property
    def independent(self) -> bool:
        """Whether each label is a question of its own (a sigmoid), not one of several answers (a softmax)."""
        return len(self.labels) == 1 or self._model.config.problem_type == "multi_label_classification"

    def encode(self, *texts: str, special_tokens: bool = True) -> dict[str, list[int]]:
        """One text, or two as one input, as the model reads it, cut to its length."""
        return dict(
            self.tokenizer(
                *texts,
                add_special_tokens=special_tokens,
                truncation="longest_first" if self._longest else False,
                max_length=self._longest,
            )
        )

    def _try(self) -> None:
        """Scores a short text. Raises ClassifierError where that fails."""
        # a few families hash characters and know no vocabulary
        known = getattr(self._model.config.get_text_config(), "vocab_size", math.inf)
        inputs = self.encode("Hi")
        most = max([self.tokenizer.vocab_size - 1, *inputs["input_ids"]])
        if most >= known:
            raise ClassifierError(
                f"Classifier {self.name} has a tokenizer with token {most}, and its model knows 0 to {known - 1}: take the tokenizer "
                "that the model was trained with."
            )
        try:
            if inputs["input_ids"]:
                self.logits([inputs])
        except Exception as error:  # any error: the first run of somebody else's model code
            raise ClassifierError(
                f"Classifier {self.name} cannot score a text ({reason(error)}): fetch it again, or give another one."
            ) from error

    @torch.inference_mode()
    def logits(self, inputs: Sequence[dict[str, list[int]]]) -> Tensor:
        """Logits of encoded texts, float32 [n, labels]."""
        by_length: dict[int, list[int]] = {}
        for index, row in enumerate(inputs):
            by_length.setdefault(len(row["input_ids"]), []).append(index)
        scores = torch.empty(len(inputs), len(self.labels))
        for rows in by_length.values():
            for at in range(0, len(rows), MAX_BATCH):
                part = rows[at : at + MAX_BATCH]
                batch = {key: torch.tensor([inputs[i][key] for i in part]) for key in inputs[part[0]]}
                on_device = {key: value.to(self._model.device) for key, value in batch.items()}
                scores[part] = self._model(**on_device).logits.float().cpu()
        return scores


def split(spec: str) -> tuple[str, str]:
    """A classifier's name, and its options, which begin at a # or ?. A folder's name may contain these
    letters, too.
    """
    ends = [at for at, letter in enumerate(spec) if letter in "?#"]
    folders = (end for end in (len(spec), *reversed(ends)) if os.path.isdir(expanded(spec[:end])))
    end = next(folders, min(ends, default=len(spec)))
    return spec[:end], spec[end:]


def _folded(label: str) -> str:
    """A label in the one form that all its spellings share: capitals and separate accents make no difference."""
    return unicodedata.normalize("NFC", label.casefold())


def _loaded(name: str) -> tuple[Any, Any]:
    """Tokenizer and model. Raises ClassifierError."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = expanded(name)
    name, how = str(folder) if os.path.isdir(folder) else name, {"trust_remote_code": False}
    dtype = "auto" if device_here().type != "cpu" else torch.float32
    try:
        config = plain_config(name)
        tokenizer = AutoTokenizer.from_pretrained(name, config=config, **how)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=config,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **how,
        )
    except Exception as error:  # any error: files of many formats
        raise ClassifierError(
            f"Classifier {name} cannot be loaded ({reason(error)}): "
            "give the folder or hub id of a sequence classifier with safetensors weights."
        ) from None
    if is_empty(tokenizer):
        raise ClassifierError(f"Classifier {name} has no tokenizer, or one without words: fetch it again.")
    if type(tokenizer.model_max_length) not in (int, float):
        raise ClassifierError(
            f"Classifier {name} has a tokenizer with model_max_length {tokenizer.model_max_length!r}: give a number."
        )
    if unlike := sorted(report["mismatched_keys"]):
        tensor, stored, wanted = unlike[0]
        raise ClassifierError(
            f"Classifier {name} holds {tensor} as {[*stored]}, "
            f"and its config.json asks for {[*wanted]}: mend config.json, or fetch it again."
        )
    if codes := next(filter(QUANTISED.search, sorted(report["unexpected_keys"])), None):
        raise ClassifierError(
            f"Classifier {name} is stored quantised (it holds {codes}), "
            "and its config.json does not say how: give it in 16 bits."
        )
    if missing := sorted(report["missing_keys"]):
        raise ClassifierError(
            f"Classifier {name} has no weights for {', '.join(missing[:3])}: "
            "give a model that was trained as a sequence classifier."
        )
    return tokenizer, model


def _longest(tokenizer: Any, model: Any) -> int | None:
    """Tokens that the model reads at most, None where neither tokenizer nor model has a bound."""
    bounds = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    for path, table in model.named_modules():
        if path.endswith("position_embeddings") and isinstance(table, nn.Embedding):
            unused = 0 if table.padding_idx is None else table.padding_idx + 1  # RoBERTa counts from there on
            bounds.append(table.num_embeddings - unused)
    known = [bound for bound in bounds if bound and 0 < bound < UNBOUNDED]
    return int(min(known)) if known else None
