"""How a study is judged, as fields of a form: the same for a new study and for one that is edited."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from arena import notices
from arena.errors import ArenaError, of_field
from arena.panel.shared import PRIVATE
from arena.questions import Question, parsed
from arena.schema import ACCESS, REVEALS
from arena.settings import Settings


class Faults:
    """Errors of a form: one sentence by the field that it is about, or below the form."""

    def __init__(self) -> None:
        self._below: gr.HTML
        self._by: dict[str, gr.HTML] = {}

    def of(self, *fields: str) -> None:
        """Puts the place for errors about these fields here."""
        self._by |= dict.fromkeys(fields, gr.HTML(visible=False, elem_classes="tw-by"))

    def below(self) -> None:
        """Puts the place for errors about no field, and for notes, here."""
        self._below = gr.HTML(elem_classes="tw-status")

    @property
    def parts(self) -> list[gr.HTML]:
        """The outputs of a handler that returns `shown`."""
        return [self._below, *dict.fromkeys(self._by.values())]

    def shown(self, error: ArenaError | None = None, below: str = "") -> list[Any]:
        """The sentence in its place; the other places empty. below: HTML below the form."""
        place = self._by.get((error and error.field) or "", self._below) if error else None
        sentence = notices.failed(str(error)) if error else ""
        return [
            sentence if place is self._below else below,
            *(gr.HTML(sentence if part is place else "", visible=part is place) for part in self.parts[1:]),
        ]


def access_of(access: str, login: bool) -> str:
    """Who may judge, as the page offers it: where people sign in, "open" is "signed",
    elsewhere the other way round.
    """
    return ("signed" if login else "open") if access in ("open", "signed") else access


def fields(login: bool, faults: Faults) -> tuple[gr.Radio, gr.Textbox, gr.Radio, gr.Number, gr.Number]:
    """Who judges, the names of a list, when names are told, votes wanted, battles of a person."""
    allowed = [(_capital(text), key) for key, text in ACCESS.items() if key == access_of(key, login)]
    access = gr.Radio(allowed, value=allowed[0][1], label="Who may judge")
    members = gr.Textbox("", label=_listed(login), lines=4, max_length=80_000, visible=False)
    access.change(lambda value: gr.Textbox(visible=value == "listed"), access, members, **PRIVATE)
    faults.of("access", "members")
    reveal = gr.Radio(
        [(_capital(text), key) for key, text in REVEALS.items()], value="vote", label="When names are told"
    )
    minimum = gr.Number(3, precision=0, minimum=1, label="Votes wanted for every battle")
    faults.of("minimum")
    share = gr.Number(0, precision=0, minimum=0, label="Battles of one person at most (0: all)")
    faults.of("share")
    return access, members, reveal, minimum, share


def read(
    name: str, lines: str, guideline: str, access: str, members: str, reveal: str, minimum: int, share: int
) -> tuple[str, Sequence[Question], Settings]:
    """What the form of a study holds: its name, its questions and how it is judged. Raises ArenaError."""
    with of_field("questions"):
        questions = parsed(lines)
    return name, questions, Settings(guideline, minimum, access, members.splitlines(), reveal, share or None)


def _listed(login: bool) -> str:
    return f"The list: a {'Hugging Face login' if login else 'name'} a line"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
