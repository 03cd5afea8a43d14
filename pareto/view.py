"""What the Trade-offs tab shows: plain data for its JavaScript, no Gradio and no markup."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lm.policy import SCALED
from pareto import messages
from pareto.checkpoint import Checkpoint
from pareto.combiners import COMBINERS
from pareto.front import MEASURES, Front
from pareto.rewards import OBJECTIVES

OTHERS = {
    "single": "One objective",
    "soup": "Rewarded Soups",
    "curve": "Preference curve",
    SCALED: "Scaled",
    "steered": "Steered",
    "own": "Own objectives",
    "other": "Other",
}
MEASURED = {
    "kl": "KL to the base model, nats an answer",
    "refusal_safe": "safe prompts refused, share",
    "refusal_unsafe": "unsafe prompts refused, share",
    "refusal_safe_alike": "safe prompts that sound unsafe refused, share",
    "refusal_unsafe_alike": "unsafe prompts that sound safe refused, share",
    "length": "length, tokens",
    "toxicity": "toxicity on unsafe prompts, probability",
}
"""What an axis can show beside the rewards, and its title."""
TRAINED = {
    "kl": "KL",
    "beta": "beta",
    "cosine": "cosine of the gradients",
    "applied": "cosine of the applied step",
    "length": "length",
}
"""What a step of training tells beside rewards and shares, and its title."""
PAPER = {"P-GAPO": "pgapo", "MORLHF": "linear", "Rewarded Soups": "soup"}
"""Names of the paper's methods, and the method here of which each is the kin."""
AXES = OBJECTIVES
"""What people are asked of two answers, too."""
SIGNIFICANT = 3
Votes = Mapping[str, Mapping[str, Any]]
"""For each policy's name ("base": the plain model): helpful, harmless, their intervals helpful_ci and
harmless_ci, comparisons.
"""


def methods() -> dict[str, str]:
    """Titles of all methods, in the order of the legend."""
    return {"base": "Base model", **{key: each.title for key, each in COMBINERS.items()}, **OTHERS}


def _marks() -> dict[str, messages.Mark]:
    """Symbol and colours of what is trained; assets/web/tradeoffs/marks.js has the others."""
    return {
        key: {"symbol": each.mark, "color": each.color, "dark": each.dark, "edge": each.edge}
        for key, each in COMBINERS.items()
    }


def front(
    front: Front,
    answering: Sequence[str] = (),
    votes: Votes | None = None,
    votable: bool = False,
    example: bool = False,
) -> messages.Front:
    """The plot's points and the sentences over them.

    answering: ids of the points that can answer prompts; votes: what people think of the policies, by id or
    name; votable: whether people can be asked at all; example: the votes are the judgements that ship.
    """
    content = front.to_dict()
    points = [_point(point, point["id"] in set(answering), front.objectives) for point in content["points"]]
    judged = [
        point | {"people": opinions} if (opinions := _judged(point, votes or {})) else point
        for point in points
    ]
    both = _together([point for point in judged if "people" in point], example)
    return {
        "points": judged,
        "reference": list(content["reference"]),
        "objectives": list(front.objectives),
        "axes": _axes(points, front.objectives),
        "methods": _methods(points, content),
        "marks": _marks(),
        "attainment": content["attainment"] if len(front.objectives) == 2 else {},
        "model": front.model,
        "models": _models(points, content, front.objectives, front.missing),
        "people": _people([point for point in judged if "people" in point], votable, example),
        "both": both,
    }


def _judged(point: Mapping[str, Any], votes: Votes) -> Mapping[str, Any] | None:
    return (
        votes.get(point["id"])
        or votes.get(point["name"])
        or (votes.get("base") if point["method"] == "base" else None)
    )


def paper(published: Mapping[str, Any], hypervolumes: Mapping[str, float]) -> messages.Plane:
    """The paper's points (assets/fronts/paper.json), a set with axes of its own."""
    points = [
        {
            "id": f"paper:{point['method']}:{point['preference'][0]:g}",
            "name": f"{point['method']}, λ = {short(point['preference'][0])}",
            "method": PAPER[point["method"]],
            "lambda": point["preference"][0],
            "helpful": point["helpful"],
            "harmless": point["harmless"],
            "dominated": point["dominated"],
        }
        for point in published["points"]
    ]
    best = max(hypervolumes, key=lambda name: hypervolumes[name])
    listed = ", ".join(
        f"{name} {value:.0f}" for name, value in sorted(hypervolumes.items(), key=lambda item: -item[1])
    )
    return {
        "points": points,
        "reference": list(published["reference"]),
        "methods": [
            {
                "id": PAPER[name],
                "name": name,
                "hypervolume": value,
                "count": sum(p["method"] == PAPER[name] for p in points),
            }
            for name, value in hypervolumes.items()
        ],
        "title": f"In the paper {best} covers most: hypervolume {listed}",
        "note": f"{published['source']}. Other models, data and rewards than here: these axes are theirs, and no interval is published.",
    }


def _axes(points: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> list[messages.Axis]:
    """What the two axes can show: a key of the points, and a title with its unit."""
    rewards: list[messages.Axis] = [
        {"id": name, "title": f"{name}: reward, standard deviations"} for name in objectives
    ]
    measured: list[messages.Axis] = [
        {"id": name, "title": title}
        for name, title in MEASURED.items()
        if any(point.get(name) is not None for point in points)
    ]
    return rewards + measured


def _methods(points: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> list[messages.Method]:
    counts = {method: sum(point["method"] == method for point in points) for method in methods()}
    return [
        {
            "id": method,
            "name": name,
            "hypervolume": _round(content["hypervolume"].get(method)),
            "count": counts[method],
        }
        for method, name in methods().items()
        if counts[method]
    ]


def _point(point: Mapping[str, Any], answers: bool, objectives: Sequence[str]) -> dict[str, Any]:
    preference = point.get("preference")
    numbers = (*objectives, *MEASURES)
    intervals = [name for name in numbers if point.get(f"{name}_ci")]
    cloud = [
        {"seed": run["seed"], **{name: _round(run.get(name)) for name in numbers}}
        for run in point.get("runs", [])
    ]
    return {
        "id": point["id"],
        "name": point["name"],
        "method": point["method"] if point["method"] in methods() else "other",
        "lambda": preference[0] if preference else None,
        **{name: _round(point.get(name)) for name in numbers},
        **{f"{name}_ci": [_round(value) for value in point[f"{name}_ci"]] for name in intervals},
        **{name: point.get(name) for name in ("steps", "seed", "prompts", "samples")},
        "seeds": point["seeds"],
        "cloud": cloud,
        "dominated": point["dominated"],
        "answers": answers,
    }


def trainings(checkpoints: Mapping[str, Checkpoint]) -> messages.Trainings:
    """How the trainings of checkpoints went, by id, for one chart of several: measures, what can be drawn,
    and curves, of each its steps and its values by measure.
    """
    curves: dict[str, messages.Curve] = {
        id: {"steps": [row["step"] for row in checkpoint.curves], "measures": _measures(checkpoint.curves)}
        for id, checkpoint in checkpoints.items()
        if checkpoint.curves
    }
    measures = dict.fromkeys(name for curve in curves.values() for name in curve["measures"])
    return {"measures": list(measures), "curves": curves}


def _measures(curves: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    names = list(curves[0]["reward"])
    shares = [row.get("shares") or divided(row["coefficients"]) for row in curves]
    by_title = {
        **{name: [row["reward"].get(name) for row in curves] for name in names},
        **{title: [row.get(key) for row in curves] for key, title in TRAINED.items()},
        **{f"share of {name}": [share[at] for share in shares] for at, name in enumerate(names)},
    }
    return {
        title: [None if value is None else float(f"{value:.4g}") for value in values]
        for title, values in by_title.items()
        if any(value is not None for value in values)
    }


def divided(coefficients: Sequence[float]) -> list[float]:
    """Each one's share of their sum."""
    total = sum(coefficients) or 1.0
    return [round(value / total, 4) for value in coefficients]


def _models(
    points: Sequence[Mapping[str, Any]], content: Mapping[str, Any], objectives: Sequence[str], missing: str
) -> messages.Heading:
    if not points:
        return {
            "title": "No policy has been scored yet",
            "empty": f"{missing} Add a checkpoint, or score a steered model: its point appears here.".strip(),
        }
    beaten = sum(point["dominated"] for point in points)
    title = (
        f"{len(points)} points, {beaten or 'none'} of them dominated"
        if len(points) > 1
        else "One policy has been scored"
    )
    if duel := _duel(content["comparison"]):
        title = f"{duel}; {beaten} of {len(points)} points are dominated"
    note = "Bars are 95 % intervals; " + _scored(points)
    return {"title": title, "note": note}


def _duel(comparison: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on which of the methods trained at the same preferences covers most, or that the data cannot
    tell.
    """
    rivals = {method: row for method, row in comparison.items() if row["positions"]}
    if len(rivals) < 2:
        return ""
    first, second = sorted(rivals, key=lambda method: -rivals[method]["hypervolume"])[:2]
    names = methods().get(first, first), methods().get(second, second)
    lead = rivals[first].get("lead_ci")
    count = len(rivals[first]["positions"])
    places = "at the one preference they share" if count == 1 else f"at the {count} preferences they share"
    if lead and lead[0] > 1:
        return f"{names[0]} covers most of the plane {places}"
    if lead:
        return f"{names[0]} and {names[1]} cover as much of the plane {places}, as far as the seeds tell"
    return f"{names[0]} covers most of the plane {places}, from one seed"


def _scored(points: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({point["prompts"] for point in points if point["prompts"]})
    if not counts:
        return "rewards of the reward models."
    many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    trained = max((len(point["seeds"]) for point in points), default=1)
    several = f", means of up to {trained} trainings" if trained > 1 else ""
    scaled = any(point["method"] == SCALED for point in points)
    price = " Scaled ones are extrapolated, and not compared above: with KL on an axis you see the price."
    return f"{many} held-out prompts a point{several}.{price if scaled else ''}"


EXAMPLE = "Judged by a language model, not by people, in the study that ships."


def _people(points: Sequence[Mapping[str, Any]], votable: bool, example: bool) -> messages.Heading:
    title = f"What {'a language model finds' if example else 'people find'} helpful and harmless"
    if len(points) < 2:
        how = "Send answers to Compare and judge them there: policies that people judged on both questions appear here."
        return {
            "title": title,
            "empty": how if votable else "This page has no blind comparison to take votes from.",
        }
    comparisons = min(point["people"]["comparisons"] for point in points)
    return {
        "title": f"{title}: {len(points)} policies",
        "note": f"{f'{EXAMPLE} ' if example else ''}Bradley-Terry strengths from blind votes, {comparisons} or more comparisons a policy; "
        "bars are 95 % intervals.",
    }


def _together(points: Sequence[Mapping[str, Any]], example: bool) -> messages.Together:
    """Both measures on one scale: standard scores over the policies that people have judged, too."""
    judge = "The language model that judged" if example else "People"
    title = "Do people agree with the reward models?"
    if len(points) < 3:
        return {
            "title": title,
            "empty": "Appears when people have judged three of these policies on both questions.",
            "points": [],
        }
    scores = {}
    for name in AXES:
        scores[name] = (
            _standard([point[name] for point in points]),
            _standard([point["people"][name] for point in points]),
        )
    agreement = {name: float(np.corrcoef(*scores[name])[0, 1]) for name in AXES}
    return {
        "title": f"{judge} and reward models correlate at {agreement['helpful']:.2f} on helpful, {agreement['harmless']:.2f} on harmless",
        "note": f"{f'{EXAMPLE} ' if example else ''}Each measure in standard scores over the policies that both judged; a line joins a policy's two places, votes hollow.",
        "points": [
            {
                "id": point["id"],
                **{name: [_round(scores[name][0][i]), _round(scores[name][1][i])] for name in AXES},
            }
            for i, point in enumerate(points)
        ],
    }


def _standard(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, float)
    standard: np.ndarray = (array - array.mean()) / (array.std() or 1.0)
    return standard


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), SIGNIFICANT)


def short(value: float) -> str:
    """.3 for 0.3."""
    return f"{value:g}".replace("0.", ".", 1) if 0 < value < 1 else f"{value:g}"


def number(value: float) -> str:
    """Three digits that matter, a real minus."""
    digits = sum(abs(value) < bound for bound in (10, 100))
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def side(id: str, name: str, method: str, about: str = "", weight: float | None = None) -> messages.Head:
    """The head of one text."""
    return {"id": id, "name": name, "method": method, "about": about, "lambda": weight}


def about(point: Mapping[str, Any] | None, objectives: Sequence[str] = OBJECTIVES) -> str:
    """What a text's head says about the policy's scores."""
    if point is None:
        return "not scored yet"
    rewards = [f"{name} {number(point[name])}" for name in objectives if name in point]
    refused = point.get("refusal_safe")
    return ", ".join(
        rewards + ([] if refused is None else [f"refuses {100 * refused:.0f} % of safe prompts"])
    )


def measures(
    metrics: Sequence[Mapping[str, float]], objectives: Sequence[str] = OBJECTIVES
) -> list[list[str]]:
    """The table under the texts: label, what it means, one value a text."""
    rows = [
        [
            name.capitalize(),
            "reward model, standard deviations above an average answer",
            *(number(each[name]) for each in metrics),
        ]
        for name in objectives
        if all(name in each for each in metrics)
    ]
    rows += [
        [
            "Distance",
            "KL to the base model over the whole answer, nats",
            *(number(each["kl"]) if each["kl"] else "0" for each in metrics),
        ],
        [
            "Repetition",
            "three-word sequences that come back",
            *(f"{100 * each['repetition']:.0f} %" for each in metrics),
        ],
        ["Length", "tokens", *(f"{each['tokens']:.0f}" for each in metrics)],
    ]
    return rows
