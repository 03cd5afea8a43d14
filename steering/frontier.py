"""The frontier of a concept: what each method does to an independent score, against what it costs, on prompts that no
vector and no calibration met.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.statistics import estimate
from lm import LanguageModel, Row, Run, Sampling
from lm.metrics import kl, repetition
from lm.prompts import prompt_ids
from steering.concepts import Concept
from steering.edits import curve_of, edits
from steering.library import Library
from steering.plan import Plan, PlanError, Target
from steering.scorers import scorer

BUDGETS = (0.05, 0.12, 0.25)
P0 = (0.9, 0.999)
"""What the paper's method is asked for, which has no budget."""
COMPARED = 0.1
"""KL, nats a token, at which methods are compared prompt by prompt."""
METHODS = {"auto": "default", "gcav": "GCAV of the paper", "fixed": "constant push"}


@dataclass(frozen=True)
class Texts:
    """One method at one setting, a number a prompt (mean over the seeds)."""

    method: str
    setting: str
    score: np.ndarray
    kl: np.ndarray
    nll: np.ndarray
    repetition: np.ndarray


def requests(concept: Concept, direction: str) -> dict[str, Callable[[str], list[dict[str, str]]]]:
    """Two plain ways to ask for a concept: after the user's message, and as the system's."""
    pole = concept.high if direction == "amplify" else concept.low
    ask = f"Answer in a way that is very {pole}."
    return {
        "request, user": lambda prompt: [{"role": "user", "content": f"{prompt}\n\n{ask}"}],
        "request, system": lambda prompt: [
            {"role": "system", "content": ask},
            {"role": "user", "content": prompt},
        ],
    }


def frontier(
    library: Library,
    name: str,
    direction: str,
    prompts: Sequence[str],
    *,
    seeds: int = 1,
    tokens: int = 32,
    temperature: float = 0.7,
    progress: Callable[[str], None] | None = None,
) -> list[Texts]:
    """All methods at all settings, the base model first. KL at the temperature of the texts.

    Raises PlanError where the concept has no independent scorer, or no calibration.
    """
    concept = library.concepts[name]
    if concept.scorer is None:
        raise PlanError(f"{name} has no independent scorer: nothing could be judged but by the vector itself")
    target = Target(name, direction)
    plans = [
        Plan((target,), method=method, budget=budget)
        for method in ("auto", "fixed")
        for budget in _budgets(curve_of(method, target, library.cav(name)).max_budget)
    ]
    plans += [
        Plan((Target(name, direction, p if direction == "amplify" else 1 - p),), method="gcav") for p in P0
    ]
    ask = requests(concept, direction)
    asked: list[tuple[str, str, Plan | None, Callable]] = [("base", "", None, lambda prompt: prompt)]
    asked += [(way, "", None, build) for way, build in ask.items()]
    asked += [(METHODS[plan.method], _setting(plan), plan, lambda prompt: prompt) for plan in plans]
    results = []
    for method, setting, plan, build in asked:
        steered = () if plan is None else edits(plan, library)
        rows = [
            Row(prompt_ids(library.model, build(prompt)), Sampling(temperature, seed, tokens), steered)
            for seed in range(seeds)
            for prompt in prompts
        ]
        plain = [prompt_ids(library.model, prompt) for _ in range(seeds) for prompt in prompts]
        results.append(_measured(library.model, concept, method, setting, rows, plain, seeds, temperature))
        if progress is not None:
            progress(f"{name} {direction}: {method} {setting}")
    return results


def _budgets(most: float) -> list[float]:
    """BUDGETS as far as a calibration goes, and its end where that comes first."""
    return sorted({min(budget, most) for budget in BUDGETS})


def _setting(plan: Plan) -> str:
    return f"p0 {plan.targets[0].p0:g}" if plan.budget is None else f"budget {plan.budget:g}"


def _measured(
    model: LanguageModel,
    concept: Concept,
    method: str,
    setting: str,
    rows: Sequence[Row],
    plain: Sequence[tuple[int, ...]],
    seeds: int,
    temperature: float,
) -> Texts:
    runs: list[Run] = model.generate(rows)
    base = model.logprobs(
        [[*prompt, *run.ids] for prompt, run in zip(plain, runs, strict=True)],
        [len(prompt) for prompt in plain],
        temperature=temperature,
    )
    own = base
    if rows[0].edits or rows[0].prompt != plain[0]:
        own = model.logprobs(
            [[*run.prompt, *run.ids] for run in runs],
            [len(run.prompt) for run in runs],
            edits=[row.edits for row in rows],
            temperature=temperature,
        )
    assert concept.scorer is not None
    judge = scorer(concept.scorer)
    numbers = np.array(
        [
            (
                judge(run.text),
                float(kl(q, p).mean()),
                -float(p[range(len(run.ids)), run.ids].mean()),
                repetition(run.ids),
            )
            for run, p, q in zip(runs, base, own, strict=True)
        ]
    )
    return Texts(method, setting, *numbers.reshape(seeds, -1, 4).mean(0).T)


def at_equal_kl(results: Sequence[Texts], method: str) -> np.ndarray:
    """The score of each prompt at a KL of COMPARED, between a method's settings; the base model is at 0 nats."""
    own = [results[0], *sorted((t for t in results if t.method == method), key=lambda t: t.kl.mean())]
    roots = np.sqrt([texts.kl.mean() for texts in own])
    return np.array(
        [np.interp(np.sqrt(COMPARED), roots, scores) for scores in np.stack([t.score for t in own]).T]
    )


def markdown(name: str, direction: str, results: Sequence[Texts]) -> str:
    """A table of means with 95 % bootstrap intervals over prompts, and the methods' difference at equal KL."""
    count = len(results[0].score)
    lines = [
        f"### {name}, {'more' if direction == 'amplify' else 'less'} ({count} prompts)",
        "",
        "| method | setting | score | KL, nats a token | surprise, nats | repeated |",
        "|---|---|---|---|---|---|",
    ]
    for texts in results:
        score, cost = _cell(texts.score), _cell(texts.kl) if texts.kl.any() else "0"
        lines.append(
            f"| {texts.method} | {texts.setting} | {score} | {cost} | {texts.nll.mean():.2f} | {texts.repetition.mean():.3f} |"
        )
    sense = 1 if direction == "amplify" else -1
    default = sense * at_equal_kl(results, METHODS["auto"])
    differences = ", ".join(
        f"{METHODS[rival]} {_signed(default - sense * at_equal_kl(results, METHODS[rival]))}"
        for rival in ("fixed", "gcav")
    )
    return "\n".join(
        [
            *lines,
            "",
            f"At {COMPARED} nats a token the default is ahead of: {differences} (in score, more is better).",
        ]
    )


def _cell(values: np.ndarray) -> str:
    mean, low, high = (_short(value) for value in estimate(values.tolist()))
    return f"{mean} [{low}, {high}]"


def _signed(values: np.ndarray) -> str:
    mean, low, high = (f"{value:+.2f}".replace("0.", ".") for value in estimate(values.tolist()))
    return f"{mean} [{low}, {high}]"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def to_dict(results: Sequence[Texts]) -> list[dict]:
    """Results as plain data."""
    return [
        {
            field.name: value.tolist()
            if isinstance(value := getattr(texts, field.name), np.ndarray)
            else value
            for field in dataclasses.fields(Texts)
        }
        for texts in results
    ]
