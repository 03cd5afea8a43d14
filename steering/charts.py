"""The two charts of the Steer tab: where the push lands, and dose and response. Plain data for plot.js."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.jsons import JsonObject
from common.messages import Chart, Table
from lm import Edit
from lm.edits.trace import UNREACHABLE
from steering.concepts import Concept
from steering.metrics import overlaps, pushes, traces
from steering.plan import Plan
from steering.steer import Steered
from steering.view import share

NO_HEAT: Chart = {"title": "Where the push lands", "empty": "Appears when the steered text is complete."}
NO_DOSE: Chart = {
    "title": "Dose and response",
    "empty": "See how far the text moves, and what it costs, over the whole range of the magnitude. "
    "Takes a few seconds.",
}
SIGNED = [[0, "var(--tw-low)"], [0.5, "var(--tw-raised)"], [1, "var(--tw-high)"]]
LENGTHS = [[0, "var(--tw-raised)"], [1, "var(--tw-accent)"]]
CHOSEN = "chosen layers"
MARKS = ("circle", "square-open", "triangle-up-open", "diamond-open")
DASHES = ("solid", "dash", "dashdot", "longdash")
"""Of the bands of layers: the chosen one, and those beside it."""
SCORES = (("var(--tw-accent)", "circle"), ("var(--tw-high)", "square"), ("var(--tw-low)", "triangle-up"))
"""Colour and mark of the score of each concept of a plan."""


def heat(sides: Sequence[Steered], edits: tuple[Edit, ...], concepts: Sequence[Concept]) -> Chart:
    """The push of the steered side at every layer and token: eps of one concept, the length for several."""
    run, names = sides[1].run, [concept.name for concept in concepts]
    trace = traces(run, edits)
    eps = trace["eps"][..., : len(names)].transpose(1, 0, 2)
    size = pushes(trace, overlaps(edits)).T
    layers, words = [edit.layer for edit in edits], [_visible(piece) for piece in run.pieces]
    single = len(names) == 1
    measures = [(name, eps[..., index]) for index, name in enumerate(names)]
    table: Table = {
        "columns": ["token", "push", *(f"layer {layer}" for layer in layers)],
        "rows": [
            [word, name, *np.round(values[:, at].astype(float), 3).tolist()]
            for at, word in enumerate(words)
            for name, values in (measures if single else [*measures, ("all, |Σ ε v|", size)])
        ],
    }
    note = "ε added along the concept's direction" if single else "Length of what all concepts add together"
    stuck = bool((trace["outcome"] == UNREACHABLE).any())
    return {
        "title": _heat_title(eps, size, layers, names, stuck, sides[0].run.ids == run.ids),
        "note": f"{note}, by token and layer; blank is no push.",
        "figure": {"data": [_heatmap(eps, size, layers, words, names)], "layout": _heat_layout(words)},
        "table": table,
        "file": "tradewind-push.csv",
    }


def _heatmap(
    eps: np.ndarray, size: np.ndarray, layers: Sequence[int], words: Sequence[str], names: Sequence[str]
) -> JsonObject:
    """eps [layers, tokens, concepts] of a single concept, size [layers, tokens] of several."""
    single = len(names) == 1
    shown = eps[..., 0] if single else size
    most = float(np.abs(shown).max()) or 1
    parts = [
        [", ".join(f"{name} {value:+.3g}" for name, value in zip(names, at, strict=True)) for at in row]
        for row in eps
    ]
    return {
        "type": "heatmap",
        "z": np.round(shown, 3).tolist(),
        "x": list(range(len(words))),
        "y": [str(layer) for layer in layers],
        "text": [words] * len(layers),
        "customdata": parts,
        "zmin": -most if single else 0,
        "zmax": most,
        "xgap": 1,
        "ygap": 1,
        "colorscale": SIGNED if single else LENGTHS,
        "colorbar": {
            "thickness": 8,
            "outlinewidth": 0,
            "title": {"text": "ε" if single else "|Σ ε v|", "side": "top"},
            "nticks": 5,
        },
        "hovertemplate": "“%{text}”, layer %{y}<br>ε: %{customdata}"
        + ("" if single else "<br>|Σ ε v| = %{z}")
        + "<extra></extra>",
    }


def _heat_layout(words: Sequence[str]) -> JsonObject:
    ticks = list(range(0, len(words), max(1, math.ceil(len(words) / 14))))
    return {
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


def _heat_title(
    eps: np.ndarray, size: np.ndarray, layers: Sequence[int], names: Sequence[str], stuck: bool, equal: bool
) -> str:
    pushed = int((size != 0).any(0).sum())
    if not pushed and stuck:
        return "No token was pushed: no push reaches all targets"
    if not pushed:
        return "No token of the answer was pushed" + (": both texts are the same" if equal else "")
    used = " and ".join(name for index, name in enumerate(names) if eps[..., index].any())
    layer = layers[int(size.sum(1).argmax())]
    return f"{pushed} of {size.shape[1]} tokens were pushed for {used}, most at layer {layer}"


def _visible(piece: str) -> str:
    return piece.replace("\n", "⏎").strip() or "·"


def dose(frame: pd.DataFrame, plan: Plan, concepts: Sequence[Concept]) -> Chart:
    """What a sweep found, over the plan's magnitude: the independent scores of its concepts, as far as they
    have scorers, and KL. Beside the plan's own layers, other bands show the first score alone.

    frame: as `sweep` yields it; the first of its bands of layers is the plan's own. concepts: of the plan's
    targets.
    """
    scaled = plan.method == "fixed" or plan.budget is not None
    rising = plan.targets[0].direction == "amplify" or scaled
    steered = frame[frame.magnitude.notna()].sort_values("magnitude", ascending=rising)
    plain = frame[frame.magnitude.isna()]
    swept = frame.layers[frame.magnitude.notna()].unique()
    bands = {CHOSEN if name == swept[0] else _band(name): steered[steered.layers == name] for name in swept}
    judged = [concept for concept in concepts if concept.name in frame]
    scores = [concept.name for concept in judged]
    values = bands[CHOSEN].magnitude.tolist()
    places = values if scaled else [math.log(p / (1 - p)) for p in values]
    names = [f"{value:.2g}".replace("0.", ".") if scaled else _chance(value) for value in values]
    data = _dose_lines(bands, scores, places, values)
    data += [_level(places, float(plain[name].mean()), at) for at, name in enumerate(scores)]
    columns = ["magnitude", "layers", *scores, "kl", "nll", "repetition", "gate", "strength", "text"]
    columns = [name for name in dict.fromkeys(columns) if name in frame]
    ordered = pd.concat([plain, *bands.values()])[columns]
    high = judged[0].high if len(judged) == 1 else "score"
    axis = {"title": {"text": _asked(plan, concepts[0])}, "tickvals": places, "ticktext": names}
    return {
        "title": _dose_title(bands, plain, scores, names),
        "note": f"{_panels([concept.name for concept in concepts], scores, len(bands))} Click a point to take its magnitude over.",
        "figure": {
            "data": data,
            "layout": _dose_layout(axis, high if judged else None, 320 if len(bands) == 1 else 400),
        },
        "table": {
            "columns": columns,
            "rows": [[_cell(value) for value in row] for row in ordered.itertuples(index=False)],
        },
        "file": "tradewind-dose.csv",
    }


def _panels(concepts: Sequence[str], scores: Sequence[str], bands: int) -> str:
    """What the chart shows, and which scores it lacks."""
    if not scores:
        return f"Cost alone: no independent judge scores {'this concept' if len(concepts) == 1 else 'these concepts'}."
    several = len(scores) > 1
    says = [
        f"{'Scores of independent judges' if several else 'Score of an independent judge'} above, cost below."
    ]
    if unjudged := [name for name in concepts if name not in scores]:
        says.append(f"No independent judge scores {' and '.join(unjudged)}.")
    if several and bands > 1:
        says.append(f"Of the other layers {scores[0]} alone is drawn.")
    return " ".join(says)


def _dose_lines(
    bands: dict[str, pd.DataFrame], scores: Sequence[str], places: list[float], values: list[float]
) -> list[JsonObject]:
    """Of each band of layers the first score, of the chosen one all scores, and KL."""
    lines = []
    for index, (band, rows) in enumerate(bands.items()):
        for score, (color, symbol) in zip(scores if index == 0 else scores[:1], SCORES, strict=False):
            named = [score] * (len(scores) > 1) + [band] * (len(bands) > 1)
            line = _line(index, ", ".join(named) or "steered", color, places, values, rows[score])
            if index == 0:
                line["marker"]["symbol"] = symbol
            lines.append(line)
        label = "KL" if index == 0 else f"{band}, KL"
        cost = _line(index, label, "var(--tw-warn)", places, values, rows.kl)
        cost["marker"]["symbol"] = "diamond" if index == 0 else MARKS[index]
        lines.append(cost | {"yaxis": "y2", "showlegend": index == 0 or not scores})
    return lines


def _dose_layout(axis: JsonObject, score: str | None, height: int) -> JsonObject:
    """KL alone, or below the score, whose title is given."""
    layout: JsonObject = {
        "height": height,
        "xaxis": {**axis, "anchor": "y2", "showgrid": False},
        "yaxis2": {
            "title": {"text": "KL, nats"},
            "domain": [0, 0.36 if score else 1],
            "rangemode": "tozero",
            "nticks": 3,
        },
        "hovermode": "x",
    }
    if score:
        layout["grid"] = {"rows": 2, "columns": 1, "pattern": "coupled"}
        layout["yaxis"] = {
            "title": {"text": score},
            "domain": [0.48, 1],
            "range": [-0.04, 1.04],
            "nticks": 4,
        }
    return layout


def _asked(plan: Plan, concept: Concept) -> str:
    if plan.budget is not None:
        return "budget, nats a token"
    return "strength" if plan.method == "fixed" else f"P({concept.high}) asked for"


def _line(
    index: int, name: str, color: str, places: list[float], values: list[float], heights: pd.Series
) -> JsonObject:
    """One measure over the magnitude for band number `index`; the first, the chosen band, is drawn bold."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": places,
        "y": heights.round(4).tolist(),
        "customdata": values,
        "line": {"color": color, "width": 2 if index == 0 else 1, "dash": DASHES[index]},
        "marker": {"size": 8 if index == 0 else 6, "symbol": MARKS[index], "color": color},
        "hovertemplate": f"%{{y:.2f}}<extra>{name}</extra>",
    }


def _level(places: list[float], height: float, number: int) -> JsonObject:
    """The base model's score of concept `number`; one line stands for all in the legend."""
    color = SCORES[number][0] if number else "var(--tw-unsteered)"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "base model",
        "x": places,
        "y": [round(height, 4)] * len(places),
        "line": {"color": color, "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
        **({"showlegend": False} if number else {}),
    }


def _dose_title(
    bands: dict[str, pd.DataFrame], plain: pd.DataFrame, scores: Sequence[str], names: list[str]
) -> str:
    """What the sweep did at most to the first score, and to the others there.

    names: of the magnitudes; one is named where larger ones did less.
    """
    if not scores:
        far = max(bands, key=lambda band: bands[band].kl.max())
        cost = bands[far].kl.max()
        return f"The text moves up to {cost:.2f} nats a token from the base model{_most(bands, far)}"
    measure, *others = scores
    before, name = float(plain[measure].mean()), measure.capitalize()
    moved = {band: (rows[measure] - before).abs().tolist() for band, rows in bands.items()}
    far = max(moved, key=lambda band: max(moved[band]))
    most = max(range(len(names)), key=lambda i: (moved[far][i], i))
    after, cost = bands[far][measure].iloc[most], bands[far].kl.iloc[most]
    paths = {score: [float(plain[score].mean()), *bands[far][score]] for score in scores}
    if _turns(paths[measure]):
        spans = [f"between {share(min(path))} and {share(max(path))}" for path in paths.values()]
        spans[0] += f"{_most(bands, far)}, from {share(before)} in the base model"
        beside = "".join(f"; {other} {span}" for other, span in zip(others, spans[1:], strict=True))
        return f"{name} goes up and down {spans[0]}{beside}"
    beside = "".join(
        f"; {other} from {share(paths[other][0])} to {share(paths[other][most + 1])}" for other in others
    )
    if after == before:
        return f"{name} stays at {share(before)}, at {cost:.2f} nats a token{beside}"
    way = "rises" if after > before else "falls"
    where = "" if most == len(names) - 1 else f" at {names[most]}"
    moves = f"{way} from {share(before)} to {share(after)}{where}{_most(bands, far)}"
    return f"{name} {moves}, at {cost:.2f} nats a token{beside}"


def _turns(values: Sequence[float]) -> bool:
    """Whether a curve changes its direction more than once, steps of less than a tenth of its range aside."""
    steps = np.diff(values)
    ways = np.sign(steps[np.abs(steps) >= 0.1 * (max(values) - min(values))])
    return int((np.diff(ways) != 0).sum()) > 1


def _most(bands: dict[str, pd.DataFrame], far: str) -> str:
    if len(bands) == 1:
        return ""
    return f", most by the {far}" if far == CHOSEN else f", most by {far}"


def _band(text: str) -> str:
    layers = text.split()
    return f"layer {text}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"


def _chance(p: float) -> str:
    digits = min(6, max(1, math.ceil(-math.log10(min(p, 1 - p)) - 1e-9)))
    return f"{p:.{digits}f}".removeprefix("0")


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "base model" if math.isnan(value) else round(value, 6)
    return value
