"""A new study: from the app's policies, or from a file
of outputs whose columns are shown and mapped first.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from arena import notices, studies
from arena.answering import Entrant
from arena.battles import Output, create
from arena.errors import ArenaError, of_field
from arena.panel.answers import Answers, generated
from arena.panel.fields import Faults, fields, read
from arena.panel.shared import PRIVATE, Profile, Who
from arena.panel.upload import Upload, outputs
from arena.questions import GUIDELINE, OPENING, fitting, parsed, written
from arena.store import Store

NAME = "Battles"
STOPPED = notices.status("Stopped: nothing was stored")
REFUSED = notices.status("Nothing was stored: the field that needs a change says which")


def build(
    store: Store,
    who: Who,
    policies: Callable[[], Mapping[str, Entrant]],
    model_queue: str,
    current: gr.State,
    status: gr.HTML,
    groups: Sequence[str],
) -> gr.events.Dependency:
    """Builds the form in an open `gr.Tab`; returns the event after which there may be a new study, which is
    `current` then, and which `status` tells of.
    """
    faults = Faults()
    with gr.Accordion("New study", open=False, elem_classes="tw-new") as form:
        with gr.Row():
            with gr.Column(scale=2):
                upload, answers = Upload(who, faults), Answers(faults, groups)
            with gr.Column(scale=1):
                title, asked, guideline, *judging = _study(who, faults)
        with gr.Row(elem_classes="tw-actions"):
            make = gr.Button("Make battles", variant="primary")
            stop = gr.Button("Stop", elem_classes="tw-stop")
        faults.below()

    maker = Maker(store, who, policies, faults, len(upload.parts), answers)
    form.expand(maker.offer, title, [*answers.picked, title], show_progress="hidden", **PRIVATE)
    asked.blur(standard, [asked, guideline], guideline, **PRIVATE)
    upload.connect(answers.column, **PRIVATE)
    inputs = [who.name, *upload.parts, *answers.parts, title, asked, guideline, *judging]
    after = [current, status, form, upload.file, title, *faults.parts]
    quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}  # it shows its own progress
    work = make.click(maker.make, inputs, after, concurrency_id=model_queue, **quiet)
    stop.click(maker.stop, None, faults.parts, cancels=[work], **PRIVATE)
    return work


def _study(who: Who, faults: Faults) -> list[Any]:
    """The fields of what the study is called, asks and says, and of how it is judged."""
    title = gr.Textbox(label="Name of the study", value=NAME, max_length=80, max_lines=1)
    faults.of("name")
    asked = gr.Textbox(written(OPENING), label="Questions, key: text on each line", lines=3, max_length=2_000)
    faults.of("questions")
    with gr.Accordion("Guideline", open=False):
        guideline = gr.Textbox(GUIDELINE, label="Guideline (Markdown)", lines=8, max_length=8_000)
        faults.of("guideline")
    with gr.Accordion("Who judges, and how", open=False):
        judging = fields(who.login, faults)
        repeats = gr.Slider(0, 1, value=0.1, step=0.05, label="Share repeated with swapped sides")
        traps = gr.Slider(0, 0.5, value=0.0, step=0.05, label="Share of traps with a known answer")
    return [title, asked, guideline, *judging, repeats, traps]


def standard(lines: str, text: str) -> str:
    """The guideline; where its author wrote none, the standard one for these questions."""
    try:
        return fitting(text, parsed(lines))
    except ArenaError:
        return text


class Maker:
    """The handlers of the form's events; each returns the values of its components."""

    def __init__(
        self,
        store: Store,
        who: Who,
        policies: Callable[[], Mapping[str, Entrant]],
        faults: Faults,
        uploaded: int,
        answers: Answers,
    ) -> None:
        """uploaded: how many values the fields of a file have; answers: those of what policies answer."""
        self.store, self.who, self.policies, self.faults = store, who, policies, faults
        self._answers = answers
        self._uploaded, self._asked = uploaded, uploaded + len(answers.parts)
        self._working: dict[str | None, threading.Event] = {}  # what stops the work of a tab, by its session

    def offer(self, name: str) -> tuple[Any, ...]:
        """What can be compared now, and a name that is free."""
        return *self._answers.offered(self.policies()), studies.free_name(self.store, name)

    def make(self, person: str, profile: Profile, request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        """Makes the study, yielding progress; the new study becomes the current one."""
        self.who.check(person, profile)
        unchanged = [gr.skip()] * 5
        stop = self._working[request.session_hash] = threading.Event()
        try:
            answers: list[Output] = []
            for progress in self._outputs(values, stop):
                if isinstance(progress, str):
                    yield [*unchanged, *self.faults.shown(below=progress)]
                else:
                    answers = progress
            if stop.is_set():
                yield [*unchanged, *self.faults.shown(below=STOPPED)]
            else:
                yield self._created(answers, values[self._asked :])
        except ArenaError as error:
            yield [*unchanged, *self.faults.shown(error, below=REFUSED)]
        # a stop closes this generator and says so itself
        self._working.pop(request.session_hash, None)

    def stop(self, request: gr.Request) -> list[Any]:
        """Ends what this tab has begun."""
        if stop := self._working.pop(request.session_hash, None):
            stop.set()
        return self.faults.shown(below=STOPPED)

    def _outputs(self, values: tuple[Any, ...], stop: threading.Event) -> Iterator[str | list[Output]]:
        """Progress as HTML, and at the end the outputs, of a file where there is one."""
        with of_field("questions"):
            parsed(values[self._asked + 1])  # before anything is generated
        path, *columns = values[: self._uploaded]
        if path:
            yield notices.status("Reading the file")
            yield outputs(Path(path), *columns)
        else:
            yield from generated(self.policies(), stop, *values[self._uploaded : self._asked])

    def _created(self, answers: list[Output], values: tuple[Any, ...]) -> list[Any]:
        *form, repeats, traps = values
        name, questions, settings = read(*form)
        more = {"questions": questions, "repeats": repeats, "traps": traps}
        battles = create(self.store, name, answers, **more, **vars(settings))
        free = studies.free_name(self.store, name)
        shown = [battles.set, notices.created(battles), gr.Accordion(open=False), None, free]
        return [*shown, *self.faults.shown()]
