"""What the Steer tab shows: plain data for its JavaScript, no Gradio and no markup."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lm import Edit, Token
from lm.edit import MAX_TARGETS
from steering.cav import CAV
from steering.concepts import Concept
from steering.metrics import Metrics
from steering.plan import Plan
from steering.steer import Steered

Chart = dict
TEXT, AFTER, BEFORE, PUSH, FLAG, LOGPROB = range(6)
"""What stands where in a token as it is drawn."""


class Shades:
    """Turns the tokens of one row into what is drawn: text, P(concept) after and before, push, flag, log-probability."""

    def __init__(self, edits: tuple[Edit, ...]):
        self._count = edits[0].read.shape[0]
        self._gram = np.stack([edit.gram.numpy() for edit in edits])

    def __call__(self, token: Token) -> list:
        """[text, [P after], [P before], largest |eps| / |e|, flag (1 capped, 2 no solution), log-probability]; P: mean over the blocks."""
        trace = np.asarray(token.trace)
        z, eps = trace[:, : self._count], trace[:, MAX_TARGETS : MAX_TARGETS + self._count]
        after = z + np.einsum("lij,lj->li", self._gram, eps)
        share = np.abs(eps).sum(1) / np.maximum(trace[:, -2], 1e-9)
        chances = [[round(float(p), 4) for p in _sigmoid(logits).mean(0)] for logits in (after, z)]
        return [token.text, *chances, round(float(share.max()), 4), int(trace[:, -1].max()), round(token.logprob, 3)]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def poles(concept: Concept) -> dict[str, str]:
    """A concept's name and the words for its two ends."""
    return {"name": concept.name, "low": concept.low, "high": concept.high, "description": concept.description}


def curves(cav: CAV) -> dict[str, list[float]]:
    """Held-out accuracy at every block, beside its two controls."""
    return {name: [round(float(value), 3) for value in getattr(cav, name)] for name in ("accuracy", "shuffled", "random")}


def mean_chances(tokens: Sequence[list]) -> list[float]:
    """Mean P of every concept over the tokens of a side."""
    return list(np.mean([token[AFTER] for token in tokens], axis=0)) if tokens else []


def rows(sides: tuple[Steered, Steered], concepts: Sequence[Concept], tokens: tuple[list, list]) -> list[list[str]]:
    """The metrics table: label, what it means, unsteered, steered."""
    plain, steered = (side.metrics for side in sides)
    chances = zip(*(mean_chances(side) for side in tokens), strict=True)
    table = [
        [f"P({concept.high})", "the model's own reading, mean over the answer", _share(a), _share(b)]
        for concept, (a, b) in zip(concepts, chances, strict=False)
    ]
    table += [
        [
            f"{name}, judged from outside",
            "an independent scorer that knows nothing of the vectors",
            _share(plain.scores[name]),
            _share(steered.scores[name]),
        ]
        for name in plain.scores
    ]
    table += [
        ["Surprise", "nats a token under the unsteered model", _number(plain.nll), _number(steered.nll)],
        ["Distance", "KL to the unsteered model, nats a token", "0", _number(steered.kl)],
        ["Repetition", "three-word sequences that come back", _percent(plain.repetition), _percent(steered.repetition)],
        ["Pushed", "token and layer pairs where the gate opened", "none", _pushed(steered)],
        ["Speed", "tokens a second", f"{plain.tokens_per_second:.0f}", f"{steered.tokens_per_second:.0f}"],
    ]
    return table


def _pushed(metrics: Metrics) -> str:
    if not metrics.gate:
        return "none"
    held = f", {_percent(metrics.capped)} held back" if metrics.capped else ""
    return f"{_percent(metrics.gate)}, by {_percent(metrics.strength)} of the state{held}"


def _share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _number(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def heat(side: Steered, edits: tuple[Edit, ...], concept: Concept, index: int = 0) -> Chart:
    """The write eps of one concept at every block and token, as a heat map and a table."""
    eps = np.stack(side.run.trace)[:, :, MAX_TARGETS + index].T
    layers, words = [edit.layer for edit in edits], [_visible(piece) for piece in side.run.pieces]
    most = float(np.abs(eps).max())
    data = [
        {
            "type": "heatmap",
            "z": np.round(eps, 3).tolist(),
            "x": list(range(len(words))),
            "y": [str(layer) for layer in layers],
            "text": [words] * len(layers),
            "zmid": 0,
            "zmin": -(most or 1),
            "zmax": most or 1,
            "xgap": 1,
            "ygap": 1,
            "colorscale": [[0, "var(--tw-low)"], [0.5, "var(--tw-raised)"], [1, "var(--tw-high)"]],
            "colorbar": {"thickness": 8, "outlinewidth": 0, "title": {"text": "ε", "side": "top"}, "nticks": 5},
            "hovertemplate": "“%{text}”, layer %{y}<br>ε = %{z}<extra></extra>",
        }
    ]
    step = max(1, math.ceil(len(words) / 14))
    ticks = list(range(0, len(words), step))
    layout = {
        "height": 280,
        "xaxis": {
            "title": {"text": "token"},
            "tickvals": ticks,
            "ticktext": [words[at][:10] for at in ticks],
            "tickangle": -45,
            "showgrid": False,
        },
        "yaxis": {"title": {"text": "layer"}, "type": "category", "showgrid": False},
    }
    table = {
        "columns": ["token", *(f"layer {layer}" for layer in layers)],
        "rows": [[word, *(round(float(value), 3) for value in column)] for word, column in zip(words, eps.T, strict=True)],
    }
    return {
        "title": _heat_title(eps, layers, concept),
        "note": "ε added along the concept's direction, by token and layer; white is no push.",
        "figure": {"data": data, "layout": layout},
        "table": table,
        "file": "tradewind-push.csv",
    }


def _heat_title(eps: np.ndarray, layers: Sequence[int], concept: Concept) -> str:
    pushed = int((eps != 0).any(0).sum())
    if not pushed:
        return "No token needed a push: both texts are the same"
    strongest = layers[int(np.abs(eps).sum(1).argmax())]
    return f"{pushed} of {eps.shape[1]} tokens were pushed towards the goal for {concept.name}, most at layer {strongest}"


def _visible(piece: str) -> str:
    return piece.replace("\n", "⏎").strip() or "·"


NO_HEAT: Chart = {"title": "Where the push lands", "empty": "Appears when the steered text is complete."}
NO_DOSE: Chart = {
    "title": "Dose and response",
    "empty": "See how far the text moves, and what it costs, over the whole range of the magnitude. Takes a few seconds.",
}


def dose(frame: pd.DataFrame, plan: Plan, concept: Concept) -> Chart:
    """Score and KL over the magnitude of the plan's first target."""
    steered = frame[frame.magnitude.notna()].sort_values(
        "magnitude", ascending=plan.targets[0].direction == "amplify" or plan.method == "fixed"
    )
    plain = frame[frame.magnitude.isna()]
    measure = concept.name if concept.name in frame else "kl"
    values = steered.magnitude.tolist()
    fixed = plan.method == "fixed"
    places = values if fixed else [math.log(p / (1 - p)) for p in values]
    names = [f"{value:g}" for value in values] if fixed else [_chance(value) for value in values]
    color = "var(--tw-accent)"
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "steered",
            "x": places,
            "y": steered[measure].round(4).tolist(),
            "customdata": values,
            "line": {"color": color, "width": 2},
            "marker": {"size": 8, "color": color},
            "hovertemplate": "%{y:.2f}<extra>steered</extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "unsteered",
            "x": places,
            "y": [round(float(plain[measure].mean()), 4)] * len(places),
            "line": {"color": "var(--tw-unsteered)", "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "KL",
            "x": places,
            "y": steered.kl.round(4).tolist(),
            "customdata": values,
            "yaxis": "y2",
            "line": {"color": "var(--tw-warn)", "width": 2},
            "marker": {"size": 7, "symbol": "diamond", "color": "var(--tw-warn)"},
            "hovertemplate": "%{y:.2f} nats<extra>KL</extra>",
        },
    ]
    layout = {
        "height": 320,
        "grid": {"rows": 2, "columns": 1, "pattern": "coupled"},
        "xaxis": {
            "title": {"text": "strength" if fixed else f"P({concept.high}) asked for"},
            "tickvals": places,
            "ticktext": names,
            "anchor": "y2",
            "showgrid": False,
        },
        "yaxis": {"title": {"text": concept.high}, "domain": [0.48, 1], "range": [-0.04, 1.04], "nticks": 4},
        "yaxis2": {"title": {"text": "KL, nats"}, "domain": [0, 0.36], "rangemode": "tozero", "nticks": 3},
        "hovermode": "x",
    }
    columns = ["magnitude", "layers", measure, "kl", "nll", "repetition", "gate", "strength", "text"]
    columns = [name for name in dict.fromkeys(columns) if name in frame]
    table = {"columns": columns, "rows": [[_cell(value) for value in row] for row in frame[columns].itertuples(index=False)]}
    return {
        "title": _dose_title(steered, plain, measure, concept),
        "note": "Score of an independent judge above, cost below. Click a point to take its magnitude over.",
        "figure": {"data": data, "layout": layout},
        "table": table,
        "file": "tradewind-dose.csv",
    }


def _dose_title(steered: pd.DataFrame, plain: pd.DataFrame, measure: str, concept: Concept) -> str:
    before, last = float(plain[measure].mean()), steered.iloc[-1]
    way = "rises" if last[measure] > before else "falls" if last[measure] < before else "stays"
    return f"{concept.name.capitalize()} {way} from {_share(before)} to {_share(last[measure])}, at {last.kl:.2f} nats a token"


def _chance(p: float) -> str:
    digits = min(6, max(1, math.ceil(-math.log10(min(p, 1 - p)) - 1e-9)))
    return f"{p:.{digits}f}".removeprefix("0")


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "unsteered" if math.isnan(value) else round(value, 6)
    return value
