"""Tradewind: reads the settings, composes the panels, launches."""

import os
import signal
import sys
import threading
from argparse import Namespace
from functools import partial

from ui import listening, proxies  # isort: skip  # noqa: F401  # before Gradio

import gradio as gr
from huggingface_hub import HfApi
from starlette.middleware import Middleware

import arena
from api.errors import Formed
from arena import space
from arena.panel import build as build_arena
from common.arguments import Parser, integer
from lab.compare import example, send, send_tuned, votes
from lab.head import Ways, head
from lab.lacking import STEER, TRADE_OFFS
from lab.learner import Learner
from lab.models import Choice, Models, offered
from lab.panel import build as build_banner
from lab.policies import SHIPPED, applicable, plans, roster
from lab.preparer import Preparer
from lm import LanguageModel, zero_gpu
from lm.places import NotInMemory
from lm.sources import allowed
from pareto.combiners import COMBINERS
from pareto.panel import build as build_pareto
from steering import Library
from steering.panel import build as build_steering
from ui import log
from ui.document import WEB
from ui.parts import module
from ui.server import queued, serve
from ui.startup import MAX_PORT, attempt, check_address

MAX_IN_MEMORY = 1_000
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
"""Values of a variable that is a switch."""


def compose(
    model: LanguageModel,
    store: arena.Store,
    library: Library | None = None,
    preparer: Preparer | None = None,
    learner: Learner | None = None,
    ways: Ways | None = None,
) -> gr.Blocks:
    """The page with its tabs. preparer: makes what the model lacks; by default visitors may not start it.
    learner: trains on votes, where somebody may. ways: to the pages of all models.
    """
    library = library or Library(model)
    preparer = preparer or Preparer(library, None, allowed=False)
    with gr.Blocks(
        title="Tradewind", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
    ) as page:
        gr.HTML(
            head(model.name, ways or Ways()),
            apply_default_css=False,
            js_on_load=module("shared/head"),
        )
        with gr.Tabs(elem_classes="tw-tabs"):
            with gr.Tab("Steer"):
                connect = build_banner(preparer, STEER)
                connect(build_steering(library, send=partial(send, store, library)))
            with gr.Tab("Trade-offs"):
                build_banner(preparer, TRADE_OFFS)(None)
                build_pareto(
                    model,
                    folders=SHIPPED,
                    preference=0.3,
                    human=lambda: votes(store),
                    example=example(model),
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
                    learner=learner,
                )
            with gr.Tab("About"):
                gr.Markdown(about(model), elem_classes="tw-essay")
    return queued(page)


def about(model: LanguageModel) -> str:
    """The text of the About tab, in Markdown."""
    return (
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


def mirrored(store: arena.Store, api: HfApi | None = None) -> arena.Mirror | None:
    """Reloads the votes from the dataset repository TRADEWIND_VOTES_REPO, and keeps them there. Raises
    arena.ArenaError.
    """
    repo = os.environ.get("TRADEWIND_VOTES_REPO")
    return arena.Mirror(store, repo, api=api) if repo else None


def settings() -> Namespace:
    """Command line over environment over defaults; an empty variable counts as none."""
    parser = Parser(description="Tradewind: steer a language model, and see what it costs.")
    parser.add_argument(
        "--model",
        nargs="+",
        default=allowed(os.environ.get("TRADEWIND_MODEL")),
        metavar="MODEL",
        help="hub ids or folders of the models that visitors may choose, the first at the start; the embedded model is always among them",
    )
    parser.add_argument(
        "--models-in-memory",
        type=integer(1, MAX_IN_MEMORY),
        default=os.environ.get("TRADEWIND_MODELS_IN_MEMORY") or "1",
        metavar="N",
        help="how many of them are in memory at once (default: 1)",
    )
    parser.add_argument("--host", default=listening.HOST or "127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port",
        type=integer(1, MAX_PORT),
        default=listening.PORT or "7860",
        help="port to listen on",
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        default=_switched_on(parser, "TRADEWIND_PREPARE"),
        help="visitors may start what `tradewind prepare` does, where the model lacks it",
    )
    parser.add_argument("--debug", action="store_true", help="say more in the log where something fails")
    return parser.parse_args()


def _switched_on(parser: Parser, name: str) -> bool:
    """Whether a variable says yes; ends the process where it says neither yes nor no."""
    value = os.environ.get(name, "").strip()
    if value.lower() not in (*YES, *NO):
        parser.error(f"{name} is {value!r}: give 1, or 0.")
    return value.lower() in YES


def start(options: Namespace) -> None:
    """Loads the model and serves the page."""
    check_address(options.host, options.port)
    if zero_gpu.here():
        zero_gpu.declare()
        print(f"warning: {zero_gpu.WARNING}", file=sys.stderr)
    store = arena.Store()
    if warning := space.warning(store.file):
        print(f"warning: {warning}", file=sys.stderr)
    mirrored(store)
    space.login()
    models = Models(
        offered(options.model), options.models_in_memory, partial(furnish, store, options.prepare)
    )
    try:
        page = models.first.furnish(
            lambda fraction, text: print(
                f"\r{text}: {fraction:4.0%}", end="" if fraction < 1 else "\n", flush=True
            )
        )
    except NotInMemory as error:
        raise error.__cause__ or error from None
    # the hub may take its time to answer, and the page does not wait for it
    threading.Thread(target=warn, args=(models,), daemon=True).start()
    formed = [Middleware(Formed)]
    serve(page, options.host, options.port, store.check, models.api(), models.doors, formed)


def warn(models: Models) -> None:
    """Warns of the further models that cannot be loaded: their pages say so too, once somebody opens them."""
    for problem in models.lacking():
        print(f"warning: {problem}", file=sys.stderr)


def furnish(store: arena.Store, prepares: bool, choice: Choice, ways: Ways) -> gr.Blocks:
    """The page of a model that is in memory."""
    model, library = choice.model, choice.library
    preparer = Preparer(library, choice.name, allowed=prepares)
    return compose(model, store, library, preparer, Learner(model, choice.name, store), ways)


def main() -> int:
    """Serves the page; what keeps it from starting becomes one sentence with the remedy, and exit code 2."""
    options = settings()
    log.begin(options.debug)
    # how a Space is stopped: the mirror pushes the last votes at exit
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    return attempt(lambda: start(options), options.debug)


if __name__ == "__main__":
    sys.exit(main())
