"""Methods compared on the page: one concept's score against cost, over prompts and seeds that a person
chooses, measured by steering.frontier.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.bounds import MAX_SEED
from common.jsons import JsonObject
from common.messages import Chart
from common.statistics import estimate
from lm.prompts import MAX_CHARACTERS
from steering.concepts import Concept
from steering.frontier import BASE, BOTH, CONSTANT, DEFAULT, PAPER, REQUEST, Comparison, Result, frontier, of
from steering.library import Library
from steering.plan import Plan, sense_of

MAX_PROMPTS, MAX_SEEDS, MAX_TOKENS = 12, 3, 32
TOGETHER = 2
"""Prompts that are answered under every setting before the chart is drawn anew."""
TEMPERATURE = 0.7
"""In place of 0, at which every seed gives the same text."""
COLORS = {
    DEFAULT: "var(--tw-accent)",
    CONSTANT: "var(--tw-warn)",
    PAPER: "var(--tw-high)",
    REQUEST: "var(--tw-harmless)",
    BOTH: "var(--tw-ink)",
    BASE: "var(--tw-unsteered)",
}
MARKS = {
    DEFAULT: "circle",
    CONSTANT: "square",
    PAPER: "diamond",
    REQUEST: "triangle-up",
    BOTH: "star",
    BASE: "circle-open",
}


@dataclass(frozen=True)
class Cases:
    """Prompts and seeds: every prompt is answered from every seed."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    @classmethod
    def parse(cls, asked: object) -> "Cases":
        """Raises ValueError with one sentence where something is missing or out of bounds."""
        fields = asked if isinstance(asked, Mapping) else {}
        prompts, seeds = fields.get("prompts"), fields.get("seeds")
        if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
            raise ValueError("Prompts must be a list of texts: give one a line.")
        different = tuple(dict.fromkeys(text for prompt in prompts if (text := prompt.strip())))
        if not 2 <= len(different) <= MAX_PROMPTS:
            raise ValueError(f"Prompts are {len(different)} different lines: give 2 to {MAX_PROMPTS}.")
        if longest := next((text for text in different if len(text) > MAX_CHARACTERS), None):
            raise ValueError(
                f"A prompt has {len(longest):,} characters: give at most {MAX_CHARACTERS:,} each."
            )
        if not isinstance(seeds, list) or not all(
            type(seed) is int and 0 <= seed <= MAX_SEED for seed in seeds
        ):
            raise ValueError(
                f"Seeds must be whole numbers from 0 to {MAX_SEED}: give them with spaces between."
            )
        if not 1 <= len(set(seeds)) <= MAX_SEEDS:
            raise ValueError(f"Seeds are {len(set(seeds))} different numbers: give 1 to {MAX_SEEDS}.")
        return cls(different, tuple(dict.fromkeys(seeds)))


def compare(
    library: Library,
    plan: Plan,
    cases: Cases,
    *,
    max_new_tokens: int,
    temperature: float,
    stop: threading.Event | None = None,
) -> Iterator[tuple[float, Chart]]:
    """Yields the share done and the chart so far, of a plan's first target. Raises PlanError, lm.Stopped."""
    target = plan.targets[0]
    comparison = Comparison(
        library,
        target.concept,
        target.direction,
        methods=tuple(COLORS),
        tokens=min(max_new_tokens, MAX_TOKENS),
        temperature=temperature or TEMPERATURE,
    )
    pairs = [(prompt, seed) for prompt in cases.prompts for seed in cases.seeds]
    step = TOGETHER * len(cases.seeds)
    for share, results in frontier(comparison, pairs, stop=stop, together=step):
        yield share, chart(comparison, results, len(cases.seeds))


def chart(comparison: Comparison, results: Sequence[Result], seeds: int) -> Chart:
    """Score over KL: a line a method from the base model on, in a band of 95 % over the prompts."""
    concept, methods = comparison.concept, [method for method in COLORS if of(results, method)]
    plans = {(setting.method, setting.name): setting.plan for setting in comparison.settings}
    data = [_band(results, method) for method in methods if method != BASE]
    for method in methods:
        own = of(results, method)
        steered = [plans[result.method, result.setting] for result in own]
        data.append(_line(method, own, [None if plan is None else plan.budget for plan in steered]))
    layout = {
        "height": 380,
        "xaxis": {"title": {"text": "KL to the base model, nats a token"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": concept.high}, "range": [-0.04, 1.04], "nticks": 5},
        "hovermode": "closest",
    }
    count = len(results[0].score)
    return {
        "title": _title(concept, comparison.direction, results),
        "note": f"{count} prompts, {seeds} {'seed' if seeds == 1 else 'seeds'}, "
        f"{comparison.tokens} tokens at temperature {comparison.temperature:g} and top p 1; "
        "an independent scorer's mean, with 95 % intervals over the prompts. "
        "Click a point of the default to take its budget over.",
        "figure": {"data": data, "layout": layout},
        "table": {
            "columns": ["method", "setting", concept.name, "low", "high", "kl", "surprise", "repetition"],
            "rows": [_row(result) for result in results],
        },
        "file": "tradewind-methods.csv",
    }


def _title(concept: Concept, direction: str, results: Sequence[Result]) -> str:
    sense = sense_of(direction)
    of_all = [result for method in COLORS for result in of(results, method)]
    best = max(of_all, key=lambda result: sense * result.score.mean())
    goal = f"{'More' if sense > 0 else 'Less'} {concept.name}"
    before = results[0].score.mean()
    if best.method == BASE:
        return f"{goal}: no method moves the score of {before:.2f} on these prompts"
    after, cost = best.score.mean(), best.kl.mean()
    gain = sense * (best.score - results[0].score)
    sure = "" if estimate(gain).low > 0 else ", which these prompts cannot tell from chance"
    moved = f"from {before:.2f} to {after:.2f} at {cost:.2f} nats a token"
    return f"{goal}: {best.method} goes furthest, {moved}{sure}"


def _line(method: str, own: Sequence[Result], budgets: Sequence[float | None]) -> JsonObject:
    spans = [estimate(result.score) for result in own]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": method,
        "x": [round(float(result.kl.mean()), 4) for result in own],
        "y": [round(mean, 4) for mean, _, _ in spans],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [round(high - mean, 4) for mean, _, high in spans],
            "arrayminus": [round(mean - low, 4) for mean, low, _ in spans],
            "thickness": 1,
            "width": 0,
        },
        "customdata": list(budgets) if method == DEFAULT else None,
        "text": [result.setting for result in own],
        "line": {"color": COLORS[method], "width": 2},
        "marker": {"size": 8, "symbol": MARKS[method], "color": COLORS[method]},
        "hovertemplate": "%{y:.2f} at %{x:.2f} nats, %{text}<extra>" + method + "</extra>",
    }


def _band(results: Sequence[Result], method: str) -> JsonObject:
    """The intervals along a method's line, from the base model on."""
    own = [results[0], *of(results, method)]
    spans = [estimate(result.score) for result in own]
    costs = [round(float(result.kl.mean()), 4) for result in own]
    return {
        "type": "scatter",
        "mode": "none",
        "x": [*costs, *costs[::-1]],
        "y": [round(edge, 4) for edge in [*(s.high for s in spans), *(s.low for s in spans[::-1])]],
        "fill": "toself",
        "fillcolor": COLORS[method],
        "opacity": 0.1,
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _row(result: Result) -> list[Any]:
    numbers = *estimate(result.score), *(np.mean(part) for part in (result.kl, result.nll, result.repetition))
    return [result.method, result.setting, *(round(float(number), 4) for number in numbers)]
