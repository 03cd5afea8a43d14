"""Policies by name: the base model, checkpoints, mixes and plans, as all tabs,
commands and the API know them.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import arena
from common.folders import expanded
from lm import Policies, Policy, SourceError, load
from lm.policy import GRAMMAR, PolicyError
from pareto.checkpoint import FOLDER as CHECKPOINTS
from pareto.checkpoint import Checkpoint, find, shipped
from pareto.policy import policies as tuned_policies
from pareto.policy import tuned
from pareto.session import BASE
from steering import Library, Plan
from steering.steer import policy as plan_policy
from ui.validation import sentence

GROUPS = (
    "Base model and checkpoints",
    "Steered: a concept amplified to p0",
    "Steered: a concept removed to p0",
)
"""Of the policies that Compare lists."""
PLAIN = "base model"
"""What the unchanged model is called on every tab."""


def checkpoint_folder() -> Path:
    """Where the checkpoints lie that ship: of the environment, or of the repository."""
    return expanded(os.environ.get("TRADEWIND_CHECKPOINTS") or CHECKPOINTS)


def policies(
    entries: Sequence[Mapping[str, Any]], library: Library | None = None
) -> dict[str, arena.Entrant]:
    """Answers of the entries of a policies file: {"name", and "plan": {...}, "checkpoint": id, folder or hub
    id, "mix": "A+B@0.35" or "curve:0.35", or "base": true}.

    Raises arena.ArenaError.
    """
    try:
        library = library or Library(load())
        named = resolver(library)
        return {entry["name"]: _entrant(named(entry)) for entry in entries}
    except (ValueError, SourceError) as error:
        raise arena.ArenaError(sentence(error)) from None


def resolver(library: Library) -> Policies:
    """Policies by their names, as all tabs, commands and the API know them."""
    model = library.model
    return tuned_policies(
        model,
        lambda name: find(name, model, checkpoint_folder()),
        lambda: shipped(model, checkpoint_folder()),
        partial(planned, library),
    )


def planned(library: Library, plan: str | Mapping[str, Any]) -> Policy:
    """The policy of a plan. Raises PlanError where it is none."""
    return plan_policy(library, Plan.from_json(plan))


def _entrant(policy: Policy, group: str = GROUPS[0]) -> arena.Entrant:
    return arena.Entrant(policy, policy.spec, group)


def plans(library: Library) -> dict[str, dict[str, Any]]:
    """Every concept amplified, then every one removed, by the plan's title."""
    asked = [
        {"targets": [{"concept": name, "direction": direction, "p0": p0}]}
        for direction, p0 in (("amplify", 0.999), ("remove", 0.001))
        for name in library.concepts
    ]
    return {Plan.from_json(plan).title: plan for plan in asked}


def roster(library: Library) -> dict[str, arena.Entrant]:
    """What the Compare tab offers: the plain model, the checkpoints, and the plans."""
    steered = {
        name: _entrant(
            planned(library, plan), GROUPS[1 if plan["targets"][0]["direction"] == "amplify" else 2]
        )
        for name, plan in plans(library).items()
    }
    trained = {
        checkpoint.name: _entrant(tuned(library.model, checkpoint))
        for checkpoint in shipped(library.model, checkpoint_folder())
    }
    return policies([{"name": PLAIN, "base": True}], library) | trained | steered


def applicable(library: Library, plan: str | Mapping[str, Any]) -> Policy:
    """The policy of a plan as the Trade-offs tab scores it. Raises PlanError where it cannot be applied."""
    policy = planned(library, plan)
    _ = policy.edits
    return policy


def served(library: Library) -> tuple[Policies, list[str]]:
    """What the HTTP API answers as: the model, what ships for it, mixes of that, and plans;
    and the names that it lists.
    """
    model = library.model
    known = {checkpoint.id: checkpoint for checkpoint in shipped(model, checkpoint_folder())}

    def of_id(id: str) -> Checkpoint:
        if id not in known:
            raise PolicyError(f"There is no policy {id!r:.80}: give {GRAMMAR}.")
        return known[id]

    names = [BASE, *(f"checkpoint:{id}" for id in known)]
    return tuned_policies(model, of_id, known.values, partial(planned, library)), names
