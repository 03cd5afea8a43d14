"""What the Steer tab shows: plain data for its JavaScript, no Gradio and no markup."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit
from torch import Tensor

from lm import Edit, Token
from steering.calibration import SURPRISE, breaks
from steering.cav import CAV
from steering.concepts import Concept
from steering.examples import remarks
from steering.messages import Choice, Costs, Curves, Known, Poles, Shade
from steering.metrics import Metrics, grams, moved, overlaps, pushes
from steering.plan import Plan
from steering.steer import Steered

OPENING = 0.25
"""Nats a token, at most, at which a new concept opens."""
MIN_AHEAD = 0.15
"""Held-out accuracy above that of shuffled labels below which a person is warned."""


class Shades:
    """Turns the tokens of one row into messages for the page."""

    def __init__(self, edits: tuple[Edit, ...], watchers: tuple[Edit, ...] = ()):
        """watchers: edits of the row that read further concepts, after those of the plan."""
        self._edits, self._watchers = len(edits), watchers
        self._count, self._gram, self._overlap = len(edits[0].goal), grams(edits), overlaps(edits)

    def __call__(self, token: Token) -> Shade:
        """The token as it is drawn."""
        trace, watched = token.trace[: self._edits], self._watched(token.trace[self._edits :])
        z, eps = trace["z"][:, : self._count], trace["eps"][:, : self._count]
        share = pushes(trace, self._overlap) / trace["norm"]
        chances = [
            [round(float(p), 4) for p in expit(logits).mean(0)] for logits in (moved(z, eps, self._gram), z)
        ]
        after, before = (chance + watched for chance in chances)
        push, flag = round(float(share.max()), 4), int(trace["outcome"].max())
        return Shade(token.text, after, before, push, flag, round(token.logprob, 3))

    def _watched(self, trace: np.ndarray) -> list[float]:
        readings: dict[int, list[np.ndarray]] = {}
        group = -1
        for edit, record in zip(self._watchers, trace, strict=True):
            group += edit.layer == self._watchers[0].layer
            readings.setdefault(group, []).append(expit(record["z"][: len(edit.goal)].astype(float)))
        return [round(float(p), 4) for each in readings.values() for p in np.mean(each, axis=0)]


def poles(concept: Concept) -> Poles:
    """A concept's name and the words for its two ends."""
    return {
        "name": concept.name,
        "low": concept.low,
        "high": concept.high,
        "description": concept.description,
    }


def concept(concept: Concept, cav: CAV | None) -> Known:
    """What the controls know of a concept: its poles and, where it was calibrated, what steering it costs."""
    return {**poles(concept), "costs": {} if cav is None else costs(cav)}


def costs(cav: CAV) -> dict[str, Costs]:
    """What each calibrated method costs, by "method direction"."""
    if cav.calibration is None:
        return {}
    return {
        name: {
            "points": [
                [curve.off, 0.0, cav.calibration.base],
                *([point.dose, point.kl, point.score] for point in curve.points),
            ],
            "most": round(curve.fluent, 3),
            "whole": round(curve.whole, 3),
            "end": round(curve.max_budget, 3),
        }
        for name, curve in cav.calibration.curves.items()
    }


def choice(plan: Plan, cav: CAV) -> Choice:
    """How the layers that nobody named were chosen, in a few words and in a sentence."""
    if plan.method == "gcav":
        return {"by": "by accuracy", "chosen": "The layers of best held-out accuracy, as in the paper."}
    if cav.calibration is None:
        return {
            "by": "usual",
            "chosen": "Half to two thirds of the model; nothing was measured for this concept here.",
        }
    compared = cav.calibration.chosen.startswith("mean gain")
    return {
        "by": "by effect at equal cost" if compared else "usual",
        "chosen": f"{cav.calibration.chosen.capitalize()}.",
    }


def opening(cav: CAV) -> float | None:
    """The budget at which a new concept opens: the strongest at which no text broke, OPENING at most."""
    curve = cav.calibration and cav.calibration.curve("auto", "amplify")
    if not curve:
        return None
    return round(min(OPENING, curve.whole or curve.points[0].kl / 4), 4)


def learned(concept: Concept, cav: CAV, opens: float | None) -> str:
    """The note on a concept that a person taught, or whose vector they brought."""
    if concept.source:
        parts = [
            f"Read {len(cav.layers)} layers. "
            "P = .5 is how the model's own answers read, since a vector comes without texts."
        ]
        return " ".join([*parts, *_opens(opens)])
    best = int(cav.accuracy.argmax())
    parts = [
        f"Learned from {len(concept.positive)} and {len(concept.negative)} examples: "
        f"{100 * float(cav.accuracy[best]):.0f} % held-out accuracy at layer {best} (shuffled labels: "
        f"{100 * float(cav.shuffled[best]):.0f} %)."
    ]
    if float(cav.accuracy[best] - cav.shuffled[best]) < MIN_AHEAD:
        parts.append("It hardly tells the two sides apart: give examples that differ more clearly.")
    return " ".join([*parts, *_opens(opens), *remarks(concept)])


def _opens(opens: float | None) -> list[str]:
    return (
        [] if opens is None else [f"It opens at {opens:.2g} nats a token, where no text of the trial broke."]
    )


def curves(cav: CAV) -> Curves:
    """Held-out accuracy at every layer, beside its two controls; nothing where no texts are known."""
    if cav.imported:
        return {"accuracy": [], "shuffled": [], "random": []}
    return {
        "accuracy": _rounded(cav.accuracy),
        "shuffled": _rounded(cav.shuffled),
        "random": _rounded(cav.random),
    }


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 3) for value in values.tolist()]


def mean_chances(tokens: Sequence[Shade]) -> list[float]:
    """Mean P of every concept over the tokens of a side."""
    return list(np.mean([token.after for token in tokens], axis=0)) if tokens else []


def rows(
    sides: Sequence[Steered], concepts: Sequence[Concept], tokens: Sequence[Sequence[Shade]]
) -> list[list[str]]:
    """The metrics table: label, what it means, and a cell a side."""
    metrics = [side.metrics for side in sides]
    chances = zip(*(mean_chances(side) for side in tokens), strict=True)
    caveats = {concept.name: concept.caveat for concept in concepts}
    judge = "an independent scorer that knows nothing of the vectors"
    table = [
        [f"P({concept.high})", "the model's own reading, mean over the answer", *map(share, each)]
        for concept, each in zip(concepts, chances, strict=False)
    ]
    table += [
        [
            f"{name}, judged from outside",
            f"{judge}. {caveats[name]}" if caveats[name] else judge,
            *(share(each.scores[name]) for each in metrics),
        ]
        for name in metrics[0].scores
    ]
    lines: list[tuple[str, str, Callable[[Metrics], str]]] = [
        ("Surprise", "nats a token under the base model", lambda each: f"{each.nll:.2f}"),
        (
            "Distance",
            "KL to the base model, nats a token",
            lambda each: f"{each.kl:.2f}" if each.kl else "0",
        ),
        ("Repetition", "three-token sequences that come back", lambda each: _percent(each.repetition)),
        ("Pushed", "token and layer pairs where the gate opened", _pushed),
        ("Speed", "tokens a second", lambda each: f"{each.tokens_per_second:.0f}"),
    ]
    return table + [[label, hint, *map(cell, metrics)] for label, hint, cell in lines]


def broken(base: Steered, steered: Steered) -> str:
    """A warning that a steered text breaks, with the remedy; empty where it does not."""
    usual, own = base.metrics, steered.metrics
    worse = own.nll - usual.nll
    if not breaks(own.repetition, usual.repetition, worse):
        return ""
    if worse > SURPRISE:
        return f"The steered text breaks: it surprises the base model by {worse:.1f} nats a token more than its own. Ask for less."
    return (
        f"The steered text goes in circles: {_percent(own.repetition)} of its three-token sequences come back. "
        "Ask for less, or raise the temperature."
    )


def _pushed(metrics: Metrics) -> str:
    if not metrics.gate:
        return "none"
    held = f", {_percent(metrics.capped)} held back" if metrics.capped else ""
    return f"{_percent(metrics.gate)}, by {_percent(metrics.strength)} of the state{held}"


def share(value: float) -> str:
    """A share of one in two digits, as .98."""
    return f"{value:.2f}".removeprefix("0")


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
