"""Does steering work? The base model, the request in words, a plan, both together and a constant push on the
same prompts, with bootstrap intervals.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from common.jsons import JsonObject
from common.reading import lines_of, text_of
from common.statistics import estimate
from lm import Edit, Row, Run, Sampling
from lm.prompts import prompt_ids
from steering.cav import CAV, logits, read
from steering.edits import edits, layers_of
from steering.library import Library
from steering.metrics import measure
from steering.plan import Plan, PlanError
from steering.requests import requested, strongest
from steering.steer import wishes


def evaluate(
    library: Library,
    plan: Plan,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    max_new_tokens: int = 48,
    temperature: float = 0.7,
) -> JsonObject:
    """Independent score, KL, NLL, repetition of several methods: {method: {metric: (mean, low, high)}}.

    The methods: "unsteered", "prompted" (the system's message, where the template knows one, and the user's
    ask for the concept), the plan's own under its name, "prompted + " that name, and beside a gated one
    "fixed": a constant push along the first concept of the mean |eps| that the plan used, as a share of the
    class gap, so that both push equally far. Raises PlanError where the concept has no scorer.
    """
    if not prompts:
        raise PlanError("An evaluation needs prompts: give at least one, better 20.")
    if library.concepts[plan.targets[0].concept].scorer is None:
        raise PlanError(
            f"{plan.targets[0].concept} has no independent scorer, "
            "and would be judged by the vector itself: give a concept that has one."
        )
    concept, model = library.concepts[plan.targets[0].concept], library.model
    sampling = Sampling(temperature=temperature, seed=seed, max_new_tokens=max_new_tokens)
    requests = [requested(prompt, wishes(library, plan), strongest(model)) for prompt in prompts]
    plain = [prompt_ids(model, prompt) for prompt in prompts]
    asked = [prompt_ids(model, request) for request in requests]
    steered, pushed = edits(plan, library), edits(plan, library, requests[0])
    results: dict[str, JsonObject] = {}

    def add(name: str, rows: list[Row], pushes: tuple[Edit, ...]) -> list[Run]:
        runs = model.generate(rows)
        metrics = measure(model, runs, [pushes] * len(runs), [concept], plain, temperature=temperature)
        results[name] = {
            "score": estimate([each.scores[concept.name] for each in metrics], seed),
            **{
                key: estimate([getattr(each, key) for each in metrics], seed)
                for key in ("kl", "nll", "repetition", "distinct")
            },
        }
        return runs

    add("unsteered", [Row(ids, sampling) for ids in plain], ())
    add("prompted", [Row(ids, sampling) for ids in asked], ())
    runs = add(plan.method, [Row(ids, sampling, steered) for ids in plain], steered)
    add(f"prompted + {plan.method}", [Row(ids, sampling, pushed) for ids in asked], pushed)
    strength = plan.strength
    if plan.method != "fixed":
        gaps = library.cav(concept.name).gap[[edit.layer for edit in steered]]
        strength = _mean_strength(runs, gaps.numpy())
        constant = dataclasses.replace(plan, targets=plan.targets[:1], method="fixed", strength=strength)
        fixed = edits(constant, library)
        add("fixed", [Row(ids, sampling, fixed) for ids in plain], fixed)
    return {
        "concept": concept.name,
        "direction": plan.targets[0].direction,
        "p0": plan.targets[0].p0,
        "model": model.name,
        "model_hash": model.hash,
        "prompts": len(prompts),
        "seed": seed,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "fixed_strength": strength,
        "methods": results,
    }


def _mean_strength(runs: Sequence[Run], gaps: np.ndarray) -> float:
    """Mean |eps| of the first target over tokens and layers, as a share of the class gap of each layer."""
    return float(np.mean(np.abs(np.concatenate([np.stack(run.trace) for run in runs])["eps"][..., 0]) / gaps))


def labelled(library: Library, cav: CAV, path: Path, *, most: int = 600, seed: int = 0) -> JsonObject:
    """Accuracy of a CAV on people's labels that it never saw, by the mean logit over its steering layers.

    The file is JSON Lines (or .gz) with "text" and "toxic" (0/1), "label" (0/1) or "rating" (sign; |rating| <
    1 is left out). Balanced by sampling; the threshold is the CAV's own, and also the sample's median, which
    forgives a shift.
    """
    sides = sample(path, most // 2, seed)
    each, texts = len(sides[0]), sides[0] + sides[1]
    truth = torch.tensor([0] * each + [1] * each)
    activations = read(library.model, texts, cav.settings)
    layers = list(layers_of(Plan.from_json({"targets": [{"concept": cav.concept}]}), [cav]))
    logit = logits(cav, activations)[:, layers].mean(1)
    right = ((logit > 0) == truth).float().tolist()
    shifted = ((logit > logit.median()) == truth).float().tolist()
    return {
        "concept": cav.concept,
        "file": path.name,
        "n": 2 * each,
        "seed": seed,
        "layers": layers,
        "accuracy": estimate(right, seed),
        "accuracy_at_median": estimate(shifted, seed),
    }


def sample(path: Path, most: int, seed: int) -> tuple[list[str], list[str]]:
    """As many texts of label 0 as of label 1, `most` at most. Raises ValueError where a label is missing."""
    sides: dict[int, list[str]] = {0: [], 1: []}
    for text, positive in _labels(path):
        sides[int(positive)].append(text)
    if not (sides[0] and sides[1]):
        raise ValueError(
            f"{path.name} has {len(sides[0])} "
            f"texts of one label and {len(sides[1])} of the other: give some of both."
        )
    rng = np.random.default_rng(seed)
    each = min(most, *(len(texts) for texts in sides.values()))
    zeros, ones = ([sides[side][i] for i in rng.permutation(len(sides[side]))[:each]] for side in (0, 1))
    return zeros, ones


def _labels(path: Path) -> Iterator[tuple[str, bool]]:
    for number, line in enumerate(lines_of(text_of(path)), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            value = next(entry[key] for key in ("toxic", "label", "rating") if key in entry)
            if "rating" not in entry or abs(value) >= 1:
                yield str(entry["text"]), value > 0
        except (json.JSONDecodeError, RecursionError, KeyError, TypeError, StopIteration):
            raise ValueError(
                f'{path.name}, line {number}: give an object with "text" and "toxic", "label" or "rating".'
            ) from None
