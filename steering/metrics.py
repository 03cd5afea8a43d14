"""Numbers of a run: how strongly it was steered, its distance from the base model, its repetition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from lm import TRACE, Edit, LanguageModel, Run
from lm.edits.trace import CAPPED
from lm.metrics import distinct, kl, repetition
from steering.concepts import Concept
from steering.scorers import scores


@dataclass(frozen=True)
class Metrics:
    """Numbers of one run.

    nll: mean negative log-likelihood a token under the unsteered model, nats. kl, kl95: KL(run's model ||
    unsteered) a token, its mean and 95th percentile, nats. repetition: share of 3-grams that repeat.
    distinct: share of distinct 2-grams. gate: share of (token, layer) pairs that were pushed. strength: mean
    |sum_j eps_j v_j| / |e| where pushed. capped: share of pushes that the cap held back.
    """

    nll: float
    kl: float
    kl95: float
    repetition: float
    distinct: float
    tokens_per_second: float
    gate: float
    strength: float
    capped: float
    scores: dict[str, float]


def measure(
    model: LanguageModel,
    runs: Sequence[Run],
    edits: Sequence[tuple[Edit, ...]],
    concepts: Sequence[Concept],
    prompts: Sequence[tuple[int, ...]] | None = None,
    *,
    temperature: float,
) -> list[Metrics]:
    """Metrics of runs and the edits that they were decoded with. Raises ValueError where a run has no tokens.

    prompts: what the unsteered model is given, where that is not the run's own prompt (a prompt that asks for
    the concept). temperature: of the runs; KL and NLL are measured at it, at 1 where the runs were greedy.
    """
    plain = prompts or [run.prompt for run in runs]
    return [
        _measure(model, *each, concepts, temperature or 1.0) for each in zip(runs, edits, plain, strict=True)
    ]


def _measure(
    model: LanguageModel,
    run: Run,
    edits: tuple[Edit, ...],
    prompt: tuple[int, ...],
    concepts: Sequence[Concept],
    temperature: float,
) -> Metrics:
    if not run.ids:
        raise ValueError("The run has no tokens: wait for its first one.")
    plain = model.logprobs([[*prompt, *run.ids]], [len(prompt)], temperature=temperature)[0]
    chosen = plain[range(len(run.ids)), run.ids]
    own = plain
    if prompt != run.prompt or any(edit.fixed is not None or edit.sense.any() for edit in edits):
        own = model.logprobs(
            [[*run.prompt, *run.ids]], [len(run.prompt)], edits=[edits], temperature=temperature
        )[0]
    distance = kl(own, plain)
    trace = traces(run, edits) if edits else np.zeros((len(run.ids), 0), TRACE)
    pushed = trace["eps"].any(-1)
    size = pushes(trace, overlaps(edits)) if edits else np.zeros(pushed.shape)
    return Metrics(
        nll=-float(chosen.mean()),
        kl=float(distance.mean()),
        kl95=float(distance.quantile(0.95)),
        repetition=repetition(run.ids),
        distinct=distinct(run.ids),
        tokens_per_second=len(run.ids) / run.seconds if run.seconds else 0.0,
        gate=float(pushed.mean()) if pushed.size else 0.0,
        strength=float((size / trace["norm"])[pushed].mean()) if pushed.any() else 0.0,
        capped=float((trace["outcome"] == CAPPED)[pushed].mean()) if pushed.any() else 0.0,
        scores=scores(run.text, concepts),
    )


def traces(run: Run, edits: Sequence[Edit]) -> np.ndarray:
    """Records of lm.TRACE [tokens, edits] of the first edits of a run."""
    return np.stack(run.trace)[:, : len(edits)]


def overlaps(edits: Sequence[Edit]) -> np.ndarray:
    """v_i . v_j of the directions that each edit pushes along, [edits, k, k]."""
    return np.stack([(edit.push.double() @ edit.push.double().T).numpy() for edit in edits])


def pushes(trace: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """The length |sum_j eps_j v_j| of every push [..., edits], from records of lm.TRACE [..., edits] and the
    edits' `overlaps`.
    """
    eps = trace["eps"][..., : overlap.shape[-1]].astype(float)
    squares: np.ndarray = np.einsum("...lj,ljk,...lk->...l", eps, overlap, eps)
    lengths: np.ndarray = np.sqrt(squares.clip(0))
    return lengths


def history(run: Run, edits: tuple[Edit, ...]) -> dict[str, list[Any]]:
    """A run's traces as JSON: the layers, and for each token and layer P(concept) `before` and `after` the
    push and eps, one number a target, and `share` = |sum_j eps_j v_j| / |e|.
    """
    trace, k = traces(run, edits), len(edits[0].goal)
    z, eps = (trace[name][..., :k].astype(float) for name in ("z", "eps"))
    return {
        "layers": [edit.layer for edit in edits],
        "before": expit(z).tolist(),
        "after": expit(moved(z, eps, grams(edits))).tolist(),
        "eps": eps.tolist(),
        "share": (pushes(trace, overlaps(edits)) / trace["norm"]).tolist(),
    }


def grams(edits: Sequence[Edit]) -> np.ndarray:
    """w_i . v_j of each edit, [edits, k, k]: how much a unit of strength j moves read-out i."""
    return np.stack([edit.gram.numpy() for edit in edits])


def moved(z: np.ndarray, eps: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Read-outs after the pushes, of read-outs z and strengths eps [..., edits, k] and the edits' `grams`."""
    pushed: np.ndarray = z + np.einsum("lij,...lj->...li", gram, eps)
    return pushed
