"""A front as Markdown: what `python -m pareto front` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

SHARES = {
    "refusal_unsafe": "refusals, unsafe",
    "refusal_safe": "refusals, safe",
    "refusal_unsafe_alike": "refusals, unsafe twins",
    "refusal_safe_alike": "refusals, safe twins",
    "toxicity": "toxicity",
}


def table(front: Mapping[str, Any]) -> str:
    """Points, those with most of the first objective first; then what whole methods cover.

    front: as `Front.to_dict` gives it.
    """
    objectives = front["objectives"]
    shares = {key: title for key, title in SHARES.items() if any(key in point for point in front["points"])}
    head = ["checkpoint", "seeds", *objectives, "KL", "tokens", "repeated", *shares.values()]
    lines = [_row(head), "|" + "---|" * len(head)]
    for point in sorted(front["points"], key=lambda point: -point[objectives[0]]):
        lines.append(
            _row(
                [
                    point.get("name", point["id"]) + (" (dominated)" if point["dominated"] else ""),
                    "-" if point["method"] == "base" else ", ".join(map(str, point["seeds"])),
                    *(_measured(point, name) for name in objectives),
                    _number(point.get("kl"), ".1f"),
                    _number(point.get("length"), ".0f"),
                    _number(point.get("repetition"), ".2f"),
                    *(_number(point.get(key), ".2f") for key in shares),
                ]
            )
        )
    reference = ", ".join(
        f"{name} {value:+.2f}" for name, value in zip(objectives, front["reference"], strict=True)
    )
    own = ", ".join(f"{method} {volume:.3f}" for method, volume in front["hypervolume"].items())
    parts = [*lines, "", f"Hypervolume of each method's own points above {reference}: {own}."]
    return "\n".join([*parts, *_comparison(front["comparison"]), *_monotone(front["monotone"], objectives)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:z{form}}"


def _interval(ends: Sequence[float] | None, form: str = ".3f") -> str:
    return f" [{ends[0]:{form}}, {ends[1]:{form}}]" if ends else ""


def _measured(point: Mapping[str, Any], name: str) -> str:
    return f"{point[name]:+.2f}{_interval(point.get(f'{name}_ci'), '+.2f')}"


def _comparison(comparison: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not comparison:
        return []
    positions = max((row["positions"] for row in comparison.values()), key=len)
    lines = [
        "",
        f"At equal positions ({', '.join(f'{place:g}' for place in positions) or 'none shared'}), the two ends added to each:",
        "",
        _row(["method", "hypervolume", "over linear"]),
        "|---|---|---|",
    ]
    for method, row in sorted(comparison.items(), key=lambda item: -item[1]["hypervolume"]):
        ratio = f"{row['ratio']:.2f}{_interval(row.get('ratio_ci'), '.2f')}" if "ratio" in row else ""
        title = "the ends alone" if method == "single" else method
        lines.append(_row([title, f"{row['hypervolume']:.3f}{_interval(row['hypervolume_ci'])}", ratio]))
    return lines


def _monotone(monotone: Mapping[str, Mapping[str, int]], objectives: Sequence[str]) -> list[str]:
    if not monotone:
        return []
    shares = [
        f"{method} " + ", ".join(f"{name} {row[name]} of {row['seeds']}" for name in objectives)
        for method, row in monotone.items()
    ]
    return ["", f"Seeds in which a reward never falls as its weight rises: {'; '.join(shares)}."]
