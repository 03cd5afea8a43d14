"""A plan as a Python program."""

import json
from collections.abc import Sequence
from pprint import pformat
from typing import Any

from lm.prompts import Asked, read
from steering.concepts import shipped
from steering.plan import Plan


def snippet(
    prompt: Asked, plan: Plan, *, model: str | None, imported: Sequence[str] = (), **settings: Any
) -> str:
    """A short program that reproduces a run of the page; concepts of one's own are learned from files named
    after them.

    imported: those that are control vectors. settings: of `steering.pair`; those that are empty,
    and a top_p of 1, are left out.
    """
    own = [
        name for name in dict.fromkeys([*plan.concepts, *settings.get("watch", ())]) if name not in shipped()
    ]
    taught = [name for name in own if name not in imported]
    names = ["Library", "Plan", "steer", *(["Concept", "train"] if taught else [])]
    lines = [
        *(["from pathlib import Path", ""] if imported else []),
        "from lm import load",
        *(["from steering.calibrate import trial"] if own and plan.budget else []),
        *(["from steering.control_vectors import imported"] if imported else []),
        f"from steering import {', '.join(sorted(names))}",
        "",
        f"library = Library(load({model!r}))",
    ]
    for name in own:
        lines += (
            [f"library.add(*imported(library.model, Path({name + '.gguf'!r}).read_bytes(), {name!r}))"]
            if name in imported
            else [
                f"concept = Concept.load({name + '.jsonl'!r}, "
                f'{name!r})  # your examples, one {{"positive": ..., "negative": ...}} a line',
                "library.add(concept, train(library.model, concept))",
            ]
        )
        if plan.budget:
            lines.append(
                f"library.add(library.concepts[{name!r}], trial(library, {name!r}))  # what it costs"
            )
    prompts = {name: read(each).to_json() for name, each in settings.get("prompts", {}).items()}
    arguments = [
        f"{name}={value!r}"
        for name, value in (settings | {"prompts": prompts}).items()
        if value not in (None, (), {}) and (name, value) != ("top_p", 1.0)
    ]
    lines += [
        f"plan = Plan.from_json({pformat(json.loads(plan.to_json()), sort_dicts=False, width=100)})",
        f"both = steer(library, {read(prompt).to_json()!r}, plan, {', '.join(arguments)})",
        'print(both["unsteered"]["text"])',
        'print(both["steered"]["text"])',
    ]
    return "\n".join(lines) + "\n"
