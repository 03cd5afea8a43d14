"""Methods against each other: the same positions, the same reference, every seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import moocore
import numpy as np

from common.statistics import Draws, middle
from lm.policy import SCALED

DRAWS = 500
Point = Mapping[str, Any]
END = "single"
"""Method of the points that are trained for one objective alone."""


def hypervolume(points: np.ndarray, reference: Sequence[float]) -> float:
    """Volume between points [n, m] and a reference that lies below them; points not above it add nothing."""
    above = np.asarray(points, float)
    above = above[(above > np.asarray(reference)).all(1)]
    return float(moocore.hypervolume(above, ref=list(reference), maximise=True)) if len(above) else 0.0


def values(points: Sequence[Point], objectives: Sequence[str]) -> np.ndarray:
    """Mean rewards [n, m]."""
    return np.array([[point[name] for name in objectives] for point in points], float).reshape(
        -1, len(objectives)
    )


def seeds(point: Point) -> list[int]:
    """The seeds of a point's trainings; a point of one training has one."""
    return list(point.get("seeds") or [point.get("seed") or 0])


def runs(point: Point) -> list[Point]:
    """The scores of each of a point's trainings."""
    return list(point.get("runs") or [point])


def rivals(points: Sequence[Point]) -> dict[str, list[Point]]:
    """By method: the points at the preferences that all methods of several preferences share, by preference;
    empty where they share none. Scaled policies were trained nowhere, so they are left out.
    """
    places: dict[str, dict[tuple[float, ...], Point]] = {}
    for point in points:
        if point.get("preference") and point["method"] not in (END, SCALED):
            places.setdefault(point["method"], {})[tuple(round(w, 6) for w in point["preference"])] = point
    places = {method: own for method, own in places.items() if len(own) > 1}
    shared = sorted(set.intersection(*map(set, places.values()))) if places else []
    return {method: [own[place] for place in shared] for method, own in places.items()} if shared else {}


def volumes(points: Sequence[Point], objectives: Sequence[str], reference: Sequence[float]) -> dict[str, Any]:
    """What each method covers at equal positions, the two ends added to each; "single": the ends alone.

    Returns
    -------
    dict
        by method: hypervolume, hypervolume_ci (None where scores a prompt are not stored), positions (the
        weights of the first objective), and ratio, ratio_ci to linear scalarisation. The first of those that
        were trained has lead_ci, its ratio to the second; both are drawn from the same seeds and prompts.
    """
    ends = [point for point in points if point["method"] == END]
    sets = {method: [*own, *ends] for method, own in rivals(points).items()}
    if ends:
        sets[END] = ends
    drawn = _drawn(sets, objectives, reference)
    rows: dict[str, Any] = {}
    for method, own in sets.items():
        rows[method] = {
            "hypervolume": hypervolume(values(own, objectives), reference),
            "hypervolume_ci": middle(drawn[method]).tolist() if drawn else None,
            "positions": [point["preference"][0] for point in own if point["method"] != END],
        }
    if "linear" in rows and rows["linear"]["hypervolume"]:
        for method, row in rows.items():
            row["ratio"] = row["hypervolume"] / rows["linear"]["hypervolume"]
            if drawn and drawn["linear"].all():
                row["ratio_ci"] = middle(drawn[method] / drawn["linear"]).tolist()
    ranked = sorted(set(rows) - {END}, key=lambda method: -rows[method]["hypervolume"])
    if drawn and len(ranked) > 1 and drawn[ranked[1]].all():
        rows[ranked[0]]["lead_ci"] = middle(drawn[ranked[0]] / drawn[ranked[1]]).tolist()
    return rows


def _drawn(
    sets: Mapping[str, Sequence[Point]], objectives: Sequence[str], reference: Sequence[float]
) -> dict[str, np.ndarray]:
    """Hypervolumes [draws] by method; the same prompts and seeds are drawn for all. Empty where a point's
    scores are not stored, or points differ by prompts or seeds.
    """
    used = [run for own in sets.values() for point in own for run in runs(point)]
    if not used or not all("scores" in run for run in used):
        return {}
    counts = {len(runs(point)) for own in sets.values() for point in own}
    prompts = {len(run["scores"][objectives[0]]) for run in used}
    if len(counts) > 1 or len(prompts) > 1:
        return {}
    draws = Draws.of(counts.pop(), prompts.pop(), draws=DRAWS)
    volumes = {}
    for method, own in sets.items():
        means = np.stack([draws.means(_scores(point, objectives)) for point in own], 1)
        volumes[method] = np.array([hypervolume(each, reference) for each in means])
    return volumes


def _scores(point: Point, objectives: Sequence[str]) -> np.ndarray:
    """[seeds, prompts, m]."""
    each = [[run["scores"][name] for name in objectives] for run in runs(point)]
    return np.array(each, float).transpose(0, 2, 1)


def attainment(points: Sequence[Point], objectives: Sequence[str]) -> dict[str, list[list[float]]]:
    """By method of several seeds: the corners [n, m] of what half of its seeds attain (the median of the
    empirical attainment function).
    """
    corners = {}
    for method in dict.fromkeys(point["method"] for point in points):
        rows = [
            ([run[name] for name in objectives], number)
            for point in points
            if point["method"] == method
            for number, run in enumerate(runs(point))
        ]
        if len({number for _, number in rows}) > 1:
            costs = -np.array([row for row, _ in rows], float)
            surface = moocore.eaf(costs, [number for _, number in rows], percentiles=[50])
            corners[method] = (-surface[:, :-1]).tolist()
    return corners


def monotone(points: Sequence[Point], objectives: Sequence[str]) -> dict[str, Any]:
    """By method: in how many of its seeds each objective's reward never falls as its own weight rises, over
    the preferences that all methods share.
    """
    counts: dict[str, Any] = {}
    for method, own in rivals(points).items():
        count = min(len(runs(point)) for point in own)
        rises = {}
        for k, name in enumerate(objectives):
            rank = np.argsort([point["preference"][k] for point in own], kind="stable")
            ladder = np.array([[run[name] for run in runs(own[at])[:count]] for at in rank])
            rises[name] = int((np.diff(ladder, axis=0) >= 0).all(0).sum())
        counts[method] = {"seeds": count, **rises}
    return counts
