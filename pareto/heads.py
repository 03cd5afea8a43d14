"""Bradley-Terry heads: linear on the policy's own frozen lower blocks,
alone or with an adapter tuned below them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common import digests
from common.jsons import JsonObject
from lm import Adapter, LanguageModel
from lm.paths import lab_folder
from pareto.gate import Gate
from pareto.pairs import Prompt, messages
from pareto.reward import Reward, RewardError, checked

FOLDER = Path(__file__).parents[1] / "assets" / "rewards"
OBJECTIVES = ("helpful", "harmless")
TUNED = "head.safetensors"
MAX_ANSWER = 96
"""Tokens of an answer that a head reads."""


@dataclass(frozen=True, eq=False)
class Head:
    """A Bradley-Terry head: (w . mean over the answer's tokens of block `block`'s output - mean) / std.

    w is `weight`, or with a gate weight + gate(prompt) * gated: what counts depends on how unsafe the prompt
    is.

    mean, std: of the held-out answers that people and judges compared, so that 0 is an average answer of that
    data and 1 a standard deviation. model_hash: of the model whose residual stream it reads.
    """

    objective: str
    model_hash: str
    block: int
    weight: Tensor
    mean: float
    std: float
    gate: Gate | None = None
    gated: Tensor | None = None

    def of_pooled(self, model: LanguageModel, prompts: Sequence[Prompt], pooled: Tensor) -> Tensor:
        """Rewards [n] of answers' pooled states [n, width]; a gate reads their prompts with the model."""
        scores = pooled.float() @ self.weight.to(pooled.device)
        if self.gate is not None and self.gated is not None:
            opened = self.gate.of(model, prompts).to(pooled.device)
            scores = scores + opened * (pooled.float() @ self.gated.to(pooled.device))
        return checked((scores - self.mean) / self.std, self.objective)

    def of(self, model: LanguageModel) -> "Head":
        """The head, if it reads `model`. Raises RewardError."""
        if self.model_hash != model.hash:
            raise RewardError(
                f"The reward head {self.objective} reads model {self.model_hash}, not {model.name} ({model.hash}): "
                "make this model's with tradewind prepare, or give a reward model with --reward."
            )
        return self

    @property
    def identity(self) -> str:
        """The hash."""
        return self.hash

    @property
    def hash(self) -> str:
        """16 hex digits of the weights and constants, stored with whatever was scored."""
        constants = (self.block, self.mean, self.std, *([self.gate.bias] if self.gate else []))
        tensors = b"".join(tensor.numpy().tobytes() for tensor in self._tensors().values())
        return digests.short(tensors + repr(constants).encode())

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"weight": self.weight}
        if self.gate is not None and self.gated is not None:
            tensors |= {"gate": self.gate.weight, "gated": self.gated}
            parts = self.gate.adapter.parts if self.gate.adapter else {}
            for (layer, module), halves in sorted(parts.items()):
                for half, tensor in zip("ab", halves, strict=True):
                    tensors[f"gate.{layer}.{module}.{half}"] = tensor.half().contiguous()
        return tensors

    @property
    def constants(self) -> JsonObject:
        """What it reads, and its scale."""
        names = ("objective", "model_hash", "block", "mean", "std")
        return {name: getattr(self, name) for name in names}

    def save(self, path: Path) -> None:
        """Writes a safetensors file; the constants are its metadata."""
        about = self.constants | ({"bias": self.gate.bias} if self.gate else {})
        save_file(self._tensors(), path, {"head": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Reads what `save` wrote. Raises RewardError."""
        try:
            with safe_open(path, "pt") as file:
                about = json.loads(file.metadata()["head"])
                bias = about.pop("bias", None)
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                tuned = {name: tensors.pop(name) for name in list(tensors) if name.startswith("gate.")}
                gate = (
                    None if bias is None else Gate(about["block"], tensors.pop("gate"), bias, _adapter(tuned))
                )
                return cls(gate=gate, **tensors, **about)
        except (FileNotFoundError, SafetensorError, KeyError, TypeError) as error:
            raise RewardError(
                f"{path} is no reward head ({error}): make one with python -m pareto rewards --fit."
            ) from None


def _adapter(tensors: Mapping[str, Tensor]) -> Adapter | None:
    """The gate's adapter, from tensors named "gate.LAYER.MODULE.HALF"."""
    keys = dict.fromkeys(tuple(name.split(".")[1:3]) for name in tensors)
    parts = {
        (int(layer), module): (
            tensors[f"gate.{layer}.{module}.a"].float(),
            tensors[f"gate.{layer}.{module}.b"].float(),
        )
        for layer, module in keys
    }
    return Adapter(parts) if parts else None


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
        return cls(model, Head.load(folder / TUNED).of(model), Adapter.load(folder))

    def save(self, folder: Path) -> None:
        """Writes head and adapter to one folder."""
        assert self.adapter is not None  # a head without an adapter is saved by Head.save
        self.adapter.save(folder, self.model.name)
        self.head.save(folder / TUNED)

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Tensor:
        """Standard deviations above the average answer, float32 [n]."""
        states = pooled(self.model, prompts, answers, self.head.block + 1, adapter=self.adapter)
        return self.head.of_pooled(self.model, prompts, states[:, self.head.block])


def scorer(model: LanguageModel, reward: "Reward | Head") -> Reward:
    """A reward that scores texts: a head does it with the model that it reads."""
    return HeadReward(model, reward) if isinstance(reward, Head) else reward


def sequences(
    model: LanguageModel, prompts: Sequence[Prompt], answers: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """Token ids of chats with their answers (cut to MAX_ANSWER tokens), and where each answer starts. An empty answer
    is its end, or where the model has none the prompt's last token.
    """
    ids, starts = [], []
    end = [] if model.end is None else [model.end]
    for prompt, answer in zip(prompts, answers, strict=True):
        chat = model.chat_ids(messages(prompt))
        words = model.codec.answer_ids(answer)[:MAX_ANSWER]
        ids.append(chat + (words or end))
        starts.append(min(len(chat), len(ids[-1]) - 1))
    return ids, starts


def pooled(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    blocks: int,
    adapter: Adapter | None = None,
) -> Tensor:
    """Mean over each answer's tokens of the first `blocks` blocks' outputs: float32 [n, blocks, width]."""
    ids, starts = sequences(model, prompts, answers)
    return model.read(ids, pool="mean", starts=starts, layers=blocks, adapter=adapter)


def heads(model: LanguageModel, objectives: Sequence[str] = OBJECTIVES) -> dict[str, Head]:
    """The heads of some of OBJECTIVES: those that were fitted here, or else those that ship. Raises
    RewardError where they read another model.
    """
    own = own_heads(model, objectives)
    return {
        objective: own.get(objective) or Head.load(FOLDER / f"{objective}.safetensors").of(model)
        for objective in objectives
    }


def own_heads(model: LanguageModel, objectives: Sequence[str] = OBJECTIVES) -> dict[str, Head]:
    """The heads that were fitted here for a model."""
    files = [lab_folder(model.hash, "rewards") / f"{objective}.safetensors" for objective in objectives]
    return {file.stem: Head.load(file).of(model) for file in files if file.exists()}


def identified(model: LanguageModel, hashes: Mapping[str, str]) -> dict[str, Head]:
    """The heads with these hashes, by objective, among those that ship and have shipped.
    Raises RewardError.
    """
    known = {
        head.hash: head
        for head in [*map(Head.load, FOLDER.rglob("*.safetensors")), *own_heads(model).values()]
    }
    if missing := [objective for objective, hash in hashes.items() if hash not in known]:
        raise RewardError(
            f"The reward heads for {', '.join(missing)} that scored this front are not in {FOLDER.name}: "
            "delete the front's file, and score its points again with python -m pareto evaluate --add."
        )
    return {objective: known[hash].of(model) for objective, hash in hashes.items()}
