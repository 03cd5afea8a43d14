"""Tradewind: reads the settings, composes the panels, launches."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path

import gradio as gr
from huggingface_hub import HfApi

import arena
from arena import space
from arena.panel import build as build_arena
from lm import Adapter, Edit, LanguageModel, Row, Run, Sampling, SourceError, load
from lm.prompts import PromptError, prompt_ids
from pareto.checkpoint import FOLDER as CHECKPOINTS
from pareto.checkpoint import Checkpoint, CheckpointError, find, shipped
from pareto.panel import build as build_pareto
from pareto.session import BASE, Side
from pareto.session import Request as Tuned
from pareto.view import AXES
from steering import Library, Plan, PlanError
from steering.controller import Request as Steered
from steering.edits import edits
from steering.panel import build as build_steering
from steering.steer import SteeredPolicy
from ui.server import WEB, queued, serve
from ui.startup import attempt, check_address
from ui.validation import sentence

SHIPPED = Path(os.environ.get("TRADEWIND_CHECKPOINTS", CHECKPOINTS))
PLAIN = "unsteered"
"""The plain model among the policies of Compare."""


@dataclass
class Contestant:
    """A policy as Compare asks it: the model with a plan or an adapter, or as it is.

    A plan's vectors, which may have to be trained, are looked for when they are first needed.
    """

    library: Library
    plan: Plan | None = None
    adapter: Adapter | None = None

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """What carries out the plan. Raises PlanError where it cannot be applied."""
        return edits(self.plan, self.library) if self.plan else ()

    def check(self, prompt: str, max_new_tokens: int) -> None:
        """Raises ValueError where the plan cannot be applied, or the prompt cannot be answered."""
        tokens, context = len(self._row(prompt, Sampling()).prompt), self.library.model.context
        if tokens + max_new_tokens > context:
            raise PromptError(
                f"it has {tokens:,} tokens, with {max_new_tokens} new ones more than the {context:,} that the model reads"
            )

    def respond(
        self, prompts: Sequence[str], *, seed: int, max_new_tokens: int, stop: threading.Event
    ) -> list[Run]:
        """One run a prompt, as far as it is there when `stop` is set."""
        sampling = Sampling(SteeredPolicy.temperature, seed=seed, max_new_tokens=max_new_tokens)
        return self.library.model.generate([self._row(prompt, sampling) for prompt in prompts], stop=stop)

    def _row(self, prompt: str, sampling: Sampling) -> Row:
        return Row(prompt_ids(self.library.model, prompt), sampling, self.edits, self.adapter)


def policies(entries: Sequence[Mapping], library: Library | None = None) -> dict[str, arena.Entrant]:
    """Answers of the entries of a policies file: {"name", and "plan": {...}, "checkpoint": id, folder or hub
    id, or "base": true}.

    Raises arena.ArenaError.
    """
    try:
        library = library or Library(load())
        return {entry["name"]: _entrant(entry, library) for entry in entries}
    except (PlanError, CheckpointError, SourceError) as error:
        raise arena.ArenaError(sentence(error)) from None


def _entrant(entry: Mapping, library: Library) -> arena.Entrant:
    if "checkpoint" in entry:
        return _tuned(find(entry["checkpoint"], library.model, SHIPPED), library)
    if "plan" not in entry and entry.get("base") is not True:
        raise arena.ArenaError(
            f"Policy {entry.get('name')!r} has neither a plan, nor a checkpoint, nor base: true."
        )
    plan = Plan.from_json(entry["plan"]) if "plan" in entry else None
    return arena.Entrant(Contestant(library, plan), _spec(library, plan))


def _tuned(checkpoint: Checkpoint, library: Library) -> arena.Entrant:
    return arena.Entrant(
        Contestant(library, adapter=checkpoint.adapter), _model(library) | checkpoint.identity
    )


def plans(library: Library) -> dict[str, dict]:
    """Every concept amplified and removed, by name."""
    return {
        f"{pole}, p = {p0}": {"targets": [{"concept": name, "direction": direction, "p0": p0}]}
        for name, concept in library.concepts.items()
        for pole, direction, p0 in ((concept.high, "amplify", 0.999), (concept.low, "remove", 0.001))
    }


def roster(library: Library) -> dict[str, arena.Entrant]:
    """What the Compare tab offers: the plain model, the checkpoints, and the plans."""
    planned = ({"name": name, "plan": plan} for name, plan in plans(library).items())
    tuned = {checkpoint.name: _tuned(checkpoint, library) for checkpoint in shipped(library.model, SHIPPED)}
    return policies([{"name": PLAIN, "base": True}], library) | tuned | policies([*planned], library)


def steered(library: Library, plan: Mapping) -> tuple[str, SteeredPolicy]:
    """A plan as the Trade-offs tab scores it: its name and policy. Raises PlanError where it cannot be
    applied.
    """
    read = Plan.from_json(plan)
    edits(read, library)
    return read.title, SteeredPolicy(library, read)


def _planned(library: Library, plan: Mapping) -> SteeredPolicy:
    return steered(library, plan)[1]


def _spec(library: Library, plan: Plan | None) -> dict:
    """What is told of a policy after the vote."""
    return _model(library) | ({"plan": json.loads(plan.to_json())} if plan else {"base": True})


def _model(library: Library) -> dict:
    return {"model": library.model.name, "model_hash": library.model.hash}


def send(
    store: arena.Store, library: Library, request: Steered, sides: Sequence[tuple[str, Plan | None, Run]]
) -> str:
    """Takes texts of the Steer tab to the blind comparison; what to tell the visitor. Raises
    arena.ArenaError.
    """
    return _sent(
        arena.send(store, [_output(request, name, _spec(library, plan), run) for name, plan, run in sides])
    )


def _output(request: Steered | Tuned, name: str, spec: Mapping, run: Run) -> arena.Output:
    about = {
        "seed": request.seed,
        "temperature": request.temperature,
        "tokens": len(run.ids),
        "finish": run.finish,
    }
    return arena.Output(request.prompt, name, run.text, spec, about)


def _sent(made: arena.Made) -> str:
    return (
        f"Sent to Compare: {made.plain} new battle{'' if made.plain == 1 else 's'} in the set “{made.name}”."
    )


def send_tuned(store: arena.Store, library: Library, request: Tuned, sides: Sequence[Side]) -> str:
    """Takes texts of the Trade-offs tab there. Raises arena.ArenaError."""
    outputs = []
    for name, what, run in sides:
        spec = _spec(library, getattr(what, "plan", None))
        if isinstance(what, Mapping):
            spec = _model(library) | what
        outputs.append(_output(request, PLAIN if what is None else name, spec, run))
    return _sent(arena.send(store, outputs))


def votes(store: arena.Store) -> dict[str, dict]:
    """What people think of the policies, by checkpoint id, "base" for the plain model, or name; of two names
    for one, the more judged.
    """
    with store.read() as session:
        judged = arena.human_front(arena.votes_frame(session)).sort_values("comparisons").to_dict("records")
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


def compose(model: LanguageModel, store: arena.Store) -> gr.Blocks:
    """The page with its tabs."""
    library = Library(model)
    about = (
        (WEB / "about.md")
        .read_text(encoding="utf-8")
        .format(
            model=model.name, hash=model.hash, layers=model.layers, width=model.width, cores=os.cpu_count()
        )
    )
    with gr.Blocks(
        title="Tradewind", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
    ) as page:
        gr.HTML(
            (WEB / "shared" / "head.html").read_text(encoding="utf-8").replace("{model}", escape(model.name)),
            apply_default_css=False,
            js_on_load=(WEB / "shared" / "head.js").read_text(encoding="utf-8"),
        )
        with gr.Tabs(elem_classes="tw-tabs"):
            with gr.Tab("Steer"):
                build_steering(library, send=lambda request, sides: send(store, library, request, sides))
            with gr.Tab("Trade-offs"):
                build_pareto(
                    model,
                    folders=SHIPPED,
                    preference=0.3,
                    human=lambda: votes(store),
                    entrants={
                        name: partial(_planned, library, plan) for name, plan in plans(library).items()
                    },
                    steered=lambda plan: steered(library, plan),
                    send=lambda request, sides: send_tuned(store, library, request, sides),
                )
            with gr.Tab("Compare"):
                build_arena(
                    store, policies=lambda: roster(library), login=space.login(), organizes=space.organizes
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
    mirrored(store)
    space.login()
    model = load(
        asked.model,
        progress=lambda fraction, text: print(
            f"\r{text}: {fraction:4.0%}", end="" if fraction < 1 else "\n", flush=True
        ),
    )
    serve(compose(model, store), asked.host, asked.port, store.check)


def main() -> int:
    """Serves the page; what keeps it from starting becomes one sentence with the remedy, and exit code 2."""
    asked = settings()
    logging.basicConfig(level=logging.INFO if asked.debug else logging.WARNING)
    # how a Space is stopped: the mirror pushes the last votes at exit
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    return attempt(lambda: start(asked), asked.debug)


if __name__ == "__main__":
    sys.exit(main())
