"""What the Trade-offs tab tells of one point: its card, and how its training went."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.jsons import JsonObject
from common.messages import Chart
from pareto.messages import Card, Head
from pareto.rewards import OBJECTIVES
from pareto.view import divided, methods, number, short

WINDOW = 7
"""Steps of the running mean that is drawn over a curve."""
ENDS = 5
"""Steps at either end, at most, that a curve's sentence averages."""
TOLD = ("method", "preference", "algorithm", "p", "steps", "seed")
"""Settings that have a line of their own."""
COLORS = {"helpful": "var(--tw-helpful)", "harmless": "var(--tw-harmless)"}
OTHERS = ("var(--tw-accent)", "var(--tw-muted)", "var(--tw-ink)")
"""Colours of further objectives, in turn."""


def detail(
    head: Head,
    point: Mapping[str, Any] | None,
    card: Mapping[str, Any] | None = None,
    curves: Sequence[Mapping[str, Any]] = (),
    ends: Sequence[str] = (),
    objectives: Sequence[str] = OBJECTIVES,
) -> Card:
    """A policy's card: facts as [label, value], the command that made it, and its charts.

    head: its text's (view.side); ends: names of the two checkpoints of which a mix is made, the helpful one
    first.
    """
    facts, share, parts = card or {}, head["lambda"], ""
    if len(ends) == 2 and share is not None:
        parts = f"{100 * share:.0f} % {ends[0]}, {100 * (1 - share):.0f} % {ends[1]}"
    return {
        "id": head["id"],
        "name": head["name"],
        "method": head["method"],
        "facts": [
            fact for fact in [*_measured(point, objectives), ["Weights", parts], *_made(facts)] if fact[1]
        ],
        "command": facts.get("command", ""),
        "charts": [_rewards(curves, head["name"]), _gradients(curves, head["name"])]
        if len(curves) > 1
        else [],
    }


def _measured(point: Mapping[str, Any] | None, objectives: Sequence[str]) -> list[list[str]]:
    if point is None:
        return [["Scored", "not yet"]]
    return [
        *([name.capitalize(), _interval(point[name], point[f"{name}_ci"])] for name in objectives),
        ["KL to the base", _with(point.get("kl"), "nats an answer")],
        ["Length", _with(point.get("length"), "tokens")],
        ["Refuses", _refusals(point)],
        ["Toxic", _share(point.get("toxicity"))],
        ["Repetition", _share(point.get("repetition"))],
        [
            "Scored on",
            f"{point['prompts']} prompts, {point['samples']} answer{'s' * (point['samples'] != 1)} each",
        ],
    ]


def _made(card: Mapping[str, Any]) -> list[list[str]]:
    if not card:
        return []
    preference, settings = card.get("preference"), card.get("hyperparameters", {})
    return [
        [
            "Method",
            methods().get(card["method"], card["method"])
            + (f", p = {card['p']:g}" if card.get("p") is not None else ""),
        ],
        [
            "Preference",
            ", ".join(
                f"{name} {short(weight)}" for name, weight in zip(_objectives(card), preference, strict=True)
            )
            if preference
            else "",
        ],
        ["Objective", str(card.get("objective", "")).upper()],
        ["Training", "" if card["steps"] is None else f"{card['steps']} steps, seed {card['seed']}"],
        ["Settings", ", ".join(f"{name} {value}" for name, value in settings.items() if name not in TOLD)],
        ["Base model", f"{card['base_model']} ({card['base_hash']})"],
        ["Reward models", ", ".join(f"{name} {hash}" for name, hash in card.get("rewards", {}).items())],
        ["Data", ", ".join(str(source) for source in card.get("data", []))],
        ["Licence", card.get("licence", "")],
        ["Adapter", f"sha256 {card['adapter_sha256'][:16]}…" if card.get("adapter_sha256") else ""],
    ]


def _objectives(card: Mapping[str, Any]) -> list[str]:
    return [*card.get("objectives", OBJECTIVES)]


def _colors(curves: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Of each objective that was trained towards."""
    names = list(curves[0]["reward"])
    others = iter(OTHERS * len(names))
    return {name: COLORS.get(name) or next(others) for name in names}


def _interval(value: float, ends: Sequence[float]) -> str:
    return f"{number(value)} [{number(ends[0])}, {number(ends[1])}]"


def _with(value: float | None, unit: str) -> str:
    return "" if value is None else f"{number(value)} {unit}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _refusals(point: Mapping[str, Any]) -> str:
    if point.get("refusal_unsafe") is None:
        return ""
    safe = "" if point.get("refusal_safe") is None else f", {_share(point['refusal_safe'])} of safe ones"
    return f"{_share(point['refusal_unsafe'])} of unsafe prompts{safe}"


def _smooth(values: Sequence[float | None]) -> list[float]:
    filled = np.array([np.nan if value is None else value for value in values], float)
    half = WINDOW // 2
    return [
        round(float(np.nanmean(filled[max(0, at - half) : at + half + 1])), 4) for at in range(len(filled))
    ]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    count = min(ENDS, (len(values) + 1) // 2)
    return float(np.mean(values[:count])), float(np.mean(values[-count:]))


def _line(
    steps: list[int],
    values: list[float | None],
    name: str,
    color: str,
    dash: str = "solid",
    axis: str = "y",
    unit: str = "",
) -> list[JsonObject]:
    shared = {"type": "scatter", "mode": "lines", "x": steps, "yaxis": axis, "name": name}
    return [
        {
            **shared,
            "y": values,
            "line": {"color": color, "width": 1},
            "opacity": 0.3,
            "hoverinfo": "skip",
            "showlegend": False,
        },
        {
            **shared,
            "y": _smooth(values),
            "line": {"color": color, "width": 2, "dash": dash},
            "hovertemplate": f"%{{y:.2f}}{unit}<extra>{name}</extra>",
        },
    ]


def _layout(upper: JsonObject, lower: JsonObject) -> JsonObject:
    return {
        "height": 300,
        "xaxis": {"title": {"text": "step"}, "anchor": "y2", "showgrid": False, "zeroline": False},
        "yaxis": {"domain": [0.46, 1], "nticks": 5, **upper},
        "yaxis2": {"domain": [0, 0.34], "nticks": 3, **lower},
        "hovermode": "x",
    }


def _rewards(curves: Sequence[Mapping[str, Any]], policy: str) -> Chart:
    colors = _colors(curves)
    steps = [step["step"] for step in curves]
    rewards = {name: [step["reward"][name] for step in curves] for name in colors}
    kl = [step["kl"] for step in curves]
    data = [trace for name, color in colors.items() for trace in _line(steps, rewards[name], name, color)]
    data += _line(steps, kl, "KL", "var(--tw-line)", axis="y2", unit=" nats")
    ends = {name: map(number, _ends(values)) for name, values in rewards.items()}
    changes = ", ".join(f"{name} {' → '.join(both)}" for name, both in ends.items())
    weight = [step.get("beta") for step in curves]
    penalty = f" The KL’s weight β is {_range([b for b in weight if b is not None])}." if any(weight) else ""
    return {
        "title": changes[:1].upper() + changes[1:] + " in training",
        "note": f"Mean rewards of the sampled answers, and their KL to the base model, {number(_ends(kl)[1])} nats at the end."
        f"{penalty} Bold: running mean of {WINDOW} steps.",
        "figure": {
            "data": data,
            "layout": _layout(
                {"title": {"text": "reward, sd"}}, {"title": {"text": "KL, nats"}, "rangemode": "tozero"}
            ),
        },
        "table": {
            "columns": ["step", *colors, "KL", "length", "beta"],
            "rows": [
                [
                    step["step"],
                    *(round(step["reward"][name], 4) for name in colors),
                    *(_cell(step.get(key)) for key in ("kl", "length", "beta")),
                ]
                for step in curves
            ],
        },
        "file": f"tradewind-{policy}-rewards.csv",
    }


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return short(low) if low == high else f"from {short(round(low, 3))} to {short(round(high, 3))}"


def _gradients(curves: Sequence[Mapping[str, Any]], policy: str) -> Chart:
    colors = _colors(curves)
    steps = [step["step"] for step in curves]
    cosine = [step.get("cosine") for step in curves]
    known = [value for value in cosine if value is not None]
    shares = [step.get("shares") or divided(step["coefficients"]) for step in curves]
    applied = [step.get("applied") for step in curves]
    data = _line(steps, cosine, "cosine", "var(--tw-ink)")
    if any(value is not None for value in applied):
        data += _line(steps, applied, "applied", "var(--tw-muted)", dash="dot")
    for index, (name, color) in enumerate(colors.items()):
        data += _line(steps, [share[index] for share in shares], f"share of {name}", color, axis="y2")
    against = (
        f"{100 * np.mean(np.array(known) < 0):.0f} % of the steps" if known else "no step that was measured"
    )
    followed = [value for value in applied if value is not None]
    faithful = (
        f" Dotted: the cosine between the step that was applied and what the method asked for, {number(float(np.mean(followed)))} on average."
        if followed
        else ""
    )
    return {
        "title": f"The {'two ' if len(colors) == 2 else ''}gradients pull against each other in {against}",
        "note": "Above, the cosine between them (below zero: a conflict); below, each one's share of the step."
        + faithful,
        "figure": {
            "data": data,
            "layout": _layout(
                {"title": {"text": "cosine"}, "range": [-1.05, 1.05], "zeroline": True},
                {"title": {"text": "share"}, "range": [-0.04, 1.04]},
            ),
        },
        "table": {
            "columns": [
                "step",
                "cosine",
                "applied",
                *(f"|g {name}|" for name in colors),
                *(f"coefficient {name}" for name in colors),
                *(f"share {name}" for name in colors),
            ],
            "rows": [
                [
                    step["step"],
                    *map(_cell, [step.get("cosine"), step.get("applied")]),
                    *map(_cell, [*step["norms"], *step["coefficients"], *share]),
                ]
                for step, share in zip(curves, shares, strict=True)
            ],
        },
        "file": f"tradewind-{policy}-gradients.csv",
    }


def _cell(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
