"""Outputs from a file: shows its columns and asks what each one is."""

from pathlib import Path
from typing import Any

import gradio as gr

from arena import notices, outside, sheet
from arena.battles import Output
from arena.errors import ArenaError, of_field
from arena.outside import MAX_MODELS, Columns
from arena.panel.fields import Faults
from arena.panel.shared import Profile, Who
from arena.readers import read_runs

NONE = ("(none)", "")
FILES = [".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet", ".arrow", ".feather", *sheet.SUFFIXES]


class Upload:
    """The fields, built in an open form. parts: the file and what `outputs` takes, in its order."""

    def __init__(self, who: Who, faults: Faults) -> None:
        self._who, self._faults = who, faults
        self.file = gr.File(
            label="Outputs from anywhere: CSV, JSON Lines or Parquet with a prompt a row",
            file_types=FILES,
            height=110,
            elem_classes="tw-file",
        )
        faults.of("file")
        with gr.Column(visible=False) as self._mapping:
            self._seen = gr.HTML(elem_classes="tw-sample")
            self._columns = self._fields()
            self._encoding = gr.Textbox(
                "",
                label="Encoding, if these letters are wrong",
                placeholder="such as cp1252 or shift_jis",
                max_length=40,
            )
        self.parts: list[Any] = [self.file, *self._columns, self._encoding]

    def _fields(self) -> list[gr.Dropdown]:
        with gr.Row():
            prompt = gr.Dropdown([], label="Prompt", interactive=True)
            outputs = gr.Dropdown(
                [],
                label="Outputs: a column a model",
                multiselect=True,
                max_choices=MAX_MODELS,
                interactive=True,
            )
        labels = ("Model, if a row is one output", "System prompt", "Tag, to slice results by")
        with gr.Row():
            others = [gr.Dropdown([NONE], value="", label=label, interactive=True) for label in labels]
        return [prompt, outputs, *others]

    def connect(self, generated: gr.Column, **settings: Any) -> None:
        """Shows the columns of a file that is chosen. generated: what is shown where there is none."""
        looked = [self._mapping, generated, self._seen, *self._columns, *self._faults.parts]
        events = (self.file.upload, self.file.clear, self._encoding.submit, self._encoding.blur)
        for event in events:
            event(
                self._look,
                [self._who.name, self.file, self._encoding],
                looked,
                show_progress_on=[self.file],
                **settings,
            )

    def _look(self, person: str, path: str | None, encoding: str, profile: Profile) -> list[Any]:
        """The columns of a file, its first rows, and what the columns seem to be."""
        self._who.check(person, profile)
        hidden = [gr.Column(visible=False), gr.Column(visible=True), *[gr.skip()] * (1 + len(self._columns))]
        if not path:
            return [*hidden, *self._faults.shown()]
        try:
            with of_field("file"):
                table = sheet.read(Path(path), encoding=encoding.strip() or None)
                columns, rows = outside.sample(table)
                guessed = outside.guess(table)
        except ArenaError as error:
            return [*hidden, *self._faults.shown(error)]
        choices = [NONE, *((name, name) for name in columns)]
        return [
            gr.Column(visible=True),
            gr.Column(visible=False),
            notices.sample(f"{len(table.rows):,} rows; {table.about}", columns, rows),
            gr.Dropdown(columns, value=guessed.prompt),
            gr.Dropdown(columns, value=list(guessed.outputs)),
            *(gr.Dropdown(choices, value=of or "") for of in (guessed.model, guessed.system, guessed.tag)),
            *self._faults.shown(),
        ]


def outputs(
    path: Path, prompt: str, columns: list[str], model: str, system: str, tag: str, encoding: str
) -> list[Output]:
    """The outputs of a file. Raises ArenaError."""
    of = Columns(prompt, tuple(columns), model or None, system or None, tag or None)
    ours = (of.prompt, of.outputs, of.model) == ("prompt", ("text",), "policy")
    with of_field("file"):
        if ours and path.suffix == ".jsonl":
            return read_runs(path)
        return outside.read(path, of, encoding=encoding.strip() or None)
