"""Any Hugging Face sequence classifier as a reward: the logit of its one label,
or of the label that is named.
"""

import os
import re
from collections.abc import Sequence

from torch import Tensor

from common.folders import expanded
from lm.classifier import Classifier, ClassifierError, split
from lm.sources import reason
from pareto.pairs import Prompt
from pareto.reward import RewardError, checked

FORMS = ("chat", "joined", "pair", "answer")
"""How a prompt and its answer become a text: by the tokenizer's chat template; joined by blank lines; as two
texts of one input, as models trained on pairs of sentences read them; the answer alone. Where none is named,
chat if there is a template, else joined.
"""
OPTIONS = re.compile(r"(?:\?form=(?P<form>\w*))?(?:#(?P<sign>-?)(?P<label>.*))?")


class ClassifierReward:
    """A sequence classifier's logit. Of a text that is too long for the model the end of the answer stays.

    Parameters
    ----------
    spec : NAME[?form=FORM][#[-]LABEL]: a folder or hub id, one of FORMS, and the label whose logit counts;
        with a minus, its negative. A model of one logit needs no label.

    Raises
    ------
    RewardError
        Where the model cannot be loaded, is no classifier, or has several labels and none is named.
    """

    def __init__(self, spec: str):
        name, options = split(spec)
        parts = OPTIONS.fullmatch(options)
        if parts is None or not name:
            raise RewardError(
                f"Reward {spec!r} cannot be read: give NAME, NAME#LABEL or NAME?form=answer#LABEL."
            )
        sign, wanted = parts["sign"] or "", parts["label"] or ""
        try:
            self._classifier = Classifier(name)
            if sign + wanted in self._classifier.labels:  # a label may begin with a minus
                sign, wanted = "", sign + wanted
            self._label = self._classifier.label(wanted)
        except ClassifierError as error:
            raise RewardError(str(error)) from None
        self._sign = -1.0 if sign else 1.0
        template = self._classifier.tokenizer.chat_template
        self._form = parts["form"] or ("chat" if template else "joined")
        if self._form not in FORMS or (self._form == "chat" and not template):
            raise RewardError(
                f"Reward {name} has form {self._form!r}: give {', '.join(FORMS)} (chat needs a chat template)."
            )
        label = self._classifier.labels[self._label] if wanted else ""
        self.identity = f"{name}?form={self._form}#{sign}{label}"

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """Logits, float32 [n]."""
        inputs = [self._input(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        return checked(self._sign * self._classifier.logits(inputs)[:, self._label], self.identity)

    def _input(self, prompt: Prompt, answer: str) -> dict[str, list[int]]:
        turns = [("user", prompt)] if isinstance(prompt, str) else [*prompt]
        words = "\n\n".join(content for _, content in turns)
        texts = {"pair": [words, answer], "answer": [answer], "joined": [f"{words}\n\n{answer}"]}
        chat = self._form == "chat"
        encoded = self._classifier.encode(
            *([self._chat(turns, answer)] if chat else texts[self._form]), special_tokens=not chat
        )
        if not encoded["input_ids"]:
            raise RewardError(
                f"Reward {self.identity} reads no token of {answer!r}: give an answer with words."
            )
        return encoded

    def _chat(self, turns: Sequence[tuple[str, str]], answer: str) -> str:
        chat = [{"role": role, "content": content} for role, content in (*turns, ("assistant", answer))]
        tokenizer = self._classifier.tokenizer
        try:
            text = tokenizer.apply_chat_template(chat, tokenize=False)
        except Exception as error:  # a template is a program that came with the model, and fails as it likes
            raise RewardError(
                f"Reward {tokenizer.name_or_path} has a chat template that takes no such chat ({reason(error)}): "
                "add ?form=joined to its name."
            ) from None
        assert isinstance(text, str)  # a chat template renders one chat as one text
        return text


def is_folder(name: str) -> bool:
    """Whether a spec names a folder of this machine."""
    return os.path.isdir(expanded(split(name)[0]))
