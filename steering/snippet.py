"""A plan as a Python program."""

import json

from steering.plan import Plan


def snippet(prompt: str, plan: Plan, *, model: str | None, seed: int, max_new_tokens: int, temperature: float) -> str:
    """Ten lines that reproduce a run of the page."""
    return f"""from lm import load
from steering import Library, Plan, steer

library = Library(load({model!r}))
plan = Plan.from_json({json.dumps(json.loads(plan.to_json()), indent=4)!s})
both = steer(library, {prompt!r}, plan, seed={seed}, max_new_tokens={max_new_tokens}, temperature={temperature})
print(both["unsteered"]["text"])
print(both["steered"]["text"])
""".replace(": null", ": None")
