"""A plan as a Python program."""

import json
from pprint import pformat

from lm.prompts import Asked, read
from steering.concepts import shipped
from steering.plan import Plan


def snippet(
    prompt: Asked, plan: Plan, *, model: str | None, seed: int, max_new_tokens: int, temperature: float
) -> str:
    """A short program that reproduces a run of the page; concepts of one's own are learned from files named
    after them.
    """
    taught = [target.concept for target in plan.targets if target.concept not in shipped()]
    names = ["Library", "Plan", "steer", *(["Concept", "train"] if taught else [])]
    lines = [
        "from lm import load",
        *(["from steering.calibrate import trial"] if taught and plan.budget else []),
        f"from steering import {', '.join(sorted(names))}",
        "",
        f"library = Library(load({model!r}))",
    ]
    for name in taught:
        lines += [
            f'concept = Concept.load({name + ".jsonl"!r}, {name!r})  # your examples, one {{"positive": ..., "negative": ...}} a line',
            "library.add(concept, train(library.model, concept))",
        ]
        if plan.budget:
            lines.append(f"library.add(concept, trial(library, {name!r}))  # what it costs")
    lines += [
        f"plan = Plan.from_json({pformat(json.loads(plan.to_json()), sort_dicts=False, width=100)})",
        f"both = steer(library, {read(prompt).to_json()!r}, plan, seed={seed}, max_new_tokens={max_new_tokens}, temperature={temperature})",
        'print(both["unsteered"]["text"])',
        'print(both["steered"]["text"])',
    ]
    return "\n".join(lines) + "\n"
