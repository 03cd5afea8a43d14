"""Reward models: linear heads on the policy's own frozen lower blocks, any sequence classifier, any Python
function.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lm import Adapter, LanguageModel
from lm.loading import gpu_here
from pareto.pairs import Prompt, messages

FOLDER = Path(__file__).parents[1] / "assets" / "rewards"
OBJECTIVES = ("helpful", "harmless")
TUNED = "head.safetensors"
MOST_ANSWER = 96
"""Tokens of an answer that a head reads."""


class RewardError(ValueError):
    """A reward model that cannot be used, or gave what is no reward."""


class Reward(Protocol):
    """Anything that scores answers. identity: tells it from other rewards, also in another process."""

    @property
    def identity(self) -> str: ...

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """float32 [n], larger is better."""
        ...


@dataclass(frozen=True, eq=False)
class Head:
    """A Bradley-Terry head: (weight . mean over the answer's tokens of block `block`'s output - mean) / std.

    mean, std: of the held-out answers that people and judges compared, so that 0 is an average answer of that
    data and 1 a standard deviation. model_hash: of the model whose residual stream it reads.
    """

    objective: str
    model_hash: str
    block: int
    weight: Tensor
    mean: float
    std: float

    def of_pooled(self, pooled: Tensor) -> Tensor:
        """Rewards [n] of pooled states [n, width]."""
        return checked(
            (pooled.float() @ self.weight.to(pooled.device) - self.mean) / self.std, self.objective
        )

    @property
    def identity(self) -> str:
        """The hash."""
        return self.hash

    @property
    def hash(self) -> str:
        """16 hex digits of the weights and constants, stored with whatever was scored."""
        return hashlib.sha256(
            self.weight.numpy().tobytes() + repr((self.block, self.mean, self.std)).encode()
        ).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Writes a safetensors file; the constants are its metadata."""
        about = {
            "objective": self.objective,
            "model_hash": self.model_hash,
            "block": self.block,
            "mean": self.mean,
            "std": self.std,
        }
        save_file({"weight": self.weight}, path, {"head": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Reads what `save` wrote. Raises RewardError."""
        try:
            with safe_open(path, "pt") as file:
                return cls(weight=file.get_tensor("weight"), **json.loads(file.metadata()["head"]))
        except (FileNotFoundError, SafetensorError, KeyError, TypeError) as error:
            raise RewardError(
                f"{path} is no reward head ({error}): make one with python -m pareto rewards --fit"
            ) from None


@dataclass(frozen=True, eq=False)
class HeadReward:
    """A head with the model that it reads, and the adapter that was tuned with it, if any."""

    model: LanguageModel
    head: Head
    adapter: Adapter | None = None

    @property
    def identity(self) -> str:
        """The head's hash: it was tuned together with its adapter."""
        return self.head.hash

    @classmethod
    def tuned(cls, folder: Path, model: LanguageModel) -> "HeadReward":
        """What `save` wrote. Raises RewardError, and ValueError where the adapter is none."""
        return cls(model, Head.load(folder / TUNED), Adapter.load(folder))

    def save(self, folder: Path) -> None:
        """Writes head and adapter to one folder."""
        assert self.adapter is not None  # only what was tuned is saved here; a head alone has Head.save
        self.adapter.save(folder, self.model.name)
        self.head.save(folder / TUNED)

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """Standard deviations above the average answer, float32 [n]."""
        states = pooled(self.model, prompts, answers, self.head.block + 1, adapter=self.adapter)
        return self.head.of_pooled(states[:, self.head.block])


class ClassifierReward:
    """A Hugging Face sequence-classification reward model, by hub id or folder: its first logit."""

    def __init__(self, name: str, batch: int = 8):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        device = gpu_here() or torch.device("cpu")
        self._tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            name, trust_remote_code=False, use_safetensors=True, dtype="auto"
        )
        self._model, self._batch, self.identity = model.to(device).eval(), batch, name
        self._tokenizer.truncation_side = "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model.config.pad_token_id = self._tokenizer.pad_token_id

    @torch.inference_mode()
    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """First logits, float32 [n]."""
        texts = [self._text(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        found = []
        for at in range(0, len(texts), self._batch):
            batch = self._tokenizer(
                texts[at : at + self._batch],
                return_tensors="pt",
                padding=True,
                truncation=True,
                add_special_tokens=self._tokenizer.chat_template is None,
            )
            found.append(self._model(**batch.to(self._model.device)).logits[:, 0].float().cpu())
        return checked(torch.cat(found), self.identity)

    def _text(self, prompt: Prompt, answer: str) -> str:
        turns = [(("user", prompt),) if isinstance(prompt, str) else prompt][0]
        if self._tokenizer.chat_template is None:
            return "\n\n".join([content for _, content in turns] + [answer])
        chat = [{"role": role, "content": content} for role, content in (*turns, ("assistant", answer))]
        text = self._tokenizer.apply_chat_template(chat, tokenize=False)
        assert isinstance(text, str)  # of one chat that is not tokenized
        return text


@dataclass(frozen=True)
class FunctionReward:
    """A Python function (prompt, answer) -> number."""

    function: Callable[[Prompt, str], float]

    @property
    def identity(self) -> str:
        """module:name, as --reward takes it."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """What the function says, float32 [n]."""
        values = [
            float(self.function(prompt, answer)) for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return checked(torch.tensor(values), self.identity)


def checked(rewards: Tensor, name: str) -> Tensor:
    """The rewards, unless one is no finite number: then RewardError."""
    if bad := int((~torch.isfinite(rewards)).sum()):
        raise RewardError(
            f"reward {name} gave {bad} of {len(rewards)} values that are no finite numbers: check its weights and input"
        )
    return rewards


def sequences(
    model: LanguageModel, prompts: Sequence[Prompt], answers: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """Token ids of chats with their answers (cut to MOST_ANSWER tokens), and where each answer starts."""
    ids, starts = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        chat = model.chat_ids(messages(prompt))
        words = model.codec.answer_ids(answer)[:MOST_ANSWER]
        ids.append(chat + (words or [model.tokenizer.eos_token_id]))
        starts.append(len(chat))
    return ids, starts


def pooled(
    model: LanguageModel, prompts: Sequence[Prompt], answers: Sequence[str], blocks: int, **reading
) -> Tensor:
    """Mean over each answer's tokens of the first `blocks` blocks' outputs: float32 [n, blocks, width]."""
    ids, starts = sequences(model, prompts, answers)
    return model.read(ids, pool="mean", starts=starts, blocks=blocks, **reading)


def heads(model: LanguageModel, folder: Path = FOLDER) -> dict[str, Head]:
    """The shipped heads by objective. Raises RewardError where they read another model."""
    found = {objective: Head.load(folder / f"{objective}.safetensors") for objective in OBJECTIVES}
    for head in found.values():
        if head.model_hash != model.hash:
            raise RewardError(
                f"the reward head {head.objective} reads model {head.model_hash}, not {model.name} ({model.hash}): "
                "fit heads for this model with python -m pareto rewards --fit, or give a reward model with --reward"
            )
    return found
