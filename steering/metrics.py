"""What a run did: how strongly it was steered, how far it went from the unsteered model, how the text reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lm import Edit, LanguageModel, Run
from lm.edits.edit import MAX_TARGETS
from lm.metrics import distinct, repetition
from steering.concepts import Concept
from steering.scorers import scores


@dataclass(frozen=True)
class Metrics:
    """Numbers of one run.

    nll: mean negative log-likelihood a token under the unsteered model, nats. kl, kl95: KL(run's model ||
    unsteered) a token, its mean and 95th percentile, nats. repetition: share of 3-grams that repeat.
    distinct: share of distinct 2-grams. gate: share of (token, block) pairs that were written. strength: mean
    |sum_j eps_j v_j| / |e| where written. capped: share of writes that the cap held back.
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
) -> list[Metrics]:
    """Metrics of runs and the edits that they were decoded with. Raises ValueError where a run has no tokens.

    prompts: what the unsteered model is given, where that is not the run's own prompt (a prompt that asks for
    the concept).
    """
    plain = prompts or [run.prompt for run in runs]
    return [_measure(model, *one, concepts) for one in zip(runs, edits, plain, strict=True)]


def _measure(
    model: LanguageModel,
    run: Run,
    edits: tuple[Edit, ...],
    prompt: tuple[int, ...],
    concepts: Sequence[Concept],
) -> Metrics:
    if not run.ids:
        raise ValueError("the run has no tokens yet: there is nothing to measure")
    plain = model.logprobs([[*prompt, *run.ids]], [len(prompt)])[0]
    chosen = plain[range(len(run.ids)), run.ids]
    own = plain
    if prompt != run.prompt or any(edit.fixed is not None or edit.sense.any() for edit in edits):
        own = model.logprobs([[*run.prompt, *run.ids]], [len(run.prompt)], edits=[edits])[0]
    kl = (own.exp() * (own - plain)).sum(1).clamp_min(0)
    trace = np.stack(run.trace) if edits else np.zeros((len(run.ids), 0, 2 * MAX_TARGETS + 2), np.float32)
    written = trace[..., MAX_TARGETS : 2 * MAX_TARGETS].any(-1)
    size = pushes(trace, overlaps(edits)) if edits else np.zeros(written.shape)
    return Metrics(
        nll=-float(chosen.mean()),
        kl=float(kl.mean()),
        kl95=float(kl.quantile(0.95)),
        repetition=repetition(run.ids),
        distinct=distinct(run.ids),
        tokens_per_second=len(run.ids) / run.seconds if run.seconds else 0.0,
        gate=float(written.mean()) if written.size else 0.0,
        strength=float((size / trace[..., -2])[written].mean()) if written.any() else 0.0,
        capped=float((trace[..., -1] == 1)[written].mean()) if written.any() else 0.0,
        scores=scores(run.text, concepts),
    )


def overlaps(edits: Sequence[Edit]) -> np.ndarray:
    """v_i . v_j of the directions that each edit writes, [edits, k, k]."""
    return np.stack([(edit.write.double() @ edit.write.double().T).numpy() for edit in edits])


def pushes(trace: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """The length |sum_j eps_j v_j| of every write [..., edits], from traces [..., edits, TRACE] and the
    edits' `overlaps`.
    """
    eps = trace[..., MAX_TARGETS : MAX_TARGETS + overlap.shape[-1]].astype(float)
    return np.sqrt(np.einsum("...lj,ljk,...lk->...l", eps, overlap, eps).clip(0))


def history(run: Run, edits: tuple[Edit, ...]) -> dict[str, list]:
    """A run's traces as JSON: the blocks, and for each token and block P(concept) `before` and `after` the
    write and eps, one number a target, and `share` = |sum_j eps_j v_j| / |e|.
    """
    before, after, eps = [], [], []
    for traces in run.traces:
        z = [np.array(trace.before[: len(edit.goal)]) for edit, trace in zip(edits, traces, strict=True)]
        strengths = [np.array(trace.eps[: len(edit.goal)]) for edit, trace in zip(edits, traces, strict=True)]
        moved = [a + edit.gram.numpy() @ b for edit, a, b in zip(edits, z, strengths, strict=True)]
        before.append([_sigmoid(a) for a in z])
        after.append([_sigmoid(a) for a in moved])
        eps.append([b.tolist() for b in strengths])
    trace = np.stack(run.trace)
    share = (pushes(trace, overlaps(edits)) / trace[..., -2]).tolist()
    return {
        "layers": [edit.layer for edit in edits],
        "before": before,
        "after": after,
        "eps": eps,
        "share": share,
    }


def _sigmoid(z: np.ndarray) -> list[float]:
    return (1 / (1 + np.exp(-np.clip(z, -500, 500)))).tolist()
