"""Studies: the list, one study as its lead edits it, and the way to a new one."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import gradio as gr
import pandas as pd

from arena import notices, studies
from arena.answering import Entrant
from arena.archive import pack, unpack
from arena.errors import ArenaError
from arena.messages import Board, Entry
from arena.panel import acts, making
from arena.panel.editor import Editor
from arena.panel.results import choose
from arena.panel.shared import PRIVATE, Profile, Who, refusals
from arena.store import Store
from ui.parts import part, sent


def board_of(store: Store, set_id: str, login: bool) -> Board:
    """All studies, and the progress of the one that is picked."""
    people = studies.progress(store, set_id) if set_id else pd.DataFrame()
    return {
        "studies": [_entry(study) for study in studies.listing(store)],
        "picked": set_id,
        "people": people.to_json(orient="records", date_format="iso", double_precision=3),
        "login": login,
    }


def _entry(study: studies.Study) -> Entry:
    return cast(Entry, dataclasses.asdict(study) | {"created_at": f"{study.created_at:%Y-%m-%d}"})


def build(
    store: Store,
    who: Who,
    policies: Callable[[], Mapping[str, Entrant]],
    groups: Sequence[str],
    model_queue: str,
    results: gr.Dropdown,
    tab: gr.Tab,
) -> None:
    """Builds the part in an open `gr.Tab`. results: the study whose results are shown,
    which is the one picked here.
    """
    board = part({}, "compare/studies", "tw-studies")
    picked = gr.State("")
    status = gr.HTML(elem_classes="tw-status")
    editor = Editor(who.login)
    # a button of its own, since Gradio needs a second press of the one that makes the file
    archive = gr.DownloadButton(visible="hidden", elem_id="tw-export")
    with gr.Column(visible=False) as leads:  # until who comes is known to be an organizer
        new_study = making.build(store, who, policies, model_queue, picked, status, groups)
        with gr.Row(elem_classes="tw-actions"):
            every = gr.Button("Export all studies (.zip)")
            into = gr.UploadButton("Import an export (.zip)", file_types=[".zip"])
            sample = gr.Button("Add the example study")

    lead = Lead(store, who, editor)
    name = who.name
    moment: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": [status], **PRIVATE}
    everything = [picked, board, *editor.parts]
    tab.select(lead.enter, [name, picked], [*everything, leads], **moment)
    board.pick(lead.pick, [name], [*everything, status], **moment)
    picked.change(lambda set_id: choose(store, set_id), picked, results, **PRIVATE)
    for button, act, inputs in (
        (editor.save, acts.save, editor.values),
        (editor.shown, acts.show, []),
        (editor.away, acts.archive, []),
        (editor.copy, acts.copy, []),
        (editor.delete, acts.delete, [editor.typed]),
        (sample, acts.add_example, []),
    ):
        after = [*everything, status, *editor.faults.parts]
        button.click(lead.acting(partial(act, store)), [name, picked, *inputs], after, **moment)
    click = {"js": "() => document.getElementById('tw-export').click()", **PRIVATE}
    for button, handler, of in ((editor.out, lead.export, [name, picked]), (every, lead.export_all, [name])):
        button.click(handler, of, [archive, status], **PRIVATE).success(None, None, None, **click)
    saved = editor.drop.click(lead.export, [name, picked], [archive, status], **PRIVATE)
    saved.success(lambda: gr.Row(visible=True), None, editor.sure, **click)
    into.upload(lead.take_in, [name, into], [board, status], **moment)
    new_study.success(lead.enter, [name, picked], [*everything, leads], **moment)


class Lead:
    """The handlers of the part's events; each returns the values of its components."""

    def __init__(self, store: Store, who: Who, editor: Editor) -> None:
        self.store, self.who, self.editor = store, who, editor

    def opened(self, set_id: str) -> list[Any]:
        """The list with a study picked, and its form; the list alone where none is."""
        board = board_of(self.store, set_id, self.who.login)
        form = self.editor.of(studies.detail(self.store, set_id)) if set_id else self.editor.hidden
        return [set_id, board, *form]

    def enter(self, person: str, set_id: str, profile: Profile) -> list[Any]:
        """Shows the studies to organizers, and nothing to others."""
        with refusals():
            if not self.who.is_organizer(person, profile):
                return ["", {"refused": True}, *self.editor.hidden, gr.Column(visible=False)]
            return [*self.opened(set_id), gr.Column(visible=True)]

    def pick(self, person: str, profile: Profile, event: gr.EventData) -> list[Any]:
        """A study of the list."""
        self.who.check(person, profile)
        with refusals():
            return [*self.opened(str(sent(event).get("study") or "")), ""]

    def acting(self, act: Callable[..., acts.Told]) -> Callable[..., list[Any]]:
        """A handler that does something to the picked study, then shows it anew with one sentence."""
        faults = self.editor.faults

        def handler(person: str, set_id: str, profile: Profile, *values: Any) -> list[Any]:
            self.who.check(person, profile)
            try:
                left, sentence = act(set_id, *values)
            except ArenaError as error:
                return [*[gr.skip()] * (2 + len(self.editor.parts)), "", *faults.shown(error)]
            return [*self.opened(left), notices.status(sentence), *faults.shown()]

        return handler

    def export(self, person: str, set_id: str, profile: Profile) -> Iterator[tuple[str, str]]:
        """One study as a file, which Gradio copies before it asks for the next value. Clears earlier notes."""
        self.who.check(person, profile)
        with refusals(), tempfile.TemporaryDirectory() as folder:
            yield str(pack(self.store, folder, set_id)), ""

    def export_all(self, person: str, profile: Profile) -> Iterator[tuple[str, str]]:
        """The same of all studies."""
        self.who.check(person, profile)
        with refusals(), tempfile.TemporaryDirectory() as folder:
            yield str(pack(self.store, folder)), ""

    def take_in(self, person: str, file: str, profile: Profile) -> tuple[Any, str]:
        """An export of this arena or another."""
        self.who.check(person, profile)
        try:
            new = unpack(self.store, file)
        except ArenaError as error:
            return gr.skip(), notices.failed(str(error))
        counts = ", ".join(f"{count} {table}" for table, count in new.items())
        return board_of(self.store, "", self.who.login), notices.status(f"{counts} imported")
