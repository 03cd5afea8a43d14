"""Studies: the list, one study as its lead edits it, and the way to a new one."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr
import pandas as pd

from arena import example, notices, studies
from arena.answering import Entrant
from arena.archive import pack, unpack
from arena.errors import ArenaError, of_field
from arena.messages import Board, Entry
from arena.panel import making
from arena.panel.fields import Faults, access_of, fields
from arena.panel.results import choose
from arena.panel.shared import Profile, Who, refusals
from arena.questions import parsed, written
from arena.settings import Settings
from arena.store import Store
from ui.parts import part, sent

PRIVATE: dict[str, Any] = {"api_visibility": "private"}


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
    return {
        "id": study.id,
        "name": study.name,
        "state": study.state,
        "created_at": f"{study.created_at:%Y-%m-%d}",
        "battles": study.battles,
        "done": study.done,
        "votes": study.votes,
        "wanted": study.wanted,
        "people": study.people,
        "notice": study.notice,
    }


def build(
    store: Store,
    who: Who,
    policies: Callable[[], Mapping[str, Entrant]],
    model_queue: str,
    results: gr.Dropdown,
    tab: gr.Tab,
) -> None:
    """Builds the part in an open `gr.Tab`. results: the study whose results are shown,
    which is the one picked here.
    """
    board = part({}, "compare/studies", "tw-studies")
    picked = gr.State("")
    status, faults = gr.HTML(elem_classes="tw-status"), Faults()
    with gr.Column(visible=False, elem_classes="tw-edit") as editor:
        with gr.Row():
            with gr.Column(scale=2):
                title = gr.Textbox("", label="Name", max_length=80, max_lines=1)
                faults.of("name")
                asked = gr.Textbox("", label="Questions, key: text on each line", lines=3, max_length=2_000)
                faults.of("questions")
                guideline = gr.Textbox("", label="Guideline (Markdown)", lines=8, max_length=8_000)
                faults.of("guideline")
            with gr.Column(scale=1):
                access, members, reveal, minimum, share = fields(who.login, faults)
        with gr.Row(elem_classes="tw-actions"):
            save = gr.Button("Save changes", variant="primary")
            shown = gr.Button("Close to annotators")
            away = gr.Button("Archive")
        with gr.Row(elem_classes="tw-actions"):
            out = gr.Button("Export study (.zip)")
            copy = gr.Button("Duplicate")
            drop = gr.Button("Delete…")
        with gr.Row(visible=False, elem_classes="tw-asked") as sure:
            typed = gr.Textbox("", label="The export is saved. Type the study's name to delete it for good")
            delete = gr.Button("Delete for good", variant="stop")
        faults.below()
    archive = gr.DownloadButton(visible="hidden", elem_id="tw-export")  # by itself it wants a second press
    with gr.Column() as leads:
        made = making.build(store, who, policies, model_queue, picked, status)
        with gr.Row(elem_classes="tw-actions"):
            every = gr.Button("Export all studies (.zip)")
            into = gr.UploadButton("Import an export (.zip)", file_types=[".zip"])
            sample = gr.Button("Add the example study")

    def listing(set_id: str = "") -> Board:
        """What the list shows."""
        return board_of(store, set_id, who.login)

    def opened(set_id: str) -> tuple[Any, ...]:
        """The fields of a study, and the list with it picked; the list alone where none is."""
        if not set_id:
            return "", listing(), gr.Column(visible=False), *[gr.skip()] * 11
        detail = studies.detail(store, set_id)
        settings, state = detail.settings, detail.study.state
        return (
            set_id,
            listing(set_id),
            gr.Column(visible=True),
            detail.study.name,
            written(detail.questions),
            settings.guideline,
            access_of(settings.access, who.login),
            gr.Textbox("\n".join(settings.members), visible=settings.access == "listed"),
            settings.reveal,
            settings.minimum,
            settings.share or 0,
            gr.Button(
                "Open to annotators" if state == "closed" else "Close to annotators",
                visible=state != "archived",
            ),
            gr.Button("Take out of the archive" if state == "archived" else "Archive"),
            gr.Row(visible=False),
        )

    def entered(person: str, set_id: str, profile: Profile) -> tuple[Any, ...]:
        with refusals():
            if not who.is_organizer(person, profile):
                hidden = gr.Column(visible=False)
                return "", {"refused": True}, hidden, *[gr.skip()] * 11, hidden
            return *opened(set_id), gr.Column(visible=True)

    def on_pick(person: str, profile: Profile, event: gr.EventData) -> tuple[Any, ...]:
        who.check(person, profile)
        with refusals():
            return *opened(str(sent(event).get("study") or "")), ""

    def acting(act: Callable[..., tuple[str, str]]) -> Callable[..., tuple[Any, ...]]:
        """A handler that does something to the picked study, then shows it anew with one sentence."""

        def handler(person: str, set_id: str, profile: Profile, *values: Any) -> tuple[Any, ...]:
            who.check(person, profile)
            try:
                left, sentence = act(set_id, *values)
            except ArenaError as error:
                return *[gr.skip()] * 14, "", *faults.shown(error)
            return *opened(left), notices.status(sentence), *faults.shown()

        return handler

    def on_save(
        set_id: str,
        name: str,
        lines: str,
        text: str,
        judges: str,
        names: str,
        reveal: str,
        votes: int,
        most: int,
    ) -> tuple[str, str]:
        before = studies.detail(store, set_id)
        settings = Settings(text, votes, judges, names.splitlines(), reveal, int(most or 0) or None)
        with of_field("questions"):
            listed = parsed(lines)
        studies.rename(store, set_id, name)
        version = studies.edit(store, set_id, settings, listed)
        new = version > before.version
        kept = f": its questions are version {version} now, and earlier votes keep theirs" if new else ""
        return set_id, f"“{name}” is saved{kept}"

    def on_show(set_id: str) -> tuple[str, str]:
        closed = studies.detail(store, set_id).study.state == "closed"
        studies.show(store, set_id, closed)
        return (
            set_id,
            "Annotators see its battles from now on" if closed else "Annotators see its battles no longer",
        )

    def on_archive(set_id: str) -> tuple[str, str]:
        archived = studies.detail(store, set_id).study.state == "archived"
        studies.archive(store, set_id, not archived)
        return set_id, "It is out of the archive" if archived else "It is archived, with all its votes"

    def on_copy(set_id: str) -> tuple[str, str]:
        name = studies.free_name(store, f"{studies.detail(store, set_id).study.name[:70]}, copy")
        return studies.duplicate(
            store, set_id, name
        ), "The copy has no votes and is closed: open it when it is ready"

    def on_delete(set_id: str, name: str) -> tuple[str, str]:
        right = studies.detail(store, set_id).study.name
        if name.strip() != right:
            raise ArenaError(f"The name is {name.strip()[:80]!r}: type “{right}” to delete this study.")
        counts = studies.delete(store, set_id)
        return "", f"“{right}” is deleted, with {counts['votes']} votes on {counts['battles']} battles"

    def on_export(person: str, set_id: str, profile: Profile) -> Iterator[str]:
        who.check(person, profile)
        with (
            refusals(),
            tempfile.TemporaryDirectory() as folder,
        ):  # Gradio takes a copy before it asks for more
            yield str(pack(store, folder, set_id))

    def on_export_all(person: str, profile: Profile) -> Iterator[str]:
        who.check(person, profile)
        with refusals(), tempfile.TemporaryDirectory() as folder:
            yield str(pack(store, folder))

    def on_import(person: str, file: str, profile: Profile) -> tuple[Any, str]:
        who.check(person, profile)
        try:
            new = unpack(store, file)
        except ArenaError as error:
            return gr.skip(), notices.failed(str(error))
        return listing(), notices.status(
            ", ".join(f"{count} {table}" for table, count in new.items()) + " imported"
        )

    name = who.name
    everything: list[Any] = [picked, board, editor, title, asked, guideline, access, members, reveal, minimum, share, shown, away, sure]  # fmt: skip
    click = {"js": "() => document.getElementById('tw-export').click()", **PRIVATE}
    tab.select(entered, [name, picked], [*everything, leads], **PRIVATE)
    board.pick(on_pick, [name], [*everything, status], **PRIVATE)
    picked.change(lambda set_id: choose(store, set_id), picked, results, **PRIVATE)
    values: list[Any] = [title, asked, guideline, access, members, reveal, minimum, share]
    for button, act, given in (
        (save, on_save, values),
        (shown, on_show, []),
        (away, on_archive, []),
        (copy, on_copy, []),
        (delete, on_delete, [typed]),
        (sample, lambda _: (example.add(store), "The example is here: see it under Results"), []),
    ):
        button.click(acting(act), [name, picked, *given], [*everything, status, *faults.parts], **PRIVATE)
    access.change(lambda value: gr.Textbox(visible=value == "listed"), access, members, **PRIVATE)
    for button, handler, given in ((out, on_export, [name, picked]), (every, on_export_all, [name])):
        button.click(handler, given, archive, **PRIVATE).success(None, None, None, **click)
    saved = drop.click(on_export, [name, picked], archive, **PRIVATE)
    saved.success(lambda: gr.Row(visible=True), None, sure, js=click["js"], **PRIVATE)
    into.upload(on_import, [name, into], [board, status], **PRIVATE)
    made.success(entered, [name, picked], [*everything, leads], **PRIVATE)
