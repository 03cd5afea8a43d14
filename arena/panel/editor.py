"""The form of an existing study: its fields, its buttons, and what they show."""

from typing import Any

import gradio as gr

from arena import studies
from arena.panel.fields import Faults, access_of, fields
from arena.questions import written


class Editor:
    """The form, built in an open column. values: the fields that are saved; parts: all that changes with the
    study.
    """

    def __init__(self, login: bool) -> None:
        self._login, self.faults = login, Faults()
        with gr.Column(visible=False, elem_classes="tw-edit") as self._form:
            with gr.Row():
                with gr.Column(scale=2):
                    texts = self._texts()
                with gr.Column(scale=1):
                    self.access, self.members, *numbers = fields(login, self.faults)
            self._buttons()
            self.faults.below()
        self.values: list[Any] = [*texts, self.access, self.members, *numbers]
        self.parts: list[Any] = [self._form, *self.values, self.shown, self.away, self.sure]

    def _texts(self) -> list[gr.Textbox]:
        title = gr.Textbox("", label="Name", max_length=80, max_lines=1)
        self.faults.of("name")
        asked = gr.Textbox("", label="Questions, key: text on each line", lines=3, max_length=2_000)
        self.faults.of("questions")
        guideline = gr.Textbox("", label="Guideline (Markdown)", lines=8, max_length=8_000)
        self.faults.of("guideline")
        return [title, asked, guideline]

    def _buttons(self) -> None:
        with gr.Row(elem_classes="tw-actions"):
            self.save = gr.Button("Save changes", variant="primary")
            self.shown = gr.Button("Close to annotators")
            self.away = gr.Button("Archive")
        with gr.Row(elem_classes="tw-actions"):
            self.out = gr.Button("Export study (.zip)")
            self.copy = gr.Button("Duplicate")
            self.drop = gr.Button("Delete…")
        with gr.Row(visible=False, elem_classes="tw-asked") as self.sure:
            self.typed = gr.Textbox(
                "", label="The export is saved. Type the study's name to delete it for good"
            )
            self.delete = gr.Button("Delete for good", variant="stop")

    @property
    def hidden(self) -> list[Any]:
        """The values of `parts` where no study is picked."""
        return [gr.Column(visible=False), *[gr.skip()] * (len(self.parts) - 1)]

    def of(self, detail: studies.Detail) -> list[Any]:
        """The values of `parts` for a study."""
        settings, state = detail.settings, detail.study.state
        return [
            gr.Column(visible=True),
            detail.study.name,
            written(detail.questions),
            settings.guideline,
            access_of(settings.access, self._login),
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
        ]
