"""Tradewind: reads the settings, composes the panels, launches."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path

import ui.proxies  # isort: skip  # noqa: F401  # before Gradio

import gradio as gr
from huggingface_hub import HfApi
from starlette.routing import Route

import arena
from api.routes import routes
from arena import space
from arena.panel import build as build_arena
from lm import LanguageModel, Policies, Policy, Run, SourceError, load
from lm.policy import GRAMMAR, PolicyError
from pareto.checkpoint import FOLDER as CHECKPOINTS
from pareto.checkpoint import Checkpoint, find, shipped
from pareto.combiners import COMBINERS
from pareto.panel import build as build_pareto
from pareto.policy import policies as tuned_policies
from pareto.policy import tuned
from pareto.session import BASE, Side
from pareto.session import Request as Tuned
from pareto.view import AXES
from steering import Library, Plan
from steering.controller import Request as Steered
from steering.panel import build as build_steering
from steering.steer import policy as plan_policy
from ui import log
from ui.document import WEB
from ui.parts import module
from ui.server import queued, serve
from ui.startup import attempt, check_address
from ui.validation import sentence

SHIPPED = Path(os.environ.get("TRADEWIND_CHECKPOINTS", CHECKPOINTS))
PLAIN = "unsteered"
"""The plain model among the policies of Compare."""


def policies(entries: Sequence[Mapping], library: Library | None = None) -> dict[str, arena.Entrant]:
    """Answers of the entries of a policies file: {"name", and "plan": {...}, "checkpoint": id, folder or hub
    id, "mix": "A+B@0.35", or "base": true}.

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
    return tuned_policies(model, lambda name: find(name, model, SHIPPED), partial(planned, library))


def planned(library: Library, plan: str | Mapping) -> Policy:
    """The policy of a plan. Raises PlanError where it is none."""
    return plan_policy(library, Plan.from_json(plan))


def _entrant(policy: Policy) -> arena.Entrant:
    return arena.Entrant(policy, policy.spec)


def plans(library: Library) -> dict[str, dict]:
    """Every concept amplified and removed, by name."""
    return {
        f"{pole}, p = {p0}": {"targets": [{"concept": name, "direction": direction, "p0": p0}]}
        for name, concept in library.concepts.items()
        for pole, direction, p0 in ((concept.high, "amplify", 0.999), (concept.low, "remove", 0.001))
    }


def roster(library: Library) -> dict[str, arena.Entrant]:
    """What the Compare tab offers: the plain model, the checkpoints, and the plans."""
    steered = ({"name": name, "plan": plan} for name, plan in plans(library).items())
    trained = {
        checkpoint.name: _entrant(tuned(library.model, checkpoint))
        for checkpoint in shipped(library.model, SHIPPED)
    }
    return policies([{"name": PLAIN, "base": True}], library) | trained | policies([*steered], library)


def applicable(library: Library, plan: str | Mapping) -> Policy:
    """The policy of a plan as the Trade-offs tab scores it. Raises PlanError where it cannot be applied."""
    policy = planned(library, plan)
    _ = policy.edits
    return policy


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
    return _sent(store, outputs, sender)


def _output(request: Steered | Tuned, name: str, spec: Mapping, run: Run) -> arena.Output:
    about = {
        "seed": request.seed,
        "temperature": request.temperature,
        "tokens": len(run.ids),
        "finish": run.finish,
    }
    return arena.Output(request.prompt.text, name, run.text, spec, about)


def _sent(store: arena.Store, outputs: Sequence[arena.Output], sender: str | None) -> str:
    """Where people sign in, only they send, and what they send waits until an organizer opens its set."""
    if space.login() and sender is None:
        raise arena.ArenaError("Sign in with Hugging Face on the Compare tab first: only signed people send.")
    made = arena.send(store, outputs, sender=sender if space.login() else None)
    waits = " An organizer opens it to annotators." if space.login() else ""
    return f"Sent to Compare: {made.plain} new battle{'' if made.plain == 1 else 's'} in the set “{made.name}”.{waits}"


def send_tuned(store: arena.Store, request: Tuned, sides: Sequence[Side], sender: str | None) -> str:
    """Takes texts of the Trade-offs tab there. Raises arena.ArenaError."""
    outputs = [
        _output(request, PLAIN if policy.name == BASE else name, policy.spec, run)
        for name, policy, run in sides
    ]
    return _sent(store, outputs, sender)


def votes(store: arena.Store) -> dict[str, dict]:
    """What people think of the policies, by checkpoint id, "base" for the plain model, or name; of two names
    for one, the more judged.
    """
    with store.read() as session:
        judged = arena.votes_frame(session)
        if not {*AXES} <= {*judged.columns}:  # every set has questions of its own
            return {}
        front = arena.human_front(judged, AXES)
        comparable = front[
            front["group"] == 1
        ]  # policies of another group never met these: no axis holds both
        judged = comparable.sort_values("comparisons").to_dict("records")
        specs = arena.specs(session)

    def point(name: str) -> str:
        return BASE if specs[name].get("base") else specs[name].get("checkpoint", name)

    return {
        point(row["policy"]): {
            "comparisons": row["comparisons"],
            **{axis: row[axis] for axis in AXES},
            **{f"{axis}_ci": [row[f"{axis}_low"], row[f"{axis}_high"]] for axis in AXES},
        }
        for row in judged
    }


def api(library: Library) -> list[Route]:
    """The HTTP API's routes: the model, what ships for it, mixes of that, and plans."""
    model = library.model
    known = {checkpoint.id: checkpoint for checkpoint in shipped(model, SHIPPED)}

    def of_id(id: str) -> Checkpoint:
        if id not in known:
            raise PolicyError(f"There is no policy {id!r:.80}: give {GRAMMAR}.")
        return known[id]

    names = [BASE, *(f"checkpoint:{id}" for id in known)]
    return routes(tuned_policies(model, of_id, partial(planned, library)), lambda: names)


def compose(model: LanguageModel, store: arena.Store, library: Library | None = None) -> gr.Blocks:
    """The page with its tabs."""
    library = library or Library(model)
    about = (
        (WEB / "about.md")
        .read_text(encoding="utf-8")
        .format(
            model=model.name,
            hash=model.hash,
            layers=model.layers,
            width=model.width,
            cores=os.cpu_count(),
            combiners=", ".join(combiner.title for combiner in COMBINERS.values()),
        )
    )
    with gr.Blocks(
        title="Tradewind", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
    ) as page:
        gr.HTML(
            (WEB / "shared" / "head.html").read_text(encoding="utf-8").replace("{model}", escape(model.name)),
            apply_default_css=False,
            js_on_load=module("shared/head"),
        )
        with gr.Tabs(elem_classes="tw-tabs"):
            with gr.Tab("Steer"):
                build_steering(library, send=partial(send, store, library))
            with gr.Tab("Trade-offs"):
                build_pareto(
                    model,
                    folders=SHIPPED,
                    preference=0.3,
                    human=lambda: votes(store),
                    entrants={
                        name: partial(applicable, library, plan) for name, plan in plans(library).items()
                    },
                    steered=partial(applicable, library),
                    send=partial(send_tuned, store),
                )
            with gr.Tab("Compare"):
                build_arena(
                    store,
                    policies=lambda: roster(library),
                    login=space.login(),
                    organizes=space.organizes,
                    warning=space.warning(store.file),
                )
            with gr.Tab("About"):
                gr.Markdown(about, elem_classes="tw-essay")
    return queued(page)


def mirrored(store: arena.Store, api: HfApi | None = None) -> arena.Mirror | None:
    """Reloads the votes from the dataset repository TRADEWIND_VOTES_REPO, and keeps them there. Raises
    arena.ArenaError.
    """
    repo = os.environ.get("TRADEWIND_VOTES_REPO")
    return arena.Mirror(store, repo, api=api) if repo else None


def settings() -> argparse.Namespace:
    """Command line over environment over defaults."""
    parser = argparse.ArgumentParser(description="Tradewind: steer a language model, and see what it costs.")
    parser.add_argument(
        "--model",
        default=os.environ.get("TRADEWIND_MODEL"),
        help="hub id or folder (default: the embedded model)",
    )
    parser.add_argument(
        "--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), help="address to listen on"
    )
    parser.add_argument(
        "--port", type=int, default=os.environ.get("GRADIO_SERVER_PORT", "7860"), help="port to listen on"
    )
    parser.add_argument("--debug", action="store_true", help="say more in the log where something fails")
    return parser.parse_args()


def start(asked: argparse.Namespace) -> None:
    """Loads the model and serves the page."""
    check_address(asked.host, asked.port)
    store = arena.Store()
    if warning := space.warning(store.file):
        print(f"warning: {warning}", file=sys.stderr)
    mirrored(store)
    space.login()
    model = load(
        asked.model,
        progress=lambda fraction, text: print(
            f"\r{text}: {fraction:4.0%}", end="" if fraction < 1 else "\n", flush=True
        ),
    )
    library = Library(model)
    serve(compose(model, store, library), asked.host, asked.port, store.check, api(library))


def main() -> int:
    """Serves the page; what keeps it from starting becomes one sentence with the remedy, and exit code 2."""
    asked = settings()
    log.begin(asked.debug)
    # how a Space is stopped: the mirror pushes the last votes at exit
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    return attempt(lambda: start(asked), asked.debug)


if __name__ == "__main__":
    sys.exit(main())
