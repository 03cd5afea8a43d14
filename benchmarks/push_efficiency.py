"""What a push buys, to first order, along every kind of direction:
python -m benchmarks.push_efficiency [CONCEPT ...] [--json]

A push of strength a changes log pi of an answer by a s, where s is its derivative at a = 0. For small a the KL to
the base model is a^2 E[s^2] / 2 an answer, and the mean of an independent score R rises by a Cov(R, s). So the
base model's own answers tell, without any steered text, what a direction gains at a given KL:
Cov(R, s) / sd(s) * sqrt(2 KL), within prompts, over several answers to each. 95 % bootstrap intervals over the
prompts; differences are paired.

Directions: the difference of means and the classifier, by layers, by position (mean or last token) and by penalty;
the difference of means pushed at some tokens only, or fading; "likelihood", along which log pi of the concept's own
texts rises on one side and falls on the other; "both", the sum of it and the difference of means at equal length; and
"fitted", the ridge regression of the concept's own reading of an answer on the derivatives of its log pi (a natural
policy gradient), learned from one half of the prompts and tried on the other.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from common.statistics import Estimate, middle, resampled
from lm import LanguageModel, Row, Sampling, load
from lm.engines.torch.stack import Attend, Stack, unchanged
from steering.calibrate import candidates
from steering.cav import Settings, fit, framed, logits, read
from steering.concepts import Concept
from steering.library import Library
from steering.prompt_sets import PROVOKED, training
from steering.scorers import scorer

PROMPTS, SEEDS, TOKENS, TEMPERATURE = 120, 6, 24, 0.7
KL = 0.1
"""Nats a token at which gains are told."""
AT_ONCE = 24
RIDGE = 100.0
"""Penalty of the fitted direction, beside the mean square of a derivative."""
PENALTIES = (3.0, 300.0)
"""Beside the usual one."""

_TOKENS = torch.arange(TOKENS)
WHEN = {
    "at the prompt alone": (1.0, 0.0 * _TOKENS),
    "at the answer alone": (0.0, 1.0 + 0.0 * _TOKENS),
    "fading over 8 tokens": (1.0, torch.exp(-_TOKENS / 8)),
    "at the prompt and 4 tokens": (1.0, (_TOKENS < 4).float()),
}
"""Strengths at the prompt and at each token, beside the usual push, which is the same everywhere."""

Bands = dict[str, tuple[int, ...]]
Written = tuple[Sequence[int], int]
"""Token ids, and where the answer begins."""


def slopes(stack: Stack, rows: Sequence[Written], start: int, layers: range) -> Tensor:
    """The derivative of log pi of each row's tokens by a push after each of `layers`, at every position from
    `start` on: [rows, layers, width].
    """

    def added(layer: int, pushes: Tensor) -> Tensor:
        return pushes[:, layer - layers.start, None]

    parts = [
        _derivative(stack, part, start, layers, torch.zeros(len(part), len(layers), stack.width), added)
        for part in batched(rows)
    ]
    return torch.cat(parts)


def moments(stack: Stack, rows: Sequence[Written], start: int, push: Mapping[int, Tensor]) -> Tensor:
    """The derivative of log pi of each row's tokens by the strength of a push (layer -> direction) at the prompt
    alone, from `start` on, and at each of TOKENS tokens: [rows, 1 + TOKENS]. The answer's first token is
    drawn where the prompt ends, so the push there is its own.
    """
    layers = range(min(push), max(push) + 1)

    def added(layer: int, strengths: Tensor) -> Tensor:
        return strengths[..., None] * push[layer]

    parts = []
    for part in batched(rows):
        free = torch.zeros(len(part), max(len(ids) for ids, _ in part))
        for (ids, first), each in zip(
            part, _derivative(stack, part, start, layers, free, added), strict=True
        ):
            drawn = each[first - 1 : len(ids) - 1]
            padding = torch.zeros(TOKENS - len(drawn))
            parts.append(torch.cat([each[: first - 1].sum(0, keepdim=True), drawn, padding]))
    return torch.stack(parts)


def batched(rows: Sequence[Written]) -> Iterator[Sequence[Written]]:
    return (rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE))


def _derivative(
    stack: Stack,
    rows: Sequence[Written],
    start: int,
    layers: range,
    strengths: Tensor,
    added: Callable[[int, Tensor], Tensor],
) -> Tensor:
    """The derivative of log pi of the rows' tokens by `strengths`, at zero, where `added` says what they add
    after a layer.
    """
    ids = pad_sequence([torch.tensor(own) for own, _ in rows], batch_first=True)
    positions = torch.arange(ids.shape[1])
    begins, ends = torch.tensor([first for _, first in rows]), torch.tensor([len(own) for own, _ in rows])
    answer = (positions[1:] >= begins[:, None]) & (positions[1:] < ends[:, None])
    with torch.no_grad():
        x = stack.upper(stack.embed(ids), 0, unchanged, layers.start)
    strengths.requires_grad_()
    after = (positions >= start).float()[:, None]
    for layer in range(layers.start, stack.layers):
        x = stack.layer(layer, x, *_around(stack, ids.shape), unchanged)
        if layer in layers:
            x = x + after * added(layer, strengths)
    scores = stack.logits(x[:, :-1][answer]) / TEMPERATURE
    loss = F.cross_entropy(scores, ids[:, 1:][answer], reduction="sum")
    return -torch.autograd.grad(loss, strengths)[0]


def _around(stack: Stack, shape: torch.Size) -> tuple[tuple[Tensor, Tensor], Attend]:
    positions = torch.arange(shape[1]).expand(shape[0], -1)
    mask = stack.mask(positions, shape[1])
    return stack.rotary(positions), lambda _, q, k, v: stack.grouped(q, k, v, mask)


@dataclass(frozen=True)
class Answers:
    """Answers of the base model, SEEDS neighbours to each prompt. states [n, layers, width]: means over each; slopes
    [n, pushed layers, width].
    """

    rows: Sequence[Written]
    texts: list[str]
    states: Tensor
    slopes: Tensor

    @classmethod
    def of(cls, model: LanguageModel, prompts: Sequence[str], layers: range) -> "Answers":
        """Answers to prompts, from other seeds each."""
        asked = [tuple(model.chat_ids(prompt)) for prompt in prompts for _ in range(SEEDS)]
        runs = model.generate(
            [Row(ids, Sampling(TEMPERATURE, seed, TOKENS)) for seed, ids in enumerate(asked)]
        )
        rows = [((*run.prompt, *run.ids), len(run.prompt)) for run in runs]
        states = model.read([ids for ids, _ in rows], pool="mean", starts=[first for _, first in rows])
        return cls(
            rows, [run.text for run in runs], states, slopes(model.stack, rows, model.chat_span[0], layers)
        )


def directions(
    model: LanguageModel, concept: Concept, bands: Bands, pushed: range
) -> dict[str, dict[int, Tensor]]:
    """What is compared: layer -> push, by name, the one that all others are compared with first."""
    texts = [*concept.positive, *concept.negative]
    labels = torch.tensor([1.0] * len(concept.positive) + [0.0] * len(concept.negative))
    usual, *others = bands
    pushes: dict[str, dict[int, Tensor]] = {}
    for position in ("mean", "last"):
        activations = read(model, texts, Settings(position=position)).transpose(0, 1)
        difference = activations[:, labels == 1].mean(1) - activations[:, labels == 0].mean(1)
        gap = difference.norm(dim=1, keepdim=True)
        for penalty in (Settings.penalty, *PENALTIES) if position == "mean" else (Settings.penalty,):
            w, _ = fit(activations, labels, penalty)
            along = w / w.norm(dim=1, keepdim=True) * gap
            for band in bands if penalty == Settings.penalty and position == "mean" else (usual,):
                if penalty == Settings.penalty:
                    pushes[f"difference, {position}, {band}"] = {i: difference[i] for i in bands[band]}
                pushes[f"classifier, {position}, penalty {penalty:g}, {band}"] = {
                    i: along[i] for i in bands[band]
                }
    rows = [framed(model, text, Settings.frame) for text in texts]
    own = slopes(model.stack, rows, model.chat_span[0], pushed)
    rise = own[labels == 1].mean(0) - own[labels == 0].mean(0)
    for band, layers in bands.items():
        likely = {i: rise[i - pushed.start] for i in layers}
        pushes[f"likelihood, {band}"] = likely
        usually = pushes[f"difference, mean, {band}"]
        pushes[f"both, {band}"] = {
            i: likely[i] / _length(likely) + usually[i] / _length(usually) for i in layers
        }
    return pushes


def _length(push: dict[int, Tensor]) -> float:
    return sum(float(part @ part) for part in push.values()) ** 0.5


def fitted(slopes: Tensor, reading: Tensor) -> Tensor:
    """s of every answer [n] along the direction that the other half of the prompts gives: the ridge regression
    of reading [n] on slopes [n, d].
    """
    half = len(slopes) // 2
    along = []
    for seen, other in ((slice(half, None), slice(half)), (slice(half), slice(half, None))):
        x = slopes[seen].double()
        gram = x @ x.T + RIDGE * x.square().mean() * len(x) * torch.eye(len(x))
        s = slopes[other].double() @ (x.T @ torch.linalg.solve(gram, reading[seen].double()))
        along.append(s / s.std())
    return torch.cat(along).float()


def within(values: Tensor) -> np.ndarray:
    """Values [n] less the mean of their prompt: [prompts, SEEDS]."""
    each = values.double().view(-1, SEEDS)
    return (each - each.mean(1, keepdim=True)).numpy()


def gains(score: np.ndarray, along: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The gain at KL, of all prompts and of every draw of them [draws + 1]: score, along [prompts, SEEDS],
    within prompts; drawn [draws, prompts].
    """
    unbiased = SEEDS / (SEEDS - 1)
    counts = np.concatenate([np.ones((1, drawn.shape[1])), drawn]) / drawn.shape[1]
    covariance, variance = (counts @ (part * along).mean(1) * unbiased for part in (score, along))
    gain: np.ndarray = covariance / variance**0.5 * (2 * KL * TOKENS) ** 0.5
    return gain


def measure(library: Library, names: Sequence[str]) -> dict[str, dict[str, tuple[Estimate, Estimate]]]:
    """Of each concept and direction the gain, and how far it is ahead of the difference of means in the usual layers."""
    model = library.model
    bands: Bands = {
        f"layers {layers[0]}-{layers[-1]}": layers for _, layers in candidates(library.cav(names[0]))[::2]
    }
    pushed = range(min(min(own) for own in bands.values()), max(max(own) for own in bands.values()) + 1)
    drawn = resampled(PROMPTS, np.random.default_rng(0))
    known: dict[bool, Answers] = {}
    results = {}
    for name in names:
        concept = library.concepts[name]
        assert concept.scorer is not None
        judge, provoked = scorer(concept.scorer), name in PROVOKED
        if provoked not in known:
            known[provoked] = Answers.of(model, training(concept, PROMPTS), pushed)
        answers = known[provoked]
        score = within(torch.tensor([judge(text) for text in answers.texts]))
        pushes = directions(model, concept, bands, pushed)
        along = {
            key: sum(answers.slopes[:, layer - pushed.start] @ part for layer, part in push.items())
            for key, push in pushes.items()
        }
        band, layers = next(iter(bands.items()))
        when = moments(model.stack, answers.rows, model.chat_span[0], next(iter(pushes.values())))
        for key, (prompt, answer) in WHEN.items():
            along[f"difference, mean, {band}, {key}"] = prompt * when[:, 0] + when[:, 1:] @ answer
        reading = logits(library.cav(name), answers.states)[:, list(layers)].mean(1)
        chosen = answers.slopes[:, [layer - pushed.start for layer in layers]].flatten(1)
        along[f"fitted, {band}"] = fitted(chosen, torch.from_numpy(within(reading)).flatten())
        each = {key: gains(score, within(s), drawn) for key, s in along.items()}
        usual = next(iter(each.values()))
        results[name] = {key: (_of(own), _of(own - usual)) for key, own in each.items()}
        print(name, file=sys.stderr, flush=True)
    return results


def _of(draws: np.ndarray) -> Estimate:
    return Estimate(float(draws[0]), *(float(end) for end in middle(draws[1:])))


def table(results: dict[str, dict[str, tuple[Estimate, Estimate]]]) -> str:
    """A row a direction: the mean gain over the concepts, and in how many it is clearly ahead and behind."""
    lines = [
        f"| direction | {' | '.join(results)} | mean | clearly ahead, behind |",
        "|---" * (len(results) + 3) + "|",
    ]
    for key in next(iter(results.values())):
        own = [result[key] for result in results.values()]
        ahead, behind = sum(d.low > 0 for _, d in own), sum(d.high < 0 for _, d in own)
        numbers = [f"{gain.mean:+.3f}" for gain, _ in own]
        mean = np.mean([gain.mean for gain, _ in own])
        lines.append(f"| {key} | {' | '.join(numbers)} | {mean:+.3f} | {ahead}, {behind} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    library = Library(load())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("concepts", nargs="*", choices=[*library.concepts, []], help="left out: all")
    parser.add_argument("--json", action="store_true", help="with every interval")
    asked = parser.parse_args()
    results = measure(library, asked.concepts or list(library.concepts))
    print(json.dumps(results) if asked.json else table(results))


if __name__ == "__main__":
    main()
