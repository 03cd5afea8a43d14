"""The Steer tab: wires the page's events to the controller. The only file of steering that knows Gradio."""

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal

import gradio as gr
import pandas as pd

from common.bounds import MAX_SEED, MAX_TEMPERATURE
from common.jsons import JsonObject
from common.messages import File, Said
from lm.prompts import MAX_CHARACTERS, MAX_CHAT_CHARACTERS
from steering import charts, view
from steering.controller import Controller
from steering.library import Library
from steering.messages import Inspected, Opening, Poles, Teaching, Ways, Work
from steering.session import Request, Send, swept
from steering.steer import steer
from steering.sweep import sweep
from ui.background import answer, stream
from ui.parts import part, sent
from ui.validation import sentence
from ui.visitors import line

EXAMPLES = (
    "What should we do on Saturday?",
    "Write a short note to my neighbor about the noise.",
    "Describe the movie I saw last night.",
    "Tell me about your weekend.",
)
BEGINNINGS = (
    "On Saturday we",
    "Dear neighbor, about the noise last night:",
    "The movie that I saw",
    "My weekend was",
)
OPENING_TARGET = {"concept": "sports", "direction": "amplify", "p0": 0.98}
OPENING_PLAN: JsonObject = {
    "layers": "auto",
    "method": "auto",
    "strength": None,
    "scope": "all",
    "cap": None,
    "hold": [],
    "when": None,
}
OPENING_BUDGET = 0.25
"""Nats a token, where the opening concept stays fluent that far."""
OPENING = {
    "system": "",
    "history": [],
    "thinking": False,
    "seed": 7,
    "max_new_tokens": 64,
    "temperature": 0.0,
    "top_p": 1.0,
    "rival": None,
    "watch": [],
    "begin": [],
}
MAX_TOKENS_SHOWN, MAX_STRENGTH_SHOWN, AT_ONCE = 256, 4, 32
ANSWERED_AT_ONCE, SWEPT_AT_ONCE = 8, 2


def build(library: Library, *, send: Send | None = None) -> tuple[gr.HTML, Callable[[], Opening]]:
    """Build the tab in an open `gr.Tab` or `gr.Blocks`, and the endpoints /steer, /sweep and /concepts.

    send: takes the texts on the page to the blind comparison; without it there is no button for that. Returns
    the controls, and what gives their value anew when vectors were made meanwhile.
    """
    controller = Controller(library)

    def opening() -> Opening:
        return _opening(library, send is not None)

    with gr.Row(elem_classes="tw-steer"):
        with gr.Column(elem_classes="tw-left"):
            controls = part(
                opening(),
                "steer/controls",
                "tw-console",
            )
        with gr.Column(elem_classes="tw-right"):
            stage = part(None, "steer/stage", "tw-stage")
            with gr.Row(elem_classes="tw-charts"):
                heat = part(charts.NO_HEAT, "shared/plot", "tw-chart")
                dose = part({"chart": charts.NO_DOSE, "prompts": EXAMPLES}, "steer/dose", "tw-dose")
    outbox = part(None, "shared/outbox", "tw-outbox")

    runs, inspections = line("runs", AT_ONCE), line("inspections", AT_ONCE)
    sweeps, trainings = line("sweeps", SWEPT_AT_ONCE), line("lessons", SWEPT_AT_ONCE)

    async def on_run(event: gr.EventData, request: gr.Request) -> AsyncIterator[tuple[Any, Any]]:
        asked = sent(event)
        async for state, chart in stream(lambda: controller.run(request.session_hash, asked), runs):
            yield state, chart or gr.skip()

    def on_stop(event: gr.EventData, request: gr.Request) -> None:
        controller.stop(request.session_hash, str(sent(event).get("work")))

    async def on_sweep(event: gr.EventData, request: gr.Request) -> AsyncIterator[Work]:
        asked = sent(event)
        async for state in stream(lambda: controller.sweep(request.session_hash, asked), sweeps):
            yield state

    async def on_train(event: gr.EventData, request: gr.Request) -> AsyncIterator[Teaching]:
        asked = sent(event)
        async for state in stream(lambda: controller.train(request.session_hash, asked), trainings):
            yield {"training": state}

    async def on_write(event: gr.EventData, request: gr.Request) -> AsyncIterator[Teaching]:
        asked = sent(event)
        async for state in stream(lambda: controller.write(request.session_hash, asked), trainings):
            yield {"training": state}

    async def on_inspect(event: gr.EventData, request: gr.Request) -> Inspected | Said:
        asked = sent(event)
        try:
            state = await answer(lambda: controller.inspect(request.session_hash, asked), inspections)
        except ValueError as error:
            return {"say": sentence(error)}
        return {"say": state, "as": "inspected"}

    def on_vector(event: gr.EventData, request: gr.Request) -> File:
        try:
            name, content = controller.vector(
                request.session_hash, sent(event).get("concept"), sent(event).get("kind")
            )
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        return {"name": name, "content": base64.b64encode(content).decode()}

    def on_compare(request: gr.Request, profile: gr.OAuthProfile | None = None) -> Said:
        assert send is not None
        return {"say": controller.compare(request.session_hash, send, profile.username if profile else None)}

    live: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "multiple",
        "concurrency_limit": None,  # the lines of ui.visitors are the limits, which keep turns fair
    }
    controls.run(on_run, None, [stage, heat], **live)
    controls.stop(on_stop, None, None, queue=False, **live)
    controls.sweep(on_sweep, None, dose, **live)
    controls.train(on_train, None, controls, **live)
    controls.write(on_write, None, controls, **live)
    controls.inspect(on_inspect, None, outbox, **live)
    controls.vector(on_vector, None, outbox, **live)
    if send is not None:
        controls.compare(on_compare, None, outbox, **live)
    _endpoints(library)
    return controls, opening


def _opening(library: Library, compare: bool) -> Opening:
    concepts = {
        name: view.concept(concept, library.ready(name)) for name, concept in library.concepts.items()
    }
    first = OPENING_TARGET["concept"] if OPENING_TARGET["concept"] in concepts else next(iter(concepts))
    cost = concepts[first]["costs"].get("auto amplify")
    plan = OPENING_PLAN | {
        "targets": [OPENING_TARGET | {"concept": first}],
        "budget": cost and round(min(OPENING_BUDGET, cost["most"]), 3),
    }
    codec = library.model.codec
    ways: Ways = {"chat": EXAMPLES, "continue": BEGINNINGS}
    way: Literal["chat", "continue"] = "chat" if codec.has_template else "continue"
    return {
        "concepts": concepts,
        "layers": library.model.layers,
        "examples": ways,
        "chats": {
            "template": codec.has_template,
            "system": codec.knows_system,
            "thinking": codec.knows_thinking,
            "model": library.model.name,
        },
        "opening": OPENING | {"way": way, "prompt": ways[way][0], "plan": plan},
        "limits": {
            "chat": MAX_CHARACTERS,
            "continue": MAX_CHAT_CHARACTERS,
            "tokens": MAX_TOKENS_SHOWN,
            "strength": MAX_STRENGTH_SHOWN,
            "seed": MAX_SEED,
            "temperature": MAX_TEMPERATURE,
        },
        "compare": compare,
    }


def _endpoints(library: Library) -> None:
    def asked(
        ways: Mapping[str, Any], plan: Any, seed: int, max_new_tokens: int, temperature: float, **more: Any
    ) -> Request:
        try:
            return Request.parse(
                {
                    **ways,
                    **more,
                    "plan": plan,
                    "seed": seed,
                    "max_new_tokens": max_new_tokens,
                    "temperature": temperature,
                },
                library.model,
            )
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    answers, sweeps = line("steered", ANSWERED_AT_ONCE), line("swept", SWEPT_AT_ONCE)

    async def steer_(
        prompt: str | None,
        plan: JsonObject,
        seed: int = 0,
        max_new_tokens: int = 40,
        temperature: float = 0.0,
        messages: list[dict[str, str]] | None = None,
        continued: str | None = None,
        rival: str | None = None,
        watch: list[str] | None = None,
        top_p: float = 1.0,
        thinking: bool = False,
    ) -> JsonObject:
        """Answer a prompt, unsteered and steered, from one batch and one seed.

        In place of prompt, which is null then: messages, a chat of {"role", "content"} with roles system,
        user and assistant; or continued, plain text to go on with.

        plan: {"targets": [{"concept": one of /concepts, "direction": "amplify" or "remove", "p0": 1e-6 to 1 -
        1e-6}, 1 to 3 of them], "budget": the mean KL that the answer may cost, nats a token (0: off), in
        place of p0 or strength, or null, "layers": "auto" or a list of layer numbers, "method": "auto" (what
        the calibration chose), "gcav" (the paper's: the classifier's direction), "diffmean" (the difference
        of means) or "fixed" (`strength` times that difference at every token), "strength": 0 to 100 for fixed
        without a budget and else null, "scope": "all" or "answer", "cap": the largest push as a share of the
        state, up to 10, or null}. All but targets and concept may be left out.

        hold in a plan: up to 3 other concepts that stay as they are, since no push has a part along
        which they are read. when in a plan, {"concept", "side": "above" or "below", "p"}: steer only
        where the prompt reads so, or null.

        rival: "request" for a third text "requested", whose prompt asks for the concepts in words, "both" for
        one that is steered besides, or null. watch: up to 6 concepts that are scored on every text.

        Gives "unsteered" and "steered", each with text, tokens, metrics (nll, kl, repetition,
        tokens_per_second, scores, ...) and trace (per token and layer: P before and after, eps, share);
        steered has "plan" too: layers, cosines between the targets, feasible.
        """
        ways = {"prompt": prompt, "messages": messages, "continue": continued, "thinking": thinking}
        request = asked(ways, plan, seed, max_new_tokens, temperature, rival=rival, watch=watch, top_p=top_p)
        try:
            return await answer(
                lambda: steer(library, request.prompt, request.plan, **request.settings), answers
            )
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    async def sweep_(
        prompt: str,
        plan: JsonObject,
        magnitudes: list[float],
        bands: list[Any] | None = None,
        seed: int = 0,
        max_new_tokens: int = 40,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> JsonObject:
        """One prompt over magnitudes (budgets of a plan with a budget, strengths of the fixed method, or p0)
        and bands of layers (each "auto" or a list): columns and rows.

        plan: as for /steer; its first target takes the magnitudes.
        """
        request = asked({"prompt": prompt}, plan, seed, max_new_tokens, temperature, top_p=top_p)
        try:
            settings = _settings(request) | {"values": magnitudes, "bands": swept(request, magnitudes, bands)}
            frame = await answer(lambda: _table(library, request, settings), sweeps)
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        return {
            "columns": list(frame),
            "rows": frame.astype(object).where(frame.notna(), None).values.tolist(),
        }

    def concepts() -> list[Poles]:
        """The concepts that can be steered, with the words for their two ends."""
        return [view.poles(concept) for concept in library.concepts.values()]

    gr.api(steer_, api_name="steer", concurrency_limit=None)
    gr.api(sweep_, api_name="sweep", concurrency_limit=None)
    gr.api(concepts, api_name="concepts", concurrency_limit=8)


def _settings(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in ("seed", "max_new_tokens", "temperature", "top_p")}


def _table(library: Library, request: Request, settings: dict[str, Any]) -> pd.DataFrame:
    *_, (_, table) = sweep(library, [request.prompt], request.plan, **settings)
    return table
