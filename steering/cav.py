"""Concept activation vectors: logistic read-outs of the residual stream after every layer."""

import json
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lm import LanguageModel
from lm.caller import heed
from lm.paths import replacing
from steering import logistic
from steering.calibration import Calibration
from steering.concepts import MIN_TEXTS, Concept, ConceptError
from steering.examples import distinct, folds, held_out, one_of_each
from steering.responses import filtered

QUESTION = "Please go on."
RANDOM_DIRECTIONS = 16
READING = 0.5
"""Share of the training time that goes by until the activations are read, for the progress that is told."""
TENSORS = ("w", "b", "diffmean", "gap", "accuracy", "shuffled", "random")


@dataclass(frozen=True)
class Settings:
    """How a CAV is trained.

    frame: texts stand as the assistant's "answer", the user's "prompt", or "plain". position: activations of
    the "last" token, or their "mean" over the text. penalty: of |w|^2 / 2 beside the sum of log losses, after
    the activations are centered and scaled by one number a layer to unit variance. folds: of the held-out
    accuracy. source: "input" labels a text by its side (GCAV-Input), "output" keeps those whose response
    shows it (GCAV-Output).
    """

    frame: str = "answer"
    position: str = "mean"
    penalty: float = 30.0
    folds: int = 5
    seed: int = 0
    source: str = "input"

    def __post_init__(self) -> None:
        for name, known in (
            ("frame", ("answer", "prompt", "plain")),
            ("position", ("last", "mean")),
            ("source", ("input", "output")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name.capitalize()} is {getattr(self, name)!r}: give one of {', '.join(known)}."
                )
        if not self.penalty > 0:
            raise ValueError(
                f"Penalty is {self.penalty}: give a positive number; "
                "larger ones make |w| smaller and eps larger."
            )
        if not 2 <= self.folds <= 8:
            raise ValueError(f"Folds is {self.folds}: give 2 to 8.")


@dataclass(frozen=True, eq=False)
class CAV:
    """One concept in one model. w [layers, width] and b [layers]: P(concept | e) = sigmoid(w . e + b), in raw
    activation space.

    diffmean [layers, width]: unit difference of the sides' means, gap [layers]: its length. accuracy,
    shuffled, random [layers]: held-out accuracy, and that of the controls: a fit to shuffled labels, and
    random directions cut between the means; not a number where no texts are known. calibration: what steering
    with it costs, where that was measured.
    """

    model: str
    model_hash: str
    concept: str
    concept_hash: str
    settings: Settings
    w: Tensor
    b: Tensor
    diffmean: Tensor
    gap: Tensor
    accuracy: Tensor
    shuffled: Tensor
    random: Tensor
    calibration: Calibration | None = None

    @property
    def direction(self) -> Tensor:
        """Unit vectors w / |w| [layers, width]."""
        length: Tensor = self.w.norm(dim=1, keepdim=True)
        return self.w / length.clamp_min(1e-12)

    @property
    def imported(self) -> bool:
        """Whether it comes from a control vector, which has no texts on which an accuracy could be measured."""
        return bool(self.accuracy.isnan().all())

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have a direction: all layers, except of an imported vector."""
        return tuple(self.gap.nonzero()[:, 0].tolist())

    def save(self, path: Path | str) -> None:
        """Writes safetensors with the metadata."""
        about = {name: getattr(self, name) for name in ("model", "model_hash", "concept", "concept_hash")}
        about["settings"] = json.dumps(asdict(self.settings))
        if self.calibration is not None:
            about["calibration"] = json.dumps(self.calibration.to_dict())
        with replacing(Path(path)) as part:
            save_file({name: getattr(self, name).contiguous() for name in TENSORS}, part, about)

    @classmethod
    def load(cls, path: Path | str) -> "CAV":
        """Reads what `save` wrote. Raises ValueError where the file is damaged or something else."""
        try:
            with safe_open(path, framework="pt") as file:
                about = dict(file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in TENSORS}
            _check(tensors)
            settings = Settings(**json.loads(about.pop("settings")))
            written = about.pop("calibration", None)
            calibration = None if written is None else Calibration.from_dict(json.loads(written))
            if calibration and not {*calibration.layers} <= {*range(len(tensors["w"]))}:
                raise ValueError(f"it was calibrated at layers {[*calibration.layers]}")
            return cls(
                settings=settings,
                calibration=calibration,
                **about,
                **tensors,
            )
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{Path(path).name} is no concept vector of Tradewind ({error}): train it again."
            ) from None


def _check(tensors: dict[str, Tensor]) -> None:
    shape = tensors["w"].shape
    for name, tensor in tensors.items():
        if tensor.shape != (shape if name in ("w", "diffmean") else shape[:1]):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}")
        if name in ("w", "b", "diffmean", "gap") and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")


def framed(model: LanguageModel, text: str, frame: str) -> tuple[list[int], int]:
    """Token ids of a text as the assistant's answer, as the user's prompt, or plain, and where its own begin.

    The chat template's tokens stand before that place, and so does the very first token: an attention sink,
    whose state is far longer than any other and says nothing of the text.
    """
    if frame == "plain":
        ids = model.text_ids(text)
        return ids, min(1, len(ids) - 1)
    if frame == "prompt":
        before, after = model.chat_span
        ids = model.chat_ids(text)
        return ids[: len(ids) - after], max(before, min(1, len(ids) - after - 1))
    ids = model.chat_ids(QUESTION)
    return ids + model.codec.answer_ids(text), len(ids)


def train(
    model: LanguageModel,
    concept: Concept,
    settings: Settings = Settings(),
    *,
    progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> CAV:
    """Trains a concept's vectors at every layer (section 3.1 of the paper). Raises lm.Stopped, ConceptError where
    the model reads all texts alike.
    """
    if settings.source == "output":
        concept = filtered(model, concept, settings.seed, stop=stop)
    positive, negative = (_without_copies(concept, side) for side in ("positive", "negative"))
    report = progress or (lambda share: None)
    activations = read(
        model, positive + negative, settings, lambda share: report(READING * share), stop
    ).transpose(0, 1)
    alike = (activations == activations[:, :1]).all(dim=2).all(dim=1)
    if alike.any():
        raise ConceptError(
            f"{concept.name}: {model.name} reads all texts alike at layer {int(alike.nonzero()[0])}: "
            "give texts in letters that its tokenizer knows, or take another model."
        )
    labels = torch.tensor([1.0] * len(positive) + [0.0] * len(negative))
    w, b = fit(activations, labels, settings.penalty, stop)
    means = [activations[:, labels == side].mean(1) for side in (1, 0)]
    difference = means[0] - means[1]
    gap = difference.norm(dim=1)
    accuracy, shuffled, random = _accuracy(
        activations,
        labels,
        folds(positive, negative, settings.folds, settings.seed),
        settings,
        lambda share: report(READING + (1 - READING) * share),
        stop,
    )
    return CAV(
        model.name,
        model.hash,
        concept.name,
        concept.hash,
        settings,
        w,
        b,
        difference / gap[:, None],
        gap,
        accuracy,
        shuffled,
        random,
    )


def _without_copies(concept: Concept, side: str) -> tuple[str, ...]:
    texts = getattr(concept, side)
    different = distinct(texts)
    if len(different) < MIN_TEXTS:
        raise ConceptError(
            f"{concept.name}: of the {side} "
            f"side's {len(texts)} texts only {len(different)} differ: give at least {MIN_TEXTS}."
        )
    if len(different) < len(texts):
        warnings.warn(
            f"{concept.name}: of the {side} "
            f"side's {len(texts)} texts only {len(different)} differ; copies count once",
            stacklevel=4,
        )
    return different


def read(
    model: LanguageModel,
    texts: Sequence[str],
    settings: Settings,
    progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> Tensor:
    """Activations [n, layers, width] of texts, framed and pooled over their own tokens as settings say."""
    ids, starts = zip(*(framed(model, text, settings.frame) for text in texts), strict=True)
    return model.read(ids, pool=settings.position, starts=starts, progress=progress, stop=stop)


def fit(
    activations: Tensor, labels: Tensor, penalty: float, stop: threading.Event | None = None
) -> tuple[Tensor, Tensor]:
    """Logistic regression with an L2 penalty at every layer. activations: [layers, n, width]; labels: [n], 0
    or 1.

    Returns w [layers, width] and b [layers] in the space of the activations as they are. Raises lm.Stopped.
    """
    fitted = []
    for layer in activations:
        heed(stop)
        x, mean, scale = _scaled(layer)
        alpha, bias = logistic.fit(x @ x.mT, labels, penalty)
        w = (alpha @ x) / scale
        fitted.append((w.float(), (bias - (w * mean).sum()).float()))
    return torch.stack([w for w, _ in fitted]), torch.stack([b for _, b in fitted])


def _scaled(activations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One layer's activations [n, width] centered and divided by one number, that mean [width], that number;
    float64.
    """
    x = activations.double()
    mean = x.mean(0)
    scale = (x - mean).pow(2).mean().sqrt()
    return (x - mean) / scale, mean, scale


def _accuracy(
    activations: Tensor,
    labels: Tensor,
    fold: Tensor,
    settings: Settings,
    report: Callable[[float], None],
    stop: threading.Event | None,
) -> Tensor:
    """Held-out accuracy [3, layers]: of the fit, of one to shuffled labels, of random directions."""
    generator = torch.Generator().manual_seed(settings.seed)
    layers, n, width = activations.shape
    both = torch.stack([labels, labels[torch.randperm(n, generator=generator)]]).double()
    directions = torch.randn(layers, width, RANDOM_DIRECTIONS, generator=generator, dtype=torch.float64)
    accuracy = torch.zeros(3, layers)
    for layer in range(layers):
        heed(stop)
        x = _scaled(activations[layer])[0]
        accuracy[:2, layer] = held_out(x @ x.mT, both, fold, settings.folds, settings.penalty)
        accuracy[2, layer] = _cut_between(x @ directions[layer], labels, fold, settings.folds)
        report((layer + 1) / layers)
    return accuracy


def _cut_between(values: Tensor, labels: Tensor, fold: Tensor, count: int) -> float:
    """Held-out accuracy of a cut halfway between the sides' means, mean over the columns of values [n, m]."""
    right = 0.0
    for k in range(count):
        inside, outside = fold != k, fold == k
        if not one_of_each(labels[None, inside]):
            right += float(outside.sum()) / 2
            continue
        top, bottom = values[inside & (labels == 1)].mean(0), values[inside & (labels == 0)].mean(0)
        z = (values[outside] - (top + bottom) / 2) * (top - bottom).sign()
        right += float(((z > 0) == labels[outside, None].bool()).float().mean(-1).sum())
    return right / len(labels)


def logits(cav: CAV, activations: Tensor) -> Tensor:
    """w . e + b, the log-odds of the concept [n, layers], of activations [n, layers, width]."""
    return torch.einsum("nld,ld->nl", activations, cav.w) + cav.b


def among(cav: CAV, layers: Iterable[int]) -> tuple[int, ...]:
    """Of the given layers those that have a direction; if none has, all layers that have one."""
    return tuple(layer for layer in layers if layer in cav.layers) or cav.layers


def best_layers(cavs: Sequence[CAV], count: int = 8) -> tuple[int, ...]:
    """The `count` layers with the best mean held-out accuracy among the middle ones, from a quarter to six
    tenths of the model.

    The first layers read words rather than meaning. Later ones read as well but steer worse: on the default
    model they bring more repetition and KL for the same effect.
    """
    accuracy = torch.stack([cav.accuracy for cav in cavs]).mean(0).nan_to_num(0.0)
    layers = len(accuracy)
    first = round(layers * 0.27)
    middle = among(cavs[0], range(first, max(first + 1, round(layers * 0.6))))
    return tuple(sorted(sorted(middle, key=lambda layer: (-float(accuracy[layer]), layer))[:count]))
