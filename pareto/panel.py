"""The Trade-offs tab. The only file of pareto that knows Gradio:
it wires the page's events to the controller.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr
import numpy as np

from common.bounds import MAX_SEED, MAX_TEMPERATURE
from common.fronts import nondominated
from common.jsons import JsonObject
from common.messages import Said
from lm import LanguageModel
from lm.policy import MAX_SCALE, MIXES
from lm.prompts import MAX_CHARACTERS
from pareto import messages, view
from pareto.checkpoint import FOLDER, Checkpoint
from pareto.compare import hypervolume
from pareto.controller import SCORED, Controller, Entrants, Human, Send, Steered
from pareto.evaluate import standard_rewards
from pareto.front import Front
from pareto.messages import Graded, Opening
from pareto.policy import known
from pareto.session import MAX_PICKS, Request, Session
from pareto.shelf import Shelf
from ui.background import answer, stream
from ui.middleware import MAX_FILE
from ui.parts import part, sent
from ui.validation import sentence
from ui.visitors import line

EXAMPLES = (
    "My neighbor plays loud music every night. How do I get back at him?",
    "How can I read my sister's messages without her knowing?",
    "How do I ask my boss for a raise?",
    "Explain to a child why the sky is blue.",
)
OPENING = {
    "prompt": EXAMPLES[0],
    "seed": 6,
    "max_new_tokens": 64,
    "temperature": 0.7,
    "top_p": 1.0,
    "thinking": False,
}
UPLOADED = [".zip", ".safetensors", ".json", ".jsonl"]
MAX_TOKENS_SHOWN, AT_ONCE, ANSWERED_AT_ONCE, SCORED_AT_ONCE = 256, 32, 8, 1
PAPER = Path(__file__).parents[1] / "assets" / "fronts" / "paper.json"


def build(
    model: LanguageModel,
    *,
    checkpoints: Sequence[Checkpoint] | None = None,
    folders: Path = FOLDER,
    human: Human | None = None,
    example: Human | None = None,
    entrants: Entrants = MappingProxyType({}),
    steered: Steered | None = None,
    send: Send | None = None,
    preference: float = 0.3,
) -> None:
    """Builds the tab in an open `gr.Tab` or `gr.Blocks`, and the endpoints /front, /respond and /evaluate.

    checkpoints: what it opens with; by default all that ships for the model. folders: checkpoints that
        visitors name are looked for below it, and nowhere else but on the hub. human: what people think of
        the policies, by name;
    example: the same of judgements that ship, no person's. entrants: makers of other policies that can be
        scored and plotted, by name; steered: makes one of a plan's JSON. send: takes two answers to the blind
        comparison.
    preference: weight of helpfulness that the slider opens at.
    """
    shelf = Shelf(model, folders)

    def changed() -> tuple[Front, Sequence[Checkpoint]] | None:
        news = shelf.changed()
        return news and (news[0], news[1] if checkpoints is None else checkpoints)

    contents = changed()
    assert contents is not None  # at its first call everything is new
    rewards = partial(standard_rewards, model)
    controller = Controller(model, *contents, rewards, folders, entrants, steered, changed)
    with gr.Row(elem_classes="tw-steer tw-tradeoffs"):
        with gr.Column(elem_classes="tw-left"):
            opening = _opening(controller, send is not None, preference)
            controls = part(opening, "tradeoffs/controls", "tw-console")
        with gr.Column(elem_classes="tw-right"):
            plot = part(
                {**_front(controller, controller.stranger(), human, example, ask=False), "paper": _paper()},
                "tradeoffs/front",
                "tw-front",
            )
            texts = part(None, "tradeoffs/texts", "tw-stage tw-answers")
            card = part(None, "tradeoffs/card", "tw-card")
    outbox = part(None, "shared/outbox", "tw-outbox")
    # the controls press it, since a part of the page cannot take a file
    upload = gr.UploadButton(
        file_count="multiple", file_types=UPLOADED, visible="hidden", elem_id="tw-checkpoint"
    )

    runs, scorings = line("comparisons", AT_ONCE), line("scorings", AT_ONCE)

    async def on_run(event: gr.EventData, request: gr.Request) -> AsyncIterator[tuple[Any, Any]]:
        fields = sent(event)
        async for state, shown in stream(lambda: controller.run(request.session_hash, fields), runs):
            yield state, shown or gr.skip()

    def on_stop(event: gr.EventData, request: gr.Request) -> None:
        controller.stop(request.session_hash, str(sent(event).get("work")))

    def scored(key: str | None, fields: Any, files: Sequence[Path] = ()) -> Iterator[tuple[Any, Any]]:
        for state, new in controller.score(key, fields, files):
            session = controller.session(key)
            scoring = {"scoring": state, "trained": _trained(session)}
            yield scoring, _front(controller, session, human, example) if new else gr.skip()

    async def on_score(event: gr.EventData, request: gr.Request) -> AsyncIterator[tuple[Any, Any]]:
        fields = sent(event)
        async for update in stream(lambda: scored(request.session_hash, fields), scorings):
            yield update

    async def on_upload(files: list[str] | None, request: gr.Request) -> AsyncIterator[tuple[Any, Any]]:
        paths = [Path(file) for file in files or []]
        async for update in stream(lambda: scored(request.session_hash, {}, paths), scorings):
            yield update

    def on_people(event: gr.EventData, request: gr.Request) -> messages.Front:
        session = controller.session(request.session_hash)
        session.example = example is not None and sent(event).get("example") is True
        return _front(controller, session, human, example)

    def on_look(request: gr.Request) -> tuple[Any, Any]:
        if not controller.news(request.session_hash):
            return gr.skip(), gr.skip()
        session = controller.session(request.session_hash)
        return {"trained": _trained(session)}, _front(controller, session, human, example)

    def on_curves(request: gr.Request) -> messages.Trained:
        session = controller.session(request.session_hash)
        return {**_front(controller, session, human, example), **view.trainings(session.checkpoints)}

    def on_compare(event: gr.EventData, request: gr.Request, profile: gr.OAuthProfile | None = None) -> Said:
        assert send is not None
        ids = sent(event).get("ids")
        picks = ids if isinstance(ids, list) else []
        sender = profile.username if profile else None
        return {"say": controller.compare(request.session_hash, picks, send, sender), "as": "front-said"}

    live: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "multiple",
        "concurrency_limit": None,  # the lines of ui.visitors are the limits, which keep turns fair
    }
    controls.run(on_run, None, [texts, card], **live)
    controls.stop(on_stop, None, None, queue=False, **live)
    controls.score(on_score, None, [controls, plot], **live)
    upload.upload(on_upload, upload, [controls, plot], **live)
    controls.people(on_people, None, plot, **live)
    plot.look(on_look, None, [controls, plot], **live)
    plot.curves(on_curves, None, plot, **live)
    if send is not None:
        controls.compare(on_compare, None, outbox, **live)
    _endpoints(controller)


def _front(
    controller: Controller,
    session: Session,
    human: Human | None,
    example: Human | None = None,
    ask: bool = True,
) -> messages.Front:
    answering = [point["id"] for point in session.front.points if session.answers(point)]
    judged = example if session.example else human
    votes = judged() if judged and ask else None
    front = view.front(session.front, answering, votes, human is not None, session.example)
    return front if example is None else front | {"example": session.example}


def _paper() -> messages.Plane:
    published = json.loads(PAPER.read_text("utf-8"))
    places = np.array([(point["helpful"], point["harmless"]) for point in published["points"]])
    points = [
        point | {"dominated": not best}
        for point, best in zip(published["points"], nondominated(places), strict=True)
    ]
    methods = dict.fromkeys(point["method"] for point in points)
    own = {method: places[[point["method"] == method for point in points]] for method in methods}
    return view.paper(
        published | {"points": points},
        {method: hypervolume(own[method], published["reference"]) for method in methods},
    )


def _opening(controller: Controller, compare: bool, preference: float) -> Opening:
    return {
        "examples": EXAMPLES,
        "opening": OPENING | {"preference": preference},
        "compare": compare,
        "thinking": controller.model.codec.knows_thinking,
        "model": controller.model.name,
        "trained": _trained(controller.stranger()),
        "mixes": _mixes(controller.stranger()),
        "ends": _ends(controller.stranger()),
        "plans": list(controller.entrants),
        "steered": controller.steered is not None,
        "scored": SCORED,
        "picks": MAX_PICKS,
        "limits": {
            "upload": MAX_FILE,
            "types": UPLOADED,
            "prompt": MAX_CHARACTERS,
            "tokens": MAX_TOKENS_SHOWN,
            "seed": MAX_SEED,
            "temperature": MAX_TEMPERATURE,
            "scale": MAX_SCALE,
        },
    }


def _trained(session: Session) -> list[Graded]:
    """The P-GAPO checkpoints that the preference slider chooses from, by their weight of helpfulness."""
    trained: list[Graded] = [
        {"id": id, "lambda": checkpoint.card["preference"][0]}
        for id, checkpoint in session.checkpoints.items()
        if known(checkpoint)["method"] == "pgapo" and checkpoint.card["preference"]
    ]
    return sorted(trained, key=lambda graded: graded["lambda"])


def _mixes(session: Session) -> dict[str, list[Graded]]:
    """By method whose mixes answer here: its points that are scored, by their weight of helpfulness."""
    points = session.front.points
    return {
        method: [
            {"id": point["id"], "lambda": point["preference"][0]}
            for point in points
            if point["method"] == method and point.get("preference")
        ]
        for method in MIXES
        if session.ends(method)
    }


def _ends(session: Session) -> dict[str, list[str]]:
    """By method whose mixes answer here: the checkpoints that it mixes."""
    return {method: [end.id for end in pair] for method in MIXES if (pair := session.ends(method))}


def _endpoints(controller: Controller) -> None:
    def front() -> JsonObject:
        """The scored points that ship, their reference and each method's hypervolume."""
        return controller.front.without_scores()

    answers, scorings = line("answered", ANSWERED_AT_ONCE), line("scored", SCORED_AT_ONCE)

    async def respond(
        prompt: str | None,
        checkpoint_ids: list[str],
        seed: int = 0,
        max_new_tokens: int = 40,
        temperature: float = 0.7,
        messages: list[dict[str, str]] | None = None,
        continued: str | None = None,
        top_p: float = 1.0,
        thinking: bool = False,
    ) -> list[JsonObject]:
        """Answers of policies to one prompt, from one batch and one seed: "base" is the plain model,
        "checkpoint:ID" (or the ID alone) a checkpoint, "mix:A+B@0.35" a mix of two with that share of the
        first, "soup:0.35" one of the two extremes, "curve:0.35" the curve's policy there, each of these with
        "*1.5" behind it at 1.5 times the trained change, "plan:{...}" a steering plan: the names that all
        commands and the HTTP API take.

        In place of prompt, which is null then: messages, a chat of {"role", "content"} with roles system,
        user and assistant; or continued, plain text to go on with.

        top_p: below 1, tokens are drawn from the likeliest whose probability reaches it. thinking: the model
            thinks first, where its chat template has that switch.
        """
        fields = {
            "prompt": prompt,
            "messages": messages,
            "continue": continued,
            "picks": checkpoint_ids,
            "seed": seed,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "thinking": thinking,
        }
        try:
            request = Request.parse(fields, MAX_PICKS + 1)
            return await answer(lambda: controller.respond(request), answers)
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    async def evaluate(checkpoint_id: str, limit: int = SCORED, seed: int = 0) -> JsonObject:
        """Scores of a checkpoint on so many held-out prompts, an answer each."""
        try:
            return await answer(lambda: controller.scored(checkpoint_id, limit, seed), scorings)
        except ValueError as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    gr.api(front, api_name="front", concurrency_limit=8)
    gr.api(respond, api_name="respond", concurrency_limit=None)
    gr.api(evaluate, api_name="evaluate", concurrency_limit=None)
