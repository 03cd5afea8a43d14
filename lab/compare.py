"""From the other tabs to Compare, and back: texts that are sent there, and what people think of a policy."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

import arena
from arena import space
from arena.example import add as add_example
from lab.policies import PLAIN
from lm import LanguageModel, Policy, Run
from lm.prompts import Chat
from pareto.front import path_of
from pareto.session import BASE, Side
from pareto.session import Request as Tuned
from pareto.view import AXES, Votes
from steering import Library, Plan
from steering.session import Request as Steered
from steering.steer import policy as plan_policy


def send(
    store: arena.Store,
    library: Library,
    request: Steered,
    sides: Sequence[tuple[str, Plan | None, Run]],
    sender: str | None,
) -> str:
    """Takes texts of the Steer tab to the blind comparison; what to tell the visitor.

    sender: the login of whoever sends, None where nobody is signed in. Raises arena.ArenaError.
    """
    policies = [Policy(library.model) if plan is None else plan_policy(library, plan) for _, plan, _ in sides]
    outputs = [
        _output(request, name, policy.spec, run)
        for (name, _, run), policy in zip(sides, policies, strict=True)
    ]
    return sent(store, outputs, sender)


def _output(request: Steered | Tuned, name: str, spec: Mapping[str, Any], run: Run) -> arena.Output:
    about: dict[str, Any] = {
        "seed": request.seed,
        "temperature": request.temperature,
        "tokens": len(run.ids),
        "finish": run.finish,
    }
    if request.top_p < 1:
        about["top_p"] = request.top_p
    if isinstance(request.prompt, Chat) and request.prompt.thinking:
        about["thinking"] = True
    return arena.Output(request.prompt.text, name, run.text, spec, about)


def sent(store: arena.Store, outputs: Sequence[arena.Output], sender: str | None) -> str:
    """Where people sign in, only they send, and what they send waits until an organizer opens its set."""
    if space.login() and sender is None:
        raise arena.ArenaError("Sign in with Hugging Face on the Compare tab first: only signed people send.")
    sending = arena.send(store, outputs, sender=sender if space.login() else None)
    waits = " An organizer opens it to annotators." if space.login() else ""
    return f"Sent to Compare: {sending.plain} new battle{'' if sending.plain == 1 else 's'} in the set “{sending.name}”.{waits}"


def send_tuned(store: arena.Store, request: Tuned, sides: Sequence[Side], sender: str | None) -> str:
    """Takes texts of the Trade-offs tab there. Raises arena.ArenaError."""
    outputs = [
        _output(request, PLAIN if policy.name == BASE else name, policy.spec, run)
        for name, policy, run in sides
    ]
    return sent(store, outputs, sender)


def votes(store: arena.Store) -> Votes:
    """What people think of the policies, by checkpoint id, "base" for the plain model, or name; of two names
    for one, the more judged.
    """
    with store.read() as session:
        return _opinions(arena.votes_frame(session), arena.specs(session))


def example(model: LanguageModel) -> Callable[[], Votes] | None:
    """The same of the study that ships, which a language model judged;
    None for a model whose front does not ship.
    """
    return partial(_shipped, model.hash) if path_of(model.name).exists() else None


@cache
def _shipped(model_hash: str) -> Votes:
    with TemporaryDirectory() as folder:
        store = arena.Store(f"sqlite:///{folder}/example.sqlite3")
        study = add_example(store)
        with store.read() as session:
            judged, specs = arena.votes_frame(session, study), arena.specs(session)
        store.close()
    return (
        _opinions(judged, specs) if all(spec["model_hash"] == model_hash for spec in specs.values()) else {}
    )


def _opinions(judged: pd.DataFrame, specs: Mapping[str, Mapping[str, Any]]) -> Votes:
    if not {*AXES} <= {*judged.columns}:  # every set has questions of its own
        return {}
    front = arena.human_front(judged, AXES)
    comparable = front[front["group"] == 1]  # policies of another group never met these: no axis holds both

    def point(name: str) -> str:
        return BASE if specs[name].get("base") else specs[name].get("checkpoint", name)

    return {
        point(row["policy"]): {
            "comparisons": row["comparisons"],
            **{axis: row[axis] for axis in AXES},
            **{f"{axis}_ci": [row[f"{axis}_low"], row[f"{axis}_high"]] for axis in AXES},
        }
        for row in comparable.sort_values("comparisons").to_dict("records")
    }
