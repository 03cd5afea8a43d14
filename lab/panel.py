"""The page: a tab of each room; its banner says what a model lacks, and makes it."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gradio as gr

import arena
from arena import space
from arena.panel import build as build_arena
from lab.compare import example, send, send_tuned, votes
from lab.head import Ways, head
from lab.lacking import STEER, TRADE_OFFS
from lab.learner import Learner
from lab.policies import GROUPS, applicable, checkpoint_folder, plans, roster
from lab.preparer import Preparer
from lm import LanguageModel
from pareto.combiners import COMBINERS
from pareto.panel import build as build_pareto
from steering import Library
from steering.panel import build as build_steering
from ui.document import WEB
from ui.parts import module, part
from ui.server import queued

Renew = tuple[gr.HTML, Callable[[], Mapping[str, Any]]]
"""A part of a tab and the value that it has now."""


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
                connect = banner(preparer, STEER)
                connect(build_steering(library, send=partial(send, store, library)))
            with gr.Tab("Trade-offs"):
                banner(preparer, TRADE_OFFS)(None)
                build_pareto(
                    model,
                    folders=checkpoint_folder(),
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
                    groups=GROUPS,
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


def banner(preparer: Preparer, tab: str) -> Callable[[Renew | None], None]:
    """Builds the banner in an open tab, where the model lacks what the tab shows. The function that it
    returns connects it, once the tab is built, with the part to be renewed when all is there.
    """
    if tab not in preparer.lacked:
        return lambda renew: None
    lacking = part(preparer.state(tab), "shared/prepare", "tw-lacking")

    def connect(renew: Renew | None) -> None:
        shown = [lacking] if renew is None else [lacking, renew[0]]

        def state() -> Any:
            value = preparer.state(tab)
            if renew is None:
                return value
            return value, {**renew[1](), "renewed": True} if preparer.renewed() else gr.skip()

        def on_start() -> Any:
            preparer.start()
            return state()

        def on_stop() -> Any:
            preparer.stop()
            return state()

        settings: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "concurrency_limit": 8,
        }
        lacking.look(state, None, shown, **settings)
        lacking.start(on_start, None, shown, **settings)
        lacking.stop(on_stop, None, shown, **settings)

    return connect
