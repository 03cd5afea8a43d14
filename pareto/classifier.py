"""Any Hugging Face sequence classifier as a reward: the logit of its one label, or of the label that is named."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from torch import Tensor, nn

from lm import device_here
from lm.folder import QUANTISED
from pareto.pairs import Prompt
from pareto.reward import RewardError, checked

FORMS = ("chat", "joined", "pair", "answer")
"""How a prompt and its answer become a text: by the tokenizer's chat template; joined by blank lines; as two texts of one
input, as models trained on pairs of sentences read them; the answer alone. Without a word, chat where there is a
template, else joined."""
SPEC = re.compile(r"(?P<name>[^?#]+)(?:\?form=(?P<form>\w*))?(?:#(?P<sign>-?)(?P<label>.*))?")
MAX_BATCH = 8
UNBOUNDED = 1_000_000
"""Tokenizers that know no length say 10^30."""


class ClassifierReward:
    """A sequence classifier's logit.

    Texts of equal length share a batch and nothing is padded, so a text scores the same alone and in company, whatever
    the padding side or token. A text that is longer than the model's positions loses its start: the end of the answer
    stays.

    Parameters
    ----------
    what : NAME[?form=FORM][#[-]LABEL]: a folder or hub id, one of FORMS, and the label whose logit counts; with a
        minus, its negative. A model of one logit needs no label.

    Raises
    ------
    RewardError
        Where the model cannot be had, is no classifier, or has several labels and none is named.
    """

    def __init__(self, what: str):
        parts = SPEC.fullmatch(what)
        if parts is None:
            raise RewardError(
                f"Reward {what!r} cannot be read: give NAME, NAME#LABEL or NAME?form=answer#LABEL."
            )
        name = parts["name"]
        self._tokenizer, model = _loaded(name)
        self._model = model.to(device_here()).eval()
        sign, asked = parts["sign"] or "", parts["label"] or ""
        labels = [str(model.config.id2label[index]) for index in range(model.config.num_labels)]
        if sign + asked in labels:  # a label may begin with a minus
            sign, asked = "", sign + asked
        self._label, label = _label(name, labels, asked)
        self._sign = -1.0 if sign else 1.0
        self._form = parts["form"] or ("chat" if self._tokenizer.chat_template else "joined")
        if self._form not in FORMS or (self._form == "chat" and not self._tokenizer.chat_template):
            raise RewardError(
                f"Reward {name} has form {self._form!r}: give {', '.join(FORMS)} (chat needs a chat template)."
            )
        self._longest = _longest(self._tokenizer, model)
        self._tokenizer.truncation_side = "left"
        if model.config.pad_token_id is None:
            model.config.pad_token_id = (
                -1
            )  # no token: nothing is padded, and the last token of every text is read
        self.identity = f"{name}?form={self._form}#{sign}{label}"

    @torch.inference_mode()
    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """Logits, float32 [n]."""
        inputs = [self._input(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        by_length: dict[int, list[int]] = {}
        for index, row in enumerate(inputs):
            by_length.setdefault(len(row["input_ids"]), []).append(index)
        scores = torch.empty(len(inputs))
        for rows in by_length.values():
            for at in range(0, len(rows), MAX_BATCH):
                part = rows[at : at + MAX_BATCH]
                batch = {key: torch.tensor([inputs[i][key] for i in part]) for key in inputs[part[0]]}
                on_device = {key: value.to(self._model.device) for key, value in batch.items()}
                scores[part] = self._model(**on_device).logits[:, self._label].float().cpu()
        return checked(self._sign * scores, self.identity)

    def _input(self, prompt: Prompt, answer: str) -> dict[str, list[int]]:
        turns = [("user", prompt)] if isinstance(prompt, str) else [*prompt]
        asked = "\n\n".join(content for _, content in turns)
        texts = {"pair": [asked, answer], "answer": [answer], "joined": [f"{asked}\n\n{answer}"]}
        encoded = self._tokenizer(
            *(texts[self._form] if self._form != "chat" else [self._chat(turns, answer)]),
            add_special_tokens=self._form != "chat",
            truncation="longest_first" if self._longest else False,
            max_length=self._longest,
        )
        if not encoded["input_ids"]:
            raise RewardError(
                f"Reward {self.identity} reads no token of {answer!r}: give an answer with words."
            )
        return dict(encoded)

    def _chat(self, turns: Sequence[tuple[str, str]], answer: str) -> str:
        chat = [{"role": role, "content": content} for role, content in (*turns, ("assistant", answer))]
        try:
            text = self._tokenizer.apply_chat_template(chat, tokenize=False)
        except TemplateError as error:
            raise RewardError(
                f"Reward {self._tokenizer.name_or_path} has a chat template that takes no such chat ({error}): "
                "add ?form=joined to its name."
            ) from None
        assert isinstance(text, str)  # of one chat that is not tokenized
        return text


def _loaded(name: str) -> tuple[Any, Any]:
    """Tokenizer and model, in float32 on a CPU. Raises RewardError."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    how = {"trust_remote_code": False}
    dtype = "auto" if device_here().type != "cpu" else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **how)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            return_dict=True,
            **how,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RewardError(
            f"Reward {name} cannot be loaded ({reason}): give the folder or hub id of a sequence classifier with "
            "safetensors weights, or a function as module:name."
        ) from None
    if unlike := sorted(report["mismatched_keys"]):
        tensor, stored, wanted = unlike[0]
        raise RewardError(
            f"Reward {name} holds {tensor} as {[*stored]}, and its config.json asks for {[*wanted]}: mend config.json, or fetch it again."
        )
    if codes := next(filter(QUANTISED.search, sorted(report["unexpected_keys"])), None):
        raise RewardError(
            f"Reward {name} is stored quantised (it holds {codes}), and its config.json does not say how: give it in 16 bits."
        )
    if missing := sorted(report["missing_keys"]):
        raise RewardError(
            f"Reward {name} has no weights for {', '.join(missing[:3])}: give a model that was trained as a sequence classifier."
        )
    return tokenizer, model


def _label(name: str, labels: Sequence[str], asked: str) -> tuple[int, str]:
    """Index and name of the label that counts. Raises RewardError."""
    if not asked:
        if len(labels) == 1:
            return 0, ""
        raise RewardError(
            f"Reward {name} has the labels {', '.join(labels)}: name the one that counts, as in {name}#{labels[-1]}."
        )
    fitting = [index for index, label in enumerate(labels) if label == asked]
    fitting = fitting or [i for i, label in enumerate(labels) if label.casefold() == asked.casefold()]
    if len(fitting) == 1:
        return fitting[0], labels[fitting[0]]
    if fitting:
        raise RewardError(f"Reward {name} has {len(fitting)} labels {asked!r}: give them names of their own.")
    raise RewardError(f"Reward {name} has no label {asked!r}: give {', '.join(labels)}.")


def _longest(tokenizer: Any, model: Any) -> int | None:
    """Tokens that the model reads at most, None where neither tokenizer nor model has a bound."""
    bounds = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    for path, table in model.named_modules():
        if path.endswith("position_embeddings") and isinstance(table, nn.Embedding):
            unused = 0 if table.padding_idx is None else table.padding_idx + 1  # RoBERTa counts from there on
            bounds.append(table.num_embeddings - unused)
    known = [bound for bound in bounds if bound and 0 < bound < UNBOUNDED]
    return min(known, default=None)


def is_folder(name: str) -> bool:
    """Whether a spec names a folder of this machine."""
    parts = SPEC.fullmatch(name)
    return parts is not None and Path(parts["name"]).exists()
