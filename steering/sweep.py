"""Dose and response: prompts x magnitudes x bands of layers, in batched decodes."""

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from lm import Edit, Row, Sampling
from lm.caller import heed
from lm.prompts import Asked, prompt_ids, read
from steering.edits import curve_of, edits
from steering.library import Library
from steering.metrics import Metrics, measure
from steering.plan import Layers, Plan, PlanError

MAGNITUDES = (0.1, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
"""Values of p0 to amplify; to remove, take 1 - p0."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
BUDGETS = 8
MAX_ROWS = 400
DECODING = 0.6
"""Share of a prompt's time in which its texts are decoded; they are measured in the rest."""


def usual(plan: Plan, library: Library) -> tuple[float, ...]:
    """Magnitudes that fit a plan: budgets even in cost as far as the first target's texts stay
    fluent, strengths, or values of p0.
    """
    if plan.budget is not None:
        first = plan.targets[0]
        most = len(plan.targets) * curve_of(plan.method, first, library.cav(first.concept)).fluent
        return tuple(round(most * step / BUDGETS, 4) for step in range(1, BUDGETS + 1))
    if plan.method == "fixed":
        return STRENGTHS
    return (
        MAGNITUDES if plan.targets[0].direction == "amplify" else tuple(round(1 - p, 9) for p in MAGNITUDES)
    )


def thirds(layers: int) -> list[tuple[int, ...]]:
    """The early, the middle and the late layers of a model."""
    ends = [round(layers * part / 3) for part in range(4)]
    return [tuple(range(first, last)) for first, last in zip(ends, ends[1:], strict=False) if first < last]


def magnitudes(plan: Plan, values: Sequence[float]) -> list[Plan]:
    """The plan at each magnitude: its budget, else its strength, else its first target's p0."""
    if plan.budget is not None:
        return [dataclasses.replace(plan, budget=value) for value in values]
    if plan.method == "fixed":
        return [dataclasses.replace(plan, strength=value) for value in values]
    first, *rest = plan.targets
    return [
        dataclasses.replace(plan, targets=(dataclasses.replace(first, p0=value), *rest)) for value in values
    ]


def magnitude(plan: Plan) -> float:
    """What a sweep varies: the budget, the strength, or the first target's p0."""
    if plan.budget is not None:
        return plan.budget
    return plan.targets[0].p0 if plan.strength is None else plan.strength


def sweep(
    library: Library,
    prompts: Sequence[Asked],
    plan: Plan,
    *,
    values: Sequence[float] | None = None,
    bands: Sequence[Layers] | None = None,
    seed: int = 0,
    max_new_tokens: int = 48,
    temperature: float = 0.0,
    top_p: float = 1.0,
    stop: threading.Event | None = None,
    report: Callable[[float], None] | None = None,
) -> Iterator[tuple[float, pd.DataFrame]]:
    """Yields (share done, table so far): one row a prompt, band and magnitude, and the unsteered text as
    magnitude None. Raises PlanError, lm.Stopped.

    values: magnitudes, those of `usual` where None. bands: layers, the plan's own where None. report: hears
    the share done within a prompt too, token by token and text by text.
    """
    values = usual(plan, library) if values is None else values
    plans: list[Plan | None] = [None]
    for band in bands or [plan.layers]:
        plans += magnitudes(dataclasses.replace(plan, layers=band), values)
    if len(plans) * len(prompts) > MAX_ROWS:
        raise PlanError(
            f"A sweep has {len(plans) * len(prompts)} texts: "
            f"give fewer magnitudes, bands or prompts, for at most {MAX_ROWS}."
        )
    if not prompts:
        raise PlanError("A sweep needs a prompt: give at least one.")
    for name in plan.concepts:
        library.cav(name)
    concepts = [library.concepts[target.concept] for target in plan.targets]
    sampling = Sampling(temperature, seed, max_new_tokens, top_p)
    rows: list[dict[str, Any]] = []

    def tell(prompts_done: float) -> None:
        if report is not None:
            report(prompts_done / len(prompts))

    for number, prompt in enumerate(prompts, 1):
        ids = prompt_ids(library.model, prompt)
        if number == 1 or plan.when is not None:
            pushes = [() if each is None else edits(each, library, prompt) for each in plans]
        decoding = library.model.decode([Row(ids, sampling, edit) for edit in pushes], stop=stop)
        for _ in decoding:
            tell(number - 1 + DECODING * max(len(run.ids) for run in decoding.runs) / max_new_tokens)
        for at, (swept, run, pushed) in enumerate(zip(plans, decoding.runs, pushes, strict=True), 1):
            heed(stop)
            [metrics] = measure(library.model, [run], [pushed], concepts, temperature=temperature)
            tell(number - 1 + DECODING + (1 - DECODING) * at / len(plans))
            rows.append(_row(read(prompt).text, swept, pushed, metrics, run.text))
        yield number / len(prompts), pd.DataFrame(rows)


def _row(
    prompt: str, plan: Plan | None, pushes: Sequence[Edit], metrics: Metrics, text: str
) -> dict[str, Any]:
    numbers = dataclasses.asdict(metrics)
    scores = numbers.pop("scores")
    return {
        "prompt": prompt,
        "magnitude": None if plan is None else magnitude(plan),
        "layers": " ".join(str(edit.layer) for edit in pushes),
        **scores,
        **numbers,
        "text": text,
    }
